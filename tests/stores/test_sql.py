"""Stores in SQL, in a file and on a server: what all stores promise, and what is the same for both."""

import asyncio
import contextlib
import logging
import pickle
import random
import signal
import sqlite3
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.stores.postgres import PASSWORD, postgres
from zoom_async_auth import ConfigurationError, MisuseError, StoreError, Token
from zoom_async_auth.stores.base import PLAUSIBLE_LEASE, Begun, Reading, Record
from zoom_async_auth.stores.sql import SQLStore, ddl, metadata, tokens
from zoom_async_auth.stores.sql.engine import CONNECTIONS, parsed, server_of
from zoom_async_auth.testing import STORE_PROMISES, StorePromise

ONE_LOOP = pytest.mark.asyncio(loop_factories=["plain"])
"""For what takes seconds, or processes; the promises are kept on all loops."""

LEASE = 20.0


@dataclass(frozen=True)
class Place:
    """A database, and a way to it past the store."""

    url: str

    def sql(self, statement: str) -> str:
        """Run a statement; return the first row, columns separated by "|". It blocks."""
        path = self.url.removeprefix("sqlite:///")
        if path == self.url:
            return postgres().sql(statement, self.url).partition("\n")[0]
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            row = connection.execute(statement).fetchone()
        return "|".join(str(column) for column in row or ())

    def damage(self, key: str, change: str) -> None:
        """Change a row."""
        self.sql(f"UPDATE zoom_async_auth_tokens SET {change} WHERE key = '{key}'")  # noqa: S608 -- a test's own

    def row(self, key: str, columns: str = "*") -> str:
        """Return a row as text."""
        return self.sql(f"SELECT {columns} FROM zoom_async_auth_tokens WHERE key = '{key}'")  # noqa: S608


def file_in(folder: Path) -> Place:
    return Place(f"sqlite:///{folder}/tokens/zoom.db")


@pytest.fixture(params=["file", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A new, empty one."""
    return file_in(tmp_path) if request.param == "file" else Place(postgres().database())


@pytest.fixture(scope="module", params=["file", "server"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """One for tests that use keys of their own."""
    return file_in(tmp_path_factory.mktemp("shared")) if request.param == "file" else Place(postgres().database())


def a_record(generation: int, *, name: str = "access") -> Record:
    token = Token(access_token=f"{name}-{generation}", refresh_token=f"refresh-{name}-{generation}", expires_in=3600.0)
    return Record(generation=generation, token=token, issued_at=1e9, expires_at=1e9 + 3600)


def token_of(reading: Reading) -> str | None:
    return None if reading.record is None or reading.record.token is None else reading.record.token.access_token


@pytest.mark.parametrize("promise", STORE_PROMISES, ids=lambda promise: promise.__name__)
async def test_sql_keeps_what_a_store_promises(promise: StorePromise, shared: Place) -> None:
    async with SQLStore(shared.url) as one, SQLStore(shared.url) as other:
        await promise(one, other, f"test/{uuid4()}")


# What is stored and cannot be read

DAMAGES = {
    "a newer format": "payload = '{\"format\": 2}'",
    "no JSON": "payload = 'scrambled'",
    "half of it": "payload = substr(payload, 1, 40)",
    "no token": "payload = '{\"format\": 1}'",
    "intents": "intents = '[[1'",
    "types of intents": 'intents = \'[["one", 1, "x"]]\'',
}


@ONE_LOOP
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_f59_a_row_that_cannot_be_read_is_never_overwritten(shared: Place, damage: str) -> None:
    """Whoever can read it may want it back: it is told, by an error that waiting does not heal."""
    key = str(uuid4())
    async with SQLStore(shared.url) as store:
        await store.commit(key, 0, a_record(1), "one")
        await asyncio.to_thread(shared.damage, key, damage)
        before = await asyncio.to_thread(shared.row, key)
        for attempt in (
            store.peek(key),
            store.begin(key, 1, "one", LEASE),
            store.begin(key, 1, "one", LEASE, supersede=True),
            store.commit(key, 1, a_record(2), "one"),
            store.condemn(key, 1, "invalid_grant"),
        ):
            with pytest.raises(StoreError) as caught:
                await attempt
            assert not caught.value.transient
        assert await asyncio.to_thread(shared.row, key) == before
        assert (await store.peek(f"{key}/neighbour")).record is None


@ONE_LOOP
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_f59_a_row_that_cannot_be_read_can_be_given_back_and_forgotten(shared: Place, damage: str) -> None:
    """A lease is no secret, and a tombstone needs the generation only."""
    key = str(uuid4())
    async with SQLStore(shared.url) as store:
        await store.commit(key, 0, a_record(1), "one")
        await store.begin(key, 1, "one", LEASE)
        await asyncio.to_thread(shared.damage, key, damage)
        before = await asyncio.to_thread(shared.row, key, "payload, holder")
        await store.release(key, "one", doubt=False)
        assert await asyncio.to_thread(shared.row, key, "payload, holder") == before.removesuffix("one")
        await store.forget(key)
        reading = await store.peek(key)
        assert isinstance(await store.begin(key, 2, "two", LEASE), Begun)

    assert (reading.generation, token_of(reading)) == (2, None)


@ONE_LOOP
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_row_that_cannot_be_read_is_counted_all_the_same(shared: Place, damage: str) -> None:
    """One of a hundred thousand is no reason to know nothing of the others."""
    app = f"{uuid4()}/"
    async with SQLStore(shared.url) as store:
        for key in (f"{app}damaged", f"{app}whole"):
            await store.commit(key, 0, a_record(1), "one")
            await store.begin(key, 1, "one", LEASE)
        await asyncio.to_thread(shared.damage, f"{app}damaged", damage)
        (found,) = await store.survey(app)

    assert (found.prefix, found.identities, found.expired, found.intents) == (app, 2, 2, 2)
    assert found.oldest_intent is not None
    assert 0 <= found.oldest_intent < LEASE


# A clock that was set back


@ONE_LOOP
async def test_times_of_a_clock_that_was_set_back_hold_nobody_up(shared: Place) -> None:
    """The lease of a killed process ends within a minute, and its intent is as old as the next look, and older."""
    app = f"{uuid4()}/"
    key = f"{app}one"
    async with SQLStore(shared.url) as store:
        await store.commit(key, 0, a_record(1), "one")
        await store.begin(key, 1, "killed", LEASE)
        ahead = (await store.peek(key)).now + 3600.0
        await asyncio.to_thread(shared.damage, key, f"leased_until = {ahead}, intents = '[[\"killed\", 1, {ahead}]]'")
        (found,) = await store.survey(app)
        assert found.oldest_intent == 0.0
        peeked = await store.peek(key)
        assert [intent.since for intent in peeked.intents] == [peeked.now]
        refused = await store.begin(key, 1, "next", LEASE)
        assert isinstance(refused, Reading)
        assert refused.lease_left == pytest.approx(PLAUSIBLE_LEASE, abs=1e-3)
        again = await store.begin(key, 1, "next", LEASE)
        assert isinstance(again, Reading)
        assert again.lease_left < refused.lease_left
        assert [(intent.holder, intent.since) for intent in again.intents] == [("killed", refused.now)]
        await asyncio.to_thread(shared.damage, key, f"leased_until = {refused.now}")
        assert isinstance(await store.begin(key, 1, "next", LEASE), Begun)


@ONE_LOOP
async def test_a_claim_is_held_up_for_a_minute_by_a_clock_that_was_set_back(shared: Place) -> None:
    app = f"{uuid4()}/"
    async with SQLStore(shared.url) as store:
        for key in (f"{app}killed", f"{app}free"):
            await store.commit(key, 0, a_record(1), "one")
        ahead = (await store.peek(app)).now + 3600.0
        await asyncio.to_thread(shared.damage, f"{app}killed", f"holder = 'killed', leased_until = {ahead}")
        assert await store.claim(app, "next", older_than=1.0, lease=LEASE, limit=10) == (f"{app}free",)
        reading = await store.peek(f"{app}killed")
        assert LEASE < reading.lease_left <= PLAUSIBLE_LEASE
        assert await asyncio.to_thread(shared.row, f"{app}killed", "holder") == "killed"
        await asyncio.to_thread(shared.damage, f"{app}killed", f"leased_until = {reading.now}")
        assert await store.claim(app, "next", older_than=1.0, lease=LEASE, limit=10) == (f"{app}killed",)


# Cancelled, killed


async def cancel_at_random(
    store: SQLStore, times: int, chosen: Callable[[asyncio.Task[Any]], list[asyncio.Task[Any]]]
) -> None:
    """Cancel one of the `chosen` tasks for a call of the store, at any moment; compare what others see meanwhile."""
    chance = random.Random(39)  # noqa: S311 -- to be repeated
    keys = [str(uuid4()) for _ in range(5)]
    cancelled = 0
    calls: tuple[Callable[[str], Awaitable[object]], ...] = (
        lambda key: store.begin(key, 1, "one", LEASE),
        lambda key: store.commit(key, 1, a_record(1, name=key), "one"),
        lambda key: store.release(key, "one", doubt=False),
        store.peek,
    )

    async def call(key: str) -> None:
        nonlocal cancelled
        caller = asyncio.ensure_future(chance.choice(calls)(key))
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(0)
        await asyncio.sleep(chance.choice((0.0, 0.0, 0.0002, 0.001, 0.002)))
        if tasks := chosen(caller):
            cancelled += chance.choice(tasks).cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await caller

    for key in keys:
        await store.commit(key, 0, a_record(1, name=key), "one")
    while cancelled < times:
        await asyncio.gather(*map(call, keys))
        key = chance.choice(keys)
        assert token_of(await store.peek(key)) == f"{key}-1"
    for key in keys:
        assert token_of(await store.peek(key)) == f"{key}-1"


@ONE_LOOP
async def test_what_has_to_be_kept_goes_before_what_waits(shared: Place) -> None:
    """Interleaving: all connections are in use and more waits. A late commit may be a lost one."""
    went: list[str] = []
    goes_on = asyncio.Event()

    async def look(_: AsyncConnection) -> None:
        went.append("look")
        await goes_on.wait()

    async def keep(_: AsyncConnection) -> None:
        went.append("commit")

    async with SQLStore(shared.url) as store:
        await store.peek("somebody")
        home = store._door.home()
        at_once = 1 if shared.url.startswith("sqlite") else CONNECTIONS - 1
        looks = [asyncio.create_task(home.see_through(look, writes=False)) for _ in range(8)]
        while len(went) < at_once:  # noqa: ASYNC110 -- what is watched has no event
            await asyncio.sleep(0.01)
        commit = asyncio.create_task(home.see_through(keep, writes=False, first=True))
        if at_once > 1:
            await commit  # there is a connection for it
        goes_on.set()
        await asyncio.gather(commit, *looks)
    assert went.index("commit") == at_once


@pytest.mark.timeout(60)
@ONE_LOOP
async def test_s39_a_thousand_cancelled_calls_never_bring_the_value_of_another_key(shared: Place) -> None:
    async with SQLStore(shared.url) as store:
        await cancel_at_random(store, 1000, lambda caller: [caller])


@pytest.mark.timeout(60)
@ONE_LOOP
async def test_s39_work_that_is_cancelled_leaves_no_broken_connection() -> None:
    """On a server it is, when there was no answer in time."""
    async with SQLStore(await asyncio.to_thread(lambda: postgres().database())) as store:
        await cancel_at_random(store, 200, lambda _: list(store._door.home()._tasks))


IN_CHILD = """
import asyncio, itertools, sys, time
from zoom_async_auth import Token
from zoom_async_auth.stores import row
from zoom_async_auth.stores.base import Record
from zoom_async_auth.stores.sql import SQLStore

url, generation, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def freeze(*_, **__):
    print("in the middle", flush=True)
    time.sleep(60)

async def main():
    async with SQLStore(url) as store:
        if how == "freeze":
            row.committed = freeze
        for sent in itertools.count(generation):
            text = f"access-{sent + 1}"
            token = Token(access_token=text, refresh_token="refresh-" + text + "x" * 5000, expires_in=3600.0)
            record = Record(generation=sent + 1, token=token, issued_at=0, expires_at=0)
            kept = await store.commit("key", sent, record, "c")
            print(sent + 1 if kept else "lost", flush=True)

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def child(place: Place, generation: int, how: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", IN_CHILD, place.url, str(generation), how, stdout=asyncio.subprocess.PIPE
    )
    yield process
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


@pytest.mark.timeout(60)
@ONE_LOOP
async def test_f61_a_kill_around_a_commit_leaves_one_whole_record(place: Place) -> None:
    """The one that was told last, or the next one."""
    chance = random.Random(61)  # noqa: S311 -- to be repeated
    generation = 0
    for _ in range(3):
        async with child(place, generation, "commit") as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 30)):
                generation = int(await process.stdout.readline())
            await asyncio.sleep(chance.random() / 500)
            process.kill()
            told = (await process.stdout.read()).split(b"\n")
        generation = max(generation, *(int(line) for line in told[:-1]), 0)
        async with SQLStore(place.url) as store:
            reading = await store.peek("key")
        assert reading.generation in {generation, generation + 1}
        generation = reading.generation
        assert reading.record is not None
        assert reading.record.token is not None
        assert reading.record.token.refresh_token == f"refresh-access-{generation}" + "x" * 5000


@ONE_LOOP
async def test_f61_a_kill_in_the_middle_of_a_transaction_leaves_the_old_record_and_no_lock(place: Place) -> None:
    async with SQLStore(place.url) as store:
        await store.commit("key", 0, a_record(1), "one")
        async with child(place, 1, "freeze") as process:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"in the middle\n"
            process.kill()
            await process.wait()
            assert token_of(await store.peek("key")) == "access-1"
            assert await store.commit("key", 1, a_record(2), "one") is True


@pytest.mark.timeout(60)
@ONE_LOOP
async def test_a_process_that_is_frozen_in_a_transaction_holds_nobody_up_who_looks(place: Place) -> None:
    """Who wants to write hears it in time. On a server the lock ends soon; in a file with the process that has it."""
    loop = asyncio.get_running_loop()
    async with SQLStore(place.url) as store:
        await store.commit("key", 0, a_record(1), "one")
        async with child(place, 1, "freeze") as process:
            assert process.stdout is not None
            await process.stdout.readline()
            process.send_signal(signal.SIGSTOP)
            assert token_of(await store.peek("key")) == "access-1"
            started = loop.time()
            with pytest.raises(StoreError, match=r"SQLITE_BUSY|LockNotAvailableError"):
                await store.begin("key", 1, "one", LEASE)
            assert loop.time() - started < 15.0
            if place.url.startswith("sqlite"):
                process.kill()
                await process.wait()
            else:
                await asyncio.sleep(1.5)
            assert isinstance(await store.begin("key", 1, "one", LEASE), Begun)


# The table


@pytest.mark.timeout(60)
@ONE_LOOP
async def test_eight_processes_create_the_table_at_once(place: Place) -> None:
    async with contextlib.AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(child(place, 0, "commit")) for _ in range(8)]
        firsts = [await process.stdout.readline() for process in processes if process.stdout is not None]

    assert sorted(firsts) == [b"1\n", *[b"lost\n"] * 7]


@ONE_LOOP
async def test_eight_stores_create_the_table_at_once(place: Place) -> None:
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(SQLStore(place.url)) for _ in range(8)]
        readings = await asyncio.gather(*(store.peek("key") for store in stores))

    assert [reading.generation for reading in readings] == [0] * 8


@ONE_LOOP
async def test_the_table_can_be_made_by_migrations(place: Place) -> None:
    dialect = "sqlite" if place.url.startswith("sqlite") else "postgresql"
    async with SQLStore(place.url, create_table=False) as store:
        with pytest.raises(StoreError, match="run the migrations") as caught:
            await store.peek("key")
        assert not caught.value.transient
        for statement in filter(None, ddl(dialect).split(";")):
            await asyncio.to_thread(place.sql, statement)
        assert isinstance(await store.begin("key", 0, "one", LEASE), Begun)


@ONE_LOOP
@pytest.mark.parametrize("create_table", [True, False])
async def test_a_table_of_our_name_with_other_columns_is_refused_with_what_is_missing(
    place: Place,
    create_table: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    """Waiting does not add them. It is not touched: whoever made it may need it."""
    if place.url.startswith("sqlite"):
        async with SQLStore(place.url) as store:
            await store.peek("key")
        await asyncio.to_thread(place.sql, "DROP TABLE zoom_async_auth_tokens")
    await asyncio.to_thread(
        place.sql, "CREATE TABLE zoom_async_auth_tokens (key TEXT PRIMARY KEY, generation BIGINT, value TEXT)"
    )
    async with SQLStore(place.url, create_table=create_table) as store:
        with pytest.raises(StoreError, match=r"lacks payload, issued_at, .*run the migrations") as caught:
            await store.peek("key")
        assert not caught.value.transient
        with pytest.raises(StoreError, match="or name another database"):
            await store.begin("key", 0, "one", LEASE)
        facts = await store.check()
        assert [(fact.ok, fact.told) for fact in facts] == [(False, str(caught.value))]
        assert await asyncio.to_thread(place.sql, "SELECT count(*) FROM zoom_async_auth_tokens") == "0"


@ONE_LOOP
async def test_a_table_that_loses_a_column_while_it_is_used_is_told_soon(place: Place) -> None:
    """The first call finds that something is wrong, the next one what."""
    async with SQLStore(place.url) as store:
        await store.peek("key")
        await asyncio.to_thread(place.sql, "ALTER TABLE zoom_async_auth_tokens DROP COLUMN intents")
        with pytest.raises(StoreError):
            await store.peek("key")
        with pytest.raises(StoreError, match="lacks intents:"):
            await store.peek("key")


@ONE_LOOP
async def test_further_columns_are_no_obstacle(place: Place) -> None:
    async with SQLStore(place.url) as store:
        await store.peek("key")
    await asyncio.to_thread(place.sql, "ALTER TABLE zoom_async_auth_tokens ADD COLUMN remark TEXT")
    async with SQLStore(place.url) as store:
        assert await store.commit("key", 0, a_record(1), "one") is True


def test_the_ddl_is_there_for_two_dialects() -> None:
    assert metadata.tables["zoom_async_auth_tokens"] is tokens
    assert ddl("postgresql").startswith("CREATE TABLE zoom_async_auth_tokens")
    with pytest.raises(ConfigurationError, match="sqlite or postgresql"):
        ddl("mysql")


@ONE_LOOP
@pytest.mark.parametrize("made_by", ["the store", "migrations"])
async def test_who_looks_for_old_tokens_reads_no_others(place: Place, made_by: str) -> None:
    """An index finds the few among very many, if PostgreSQL takes the time for one that stands."""
    is_file = place.url.startswith("sqlite")
    statements: list[tuple[str, Any]] = []
    async with SQLStore(place.url, create_table=made_by == "the store") as store:
        with contextlib.suppress(StoreError):
            await store.peek("key")
        if made_by == "migrations":
            for statement in filter(None, ddl("sqlite" if is_file else "postgresql").split(";")):
                await asyncio.to_thread(place.sql, statement)
        engine = store._door.home()._engine
        event.listen(engine.sync_engine, "before_cursor_execute", lambda *told: statements.append(told[2:4]))
        await store.claim("app/", "sweeper", older_than=1000.0, lease=LEASE, limit=10)
        claim, parameters = next(told for told in statements if told[0].startswith("WITH due"))
        async with engine.connect() as connection:
            if not is_file:  # which would read a table of nothing as a whole
                await connection.execute(text("SET enable_seqscan = off"))
            explain = "EXPLAIN QUERY PLAN" if is_file else "EXPLAIN"
            plan = "\n".join(map(str, await connection.exec_driver_sql(f"{explain} {claim}", parameters)))

    searched = "USING INDEX {} (issued_at<?)" if is_file else "Index Scan using {} on"
    assert searched.format("zoom_async_auth_tokens_by_age") in plan
    assert is_file or "Index Cond: (issued_at <" in plan


@ONE_LOOP
async def test_a_lease_that_is_given_back_leaves_no_row(place: Place) -> None:
    """Of a key under which nothing was ever kept."""
    async with SQLStore(place.url) as store:
        await store.begin("key", 0, "one", LEASE)
        assert await store.keys() == ("key",)
        await store.release("key", "one", doubt=False)
        assert await store.keys() == ()


# Life


async def test_entering_connects_to_nothing(tmp_path: Path) -> None:
    """An application starts while its database is down, and hears of it from the first call."""
    for url in (f"sqlite:///{tmp_path}/tokens/zoom.db", "postgresql://user:secret@127.0.0.1:1/name?sslmode=disable"):
        async with SQLStore(url) as store:
            assert store.durable
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


@ONE_LOOP
async def test_a_database_that_is_down_is_an_error_that_passes() -> None:
    async with SQLStore("postgresql://user:secret@127.0.0.1:1/name?sslmode=disable") as store:
        for _ in range(2):
            with pytest.raises(StoreError, match="ConnectionRefusedError") as caught:
                await store.peek("key")
            assert caught.value.transient


@ONE_LOOP
@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("user:canary@127.0.0.1:1/canary", "the database at 127.0.0.1:1 failed: ConnectionRefusedError"),
        ("user:canary@[::1]:1/canary", "the database at [::1]:1 failed: "),
        ("user:canary@/canary?host=127.0.0.1&port=1", "the database at 127.0.0.1:1 failed: ConnectionRefusedError"),
        ("user:canary@/canary?host=127.0.0.1:1&host=localhost:2", "the database at 127.0.0.1:1, localhost:2 failed: "),
        ("user:canary@/canary?host=/nowhere", "the database at /nowhere/.s.PGSQL.5432 failed: FileNotFoundError"),
    ],
)
async def test_a_database_that_is_down_is_named_by_its_host_and_by_nothing_else(where: str, told: str) -> None:
    """Of a store beside a cache, or behind a typing error, nobody could tell which one it is."""
    separator = "&" if "?" in where else "?"
    async with SQLStore(f"postgresql://{where}{separator}sslmode=disable") as store:
        with pytest.raises(StoreError) as caught:
            await store.peek("key")

    assert str(caught.value).startswith(told)
    assert "canary" not in str(caught.value)
    assert "user" not in str(caught.value)


def test_a_database_whose_host_the_environment_names_has_no_name() -> None:
    """PGHOST is read by the driver."""
    assert server_of(parsed("postgresql:///name")) is None
    assert server_of(parsed("postgresql://host/name")) == "host:5432"


def test_a_store_can_be_entered_again_on_another_loop(place: Place) -> None:
    store = SQLStore(place.url)

    async def commit(sent: int) -> bool:
        async with store:
            return await store.commit("key", sent, a_record(sent + 1), "one")

    assert [asyncio.run(commit(sent)) for sent in (0, 1)] == [True, True]


def test_a_store_in_use_on_one_loop_is_refused_to_another(tmp_path: Path) -> None:
    store = SQLStore(file_in(tmp_path).url)
    with asyncio.Runner() as one, asyncio.Runner() as other:
        one.run(store.__aenter__())
        one.run(store.peek("key"))
        with pytest.raises(MisuseError, match="another event loop"):
            other.run(store.peek("key"))
        one.run(store.__aexit__(None, None, None))


async def test_a_store_that_is_not_open_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="async with"):
        await SQLStore(file_in(tmp_path).url).peek("key")


@ONE_LOOP
async def test_a_wait_holds_no_connection_and_ends_when_the_lease_is_given_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: set[asyncio.Task[Any] | None] = set()
    sleep = anyio.sleep

    async def after_a_look(delay: float) -> None:
        looked.add(asyncio.current_task())
        await sleep(delay)

    async with SQLStore(place.url) as store, SQLStore(place.url) as other:
        await other.begin("key", 0, "other", LEASE)
        monkeypatch.setattr("anyio.sleep", after_a_look)
        waiting = [asyncio.ensure_future(store.wait("key", 0, 60.0)) for _ in range(20)]
        async with asyncio.timeout(15.0):
            while looked != {*waiting}:  # noqa: ASYNC110 -- who did not look before has nothing to compare with
                await asyncio.sleep(0.05)
            await store.peek("key")
            await other.release("key", "other", doubt=True)
            await asyncio.gather(*waiting)


@ONE_LOOP
async def test_what_is_cancelled_still_ends_before_the_store_is_left(place: Place) -> None:
    async with SQLStore(place.url) as store:
        await store.peek("key")
        task = asyncio.ensure_future(store.commit("key", 0, a_record(1), "one"))
        await asyncio.sleep(0)
        task.cancel()
    async with store:
        assert (await store.peek("key")).generation == 1


# What is shown


@ONE_LOOP
async def test_a_check_tells_what_a_manager_relies_on(place: Place) -> None:
    async with SQLStore(place.url) as store:
        facts = await store.check()

    assert [fact.what for fact in facts] == [
        "answers",
        "has the table",
        "is durable",
        "agrees on the time",
        "can be written",
    ]
    assert all(fact.ok for fact in facts), facts


@ONE_LOOP
async def test_a_check_of_a_database_that_is_down_tells_that() -> None:
    async with SQLStore("postgresql://user:secret@127.0.0.1:1/name?sslmode=disable") as store:
        facts = await store.check()

    assert [(fact.what, fact.ok) for fact in facts] == [("answers", False)]
    assert "ConnectionRefusedError" in facts[0].told


@ONE_LOOP
async def test_no_log_and_no_failure_shows_what_is_stored(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Drivers log the parameters of statements, SQLAlchemy logs rows and puts both into its errors (S6, S7)."""
    for logger in (None, "sqlalchemy", "aiosqlite", "asyncpg"):
        caplog.set_level(logging.DEBUG, logger)
    async with SQLStore(place.url) as store:
        await store.commit("key", 0, a_record(1, name="canary"), "one")
        await store.peek("key")
        await store.begin("key", 1, "one", LEASE)
        await asyncio.to_thread(place.sql, "DROP TABLE zoom_async_auth_tokens")
        with pytest.raises(StoreError) as caught:
            await store.commit("key", 1, a_record(2, name="canary"), "one")

    assert caught.value.__context__ is caught.value.__cause__ is None
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    logged = "".join(f"{entry.getMessage()} {entry.args}" for entry in caplog.records)
    assert "zoom_async_auth_tokens" in logged
    assert "parameters hidden" in logged
    assert "canary-" not in shown + logged
    assert PASSWORD not in logged


@ONE_LOOP
async def test_a_table_that_is_gone_is_made_again(place: Place) -> None:
    """A database that was restored, or made anew, needs no restart of ours."""
    async with SQLStore(place.url) as store:
        await store.peek("key")
        await asyncio.to_thread(place.sql, "DROP TABLE zoom_async_auth_tokens")
        with pytest.raises(StoreError):
            await store.peek("key")
        assert isinstance(await store.begin("key", 0, "one", LEASE), Begun)


# URLs


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("mysql://user:canary@host/name", "no SQLStore for 'mysql'"),
        ("redis://user:canary@host/0", "for Redis use RedisStore"),
        ("postgresql+psycopg://user:canary@host/name", "no SQLStore for 'postgresql.psycopg'"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///file::memory:", "names no file"),
        ("sqlite://tokens.db", "four slashes"),
        ("sqlite:////tmp/x.db?mode=ro", "parameters that are not taken: mode"),
        ("sqlite:////tmp/x.db?abc", "parameters that are not taken: abc"),
        ("sqlite:////tmp/a@b.db?abc", "parameters that are not taken: abc"),
        ("postgresql://user:1?canary@host/name?abc", "parameters that are not taken: abc"),
        ("postgresql://user:canary@host", "names no database"),
        ("postgresql://user@host/name?password=canary", "parameters that are not taken: password"),
        ("postgresql://user:p@canary@host/name", "a password needs quoting"),
        ("postgresql://user:p@canary/x?w@host/name", "a password needs quoting"),
        ("postgresql://user@host/name?p@canary=1", r"not taken: \(no word\); a password needs quoting"),
        ("postgresql:///name?host=user:canary@host", "a password needs quoting"),
        ("postgresql://user:canary@/name?host=one&host=two", "hosts and ports that do not fit"),
        ("postgresql://user:canary@host/name?port=canary", "hosts and ports that do not fit"),
        ("postgresql://user:canary@host:port/name", "cannot be read"),
        ("canary", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(url: str, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice) as caught:
        SQLStore(url)

    assert caught.value.__context__ is None
    assert "canary" not in str(caught.value)
    in_our_frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert all("canary" not in str(frame.locals) for frame in in_our_frames.stack if "tests" not in frame.filename)


@pytest.mark.parametrize(
    "url",
    ["postgresql://user:canary@host/name", "postgresql+asyncpg://user:canary@host/name?sslmode=require"],
)
def test_the_password_of_a_database_is_not_shown(url: str) -> None:
    store = SQLStore(url)

    assert "host/name" in repr(store)
    assert "canary" not in f"{store} {store!r} {vars(store)}"
    with pytest.raises(TypeError):
        pickle.dumps(store)
    assert "ssl=require" in repr(store) or "sslmode" not in url
