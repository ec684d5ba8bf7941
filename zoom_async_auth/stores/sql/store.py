"""A store in a SQL database: SQLite for the processes of one host, PostgreSQL for those of many.

A change is one short transaction: lock the row, apply a function of `row.py`, write what it changed, commit.
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import anyio
from sqlalchemy import (
    Double,
    Executable,
    RowMapping,
    Table,
    case,
    delete,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from zoom_async_auth.clock import SystemClock
from zoom_async_auth.errors import StoreError
from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.stores import row as rows
from zoom_async_auth.stores.base import Begun, Reading, Record
from zoom_async_auth.stores.door import Door
from zoom_async_auth.stores.facts import ANSWERS, Fact, clock_fact
from zoom_async_auth.stores.row import Row
from zoom_async_auth.stores.sql.check import facts_of
from zoom_async_auth.stores.sql.engine import now_of, parsed
from zoom_async_auth.stores.sql.home import Home, Work
from zoom_async_auth.stores.sql.survey import survey_query
from zoom_async_auth.stores.sql.table import (
    EMPTY,
    generation_of,
    lease_values,
    released_values,
    row_of,
    row_values,
    tokens,
)
from zoom_async_auth.stores.survey import Survey

_T = TypeVar("_T")
_Values = Mapping[str, Any] | None

_LOOKS_EVERY: Final = 0.2
_ATTEMPTS: Final = 10
_WALL: Final = SystemClock().time
_INSERTS: Final[dict[str, Callable[[Table], sqlite.Insert | postgresql.Insert]]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


@secretive
class SQLStore:
    """Keeps tokens in a SQL database, durably: after a kill and a loss of power they are as they were committed.

    Its time is the database's. It works behind PgBouncer, in any mode.

    Args:
        url: `sqlite:////path/to/file` or `postgresql://user:password@host:5432/database`, as SQLAlchemy reads it. The
            file of SQLite must be the user's own, mode 0600, in a folder where nobody else may write; file and folder
            are created so if they are missing, no folder above them is.
        create_table: Whether a missing table is created at first use; if not, make it by `ddl` or `metadata`.

    Raises:
        ConfigurationError: The URL is none of these, or its driver is not installed.
    """

    def __init__(self, url: str, *, create_table: bool = True) -> None:
        self._url: Final = parsed(url)
        self._now: Final = literal_column(now_of(self._url), Double).label("now")
        self._door: Final = Door(lambda: Home(self._url, create_table=create_table))

    def __repr__(self) -> str:
        return f"SQLStore({self._url.render_as_string(hide_password=True)!r})"

    @property
    def durable(self) -> bool:
        """Always True."""
        return True

    async def __aenter__(self) -> Self:
        """Count one more user; connect to nothing."""
        self._door.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Count one user less; the last one closes the connections."""
        await self._door.leave()

    async def peek(self, key: str) -> Reading:
        """Look, by one SELECT.

        Raises:
            StoreError: No answer, or the record cannot be read.
        """
        always = select(literal(1)).subquery("always")  # so that there is a time, also where there is no row
        look = select(self._now, *tokens.c).select_from(always.outerjoin(tokens, tokens.c.key == key))

        async def work(connection: AsyncConnection) -> Reading | StoreError:
            found = (await connection.execute(look)).mappings().one()
            row = Row() if found["key"] is None else _row(found, key)
            return row if isinstance(row, StoreError) else rows.read(row, found["now"])

        return await self._ask(work, writes=False)

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        """Take the lease and write the intent, if the record still has `generation`; both are one durable commit.

        Raises:
            StoreError: No answer, the database cannot be written, or the record cannot be read.
        """

        def decide(row: Row, now: float) -> tuple[_Values, Begun | Reading]:
            timely = rows.timely(row, now, generation=generation, lease=lease)
            reading = rows.read(timely, now, reader=holder)
            begun = rows.begun(timely, now, generation=generation, holder=holder, lease=lease, supersede=supersede)
            if begun is None:
                return None if timely == row else lease_values(timely), reading
            return lease_values(begun), Begun(reading=reading)

        return await self._change(key, decide)

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:  # noqa: ARG002 -- the protocol's
        """Keep `record` if the generation is still `sent`.

        Raises:
            StoreError: It is not known to be kept, or what is there cannot be read and stays.
        """

        def decide(row: Row, _now: float) -> tuple[_Values, bool]:
            committed = rows.committed(row, record, sent=sent)
            return (None, False) if committed is None else (row_values(committed), True)

        return await self._change(key, decide, first=True)

    async def condemn(self, key: str, generation: int, cause: str) -> bool:
        """Note that the refresh token of `generation` is dead, if that is current.

        Raises:
            StoreError: It is not known to be noted, or what is there cannot be read and stays.
        """

        def decide(row: Row, _now: float) -> tuple[_Values, bool]:
            condemned = rows.condemned(row, generation=generation, cause=cause)
            return (None, False) if condemned is None else (row_values(condemned), True)

        return await self._change(key, decide)

    async def release(self, key: str, holder: str, *, doubt: bool) -> None:
        """Give the lease back; drop the intent unless the outcome is in doubt. A damaged record is no obstacle.

        Raises:
            StoreError: It is not known to be given back.
        """

        async def work(connection: AsyncConnection) -> None:
            found = await _locked(connection, key)
            values = released_values(found, holder=holder, doubt=doubt)
            if values:
                await _keep(connection, key, None if {**found, **values} == {**EMPTY, "key": key} else values)

        await self._ask(work, writes=True)

    async def wait(self, key: str, generation: int, timeout: float) -> None:
        """Look again and again, until the generation, the lease or the intents have changed, or `timeout` is over.

        Raises:
            StoreError: No answer.
        """
        look = select(tokens.c.generation, tokens.c.holder, tokens.c.leased_until, tokens.c.intents).where(
            tokens.c.key == key
        )
        with anyio.move_on_after(timeout):
            first = now = await self._all(look)
            while now == first and (now[0].generation if now else 0) == generation:
                await anyio.sleep(_LOOKS_EVERY)  # and hold no connection meanwhile
                now = await self._all(look)

    async def forget(self, key: str) -> None:
        """Leave a tombstone of the next generation, also where the record was damaged.

        Raises:
            StoreError: It is not known to be forgotten.
        """

        async def work(connection: AsyncConnection) -> StoreError | None:
            generation = generation_of(await _locked(connection, key))
            if isinstance(generation, StoreError):
                return generation
            now = await self._time(connection)
            kept = Row(record=Record(generation=generation, token=None, issued_at=now, expires_at=now))
            await _keep(connection, key, row_values(rows.forgotten(kept, now)))
            return None

        await self._ask(work, writes=True)

    async def keys(self, *, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return the next keys, in the order of their code points, `limit` at most.

        Raises:
            StoreError: No answer.
        """
        page = select(tokens.c.key).where(tokens.c.key > after).order_by(tokens.c.key).limit(limit)
        return tuple(found.key for found in await self._all(page))

    async def claim(self, prefix: str, holder: str, *, older_than: float, lease: float, limit: int) -> tuple[str, ...]:
        """Take the lease of keys whose token is old; rows that others are about to change are left out.

        Raises:
            StoreError: It is not known which were taken: their leases run out.
        """
        now = select(self._now).scalar_subquery()  # asked once: PostgreSQL looks up no index by what may change
        longest = rows.longest(lease)
        leased_until, is_leased = tokens.c.leased_until, tokens.c.leased_until > now
        due = (
            select(tokens.c.key)
            .where(
                func.substr(tokens.c.key, 1, len(prefix)) == prefix,  # LIKE of SQLite takes either case
                tokens.c.payload.is_not(None),
                tokens.c.cause.is_(None),
                tokens.c.issued_at < now - older_than,
                or_(~is_leased, leased_until > now + longest),
            )
            .order_by(tokens.c.issued_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")  # a subquery might be run, and lock, more than once
        )
        take = (
            update(tokens)
            .where(tokens.c.key.in_(select(due.c.key)))
            .values(
                holder=case((is_leased, tokens.c.holder), else_=holder),
                leased_until=now + case((is_leased, longest), else_=lease),
            )
            .returning(tokens.c.issued_at, tokens.c.key, tokens.c.holder)
        )

        async def work(connection: AsyncConnection) -> tuple[str, ...]:
            taken = sorted(map(tuple, await connection.execute(take)))
            await connection.commit()
            return tuple(key for _, key, its in taken if its == holder)

        return await self._ask(work, writes=True)

    async def survey(self, prefix: str = "") -> tuple[Survey, ...]:
        """Count the identities whose keys begin with `prefix`, for each app.

        Raises:
            StoreError: No answer.
        """

        async def work(connection: AsyncConnection) -> tuple[Survey, ...]:
            counts = survey_query(connection.dialect.name, prefix, await self._time(connection))
            return tuple(Survey(**found) for found in (await connection.execute(counts)).mappings())

        return await self._ask(work, writes=False)

    async def check(self) -> tuple[Fact, ...]:
        """Look at all that a manager is going to rely on, for people; create the table if that is the store's task."""

        async def look(connection: AsyncConnection) -> tuple[Fact, ...]:
            before = _WALL()
            now = await self._time(connection)
            return (*await facts_of(connection), clock_fact(now - (before + _WALL()) / 2))

        async def write(connection: AsyncConnection) -> None:
            await _locked(connection, "")  # the key of nobody; never committed

        home = self._door.home()
        found = await home.see_through(look, writes=False)
        if isinstance(found, StoreError):
            return (Fact(what=ANSWERS, ok=False, told=str(found)),)
        failure = await home.see_through(write, writes=True)
        return (*found, Fact(what="can be written", ok=failure is None, told=str(failure or "a row, and taken back")))

    async def _change(self, key: str, decide: Callable[[Row, float], tuple[_Values, _T]], *, first: bool = False) -> _T:
        async def work(connection: AsyncConnection) -> _T | StoreError:
            row = _row(await _locked(connection, key), key)
            if isinstance(row, StoreError):
                return row
            values, answer = decide(row, await self._time(connection))
            if values is not None:
                await _keep(connection, key, values)
            return answer

        return await self._ask(work, writes=True, first=first)

    async def _all(self, look: Executable) -> list[Any]:
        async def work(connection: AsyncConnection) -> list[Any]:
            return list((await connection.execute(look)).all())

        return await self._ask(work, writes=False)

    async def _time(self, connection: AsyncConnection) -> float:
        """Return the database's time; after a lock was waited for, not before."""
        return float((await connection.execute(select(self._now))).scalar_one())

    async def _ask(self, work: Work[_T], *, writes: bool, first: bool = False) -> _T:
        outcome = await self._door.home().see_through(work, writes=writes, first=first)
        if isinstance(outcome, StoreError):
            raise outcome  # here, where no frame has a secret
        return outcome


async def _locked(connection: AsyncConnection, key: str) -> RowMapping:
    """Return the row, which nobody else can change before the transaction ends. If there is none, put an empty one."""
    look = select(tokens).where(tokens.c.key == key).with_for_update()
    insert = _INSERTS[connection.dialect.name](tokens).values(key=key, **EMPTY).on_conflict_do_nothing()
    for _ in range(_ATTEMPTS):
        found = (await connection.execute(look)).mappings().one_or_none()
        if found is not None:
            return found
        # Nothing can be locked that is not there; and an empty row may be taken away again before it is.
        await connection.execute(insert)
    return (await connection.execute(look)).mappings().one()


async def _keep(connection: AsyncConnection, key: str, values: _Values) -> None:
    """Write, and commit; None takes the row away."""
    the_row = tokens.c.key == key
    await connection.execute(
        delete(tokens).where(the_row) if values is None else update(tokens).where(the_row).values(values)
    )
    await connection.commit()


def _row(found: RowMapping, key: str) -> Row | StoreError:
    if found["key"] != key:
        return StoreError("the database answered with another row than was asked for", transient=False)
    return row_of(found)
