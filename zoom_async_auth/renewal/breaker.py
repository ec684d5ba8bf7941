"""Many refresh tokens that are refused at once are no news about each of them: the trouble is the client's, or Zoom's.

One person who takes the app off is one refusal. When many identities are refused within a minute, and few are not, none
of it is believed from the fifth on: nothing but a probe is sent, and what is stored stays as it is, until one is
renewed again.
"""

from collections import deque
from collections.abc import Callable

WINDOW = 60.0
"""Seconds that are looked at together."""
BURST = 5
"""How many identities have to be refused within them."""
_LONGEST = 1000


class Breaker:
    """Tells whether refusals are believed.

    Args:
        now: The clock, in seconds.
    """

    __slots__ = ("_now", "_outcomes", "open")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._outcomes: deque[tuple[float, str, bool]] = deque(maxlen=_LONGEST)
        self.open: bool = False

    def note(self, key: str, *, refused: bool) -> None:
        """Take the outcome of a refresh into account."""
        now = self._now()
        self._outcomes.append((now, key, refused))
        while self._outcomes[0][0] < now - WINDOW:
            self._outcomes.popleft()
        if not refused:
            self.open = False
            return
        refused_keys = {key for _, key, refused in self._outcomes if refused}
        renewed = sum(not refused for *_, refused in self._outcomes)
        self.open = self.open or (len(refused_keys) >= BURST and len(refused_keys) > renewed)
