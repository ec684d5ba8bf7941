"""The store in Redis and in Valkey, on real servers: what every store promises, and what only this one does."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from tests.stores.redis_server import PASSWORD, RedisServer
from tests.stores.redis_server import redis as shared_redis
from tests.stores.redis_server import valkey as shared_valkey
from zoom_async_auth import ConfigurationError, MisuseError, StoreError, Token, TokenManager, UserOAuth
from zoom_async_auth.stores.base import Begun, Reading, Record
from zoom_async_auth.stores.redis import RedisStore
from zoom_async_auth.testing import STORE_PROMISES, StorePromise

NEVER = 1


@pytest.fixture(params=[shared_redis, shared_valkey], ids=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> RedisServer:
    make: Callable[[], RedisServer] = request.param
    return make()


@pytest.fixture
async def raw(server: RedisServer) -> AsyncIterator[Any]:
    async with _store(server) as store:
        yield store._client()


@pytest.fixture
def key() -> str:
    return f"app/{uuid4()}"


def _store(server: RedisServer) -> RedisStore:
    return RedisStore(server.url, allow_rotating=True)


def _state(key: str) -> str:
    return f"zoom_async_auth:{{{key}}}"


def _record(generation: int, now: float, *, access_token: str = "access", refresh_token: str | None = None) -> Record:
    token = Token(access_token=access_token, refresh_token=refresh_token, expires_in=3600.0)
    return Record(generation=generation, token=token, issued_at=now, expires_at=now + 3600.0)


@pytest.mark.parametrize("promise", STORE_PROMISES, ids=lambda promise: promise.__name__)
async def test_the_store_in_redis_keeps_its_promises(server: RedisServer, promise: StorePromise, key: str) -> None:
    async with _store(server) as one, _store(server) as other:
        await promise(one, other, key)


async def test_a_renewal_is_two_round_trips(server: RedisServer, raw: Any, key: str) -> None:
    """One for lease and intent, one for the commit."""
    async with _store(server) as store:
        now = (await store.peek(key)).now
        await store.begin(key, -1, "nobody", 1.0)
        await store.commit(key, -1, _record(1, now), "nobody")  # each script is loaded now
        before = await _commands(raw)
        assert isinstance(await store.begin(key, 0, "one", 20.0), Begun)
        assert await store.commit(key, 0, _record(1, now), "one")
        assert await _commands(raw) - before == 2 + NEVER  # and this look


async def _commands(raw: Any) -> int:
    """Return how many were sent by clients, those within scripts excepted."""
    stats = await raw.info("commandstats")
    return sum(entry["calls"] for name, entry in stats.items() if name in {"cmdstat_evalsha", "cmdstat_info"})


async def test_an_apps_token_goes_when_it_expires_and_its_generation_stays(
    server: RedisServer, raw: Any, key: str
) -> None:
    """By the server's own clock."""
    async with RedisStore(server.url) as store:
        now = (await store.peek(key)).now
        record = replace(_record(3, now), expires_at=now + 0.3)
        await store.commit(key, 0, record, "one")
        assert 0 < await raw.pttl(f"{_state(key)}:token") <= 301
        await asyncio.sleep(0.5)
        seen = await store.peek(key)
        assert await raw.exists(f"{_state(key)}:token") == 0

    assert seen.record is not None
    assert (seen.generation, seen.record.token) == (3, None)


async def test_a_refresh_token_outlives_its_access_token(server: RedisServer, raw: Any, key: str) -> None:
    async with _store(server) as store:
        now = (await store.peek(key)).now
        record = replace(_record(1, now, refresh_token="refresh"), expires_at=now - 1.0)
        await store.commit(key, 0, record, "one")
        assert await raw.pttl(f"{_state(key)}:token") == -1
        kept = (await store.peek(key)).record

    assert kept is not None
    assert kept.token is not None
    assert kept.token.refresh_token == "refresh"


async def test_a_refresh_token_is_not_kept_unless_somebody_insists(server: RedisServer, key: str) -> None:
    """F70: a failover would lose it; the error says so."""
    async with RedisStore(server.url) as store:
        now = (await store.peek(key)).now
        with pytest.raises(StoreError, match="a failover of Redis can lose") as raised:
            await store.commit(key, 0, _record(1, now, refresh_token="refresh"), "one")
        assert (await store.peek(key)).record is None

    assert raised.value.transient is False
    manager = TokenManager(UserOAuth(client_id="id", client_secret="secret"), store=RedisStore(server.url))
    with pytest.raises(ConfigurationError, match=r"a failover of Redis can lose .*: use SQLStore"):
        await manager.start()


async def test_f69_a_lease_that_a_failover_lost_costs_no_token(server: RedisServer, raw: Any, key: str) -> None:
    """Two hold it then; the second to commit is refused, and reads what the first has stored."""
    async with _store(server) as one, _store(server) as other:
        now = (await one.peek(key)).now
        await one.commit(key, 0, _record(1, now, refresh_token="first"), "one")
        assert isinstance(await one.begin(key, 1, "one", 20.0), Begun)
        await raw.hdel(_state(key), "holder", "leased_until", "intent:one")
        assert isinstance(await other.begin(key, 1, "other", 20.0), Begun)
        assert await one.commit(key, 1, _record(2, now, refresh_token="second"), "one") is True
        assert await other.commit(key, 1, _record(2, now, refresh_token="third"), "other") is False
        seen = await other.begin(key, 1, "other", 20.0)

    assert isinstance(seen, Reading)
    assert seen.record is not None
    assert seen.record.token is not None
    assert seen.record.token.refresh_token == "second"


@pytest.mark.parametrize("what", ["token", "format", "field"])
async def test_f59_what_cannot_be_read_is_left_as_it_is(server: RedisServer, raw: Any, key: str, what: str) -> None:
    """Only to forget it works, and leaves a tombstone of the next generation."""
    async with _store(server) as store:
        now = (await store.peek(key)).now
        await store.commit(key, 0, _record(4, now, refresh_token="refresh"), "one")
        match what:
            case "token":
                await raw.set(f"{_state(key)}:token", "4\n{broken")
            case "format":
                await raw.hset(_state(key), "format", "9")
            case _:
                await raw.hset(_state(key), "issued_at", "yesterday")
        before = await raw.hgetall(_state(key)), await raw.get(f"{_state(key)}:token")
        for call in (store.peek(key), store.begin(key, 4, "one", 20.0)):
            with pytest.raises(StoreError, match=r"left (it )?as it (is|was)") as raised:
                await call
            assert raised.value.transient is False
        if what == "format":
            for change in (store.commit(key, 4, _record(5, now), "one"), store.condemn(key, 4, "invalid_grant")):
                with pytest.raises(StoreError):
                    await change
        assert (await raw.hgetall(_state(key)), await raw.get(f"{_state(key)}:token")) == before
        await store.forget(key)
        assert (await store.peek(key)).generation == 5


async def test_a_server_that_is_down_is_told_at_once(server: RedisServer, key: str) -> None:
    """The client's own retries would cost seconds a call. It needs no restart when the server is back."""
    async with _store(server) as store:
        now = (await store.peek(key)).now
        await store.commit(key, 0, _record(1, now), "one")
        await asyncio.to_thread(server.stop)
        try:
            for _ in range(3):
                started = time.monotonic()
                with pytest.raises(StoreError, match=r"^Redis failed: ConnectionError$") as raised:
                    await store.peek(key)
                assert time.monotonic() - started < 1.0
                assert raised.value.transient
                assert raised.value.__cause__ is None
                assert raised.value.__context__ is None
        finally:
            await asyncio.to_thread(server.start)
        assert (await store.peek(key)).generation == 1
        assert await store.commit(key, 1, _record(2, now), "one")


async def test_a_server_that_hangs_is_given_up_in_seconds(server: RedisServer, key: str) -> None:
    """A frozen one takes connections and answers nothing."""
    async with _store(server) as store:
        await store.peek(key)
        await asyncio.to_thread(server.pause)
        try:
            started = time.monotonic()
            with pytest.raises(StoreError, match="Redis failed: TimeoutError"):
                await store.peek(key)
            assert time.monotonic() - started < 4.0
        finally:
            await asyncio.to_thread(server.resume)
        assert (await store.peek(key)).record is None


async def test_s39_a_thousand_cancelled_calls_leave_no_answer_to_the_next_one(server: RedisServer) -> None:
    """Each answer goes to who asked."""
    luck = random.Random(39)  # noqa: S311 -- moments, no secrets
    names = [f"app/{uuid4()}" for _ in range(5)]
    async with _store(server) as store:
        now = (await store.peek("app/none")).now
        for name in names:
            await store.commit(name, 0, _record(1, now, access_token=name.replace("app/", "token-")), "one")

        async def look(name: str) -> None:
            record = (await store.peek(name)).record
            assert record is not None
            assert record.token is not None
            assert record.token.access_token == name.replace("app/", "token-")

        for _ in range(1000):
            task = asyncio.create_task(look(luck.choice(names)))
            for _ in range(luck.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*(look(name) for name in names))


async def test_s39_an_answer_that_is_anothers_is_refused(server: RedisServer, raw: Any, key: str) -> None:
    """A record carries its key."""
    async with _store(server) as store:
        now = (await store.peek(key)).now
        await store.commit(key, 0, _record(1, now), "one")
        other = f"{key}-other"
        await raw.copy(_state(key), _state(other))
        await raw.copy(f"{_state(key)}:token", f"{_state(other)}:token")
        with pytest.raises(StoreError, match="another record than was asked for"):
            await store.peek(other)


async def test_who_waits_hears_of_a_change_though_nobody_listens_for_him(
    server: RedisServer, raw: Any, key: str
) -> None:
    """Announcements are a hint: without them the waiting ends by itself, and what matters is asked for."""
    async with _store(server) as one, _store(server) as other:
        now = (await one.peek(key)).now
        waiting = [asyncio.create_task(other.wait(key, 0, 30.0)) for _ in range(20)]  # some listen, the others look
        await asyncio.sleep(0.2)
        await one.commit(key, 0, _record(1, now), "one")
        async with asyncio.timeout(2.0):
            await asyncio.gather(*waiting)
        lost = asyncio.create_task(other.wait(key, 1, 30.0))
        await asyncio.sleep(0.2)
        await raw.client_kill_filter(_type="pubsub")
        with pytest.raises(StoreError):
            await lost


@pytest.mark.parametrize("url", ["http://localhost", "redis", "redis://", "postgresql://localhost/db", ""])
def test_what_is_no_url_of_redis_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="the URL must be redis://"):
        RedisStore(url)


@pytest.mark.parametrize("url", ["redis://:hush@host/0", "redis://name:hush@host:1/0", "redis://host/0?password=hush"])
def test_no_password_is_shown(url: str) -> None:
    assert "hush" not in repr(RedisStore(url))


def test_valkey_has_urls_of_its_own() -> None:
    assert repr(RedisStore("valkey://host/1")) == "RedisStore('redis://host/1')"


async def test_a_store_that_is_not_open_says_so(server: RedisServer) -> None:
    with pytest.raises(MisuseError, match="use async with"):
        await RedisStore(server.url).peek("key")


async def test_its_check_tells_what_it_relies_on(server: RedisServer) -> None:
    async with _store(server) as store:
        facts = {fact.what: fact for fact in await store.check()}
        assert all(fact.ok for fact in facts.values())
        assert "maxmemory-policy noeviction" in facts["keeps what has no TTL"].told
        assert PASSWORD not in repr(facts)
    async with RedisStore("redis://127.0.0.1:1/0") as store:
        (fact,) = await store.check()
    assert (fact.what, fact.ok) == ("answers", False)
