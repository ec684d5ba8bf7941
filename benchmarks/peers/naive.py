"""What one writes oneself in ten minutes: a token behind a double-checked asyncio.Lock."""

import asyncio
import time

from benchmarks.peers.peer import Login
from benchmarks.peers.post import Post


class Naive:
    """Looks, locks, looks again, fetches."""

    async def open(self, login: Login) -> None:
        self._fetch = Post(login, login.token_url)
        self._ahead = login.ahead
        self._lock = asyncio.Lock()
        self._token = ""
        self._until = 0.0

    async def bearer(self) -> str:
        if time.time() < self._until:
            return self._token
        async with self._lock:
            if time.time() >= self._until:
                self._token, lifetime = await self._fetch()
                self._until = time.time() + lifetime - self._ahead
            return self._token

    async def close(self) -> None:
        await self._fetch.close()
