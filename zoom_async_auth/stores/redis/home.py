"""The connections of a Redis store to one server from one event loop, and the work that is under way on them."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from inspect import signature
from itertools import count
from typing import Any, Final, TypeAlias, TypeVar

import anyio
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AskError, MovedError, NoScriptError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as NoAnswerError

from zoom_async_auth.errors import StoreError
from zoom_async_auth.stores.records import FORMAT
from zoom_async_auth.stores.redis.address import Address
from zoom_async_auth.stores.redis.bell import Bell
from zoom_async_auth.stores.redis.row import Answer, answer_of
from zoom_async_auth.stores.redis.scripts import Script

_T = TypeVar("_T")
Work: TypeAlias = Callable[[], Awaitable[_T | StoreError]]
"""What is asked of the server. It returns errors, it raises none of ours."""

PATIENCE: Final = 2.0
"""Seconds after which a call has failed: less than a policy's `commit_timeout`, so that its reason is heard."""

_CONNECTIONS: Final = 10
_FAREWELL: Final = 1.0
"""Seconds for a polite end of the connections."""

# To tell the server which client it talks to, newer redis-py looks for its own version on the disk, at each connection.
_QUIETLY: Final[dict[str, Any]] = (
    {"driver_info": None} if "driver_info" in signature(AbstractConnection.__init__).parameters else {}
)


class Home:
    """Does work in tasks of its own. Callers may leave at any moment; the work goes on, and ends by itself in time.

    So no connection is left in the middle of an answer, from which the next caller would get what was meant for
    another. If one were, scripts repeat the number of the question.
    """

    def __init__(self, address: Address, *, prefix: str) -> None:
        self.loop: Final = asyncio.get_running_loop()
        self.pid: Final = os.getpid()
        self._named: Final = f"the server at {address.place}"
        self._pool: Final = BlockingConnectionPool(
            connection_class=address.kind,
            max_connections=_CONNECTIONS,
            timeout=PATIENCE,
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 0),  # a client's own default takes seconds to say that nobody is there
            protocol=2,  # in which all versions of the client and the server answer the same
            **_QUIETLY,
            **address.options,
        )
        self.client: Final = Redis(connection_pool=self._pool)
        self._questions: Final = count(1)
        self._tasks: Final[set[asyncio.Task[Any]]] = set()
        self.bell: Final = Bell(self.client, prefix=prefix)

    async def see_through(self, work: Work[_T]) -> _T | StoreError:
        """Return what `work` returns, or why it failed; after `PATIENCE`, that nothing is known."""
        task = self.loop.create_task(self._do(work), name="zoom-async-auth")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task}, timeout=PATIENCE)
        return task.result() if task.done() else self._told(TimeoutError())

    async def command(self, *words: str | bytes | float) -> Any:  # noqa: ANN401 -- whatever the server says
        """Return the answer to a command, as a part of some work."""
        execute: Any = self.client.execute_command
        return await execute(*words)

    async def run(
        self, script: Script, names: tuple[str, str], key: str, *arguments: str | float
    ) -> Answer | StoreError:
        """Run a script, as a part of some work."""
        question = str(next(self._questions)).encode()
        given = (len(names), *names, question, key, FORMAT, *arguments)
        try:
            answer = await self.command("EVALSHA", script.sha, *given)
        except NoScriptError:
            answer = await self.command("EVAL", script.text, *given)
        if not isinstance(answer, list) or answer[0] != question:
            await self._pool.disconnect()
            return StoreError(f"{self._named} answered another question than was asked: its connections were ended")
        return answer_of(answer[1], answer[2], answer[3:])

    async def close(self) -> None:
        """Let the work end; then end the connections."""
        await self.bell.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE)
        with anyio.move_on_after(_FAREWELL), suppress(Exception):
            await self._pool.disconnect()

    async def _do(self, work: Work[_T]) -> _T | StoreError:
        try:
            return await work()
        except Exception as foreign:  # noqa: BLE001 -- its text and its frames may show what is stored
            failure, demoted = self._told(foreign), isinstance(foreign, ReadOnlyError)
        if demoted:  # by a failover: connections that it leaves open would lead there for ever
            with suppress(Exception):
                await self._pool.disconnect(inuse_connections=False)
        return failure

    def _told(self, error: Exception) -> StoreError:
        """Return what may be told of a foreign error: its name, and that of the system's error behind it."""
        if isinstance(error, TimeoutError | NoAnswerError):
            return StoreError(f"{self._named} gave no answer within {PATIENCE:g} s: is it up?", in_doubt=True)
        if isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE"):
            return StoreError(
                "somebody else uses a key of this store on the server, for what is no record: choose another prefix, "
                "or forget the key, which deletes that",
                transient=False,
            )
        if isinstance(error, MovedError | AskError):
            return StoreError(
                f"{self._named} is one of a cluster, whose protocol is not spoken here: name a single primary, or a "
                "proxy",
                transient=False,
            )
        origin = error.__context__ if isinstance(error.__context__, OSError) else error
        return StoreError(f"{self._named} failed: {type(origin).__name__}")
