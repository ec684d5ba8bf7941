"""The connections of a SQL store to one database from one event loop, and the work that is under way on them."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar
from weakref import WeakSet

import anyio
from sqlalchemy import URL, Connection, event, inspect
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from zoom_async_auth.errors import StoreError
from zoom_async_auth.stores.sql.engine import CONNECTIONS, PATIENCE, file_of, make_engine, server_of, to_write
from zoom_async_auth.stores.sql.private_file import make_private
from zoom_async_auth.stores.sql.table import metadata, tokens

_T = TypeVar("_T")
Work: TypeAlias = Callable[[AsyncConnection], Awaitable[_T | StoreError]]
"""What is done in one transaction. It commits, or what it wrote is taken back; it returns errors, it raises none."""

_FAREWELL: Final = 1.0
"""Seconds for a polite end of the connections."""

_ATTEMPTS: Final = 20
_UNTIL_THE_NEXT: Final = 0.05
"""Seconds."""

_DAMAGED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


class Home:
    """Does work in tasks of its own. Callers may leave at any moment; the work goes on, and ends by itself in time.

    So no connection is left in the middle of an answer. What ends work in time: SQLite's own patience with locks; on a
    server, a deadline, after which the connection is given up.

    Commits go first: on a server one connection is reserved for them, and for a file at most the call in progress is
    ahead. A commit behind a thousand looks would come too late.
    """

    def __init__(self, url: URL, *, create_table: bool) -> None:
        self.loop: Final = asyncio.get_running_loop()
        self.pid: Final = os.getpid()
        self._path: Final = file_of(url)
        server = server_of(url)
        self._named: Final = "the database" if server is None else f"the database at {server}"
        self._create_table: Final = create_table
        self._engine: Final = make_engine(url)
        self._ready = False
        self._identity: tuple[int, int] | None = None
        self._preparing: Final = asyncio.Lock()
        self._others: Final = asyncio.Semaphore(CONNECTIONS - 1 if self._path is None else 1)
        self._tasks: Final[set[asyncio.Task[Any]]] = set()
        self._sockets: Final[WeakSet[Any]] = WeakSet()
        if self._path is None:
            event.listen(self._engine.sync_engine, "connect", self._remember)

    async def see_through(self, work: Work[_T], *, writes: bool, first: bool = False) -> _T | StoreError:
        """Return what `work` returns, or why it failed; after `PATIENCE`, that nothing is known."""
        doing = self._do(work, writes=writes) if first else self._do_in_line(work, writes=writes)
        task = self.loop.create_task(doing, name="zoom-async-auth")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task}, timeout=PATIENCE)
        return task.result() if task.done() else self._told(TimeoutError())

    async def close(self) -> None:
        """Let the work end; then end the connections."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * PATIENCE)
        with anyio.move_on_after(_FAREWELL):
            await self._engine.dispose()
        for connection in self._sockets:  # which SQLAlchemy leaves open once the first has no time to say farewell
            connection.terminate()

    def _remember(self, connection: Any, _record: object) -> None:  # noqa: ANN401 -- SQLAlchemy's, not public
        self._sockets.add(connection.driver_connection)

    async def _do_in_line(self, work: Work[_T], *, writes: bool) -> _T | StoreError:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._others.acquire()
        except TimeoutError as late:
            failure = self._told(late)
        else:
            try:
                return await self._do(work, writes=writes)
            finally:
                self._others.release()
        return failure

    async def _do(self, work: Work[_T], *, writes: bool) -> _T | StoreError:
        try:
            # Not for a file: a thread cannot be cancelled, and its connection would be left to it.
            async with asyncio.timeout(PATIENCE if self._path is None else None):
                if failure := await self._prepared():
                    return failure
                async with self._engine.connect() as connection:
                    if writes:
                        await to_write(connection)
                    return await work(connection)
        except Exception as foreign:  # noqa: BLE001 -- its text and its frames may show what is stored
            failure = self._told(foreign)
        self._ready = False  # the database may be another one when it is back
        return failure

    async def _prepared(self) -> StoreError | None:
        async with self._preparing:
            if self._ready and await self._is_same_file():
                return None
            if self._path is not None:
                path = self._path
                if refusal := await asyncio.to_thread(make_private, path, f"{path}-wal", f"{path}-shm"):
                    return refusal
            failure = await self._opened()
            self._ready = failure is None
            return failure

    async def _is_same_file(self) -> bool:
        """Tell whether the file is the one that was opened; if a backup took its place, let go of the old one."""
        if self._path is None:
            return True
        found = await asyncio.to_thread(_identity, self._path)
        if found == self._identity:
            return True
        self._identity = found
        await self._engine.dispose()
        return False

    async def _opened(self) -> StoreError | None:
        """Connect, and see that there is a table. The first to open a file changes its journal, alone."""
        for _ in range(_ATTEMPTS):
            try:
                failure = await self._table_made()
            except OperationalError as busy:  # SQLite's patience with locks does not reach that far
                if getattr(busy.orig, "sqlite_errorname", None) != "SQLITE_BUSY":
                    raise
            else:
                if self._path is not None:
                    self._identity = await asyncio.to_thread(_identity, self._path)
                return failure
            await asyncio.sleep(_UNTIL_THE_NEXT)
        return await self._table_made()

    async def _table_made(self) -> StoreError | None:
        async with self._engine.connect() as connection:
            lacking = await connection.run_sync(_lacking)
        if lacking is not None:
            return _other_table(lacking) if lacking else None
        if not self._create_table:
            return StoreError(
                f"there is no table {tokens.name}: run the migrations, or let the store create it", transient=False
            )
        async with self._engine.connect() as connection:
            try:
                await to_write(connection)
                await connection.run_sync(metadata.create_all)
                await connection.commit()
            except DBAPIError:
                await connection.rollback()
                # Another process was faster: PostgreSQL says so this way.
                if await connection.run_sync(_lacking) != ():
                    raise
        return None

    def _told(self, error: Exception) -> StoreError:
        """Return what may be told of a foreign error: its name, and the database's code."""
        if isinstance(error, TimeoutError):
            return StoreError(f"{self._named} gave no answer within {PATIENCE:g} s: is it up?", in_doubt=True)
        origin: BaseException = error
        if isinstance(error, DBAPIError) and error.orig is not None:
            origin = error.orig.__cause__ or error.orig  # asyncpg's own is the cause of SQLAlchemy's copy
        code = getattr(origin, "sqlite_errorname", None) or getattr(origin, "sqlstate", None)
        damaged = code is not None and code.startswith(_DAMAGED)
        return StoreError(
            f"{self._named} failed: {type(origin).__name__}" + (f" {code}" if code else ""), transient=not damaged
        )


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from another one at the same path; None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 -- text in
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _lacking(connection: Connection) -> tuple[str, ...] | None:
    """Return which columns the table lacks; None if there is no table. Further ones are no obstacle."""
    database = inspect(connection)
    if not database.has_table(tokens.name):
        return None
    there = {column["name"].lower() for column in database.get_columns(tokens.name)}  # SQLite takes either case
    return tuple(column.name for column in tokens.columns if column.name not in there)


def _other_table(lacking: tuple[str, ...]) -> StoreError:
    return StoreError(
        f"the table {tokens.name} is not what this version needs, it lacks {', '.join(lacking)}: run the migrations "
        "(`ddl` and `metadata` say what is needed), or name another database",
        transient=False,
    )
