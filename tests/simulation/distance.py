"""A store and a Zoom that are far away: what is asked takes time to get there, and what is answered to come back.

So there is a moment at which something is done and nobody here knows it yet; and what a test of one person's chain of
refresh tokens looks at.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

from tests.engine.world import World
from zoom_async_auth.endpoint import Transport
from zoom_async_auth.identity import namespace_of
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.stores.base import Begun, Reading, Record, Store

DISTANCE = 0.01

_T = TypeVar("_T")


class FarStore:
    """A durable store at a distance."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.durable = True

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, traceback)

    async def peek(self, key: str) -> Reading:
        return await _there_and_back(lambda: self._inner.peek(key))

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        return await _there_and_back(lambda: self._inner.begin(key, generation, holder, lease, supersede=supersede))

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:
        return await _there_and_back(lambda: self._inner.commit(key, sent, record, holder))

    async def condemn(self, key: str, generation: int, cause: str) -> bool:
        return await _there_and_back(lambda: self._inner.condemn(key, generation, cause))

    async def release(self, key: str, holder: str, *, doubt: bool) -> None:
        await _there_and_back(lambda: self._inner.release(key, holder, doubt=doubt))

    async def wait(self, key: str, generation: int, timeout: float) -> None:
        await _there_and_back(lambda: self._inner.wait(key, generation, timeout))

    async def forget(self, key: str) -> None:
        await _there_and_back(lambda: self._inner.forget(key))


class FarWire:
    """A transport at a distance; the sandbox's Zoom has its own `latency` for the way back.

    Args:
        inner: What is far away.
        slow: By how many seconds the next answer is later than others.
    """

    def __init__(self, inner: Transport, *, slow: Callable[[], float] = lambda: 0.0) -> None:
        self._inner = inner
        self._slow = slow

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        await asyncio.sleep(DISTANCE)
        answer = await self._inner.send(url, headers, body, timeout - DISTANCE)
        await asyncio.sleep(self._slow())
        return answer


async def _there_and_back(work: Callable[[], Awaitable[_T]]) -> _T:
    await asyncio.sleep(DISTANCE)
    result = await work()
    await asyncio.sleep(DISTANCE)
    return result


def key_of(world: World) -> str:
    """Return alice's key in a store."""
    return f"{namespace_of(world.zoom.user_app, world.zoom.url)}/default"


def live(world: World) -> str | None:
    """Return the one refresh token of alice that Zoom would take; None if she has to authorize the app again."""
    tokens = [chain.refresh_token for chain in world.zoom.model._chains.values()]
    assert len(tokens) <= 1
    return tokens[0] if tokens else None


async def stored(world: World, store: Store) -> str | None:
    """Return the refresh token that is in the store."""
    record = (await store.peek(key_of(world))).record
    return None if record is None or record.token is None else record.token.refresh_token
