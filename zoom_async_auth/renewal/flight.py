"""One renewal in progress, shared by all who need it.

Callers wait for it; none owns it. A caller that is cancelled disturbs nobody: Zoom may have rotated the refresh token
already, and the next caller needs what comes back.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from zoom_async_auth.errors import ManagerClosedError, ZoomAuthError

_T = TypeVar("_T")


class Flight(Generic[_T]):
    """Passes one outcome on to any number of waiters, who lose patience together.

    Args:
        timeout: Seconds that waiters wait at most, counted from the first of them. One timer serves all: ten thousand
            timers would cost more than the renewal.
        excuse: Says, when patience is over, why there is no token yet.

    Attributes:
        forced: Whether somebody wants it now, whatever failed before.
        hurry: Called when somebody begins to wait, if nobody did.
        nudged: Set to end a sleep of the renewal; None while it does not sleep.
        outcome: What it brought.
    """

    __slots__ = ("_end", "_excuse", "_loop", "_patience", "_timeout", "_wave", "forced", "hurry", "nudged", "outcome")

    def __init__(self, *, timeout: float, excuse: Callable[[], ZoomAuthError], forced: bool = False) -> None:
        self.forced: bool = forced
        self.hurry: Callable[[], None] | None = None
        self.nudged: asyncio.Event | None = None
        self.outcome: _T | ZoomAuthError | None = None
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._excuse = excuse
        self._end = asyncio.Event()
        self._wave = asyncio.Event()  # those who wait now; a new one when their patience is over
        self._patience: asyncio.TimerHandle | None = None

    def patience_left(self) -> float:
        """Return for how many seconds somebody still waits, or would if not cancelled; else 0."""
        return 0.0 if self._patience is None else max(0.0, self._patience.when() - self._loop.time())

    def land(self, outcome: _T | ZoomAuthError | None) -> None:
        """Tell everybody. None means that the renewal ended without any outcome: the manager was closed."""
        if self.outcome is None:
            self.outcome = outcome if outcome is not None else ManagerClosedError("closed before a token arrived")
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._wave.set()
        self._end.set()

    async def wait(self) -> _T:
        """Wait for the outcome. A cancelled waiter disturbs nobody.

        Raises:
            ZoomAuthError: What the renewal failed with, or why it takes longer than `timeout`. Each waiter gets an
                object of its own.
        """
        if self.outcome is None:
            if self._patience is None:
                self._patience = self._loop.call_later(self._timeout, self._lose_patience)
                if self.hurry is not None:
                    self.hurry()
            await self._wave.wait()
        outcome = self.outcome if self.outcome is not None else self._excuse()
        if isinstance(outcome, ZoomAuthError):
            raise outcome.copy()  # a shared one would collect the tracebacks of all
        return outcome

    async def landed(self) -> None:
        """Wait for its end without counting as a waiter, and without learning the outcome."""
        if self.outcome is None:
            await self._end.wait()

    def _lose_patience(self) -> None:
        self._patience = None
        self._wave.set()
        self._wave = asyncio.Event()
