"""An event loop on which a day passes in milliseconds, and a clock to turn by hand."""

import asyncio
import selectors
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

DEADLOCK_AFTER = 5.0
"""Real seconds that a socket or a thread may take while there is no timer."""

WALL = 1_790_000_000.0
"""Some moment of the year 2026, in seconds since 1970-01-01 UTC."""


class _LeapingSelector(selectors.DefaultSelector):
    """Where a selector would block until a timer is due, it moves the clock instead."""

    def __init__(self, grace: float) -> None:
        super().__init__()
        self.now = 0.0
        self._grace = grace

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            if not (ready := super().select(DEADLOCK_AFTER)):
                raise RuntimeError(f"deadlock: no timer, and nothing else woke this loop in {DEADLOCK_AFTER:g} s")
            return ready
        if not (ready := super().select(min(timeout, self._grace))):
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that leaps over waiting: `asyncio.sleep(3600)` takes no time, `loop.time()` shows that it did.

    Args:
        grace: Real seconds that sockets and threads get before time leaps; 0 is right for sockets on this loop, and
            too little for a database.

    Attributes:
        leaps_over_waiting: Whether whatever answers in real time is too late for every deadline.
    """

    def __init__(self, grace: float = 0.0) -> None:
        self.leaps_over_waiting: bool = grace <= 0
        self._leaping = _LeapingSelector(grace)
        super().__init__(self._leaping)
        # A nanosecond is lost in the float of half a year: the loop would spin before the timer's moment.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Return the virtual time, in seconds from the making of the loop."""
        return self._leaping.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for threads as long as they take: they live in real time, not in that of `timeout`."""
        del timeout
        await super().shutdown_default_executor()

    def stall(self, seconds: float) -> None:
        """Let time pass as if a callback had blocked the loop for that long."""
        self._leaping.now += seconds


@dataclass(frozen=True, slots=True)
class LoopClock:
    """The time of an event loop, as a `Clock`: what the loop's timers wait for, and nothing is ever suspended.

    A manager that reads it sleeps from one deadline to the next, so that months pass in less than a second.

    Attributes:
        monotonic: The loop's own clock.
        wall: The wall clock at the origin of the loop's, in seconds since 1970-01-01 UTC.
    """

    monotonic: Callable[[], float]
    wall: float = WALL

    @classmethod
    def running(cls) -> Self:
        """Return the clock of the loop that runs."""
        return cls(asyncio.get_running_loop().time)

    def time(self) -> float:
        """Return the wall clock."""
        return self.wall + self.monotonic()


class ManualClock:
    """A `Clock` that goes only where it is told to, or follows a loop and can be pushed beyond it.

    Args:
        follow: What its seconds follow, for example `asyncio.get_running_loop().time`; None: nothing.
        wall: The wall clock at the start, in seconds since 1970-01-01 UTC.
    """

    def __init__(self, follow: Callable[[], float] | None = None, *, wall: float = WALL) -> None:
        self._follow = follow or (lambda: 0.0)
        self._ahead = 0.0
        self._wall = wall

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._follow() + self._ahead

    def time(self) -> float:
        """Return the wall clock."""
        return self._wall + self.monotonic()

    def advance(self, seconds: float) -> None:
        """Let time pass: for a loop that is followed, as if the host had been suspended."""
        if seconds < 0:
            raise ValueError("a monotonic clock never goes back: use step_wall() for the wall clock")
        self._ahead += seconds

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as a person or NTP does; nothing else notices."""
        self._wall += seconds
