"""Whether the refusal of an unused identity's refresh token is believed.

People remove an app, and the program may never hear of it. A sweep through what was not used for a month meets them one
after another. That says nothing about the app, so nobody else is held up. Nor is a first refusal believed, as Zoom may
be in trouble: it is when a later sweep is refused again, and somebody's refresh has worked in between.
"""

import math
from collections.abc import Callable

FEW = 5
"""How many are tried at once, and how many refusals in a row are enough for now."""
_LONG = 86400.0
"""Seconds after which a refusal is forgotten: by then whoever is still stored was tried again."""


class Sleepers:
    """Decides whether the refusal of an unused identity is believed.

    Args:
        now: The clock, in seconds.

    Attributes:
        asked: Keys that the sweep is renewing now, on behalf of no caller.
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
        """Note that a refresh has worked."""
        self._worked_at = self._now()
        self._in_a_row = 0
        self._refused_at.pop(key, None)

    def note_refusal(self, key: str) -> bool:
        """Note the refusal of a key in `asked`; tell whether it is believed."""
        self.asked.discard(key)  # if it is tried at once again, somebody came who waits for it
        self._in_a_row += 1
        now = self._now()
        self._refused_at = {who: at for who, at in self._refused_at.items() if at > now - _LONG}
        believed = self._refused_at.pop(key, math.inf) < self._worked_at
        if not believed:
            self._refused_at[key] = now
        return believed
