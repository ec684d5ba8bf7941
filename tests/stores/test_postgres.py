"""What a server can do to a store: PgBouncer, restarts, a freeze, roles. The rest is in test_sql.py."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.servers.peers import missing
from tests.stores.postgres import PASSWORD, PGBOUNCER, PgBouncer, postgres
from zoom_async_auth import StoreError, Token
from zoom_async_auth.stores.base import Begun, Record
from zoom_async_auth.stores.sql import SQLStore
from zoom_async_auth.testing import STORE_PROMISES, StorePromise

pytestmark = pytest.mark.asyncio(loop_factories=["plain"])

LEASE = 20.0


def a_record(generation: int) -> Record:
    token = Token(access_token=f"access-{generation}", refresh_token="refresh", expires_in=3600.0)
    return Record(generation=generation, token=token, issued_at=1e9, expires_at=1e9 + 3600)


@pytest.fixture
def url() -> str:
    return postgres().database()


@pytest.fixture
async def store(url: str) -> AsyncIterator[SQLStore]:
    async with SQLStore(url) as store:
        yield store


@pytest.fixture(scope="module")
def bouncer() -> Iterator[PgBouncer]:
    if PGBOUNCER is None:
        missing("pgbouncer")
    with PgBouncer(postgres()) as bouncer:
        yield bouncer


@pytest.fixture(scope="module")
def behind_bouncer(bouncer: PgBouncer) -> str:
    return bouncer.url_of(postgres().database())


@pytest.mark.parametrize("promise", STORE_PROMISES, ids=lambda promise: promise.__name__)
async def test_f72_behind_pgbouncer_a_store_keeps_its_promises(promise: StorePromise, behind_bouncer: str) -> None:
    """In transaction mode: nothing of a session is used, no statement's name, no advisory lock, no setting."""
    async with SQLStore(behind_bouncer) as one, SQLStore(behind_bouncer) as other:
        await promise(one, other, f"test/{uuid4()}")


async def test_f72_many_stores_share_two_connections_of_pgbouncer(behind_bouncer: str) -> None:
    key = str(uuid4())
    stores = [SQLStore(behind_bouncer) for _ in range(8)]

    async def use(store: SQLStore) -> int:
        async with store:
            won = 0
            for sent in range(10):
                won += await store.commit(key, sent, a_record(sent + 1), "one")
            return won

    assert sum(await asyncio.gather(*map(use, stores))) == 10
    for left in ("pg_prepared_statements", "pg_locks WHERE locktype = 'advisory'"):
        assert await asyncio.to_thread(postgres().sql, f"SELECT count(*) FROM {left}", behind_bouncer) == "0"  # noqa: S608


async def test_connections_that_are_dead_are_replaced_unnoticed(url: str, store: SQLStore) -> None:
    """The server was restarted between two calls."""
    del url
    await asyncio.gather(*(store.commit(f"key-{number}", 0, a_record(1), "one") for number in range(5)))
    await asyncio.to_thread(postgres().stop)
    await asyncio.to_thread(postgres().start)
    for number in range(5):
        assert (await store.peek(f"key-{number}")).generation == 1
        assert isinstance(await store.begin(f"key-{number}", 1, "one", LEASE), Begun)


@pytest.mark.timeout(60)
async def test_what_was_committed_is_there_after_a_kill_of_the_server(store: SQLStore) -> None:
    assert await store.commit("key", 0, a_record(1), "one") is True
    await asyncio.to_thread(postgres().kill)
    with pytest.raises(StoreError) as caught:
        await store.begin("key", 1, "one", LEASE)
    assert caught.value.transient
    await asyncio.to_thread(postgres().start)
    assert (await store.peek("key")).record == a_record(1)


@pytest.mark.timeout(60)
async def test_a_server_that_freezes_holds_nobody_up(store: SQLStore) -> None:
    """Every call ends in time, also the ones under way; so does closing; and then all is as before."""
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(store.peek(f"key-{number}") for number in range(5)))
    await asyncio.to_thread(postgres().pause)
    try:
        started = loop.time()
        answers = await asyncio.gather(
            store.peek("key"),
            store.begin("key", 0, "one", LEASE),
            store.commit("key", 0, a_record(1), "one"),
            return_exceptions=True,
        )
        assert loop.time() - started < 9.0
        told = f"the database at 127.0.0.1:{postgres().port} gave no answer within 4.5 s: is it up?"
        assert [str(answer) for answer in answers] == [told] * 3
        async with asyncio.timeout(10.0):
            await asyncio.wait(store._door.home()._tasks)  # the work itself has ended, too, and its connections
        other = SQLStore(store._url.render_as_string(hide_password=False))
        async with other:
            with pytest.raises(StoreError):
                await other.peek("key")
        assert loop.time() - started < 30.0
    finally:
        await asyncio.to_thread(postgres().resume)
    assert await store.commit("key", 0, a_record(1), "one") in {True, False}  # the first may have arrived after all
    assert (await store.peek("key")).record == a_record(1)


async def test_closing_does_not_wait_for_a_server_that_is_frozen(url: str) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with SQLStore(url) as store:
            await asyncio.gather(*(store.peek(f"key-{number}") for number in range(5)))
            await asyncio.to_thread(postgres().pause)
            started = loop.time()
        assert loop.time() - started < 4.0  # patience would last for 4.5 s
    finally:
        await asyncio.to_thread(postgres().resume)


async def test_a_server_may_start_after_us(store: SQLStore) -> None:
    await asyncio.to_thread(postgres().stop)
    try:
        with pytest.raises(StoreError, match="ConnectionRefusedError"):
            await store.begin("key", 0, "one", LEASE)
    finally:
        await asyncio.to_thread(postgres().start)
    assert isinstance(await store.begin("key", 0, "one", LEASE), Begun)


@pytest.mark.parametrize(
    "restriction",
    [
        "GRANT SELECT ON zoom_async_auth_tokens TO {role}",
        "GRANT ALL ON zoom_async_auth_tokens TO {role}; ALTER ROLE {role} SET default_transaction_read_only = on",
    ],
    ids=["no privilege", "read-only"],
)
async def test_f62_a_role_that_may_only_read_is_found_by_begin(url: str, store: SQLStore, restriction: str) -> None:
    name = url.rpartition("/")[2].partition("?")[0]
    role = f"reader_{name}"
    await store.commit("key", 0, a_record(1), "one")
    for statement in (f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'", *restriction.format(role=role).split("; ")):
        await asyncio.to_thread(postgres().sql, statement, url)
    async with SQLStore(postgres().url_of(name, user=role)) as reader:
        assert (await reader.peek("key")).generation == 1
        with pytest.raises(StoreError, match=r"InsufficientPrivilegeError|ReadOnlySQLTransactionError"):
            await reader.begin("key", 1, "one", LEASE)
        facts = await reader.check()
    assert [fact.what for fact in facts if not fact.ok] == ["can be written"]


async def test_a_password_that_is_wrong_is_not_shown(url: str) -> None:
    async with SQLStore(url.replace(PASSWORD, "canary")) as store:
        with pytest.raises(StoreError, match="InvalidPasswordError") as caught:
            await store.peek("key")
    assert "canary" not in f"{caught.value} {caught.value!r} {store!r}"


async def test_a_commit_is_durable_also_where_the_database_was_set_to_less(url: str) -> None:
    name = url.rpartition("/")[2].partition("?")[0]
    await asyncio.to_thread(postgres().sql, f"ALTER DATABASE {name} SET synchronous_commit = off")

    async def settings(connection: AsyncConnection) -> list[str]:
        names = ("synchronous_commit", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_isolation")
        return [str((await connection.execute(text(f"SHOW {name}"))).scalar_one()) for name in names]

    async with SQLStore(url) as store:
        writing = await store._door.home().see_through(settings, writes=True)
        reading = await store._door.home().see_through(settings, writes=False)

    assert writing == ["on", "3500ms", "4500ms", "read committed"]
    assert reading == ["off", "0", "0", "read committed"]


async def test_a_database_that_is_serializable_by_default_is_no_obstacle(url: str) -> None:
    name = url.rpartition("/")[2].partition("?")[0]
    await asyncio.to_thread(postgres().sql, f"ALTER DATABASE {name} SET default_transaction_isolation = serializable")
    async with SQLStore(url) as one, SQLStore(url) as other:
        kept = await asyncio.gather(
            *((one, other)[number % 2].commit("key", 0, a_record(1), "one") for number in range(20))
        )
    assert kept.count(True) == 1
