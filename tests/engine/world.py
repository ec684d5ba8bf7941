"""A world in virtual time: a Zoom without sockets, a clock, managers that share both, and what they reported."""

import asyncio
import itertools
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from zoom_async_auth import RenewalPolicy, TokenManager, UserOAuth
from zoom_async_auth.events import Event
from zoom_async_auth.oauth.authorize import code_challenge
from zoom_async_auth.oauth.credentials import Credentials
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.stores.base import Begun, Reading, Record, Store
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.testing import ManualClock, MemoryTransport

LATENCY = 0.1
_VERIFIER = "v" * 43

_T = TypeVar("_T")
_E = TypeVar("_E", bound=Event)


class World:
    """Everything that a test of the engine needs. Luck is a constant: times are exact."""

    def __init__(self, *, luck: float = 0.0) -> None:
        self.clock = ManualClock(asyncio.get_running_loop().time)
        self.zoom = Zoom(latency=LATENCY, clock=self.clock.time)
        self.wire = Wire(MemoryTransport(self.zoom))
        self.events: list[Event] = []
        self.luck = luck

    def manager(self, credentials: Credentials | None = None, **options: Any) -> TokenManager:
        """Return a manager of the server-to-server app, or of another one, that is not open yet."""
        known: dict[str, Any] = {
            "base_url": self.zoom.url,
            "transport": self.wire,
            "clock": self.clock,
            "observers": [self.events.append],
            "random": lambda: self.luck,
        }
        return TokenManager(self.zoom.credentials if credentials is None else credentials, **{**known, **options})

    def personal(self, **options: Any) -> TokenManager:
        """Return a manager of the app that acts for persons."""
        return self.manager(self.zoom.user_app, **options)

    def store(self) -> MemoryStore:
        """Return a store that several managers can share."""
        return MemoryStore(clock=self.clock)

    def consent(self, *, app: UserOAuth | None = None) -> AuthorizationCodeGrant:
        """Return what comes back from the consent page when alice allows the app."""
        code = self.zoom.authorize("alice", app=app, code_challenge=code_challenge(_VERIFIER))
        return AuthorizationCodeGrant(code=code, redirect_uri=self.zoom.redirect_uri, code_verifier=_VERIFIER)

    def seen(self, kind: type[_E]) -> list[_E]:
        """Return the events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def is_good(self, access_token: str) -> bool:
        """Tell whether Zoom's API takes this token now."""
        return self.zoom.model.user_of(access_token) is not None


class Wire:
    """A transport that can be held: what is sent waits, before it reaches Zoom or before its answer comes back.

    Attributes:
        posts: How many requests were sent, lost ones included.
        held_before: While set, requests wait before Zoom sees them.
        held_after: While set, Zoom has acted, and the answers wait.
        instead: What answers the next requests in Zoom's place, one each; Zoom does not see those.
        replies: Functions that make something else of Zoom's next answers, one each.
    """

    def __init__(self, inner: MemoryTransport) -> None:
        self._inner = inner
        self.posts = 0
        self.held_before: asyncio.Event | None = None
        self.held_after: asyncio.Event | None = None
        self.instead: list[Answer] = []
        self.replies: list[Callable[[Answer], Answer]] = []

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        self.posts += 1
        if self.held_before is not None:
            await self.held_before.wait()
        if self.instead:
            return self.instead.pop(0)
        answer = await self._inner.send(url, headers, body, timeout)
        if self.held_after is not None:
            await self.held_after.wait()
        return self.replies.pop(0)(answer) if self.replies else answer


class FaultyStore:
    """A store with a fault script: operations fail, begin late, or are done and answer late.

    Attributes:
        down: Names of operations that fail before they do anything.
        silent: Names of operations that are done, and then fail: the answer is lost.
        slow: Seconds by name of operation; so long it takes to begin.
        late: The same, for the way back: what it answers may be history.
        calls: Names of operations, in order.
    """

    def __init__(self, inner: Store, *, durable: bool = True) -> None:
        self._inner = inner
        self.durable = durable
        self.down: set[str] = set()
        self.silent: set[str] = set()
        self.slow: dict[str, float] = {}
        self.late: dict[str, float] = {}
        self.calls: list[str] = []
        self.users = 0

    async def __aenter__(self) -> Self:
        self.users += 1
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.users -= 1
        await self._inner.__aexit__(kind, error, traceback)

    async def peek(self, key: str) -> Reading:
        return await self._faulty("peek", lambda: self._inner.peek(key))

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        return await self._faulty(
            "begin", lambda: self._inner.begin(key, generation, holder, lease, supersede=supersede)
        )

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:
        return await self._faulty("commit", lambda: self._inner.commit(key, sent, record, holder))

    async def condemn(self, key: str, generation: int, cause: str) -> bool:
        return await self._faulty("condemn", lambda: self._inner.condemn(key, generation, cause))

    async def release(self, key: str, holder: str, *, doubt: bool) -> None:
        await self._faulty("release", lambda: self._inner.release(key, holder, doubt=doubt))

    async def wait(self, key: str, generation: int, timeout: float) -> None:
        await self._faulty("wait", lambda: self._inner.wait(key, generation, timeout))

    async def forget(self, key: str) -> None:
        await self._faulty("forget", lambda: self._inner.forget(key))

    async def _faulty(self, name: str, work: Callable[[], Awaitable[_T]]) -> _T:
        self.calls.append(name)
        await asyncio.sleep(self.slow.get(name, 0.0))
        if name in self.down:
            raise ConnectionError("the database at secret-host is down")
        result = await work()
        if name in self.late:
            await asyncio.sleep(self.late[name])
        if name in self.silent:
            raise ConnectionError("the database at secret-host hung up")
        return result


async def cancelled_at(k: int, coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run it, and cancel the running task, natively, at its k-th suspension."""
    return await _cancelled_at(k, coroutine)


@types.coroutine
def _cancelled_at(k: int, coroutine: Coroutine[Any, Any, _T]) -> Generator[Any, Any, _T]:
    step: Callable[[], Any] = partial(coroutine.send, None)
    for suspension in itertools.count(1):
        try:
            waited_for = step()
        except StopIteration as done:
            result: _T = done.value
            return result
        if suspension == k:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        try:
            yield waited_for
        except BaseException as error:  # noqa: BLE001 -- whatever comes goes into the coroutine
            step = partial(coroutine.throw, error)
        else:
            step = partial(coroutine.send, None)
    raise AssertionError("unreachable")


async def turns(count: int = 20) -> None:
    """Let everybody else have that many turns of the event loop; no time passes."""
    for _ in range(count):
        await asyncio.sleep(0)


QUIET = RenewalPolicy(jitter=0.0)
"""A policy without luck."""
