"""One background task, one heap of deadlines, however many identities there are."""

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable
from typing import Protocol, TypeAlias

import anyio

from zoom_async_auth.bugs import told_of

_FEW = 1000
_AT_ONCE = 500
"""How many are tended before the loop has its turn: after a pause that Zoom asked for, all are due at one moment."""
LONGEST_SLICE = 30.0
"""Seconds that are slept at most: the loop's timers stop while the host is suspended, the deadlines do not."""


class Tended(Protocol):
    """Something that wants attention at times. `due` is a moment of the scheduler's clock.

    Attributes:
        noted: For the scheduler: the moment that it has noted.
    """

    noted: float

    @property
    def due(self) -> float:
        """When `tend` is to be called."""
        ...

    def tend(self) -> None:
        """Do what is due, without waiting."""
        ...


_Note: TypeAlias = tuple[float, int, float, Tended]
"""When to look after something, a number of its own, its `due` that this was planned for, and what it is.

Void if `due` is another one by now. A plain tuple: with names it takes more room, and there are as many as identities.
"""


class Scheduler:
    """Calls `tend` when it is due.

    Args:
        now: The clock, in seconds.
        restart_after: Seconds after which it goes on after a bug.
        report: Told what and where it was when that happens.
    """

    def __init__(self, now: Callable[[], float], *, restart_after: float, report: Callable[[str], None]) -> None:
        self._now = now
        self._restart_after = restart_after
        self._report = report
        self._heap: list[_Note] = []
        self._longest = _FEW
        self._count = itertools.count()
        self._earlier = asyncio.Event()

    def plan(self, tended: Tended) -> None:
        """Note that `tended.due` has changed. Earlier notes on it are void: they differ from `due`."""
        if tended.due in {tended.noted, math.inf}:
            return
        self._push(tended.due, tended.due, tended)
        if self._heap[0][3] is tended:
            self._earlier.set()

    async def run_for_ever(self) -> None:
        """Tend what is due, until cancelled; survive bugs of what is tended."""
        while True:
            try:
                await self._run()
            except Exception as bug:  # noqa: BLE001 -- without renewals the program stops an hour later
                self._report(told_of(bug))
            await anyio.sleep(self._restart_after)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        longest = math.inf if self._now == loop.time else LONGEST_SLICE  # on one clock, nothing can run ahead
        while True:
            self._earlier.clear()
            self._tend_due()
            pause = self._heap[0][0] - self._now() if self._heap else LONGEST_SLICE
            timer = loop.call_later(min(max(pause, 0.0), longest), self._earlier.set)
            try:
                await self._earlier.wait()
            finally:
                timer.cancel()

    def _tend_due(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._heap or self._heap[0][0] > self._now():
                return
            _, _, planned, tended = heapq.heappop(self._heap)
            if planned != tended.due:
                continue  # it was planned anew since
            tended.noted = math.inf
            try:
                tended.tend()
            except Exception:
                self._push(self._now() + self._restart_after, planned, tended)
                raise

    def _push(self, when: float, planned: float, tended: Tended) -> None:
        tended.noted = planned
        if len(self._heap) >= self._longest:  # void notes keep alive what nobody needs
            self._heap = [note for note in self._heap if note[2] == note[3].due]
            heapq.heapify(self._heap)
            self._longest = max(_FEW, 2 * len(self._heap))
        heapq.heappush(self._heap, (when, next(self._count), planned, tended))
