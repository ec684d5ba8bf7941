"""Many refusals at once say nothing about each person: the trouble is the app's, or Zoom's.

One person who removes the app is one refusal. But once five identities were refused among the last twenty refreshes (of
ten minutes), no refusal is believed unless `renew()` asked: what is stored stays, the refused go last, and while
nothing but refusals comes back only a probe a minute is sent. It ends when the latest five of them have all worked.
"""

from collections import deque
from collections.abc import Callable

PAUSE = 60.0
"""Seconds between two probes."""
BURST = 5
"""How many identities have to be refused, and how many refreshes have to work in a row afterwards."""
_LATEST = 20
_OLD = 600.0


class Breaker:
    """Tells whether refusals are believed.

    Args:
        now: The clock, in seconds.

    Attributes:
        open: Whether refusals are disbelieved at the moment.
        doubted: Keys whose refusals were not believed since it opened.
    """

    __slots__ = ("_latest", "_now", "doubted", "open")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._latest: deque[tuple[float, str, bool]] = deque(maxlen=_LATEST)
        self.open: bool = False
        self.doubted: set[str] = set()

    @property
    def nothing_but_refusals(self) -> bool:
        """Whether nothing but refusals comes back."""
        return all(refused for *_, refused in list(self._latest)[-BURST:])

    def note(self, key: str, *, refused: bool, forced: bool) -> None:
        """Take the outcome of a refresh into account; `forced`: somebody asked about this very one."""
        now = self._now()
        while self._latest and self._latest[0][0] < now - _OLD:
            self._latest.popleft()
        self._latest.append((now, key, refused))
        latest = list(self._latest)
        if self.open and not any(refused for *_, refused in latest[-BURST:]):
            self.open = False
            self._latest.clear()
            self.doubted.clear()
        elif len({key for _, key, refused in latest if refused}) >= BURST:
            self.open = True
        if self.open and refused and not forced:
            self.doubted.add(key)
