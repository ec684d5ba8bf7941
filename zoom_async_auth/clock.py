"""The two clocks that the library reads, and nothing else does."""

import functools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. Both methods return seconds; `testing.ManualClock` is one to turn by hand."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary origin, never going back, *counting those in which the host slept*."""
        ...

    def time(self) -> float:
        """Return seconds since 1970-01-01 UTC; may jump. Read only to understand dates that others wrote."""
        ...


def _suspend_aware() -> Callable[[], float]:
    """Return the system's clock that goes on while the host is suspended (`time.monotonic` on Linux does not)."""
    if sys.platform == "linux":
        return functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":
        return functools.partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    return time.monotonic


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The clocks of this machine: C callables, bound once, since the hot path pays for each call."""

    monotonic: Callable[[], float] = field(default_factory=_suspend_aware, init=False)
    time: Callable[[], float] = field(default=time.time, init=False)
