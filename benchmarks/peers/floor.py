"""What the least would be, measured by the same worker: nothing here gets a token."""

import asyncio
from time import monotonic

from benchmarks.peers.peer import Login
from zoom_async_auth.clock import SystemClock

LATENCY = 0.05
"""Of the endpoint, in seconds."""


class _Floor:
    async def open(self, login: Login) -> None:
        pass

    async def close(self) -> None:
        pass


class Constant(_Floor):
    """An `async def` that returns a constant."""

    async def bearer(self) -> str:
        return "x"


class Compare(_Floor):
    """Reads the suspend-aware clock, compares, returns."""

    def __init__(self) -> None:
        self.now = SystemClock().monotonic
        self.until = self.now() + 3600.0
        self.token = "x" * 600

    async def bearer(self) -> str:
        if self.now() < self.until:
            return self.token
        raise RuntimeError


class Sleep(_Floor):
    """Lets each caller sleep until the endpoint would have answered the first of them."""

    def __init__(self) -> None:
        self._until = 0.0

    async def bearer(self) -> str:
        self._until = self._until or monotonic() + LATENCY
        await asyncio.sleep(self._until - monotonic())
        return "x"
