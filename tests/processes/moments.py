"""The moments of a renewal at which something can happen to a process or to its store.

before begin    nothing is written
begun           lease and intent are written, nothing is sent
sent            Zoom has the request, and decides; nobody here knows how
received        Zoom's answer is here, nothing of it is stored
in commit       the store has been told, and has not answered
committed       the token is stored, nobody has seen it
"""

import asyncio
import contextlib
import functools
import inspect
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from unittest import mock

import redis.asyncio.connection
import sqlalchemy.engine
import sqlalchemy.event

from tests.engine.world import FaultyStore
from zoom_async_auth.endpoint import AiohttpTransport
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.stores.base import Begun, Store

MOMENTS: Final = ("before begin", "begun", "sent", "received", "in commit", "committed")
REACHES_ZOOM: Final = 0.1
"""Seconds after which a request on loopback has reached a Zoom whose `latency` is longer."""

_T = TypeVar("_T")
Act = Callable[[], Awaitable[None] | None]


@dataclass(frozen=True)
class Signal:
    """Something that may happen: the process gets a signal of its own."""

    number: signal.Signals

    def __call__(self) -> None:
        os.kill(os.getpid(), self.number)


class Moment:
    """One of them, at the first renewal after it was armed.

    Args:
        name: Which.
        act: What happens then; what it returns is awaited where that is possible.

    Attributes:
        name: As above.
        came: Set once it has happened.
    """

    def __init__(self, name: str, act: Act) -> None:
        assert name in MOMENTS
        self.name = name
        self.came = asyncio.Event()
        self._act: Act | None = None
        self._planned = act

    def arm(self) -> None:
        """Have it happen at the next renewal."""
        self._act = self._planned

    async def comes(self, name: str) -> None:
        """Do what is planned for that moment."""
        act = self._take(name)
        if act is not None and inspect.isawaitable(done := act()):
            await done

    def comes_now(self, name: str) -> None:
        """Do it where nothing can be awaited."""
        if (act := self._take(name)) is not None:
            act()

    def is_next(self, name: str) -> bool:
        """Tell whether something is planned for that moment."""
        return self._act is not None and self.name == name

    def _take(self, name: str) -> Act | None:
        if not self.is_next(name):
            return None
        act, self._act = self._act, None
        self.came.set()
        return act


class WatchedStore(FaultyStore):
    """A store that tells of its moments."""

    def __init__(self, inner: Store, moment: Moment) -> None:
        super().__init__(inner)
        self._moment = moment

    async def _faulty(self, name: str, work: Callable[[], Awaitable[_T]]) -> _T:
        if name == "begin":
            await self._moment.comes("before begin")
        if name != "commit":
            result = await super()._faulty(name, work)
        else:
            with _told(self._moment):
                result = await super()._faulty(name, work)
            await self._moment.comes("committed")
        if isinstance(result, Begun):
            await self._moment.comes("begun")
        return result


class WatchedTransport(AiohttpTransport):
    """A transport that tells of its moments."""

    def __init__(self, moment: Moment) -> None:
        super().__init__()
        self._moment = moment

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        if self._moment.is_next("sent"):
            asyncio.get_running_loop().call_later(REACHES_ZOOM, self._moment.comes_now, "sent")
        answer = await super().send(url, headers, body, timeout)
        await self._moment.comes("received")
        return answer


@contextlib.contextmanager
def _told(moment: Moment) -> Iterator[None]:
    """Have the moment come when a database is about to commit, or a Redis has been sent the script."""
    if not moment.is_next("in commit"):
        yield
        return

    def committing(_: Any) -> None:
        moment.comes_now("in commit")

    sent = redis.asyncio.connection.AbstractConnection.send_packed_command

    @functools.wraps(sent)
    async def send(*arguments: Any, **options: Any) -> None:
        await sent(*arguments, **options)
        moment.comes_now("in commit")

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", committing)
    try:
        with mock.patch.object(redis.asyncio.connection.AbstractConnection, "send_packed_command", send):
            yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "commit", committing)
