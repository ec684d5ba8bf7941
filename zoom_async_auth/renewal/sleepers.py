"""Refusals of refresh tokens that nobody uses.

Persons take an app off, and nobody tells. Whoever renews what was not used for a month meets them one after the other:
that is no news about the client, so nobody else is held up for it. Nor is the first refusal believed, for Zoom may be
in trouble. It is when it comes again, in a later sweep, and somebody's refresh has worked in between.
"""

import math
from collections.abc import Callable

FEW = 5
"""How many are tried at once, and how many refusals in a row are enough for now."""
_LONG = 86400.0
"""Seconds after which a refusal is forgotten: who is still there was tried again by then, of others nobody tells."""


class Sleepers:
    """Tells whether the refusal of somebody who is not here is believed.

    Args:
        now: The clock, in seconds.

    Attributes:
        asked: Whose renewals are under way because nobody uses them.
    """

    __slots__ = ("_in_a_row", "_now", "_refused_at", "_worked_at", "asked")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._in_a_row = 0
        self._refused_at: dict[str, float] = {}  # the last time
        self._worked_at = -math.inf
        self.asked: set[str] = set()

    @property
    def enough_refused(self) -> bool:
        """Whether a few were refused in a row, and nobody's refresh has worked in between."""
        return self._in_a_row >= FEW

    def note_success(self, key: str) -> None:
        """Take into account that a refresh has worked, of whomever."""
        self._worked_at = self._now()
        self._in_a_row = 0
        self._refused_at.pop(key, None)

    def note_refusal(self, key: str) -> bool:
        """Take the refusal of one that was asked into account; tell whether it is believed."""
        self.asked.discard(key)  # if it is tried at once again, somebody came who waits for it
        self._in_a_row += 1
        now = self._now()
        self._refused_at = {who: at for who, at in self._refused_at.items() if at > now - _LONG}
        believed = self._refused_at.pop(key, math.inf) < self._worked_at
        if not believed:
            self._refused_at[key] = now
        return believed
