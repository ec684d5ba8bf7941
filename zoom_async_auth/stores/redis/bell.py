"""Hints that something has changed, from a Redis server: one subscription for all who wait."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from re import sub
from typing import Final

import anyio
from redis.asyncio import Redis

_PAUSE: Final = 1.0
"""Seconds between a subscription that ended and the next one."""

_READ_FOR: Final = 60.0


class Bell:
    """Rings for those who wait at a channel when something is announced there. It may miss things: look, as well.

    Args:
        client: Of the server.
        prefix: What the names of channels begin with, before a colon.
    """

    def __init__(self, client: Redis, *, prefix: str) -> None:
        self._client: Final = client
        self._pattern: Final = f"{escaped(prefix)}:*"
        self._waiting: Final[defaultdict[bytes, set[asyncio.Event]]] = defaultdict(set)
        self._subscription: asyncio.Task[None] | None = None

    @contextmanager
    def listening(self, channel: str) -> Iterator[asyncio.Event]:
        """Yield what is set at each announcement on a channel."""
        name, rung = channel.encode(), asyncio.Event()
        self._waiting[name].add(rung)
        try:
            yield rung
        finally:
            self._waiting[name].discard(rung)
            if not self._waiting[name]:
                del self._waiting[name]

    async def hear(self, rung: asyncio.Event, patience: float) -> None:
        """Wait for a ring, `patience` seconds at most."""
        if self._subscription is None or self._subscription.done():
            self._subscription = asyncio.get_running_loop().create_task(self._subscribe(), name="zoom-async-auth")
        with anyio.move_on_after(patience):
            await rung.wait()

    async def close(self) -> None:
        """Ring no more."""
        if self._subscription is not None:
            self._subscription.cancel()
            await asyncio.wait({self._subscription})

    async def _subscribe(self) -> None:
        with suppress(Exception):  # whatever it is: those who wait look for themselves
            async with self._client.pubsub() as announcements:
                await announcements.psubscribe(self._pattern)
                while True:
                    message = await announcements.get_message(timeout=_READ_FOR)
                    if message is not None:
                        self._ring(message["type"], message["channel"])
        await asyncio.sleep(_PAUSE)

    def _ring(self, kind: str, channel: bytes) -> None:
        # What was announced before the subscription was heard by nobody: then it rings for all.
        heard = self._waiting.values() if kind == "psubscribe" else [self._waiting.get(channel, set())]
        for events in heard:
            for rung in events:
                rung.set()


def escaped(text: str) -> str:
    """Return a pattern of Redis that stands for this text alone."""
    return sub(r"([*?\[\]\\^-])", r"\\\1", text)
