"""Stores on Redis and Valkey: what all stores promise, and what such a server can do to one."""

import asyncio
import contextlib
import logging
import pickle
import random
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from tests.engine.world import QUIET, Wire, World
from tests.stores.redis_server import KINDS, PASSWORD, RedisServer, redis
from zoom_async_auth import AuthorizationRequiredError, ConfigurationError, MisuseError, StoreError, Token, TokenManager
from zoom_async_auth.events import GrantDied, StoreWentBack
from zoom_async_auth.identity import namespace_of
from zoom_async_auth.stores.base import PLAUSIBLE_LEASE, Begun, Intent, Reading, Record
from zoom_async_auth.stores.records import FORMAT
from zoom_async_auth.stores.redis import RedisStore
from zoom_async_auth.stores.redis.address import parsed
from zoom_async_auth.stores.redis.scripts import PEEK
from zoom_async_auth.testing import STORE_PROMISES, MemoryTransport, StorePromise

_T = TypeVar("_T")

ONE_LOOP = pytest.mark.asyncio(loop_factories=["plain"])
"""For what takes seconds, or servers; the promises are kept on all loops."""

LEASE = 20.0
NOWHERE = "redis://:secret@127.0.0.1:1/0"


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> RedisServer:
    """One for tests that use keys of their own."""
    return redis(request.param)


@pytest.fixture(params=KINDS)
def own(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One to be stopped, or emptied. It keeps its data."""
    server = RedisServer(request.param, appendonly=True)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def key() -> str:
    return f"test/{uuid4()}"


def store_on(server: RedisServer, **options: Any) -> RedisStore:
    return RedisStore(server.url, **{"allow_rotating": True, **options})


def name_of(key: str) -> str:
    return f"zoom_async_auth:{{{key}}}"


def a_record(generation: int, *, name: str = "access", now: float = 1e9) -> Record:
    token = Token(access_token=f"{name}-{generation}", refresh_token=f"refresh-{name}-{generation}", expires_in=3600.0)
    return Record(generation=generation, token=token, issued_at=now, expires_at=now + 3600)


def of_an_app(generation: int, now: float, *, lives: float = 3600.0) -> Record:
    token = Token(access_token=f"access-{generation}", expires_in=lives)
    return Record(generation=generation, token=token, issued_at=now, expires_at=now + lives)


def token_of(reading: Reading) -> str | None:
    return None if reading.record is None or reading.record.token is None else reading.record.token.access_token


async def ask(server: RedisServer, *words: str) -> str:
    return await asyncio.to_thread(server.ask, *words)


async def calls_of(server: RedisServer, command: str, how: str = "calls") -> int:
    """Return how often a command was run, or refused: "rejected_calls"."""
    for line in (await ask(server, "INFO", "commandstats")).splitlines():
        if line.startswith(f"cmdstat_{command}:"):
            return int(line.replace(":", ",").partition(f",{how}=")[2].partition(",")[0])
    return 0


async def subscriptions(server: RedisServer) -> int:
    """Return how many connections listen to announcements."""
    return len((await ask(server, "CLIENT", "LIST", "TYPE", "pubsub")).strip().splitlines())


async def subscribed(server: RedisServer) -> None:
    """Wait until somebody listens."""
    async with asyncio.timeout(10.0):
        while await subscriptions(server) == 0:  # noqa: ASYNC110 -- the server does not tell
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("promise", STORE_PROMISES, ids=lambda promise: promise.__name__)
async def test_redis_keeps_what_a_store_promises(promise: StorePromise, server: RedisServer, key: str) -> None:
    async with store_on(server) as one, store_on(server) as other:
        await promise(one, other, key)


@ONE_LOOP
async def test_a_server_is_reached_through_its_socket(server: RedisServer, key: str) -> None:
    async with RedisStore(server.socket_url, allow_rotating=True) as store, store_on(server) as other:
        await store.commit(key, 0, a_record(1), "one")
        assert (await other.peek(key)).record == a_record(1)


@ONE_LOOP
async def test_every_operation_is_one_question(server: RedisServer, key: str) -> None:
    """A renewal through a store costs two round trips."""
    async with store_on(server) as store:
        now = (await store.peek(key)).now
        before = await calls_of(server, "evalsha")
        assert isinstance(await store.begin(key, 0, "one", LEASE), Begun)
        assert await store.commit(key, 0, a_record(1, now=now), "one") is True
        assert await calls_of(server, "evalsha") - before == 2
        await store.condemn(key, 1, "invalid_grant")
        await store.release(key, "one", doubt=False)
        await store.forget(key)
        await store.peek(key)
        assert await calls_of(server, "evalsha") - before == 6


@ONE_LOOP
async def test_times_are_kept_to_the_microsecond(server: RedisServer, key: str) -> None:
    """Lua's own numbers as text have fourteen digits: hundredths of a second."""
    async with store_on(server) as store:
        begun = await store.begin(key, 0, "one", 1234.567891)
        assert isinstance(begun, Begun)
        seen = await store.peek(key)
        assert begun.reading.now + 1234.567891 == pytest.approx(seen.now + seen.lease_left, abs=2e-6)
        assert seen.intents == (Intent(holder="one", generation=0, since=begun.reading.now),)
        await store.begin(key, 0, "one", LEASE)
        assert (await store.peek(key)).intents == seen.intents
        await store.forget(key)
        tombstone = (await store.peek(key)).record
        assert tombstone is not None
        assert seen.now < tombstone.issued_at == tombstone.expires_at < seen.now + 5.0
        assert round(tombstone.issued_at % 1, 2) != tombstone.issued_at % 1


@ONE_LOOP
async def test_intents_come_in_the_order_of_their_beginning(server: RedisServer, key: str) -> None:
    async with store_on(server) as store:
        for holder in ("c", "a", "b"):
            await store.begin(key, 0, holder, LEASE, supersede=True)
        assert [intent.holder for intent in (await store.peek(key)).intents] == ["c", "a", "b"]


@ONE_LOOP
async def test_a_lease_that_is_given_back_leaves_nothing(server: RedisServer, key: str) -> None:
    """Of a key under which nothing was ever kept."""
    async with store_on(server) as store:
        await store.begin(key, 0, "one", LEASE)
        assert await ask(server, "EXISTS", name_of(key)) == "1"
        await store.release(key, "one", doubt=False)
        assert await ask(server, "EXISTS", name_of(key)) == "0"


@ONE_LOOP
async def test_stores_with_other_prefixes_do_not_meet(server: RedisServer, key: str) -> None:
    """Also where a prefix looks like a pattern."""
    async with store_on(server, prefix="zoom*") as one, store_on(server, prefix="zoom[a-z]?") as other:
        await one.commit(key, 0, a_record(1), "one")
        assert (await other.peek(key)).record is None
        assert await one.keys(after=key[:-1]) == (key,)
        assert await other.keys() == ()


# What can be had again, and what cannot


@ONE_LOOP
async def test_the_token_of_an_app_vanishes_when_it_expires_and_its_generation_stays(
    server: RedisServer, key: str
) -> None:
    async with store_on(server, allow_rotating=False) as store:
        now = (await store.peek(key)).now
        await store.commit(key, 0, of_an_app(1, now, lives=0.3), "one")
        assert token_of(await store.peek(key)) == "access-1"
        assert 0 < int(await ask(server, "PTTL", f"{name_of(key)}:token")) <= 300
        assert await ask(server, "PTTL", name_of(key)) == "-1"
        await asyncio.sleep(0.4)
        begun = await store.begin(key, 1, "one", LEASE)
        assert isinstance(begun, Begun)
        assert (begun.reading.generation, token_of(begun.reading)) == (1, None)
        assert await store.commit(key, 1, replace(of_an_app(2, now), expires_at=0.0), "one") is True
        assert ((await store.peek(key)).generation, token_of(await store.peek(key))) == (2, None)
        assert await store.commit(key, 2, of_an_app(3, now, lives=1e300), "one") is True
        assert token_of(await store.peek(key)) == "access-3"


@ONE_LOOP
async def test_a_refresh_token_never_vanishes(server: RedisServer, key: str) -> None:
    """Its access token expired long ago."""
    async with store_on(server) as store:
        await store.commit(key, 0, of_an_app(1, (await store.peek(key)).now), "one")
        await store.commit(key, 1, a_record(2), "one")
        assert await ask(server, "PTTL", f"{name_of(key)}:token") == "-1"
        assert (await store.peek(key)).record == a_record(2)


@ONE_LOOP
async def test_f70_redis_alone_is_refused_to_a_person_with_the_reason(server: RedisServer, key: str) -> None:
    """It may lose a write that it has acknowledged; who accepts that says so."""
    world = World()
    with pytest.raises(ConfigurationError, match=r"a failover of Redis may lose .*RedisStore\(allow_rotating=True\)"):
        await world.personal(store=RedisStore(server.url)).start()
    async with store_on(server, allow_rotating=False) as store:
        assert not store.durable
        with pytest.raises(StoreError, match=r"failover .*allow_rotating=True") as caught:
            await store.commit(key, 0, a_record(1), "one")
        assert not caught.value.transient
        assert (await store.peek(key)).record is None
    assert store_on(server).rotating_risk is None
    async with world.personal(store=store_on(server)), world.manager(store=RedisStore(server.url)) as app:
        assert world.is_good(await app.bearer())


def key_of(world: World) -> str:
    return f"{namespace_of(world.zoom.user_app, world.zoom.url)}/default"


@contextlib.asynccontextmanager
async def two_managers(
    world: World, server: RedisServer, **options: Any
) -> AsyncIterator[tuple[TokenManager, TokenManager, RedisStore]]:
    """Managers of one person in two processes, as it were; the first has further options."""
    async with store_on(server) as store, world.personal(store=store_on(server), policy=QUIET, **options) as one:
        await one.authorize(world.consent())
        async with world.personal(store=store_on(server), policy=QUIET) as other:
            await other.bearer()
            yield one, other, store


@ONE_LOOP
async def test_f70_a_write_that_was_lost_is_put_back_while_anybody_knows_it(own: RedisServer) -> None:
    """The server has the row before the last commit, as a replica that lagged and was promoted."""
    world = World(luck=0.5)
    name = name_of(key_of(world))
    async with two_managers(world, own) as (one, other, store):
        for part in ("", ":token"):
            await ask(own, "COPY", f"{name}{part}", f"{name}{part}:before")
        world.clock.advance(2.0)
        newest = await one.renew()
        for part in ("", ":token"):
            await ask(own, "COPY", f"{name}{part}:before", f"{name}{part}", "REPLACE")
        assert (await store.peek(key_of(world))).generation == 1
        world.clock.advance(2.0)
        after = await one.renew()
        assert after != newest
        world.clock.advance(2.0)
        assert world.is_good((await other.renew()).access_token)

    assert [(event.generation, event.newest) for event in world.seen(StoreWentBack)] == [(1, 2)]
    assert set(world.zoom.stats["refresh_token"]) == {"ok"}
    assert not world.seen(GrantDied)


async def lose_lease(server: RedisServer, world: World) -> None:
    """Lose what `begin` wrote, as a replica that is promoted before it heard of it."""
    name = name_of(key_of(world))
    fields = (await ask(server, "HKEYS", name)).splitlines()
    lost = [field for field in fields if field in {"holder", "leased_until"} or field.startswith("intent:")]
    assert len(lost) == 3
    await ask(server, "HDEL", name, *lost)


async def sent(manager: TokenManager, world: World) -> asyncio.Task[Token]:
    """Return a renewal of which Zoom has seen the request."""
    world.clock.advance(2.0)
    renewal = asyncio.create_task(manager.renew())
    await until(lambda: "refresh_token" in world.zoom.stats)
    return renewal


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5.0):
        while not condition():  # noqa: ASYNC110 -- real time, and nothing to wait for
            await asyncio.sleep(0.01)


@ONE_LOOP
async def test_f69_a_lost_lease_and_the_first_to_begin_is_the_first_to_commit(own: RedisServer) -> None:
    """Interleaving: A is on the wire, its lease is lost, B sends the same; A commits; B is refused, looks, adopts."""
    world = World(luck=0.5)
    slow = Wire(MemoryTransport(world.zoom))
    async with two_managers(world, own, transport=slow) as (a, b, store):
        slow.held_after = asyncio.Event()
        first = await sent(a, world)
        await lose_lease(own, world)
        world.wire.held_before = asyncio.Event()
        second = asyncio.create_task(b.renew())
        await until(lambda: world.wire.posts == 1)
        slow.held_after.set()
        await first
        world.wire.held_before.set()
        assert await second == await first
        reading = await store.peek(key_of(world))
        assert (reading.generation, reading.lease_left, reading.intents) == (2, 0.0, ())

    assert world.zoom.stats["refresh_token"] == {"ok": 1, "invalid_grant": 1}
    assert not world.seen(GrantDied)


@ONE_LOOP
async def test_f69_a_lost_lease_and_the_first_to_begin_is_the_last_to_commit(own: RedisServer) -> None:
    """Interleaving: A is on the wire, its lease is lost, B is refused and knows of nobody else; A commits; B looks."""
    world = World(luck=0.5)
    slow = Wire(MemoryTransport(world.zoom))
    async with two_managers(world, own, transport=slow) as (a, b, store):
        slow.held_after = asyncio.Event()
        first = await sent(a, world)
        await lose_lease(own, world)
        with pytest.raises(AuthorizationRequiredError):
            await b.renew()
        slow.held_after.set()
        newest = (await first).access_token
        reading = await store.peek(key_of(world))
        assert reading.record is not None
        assert (reading.generation, reading.record.cause, token_of(reading)) == (2, None, newest)
        world.clock.advance(2.0)
        assert (await b.renew()).access_token == newest
        assert b.health().state == "fresh"

    assert world.zoom.stats["refresh_token"] == {"ok": 1, "invalid_grant": 1}


@ONE_LOOP
async def test_f69_a_server_that_lost_everything_during_a_renewal_gets_the_new_token(own: RedisServer) -> None:
    """Interleaving: A is on the wire, the server is emptied, A commits on a generation that is not there."""
    world = World(luck=0.5)
    slow = Wire(MemoryTransport(world.zoom))
    async with two_managers(world, own, transport=slow) as (a, b, store):
        slow.held_after = asyncio.Event()
        first = await sent(a, world)
        await ask(own, "FLUSHALL")
        slow.held_after.set()
        newest = (await first).access_token
        assert world.is_good(newest)
        assert token_of(await store.peek(key_of(world))) == newest
        world.clock.advance(2.0)
        assert (await b.renew()).access_token == newest

    assert set(world.zoom.stats["refresh_token"]) == {"ok"}
    assert not world.seen(GrantDied)


# What is stored and cannot be read

DAMAGES = {
    "a newer format": ("", "format", "2"),
    "no format": ("", "format", ""),
    "no generation": ("", "generation", "many"),
    "intents": ("", "intent:other", "soon"),
    "a lease without end": ("", "leased_until", "never"),
    "another key": ("", "key", "another"),
    "a newer token": (":token", '{"format": 2}'),
    "no JSON": (":token", "scrambled"),
}


async def damage(server: RedisServer, key: str, part: str, *what: str) -> None:
    await ask(server, "HSET" if len(what) == 2 else "SET", f"{name_of(key)}{part}", *what)


async def content(server: RedisServer, key: str) -> tuple[list[str], str]:
    fields = (await ask(server, "HGETALL", name_of(key))).splitlines()
    return sorted(map("=".join, zip(fields[::2], fields[1::2], strict=True))), await ask(
        server, "GET", f"{name_of(key)}:token"
    )


@ONE_LOOP
@pytest.mark.parametrize("what", DAMAGES.values(), ids=DAMAGES)
async def test_f59_a_record_that_cannot_be_read_is_never_overwritten(
    server: RedisServer, key: str, what: tuple[str, ...]
) -> None:
    """Whoever can read it may want it back: it is told, by an error that waiting does not heal."""
    async with store_on(server) as store:
        await store.commit(key, 0, a_record(1), "one")
        await store.begin(key, 1, "one", LEASE)
        await damage(server, key, *what)
        before = await content(server, key)
        for attempt in (
            store.peek(key),
            store.begin(key, 1, "two", LEASE, supersede=True),
            store.commit(key, 1, a_record(2), "one"),
            store.condemn(key, 1, "invalid_grant"),
        ):
            with pytest.raises(StoreError, match=r"left (it )?as it (is|was)") as caught:
                await attempt
            assert not caught.value.transient
        assert await content(server, key) == before
        assert (await store.peek(f"{key}/neighbour")).record is None


@ONE_LOOP
@pytest.mark.parametrize("what", DAMAGES.values(), ids=DAMAGES)
async def test_f59_a_record_that_cannot_be_read_can_be_given_back_and_forgotten(
    server: RedisServer, key: str, what: tuple[str, ...]
) -> None:
    """A lease is no secret, and a tombstone needs the generation only."""
    async with store_on(server) as store:
        await store.commit(key, 0, a_record(1), "one")
        await store.begin(key, 1, "one", LEASE)
        await damage(server, key, *what)
        _, token = await content(server, key)
        await store.release(key, "one", doubt=False)
        fields, kept = await content(server, key)
        assert kept == token
        assert not [field for field in fields if field.startswith(("holder", "intent:one"))]
        if what[1] == "generation":
            with pytest.raises(
                StoreError, match="generation of the stored record is damaged: restore it, or delete the key"
            ):
                await store.forget(key)
            return
        await store.forget(key)
        reading = await store.peek(key)
        assert (reading.generation, token_of(reading)) == (2, None)
        assert isinstance(await store.begin(key, 2, "two", LEASE), Begun)


@ONE_LOOP
@pytest.mark.parametrize("part", ["", ":token"], ids=["the record", "the token"])
async def test_a_key_that_somebody_else_uses_is_told_and_can_be_forgotten(
    server: RedisServer, key: str, part: str
) -> None:
    """Its type is another one. Waiting does not change that; who forgets it, gets rid of it."""
    async with store_on(server) as store:
        await store.commit(key, 0, a_record(1), "one")
        await ask(server, "DEL", f"{name_of(key)}{part}")
        await ask(server, "RPUSH", f"{name_of(key)}{part}", "theirs")
        for attempt in (
            store.peek(key),
            store.begin(key, 1, "one", LEASE),
            store.commit(key, 1, a_record(2), "one"),
            store.condemn(key, 1, "invalid_grant"),
        ):
            with pytest.raises(StoreError, match="somebody else uses a key of this store") as caught:
                await attempt
            assert not caught.value.transient
        if part == "":
            with pytest.raises(StoreError, match="somebody else uses a key of this store"):
                await store.wait(key, 1, 1.0)
        assert await ask(server, "LRANGE", f"{name_of(key)}{part}", "0", "-1") == "theirs"
        await store.forget(key)
        reading = await store.peek(key)
        assert (reading.generation, token_of(reading)) == (1 if part == "" else 2, None)
        assert isinstance(await store.begin(key, reading.generation, "one", LEASE), Begun)


# A clock that was set back


@ONE_LOOP
async def test_times_of_a_clock_that_was_set_back_hold_nobody_up(server: RedisServer, key: str) -> None:
    """The lease of a killed process ends within a minute, and its intent is as old as the next look, and older."""
    async with store_on(server) as store:
        await store.commit(key, 0, a_record(1), "one")
        await store.begin(key, 1, "killed", LEASE)
        ahead = int((await store.peek(key)).now + 3600.0) * 1_000_000
        for field, value in {"leased_until": f"{ahead}", "intent:killed": f"1 {ahead}"}.items():
            await damage(server, key, "", field, value)
        peeked = await store.peek(key)
        assert [intent.since for intent in peeked.intents] == [peeked.now]
        refused = await store.begin(key, 1, "next", LEASE)
        assert isinstance(refused, Reading)
        assert refused.lease_left == pytest.approx(PLAUSIBLE_LEASE, abs=1e-3)
        again = await store.begin(key, 1, "next", LEASE)
        assert isinstance(again, Reading)
        assert again.lease_left < refused.lease_left
        assert [(intent.holder, intent.since) for intent in again.intents] == [("killed", refused.now)]
        await damage(server, key, "", "leased_until", str(int(refused.now * 1e6)))
        assert isinstance(await store.begin(key, 1, "next", LEASE), Begun)


@ONE_LOOP
async def test_an_intent_of_ones_own_from_the_future_begins_anew(server: RedisServer, key: str) -> None:
    async with store_on(server) as store:
        await store.begin(key, 0, "one", LEASE)
        await damage(server, key, "", "intent:one", "0 9999999999000000")
        begun = await store.begin(key, 0, "one", LEASE)
        assert isinstance(begun, Begun)
        since = int((await ask(server, "HGET", name_of(key), "intent:one")).split()[1])
        assert since == round(begun.reading.now * 1e6)


# Cancelled, confused


async def cancel_at_random(
    store: RedisStore, times: int, chosen: Callable[[asyncio.Task[Any]], list[asyncio.Task[Any]]]
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
        await asyncio.sleep(chance.choice((0.0, 0.0, 0.0002, 0.001)))
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


@pytest.mark.timeout(60)
@ONE_LOOP
async def test_s39_a_thousand_cancelled_calls_never_bring_the_value_of_another_key(server: RedisServer) -> None:
    async with store_on(server) as store:
        await cancel_at_random(store, 1000, lambda caller: [caller])


@pytest.mark.timeout(60)
@ONE_LOOP
async def test_s39_work_that_is_cancelled_leaves_no_broken_connection(server: RedisServer) -> None:
    """Nobody does that but a loop that ends; the connections hold all the same."""
    async with store_on(server) as store:
        await cancel_at_random(store, 300, lambda _: list(store._door.home()._tasks))


@ONE_LOOP
async def test_s39_the_answer_to_another_question_is_never_believed(own: RedisServer, key: str) -> None:
    """Interleaving: a connection goes back to the pool with an answer under way, as redis-py 4.5 had it once."""
    async with store_on(own) as store:
        for name in (key, f"{key}/neighbour"):
            await store.commit(name, 0, a_record(1, name=name.replace("/", ".")), "one")
        await store.peek(key)  # so that the server knows the script
        pool: Any = store._door.home()._pool
        connection = pool.get_available_connection()
        question = ("EVALSHA", PEEK.sha, 2, *store._names(f"{key}/neighbour"), 0, f"{key}/neighbour", FORMAT)
        await asyncio.to_thread(own.pause)
        await connection.send_command(*question)
        await pool.release(connection)
        confused = asyncio.create_task(store.peek(key))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(own.resume)
        with pytest.raises(StoreError, match="another question") as caught:
            await confused
        assert caught.value.transient
        assert not connection.is_connected
        for name in (key, f"{key}/neighbour"):
            assert token_of(await store.peek(name)) == f"{name.replace('/', '.')}-1"


@ONE_LOOP
async def test_s39_a_record_carries_its_key(server: RedisServer, key: str) -> None:
    """One that was copied under another name is of no use there."""
    async with store_on(server) as store:
        await store.commit(key, 0, a_record(1), "one")
        for part in ("", ":token"):
            await ask(server, "COPY", f"{name_of(key)}{part}", f"{name_of(f'{key}/copy')}{part}")
        with pytest.raises(StoreError, match="belongs to another key"):
            await store.peek(f"{key}/copy")


# A server in trouble


@ONE_LOOP
async def test_a_server_that_is_down_is_an_error_that_passes_and_costs_no_time(own: RedisServer, key: str) -> None:
    """The client's own retries would cost seconds for each call. Nobody has to restart us."""
    loop = asyncio.get_running_loop()
    async with store_on(own) as store:
        await store.commit(key, 0, a_record(1), "one")
        await asyncio.to_thread(own.kill)
        for attempt in (
            store.peek(key),
            store.begin(key, 1, "one", LEASE),
            store.commit(key, 1, a_record(2), "one"),
            store.condemn(key, 1, "invalid_grant"),
            store.release(key, "one", doubt=False),
            store.wait(key, 1, 60.0),
            store.forget(key),
            store.keys(),
        ):
            started = loop.time()
            with pytest.raises(StoreError) as caught:
                await attempt
            assert re.fullmatch(
                rf"the server at 127\.0\.0\.1:{own.port} failed: (ConnectionRefused|Connection)Error", str(caught.value)
            )
            assert loop.time() - started < 1.5
            assert caught.value.transient
            assert caught.value.__context__ is caught.value.__cause__ is None
        await asyncio.to_thread(own.start)
        assert (await store.peek(key)).record == a_record(1)
        assert await store.commit(key, 1, a_record(2), "one") is True


@ONE_LOOP
async def test_a_server_that_was_restarted_between_two_calls_goes_unnoticed(own: RedisServer, key: str) -> None:
    """Its connections are dead, and it has forgotten the scripts."""
    async with store_on(own) as store:
        await asyncio.gather(*(store.commit(f"{key}/{number}", 0, a_record(1), "one") for number in range(20)))
        await asyncio.to_thread(own.stop)
        await asyncio.to_thread(own.start)
        for number in range(20):
            assert (await store.peek(f"{key}/{number}")).record == a_record(1)
            assert isinstance(await store.begin(f"{key}/{number}", 1, "one", LEASE), Begun)


@ONE_LOOP
async def test_scripts_that_were_flushed_are_sent_again(server: RedisServer, key: str) -> None:
    async with store_on(server) as store:
        await store.begin(key, 0, "one", LEASE)
        await ask(server, "SCRIPT", "FLUSH")
        assert await store.commit(key, 0, a_record(1), "one") is True


@ONE_LOOP
async def test_a_server_that_freezes_holds_nobody_up(own: RedisServer, key: str) -> None:
    """Every call ends in time, however many there are; then all is as before."""
    loop = asyncio.get_running_loop()
    async with store_on(own) as store, store_on(own) as fresh:
        await asyncio.gather(*(store.peek(f"{key}/{number}") for number in range(5)))
        await asyncio.to_thread(own.pause)
        try:
            started = loop.time()
            calls = (where.peek(f"{key}/{number}") for number in range(50) for where in (store, fresh))
            answers = await asyncio.gather(*calls, store.commit(key, 0, a_record(1), "one"), return_exceptions=True)
            assert loop.time() - started < 8.0
        finally:
            await asyncio.to_thread(own.resume)
        assert {str(answer) for answer in answers} == {
            f"the server at 127.0.0.1:{own.port} gave no answer within 2 s: is it up?"
        }
        await _soon(lambda: store.commit(key, 0, a_record(1), "one"))  # False if the first has arrived after all
        assert (await _soon(lambda: fresh.peek(key))).record == a_record(1)


async def _soon(ask: Callable[[], Awaitable[_T]]) -> _T:
    """Return the answer of a server that has just thawed: what came in meanwhile is answered first."""
    async with asyncio.timeout(10.0):
        while True:
            with contextlib.suppress(StoreError):
                return await ask()


@ONE_LOOP
async def test_closing_does_not_wait_for_a_server_that_is_frozen(own: RedisServer, key: str) -> None:
    """Connections end without a farewell; only what is under way gets its time."""
    loop = asyncio.get_running_loop()
    try:
        async with store_on(own) as store:
            await store.wait(key, 0, 0.5)
            await subscribed(own)
            await asyncio.gather(*(store.peek(f"{key}/{number}") for number in range(5)))
            await asyncio.to_thread(own.pause)
            started = loop.time()
        assert loop.time() - started < 1.8  # it would take 2 s to lose patience
        async with store:
            home = store._door.home()
            late = asyncio.create_task(store.peek(key))
            await asyncio.sleep(0.1)
            started = loop.time()
        assert loop.time() - started < 8.0
        assert not home._tasks
        with pytest.raises(StoreError):
            await late
    finally:
        await asyncio.to_thread(own.resume)


@ONE_LOOP
async def test_a_replica_can_be_read_and_is_told_from_a_primary(own: RedisServer, key: str) -> None:
    """F73: `begin` needs the primary."""
    replica = await asyncio.to_thread(RedisServer, own.kind, follows=own)
    await asyncio.to_thread(replica.start)
    try:
        async with store_on(own) as store, store_on(replica) as behind:
            await store.commit(key, 0, a_record(1), "one")
            async with asyncio.timeout(10.0):
                while (await behind.peek(key)).generation == 0:  # noqa: ASYNC110 -- it lags
                    await asyncio.sleep(0.05)
            with pytest.raises(StoreError, match="ReadOnlyError"):
                await behind.begin(key, 1, "one", LEASE)
            with pytest.raises(StoreError, match="ReadOnlyError"):
                await behind.commit(key, 1, a_record(2), "one")
            facts = await behind.check()
            assert [fact.what for fact in facts if not fact.ok] == ["is durable", "is the primary", "can be written"]
    finally:
        await asyncio.to_thread(replica.remove)


@ONE_LOOP
async def test_a_store_that_is_open_finds_the_new_primary_after_a_failover(own: RedisServer, key: str) -> None:
    """One address; the old primary is a replica now, and leaves its connections open."""
    other = await asyncio.to_thread(RedisServer, own.kind)
    await asyncio.to_thread(other.start)
    try:
        async with _one_address(own) as (address, lead_to), RedisStore(address, allow_rotating=True) as store:
            await store.peek(key)
            await ask(own, "REPLICAOF", "127.0.0.1", str(other.port))
            lead_to(other)
            with pytest.raises(StoreError, match="ReadOnlyError"):
                await store.begin(key, 0, "one", LEASE)
            assert isinstance(await store.begin(key, 0, "one", LEASE), Begun)
    finally:
        await asyncio.to_thread(other.remove)


@contextlib.asynccontextmanager
async def _one_address(server: RedisServer) -> AsyncIterator[tuple[str, Callable[[RedisServer], None]]]:
    """Yield a URL that leads to `server`, and what has its new connections lead to another one."""
    behind = [server]

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while received := await reader.read(65536):
                writer.write(received)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", behind[-1].port)
        await asyncio.gather(pump(reader, to_server), pump(from_server, writer), return_exceptions=True)

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"redis://:{PASSWORD}@127.0.0.1:{port}/0", behind.append


# Waiting


@ONE_LOOP
@pytest.mark.parametrize("change", ["commit", "condemn", "release", "forget"])
async def test_who_waits_is_woken_before_he_looks_again(
    server: RedisServer, key: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoom_async_auth.stores.redis.store._LOOKS_EVERY", 60.0)
    async with store_on(server) as store, store_on(server) as other:
        await other.commit(key, 0, a_record(1), "one")
        await other.begin(key, 1, "one", LEASE)
        changes: dict[str, Callable[[], Awaitable[object]]] = {
            "commit": lambda: other.commit(key, 1, a_record(2), "one"),
            "condemn": lambda: other.condemn(key, 1, "invalid_grant"),
            "release": lambda: other.release(key, "one", doubt=True),
            "forget": lambda: other.forget(key),
        }
        looks = await calls_of(server, "hgetall")
        waiting = [asyncio.create_task(store.wait(key, 1, 60.0)) for _ in range(20)]
        elsewhere = asyncio.create_task(store.wait(f"{key}/neighbour", 0, 60.0))
        async with asyncio.timeout(15.0):
            # Each looks as it begins, and once more when the subscription does: from then on only a ring wakes them.
            while await calls_of(server, "hgetall") < looks + 2 * 21:  # noqa: ASYNC110 -- the server does not tell
                await asyncio.sleep(0.05)
        await changes[change]()
        async with asyncio.timeout(15.0):
            await asyncio.gather(*waiting)
        assert not elsewhere.done()
        elsewhere.cancel()
        await asyncio.wait({elsewhere})


@ONE_LOOP
async def test_hundreds_who_wait_share_one_subscription(own: RedisServer) -> None:
    async with store_on(own) as store:
        waiting = [asyncio.create_task(store.wait(f"key-{number}", 0, 60.0)) for number in range(300)]
        await subscribed(own)
        assert await subscriptions(own) == 1
        assert len((await ask(own, "CLIENT", "LIST")).strip().splitlines()) <= 12  # ours, and this one
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert not store._door.home().bell._waiting


@ONE_LOOP
async def test_who_looks_while_the_store_is_closed_leaves_nothing_behind(own: RedisServer, key: str) -> None:
    async with store_on(own) as store:
        await store.peek(key)
        await asyncio.to_thread(own.pause)
        waiting = asyncio.create_task(store.wait(key, 0, 60.0))
        await asyncio.sleep(0.1)  # the question is under way
        closing = asyncio.create_task(store.__aexit__(None, None, None))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(own.resume)
        with pytest.raises(MisuseError, match="not open"):
            await waiting
        await closing
        await store.__aenter__()


@ONE_LOOP
async def test_who_waits_looks_for_himself_when_announcements_are_lost(own: RedisServer, key: str) -> None:
    """And hears them again later."""
    async with store_on(own) as store, store_on(own) as other:
        waiting = asyncio.create_task(store.wait(key, 0, 60.0))
        await subscribed(own)
        assert await ask(own, "CLIENT", "KILL", "TYPE", "pubsub") == "1"
        await other.commit(key, 0, a_record(1), "one")
        async with asyncio.timeout(10.0):
            await waiting
        waiting = asyncio.create_task(store.wait(key, 1, 60.0))
        await subscribed(own)
        await other.forget(key)
        await waiting


@ONE_LOOP
async def test_without_the_right_to_channels_all_works_but_slowly(own: RedisServer, key: str) -> None:
    """A hint that fails must not make a commit of which nobody knows."""
    rules = ("on", ">secret", "~zoom_async_auth:*", "+@all", "resetchannels")
    await ask(own, "ACL", "SETUSER", "mute", *rules)
    async with RedisStore(own.url.replace(f":{PASSWORD}@", "mute:secret@"), allow_rotating=True) as store:
        waiting = asyncio.create_task(store.wait(key, 0, 60.0))
        await asyncio.sleep(0.2)
        assert isinstance(await store.begin(key, 0, "one", LEASE), Begun)
        assert await store.commit(key, 0, a_record(1), "one") is True
        async with asyncio.timeout(2.0):
            await waiting
        await asyncio.gather(*(store.wait(key, 1, 1.5) for _ in range(50)))
    assert await calls_of(own, "psubscribe", "rejected_calls") <= 4  # once a second, not once for each who waits


@ONE_LOOP
async def test_a_subscription_that_begins_rings_for_all(server: RedisServer, key: str) -> None:
    """They looked before it, and what was announced in between was heard by nobody."""
    async with store_on(server) as store:
        bell = store._door.home().bell
        with bell.listening(key) as rung:
            await bell.hear(rung, 10.0)
            assert rung.is_set()


# Life


async def test_entering_connects_to_nothing() -> None:
    """An application starts while its server is down, and hears of it from the first call."""
    async with RedisStore(NOWHERE) as store:
        assert store._door._home is None
        with pytest.raises(StoreError, match="ConnectionRefusedError"):
            await store.peek("key")


@ONE_LOOP
async def test_the_last_who_leaves_ends_the_connections(own: RedisServer, key: str) -> None:
    async with store_on(own) as store:
        async with store:
            waiting = asyncio.create_task(store.wait(key, 0, 0.1))
            await asyncio.gather(*(store.peek(f"{key}/{number}") for number in range(5)))
            await waiting
        assert len((await ask(own, "CLIENT", "LIST")).strip().splitlines()) > 2
    assert len((await ask(own, "CLIENT", "LIST")).strip().splitlines()) == 1


@ONE_LOOP
async def test_what_is_cancelled_still_ends_before_the_store_is_left(server: RedisServer, key: str) -> None:
    async with store_on(server) as store:
        await store.peek(key)
        task = asyncio.ensure_future(store.commit(key, 0, a_record(1), "one"))
        await asyncio.sleep(0)
        task.cancel()
    async with store:
        assert (await store.peek(key)).generation == 1


def test_a_store_can_be_entered_again_on_another_loop(server: RedisServer, key: str) -> None:
    store = store_on(server)

    async def commit(sent: int) -> bool:
        async with store:
            return await store.commit(key, sent, a_record(sent + 1), "one")

    assert [asyncio.run(commit(sent)) for sent in (0, 1)] == [True, True]


def test_a_store_in_use_on_one_loop_is_refused_to_another(server: RedisServer, key: str) -> None:
    store = store_on(server)
    with asyncio.Runner() as one, asyncio.Runner() as other:
        one.run(store.__aenter__())
        one.run(store.peek(key))
        with pytest.raises(MisuseError, match="another event loop"):
            other.run(store.peek(key))
        one.run(store.__aexit__(None, None, None))


async def test_a_store_that_is_not_open_is_refused() -> None:
    with pytest.raises(MisuseError, match="async with"):
        await RedisStore(NOWHERE).peek("key")


# What is shown


@ONE_LOOP
async def test_a_check_tells_what_a_manager_relies_on(own: RedisServer) -> None:
    async with store_on(own) as store:
        facts = await store.check()
        assert [fact.what for fact in facts] == [
            "answers",
            "is durable",
            "evicts nothing",
            "is the primary",
            "agrees on the time",
            "can be written",
        ]
        assert all(fact.ok for fact in facts), facts
        assert facts[0].told.startswith("Redis 8." if own.kind == "redis" else "Valkey 9.")
        assert await ask(own, "DBSIZE") == "0"
        await ask(own, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "appendfsync", "everysec")
        assert [fact.what for fact in await store.check() if not fact.ok] == ["is durable", "evicts nothing"]
    async with store_on(own, allow_rotating=False) as store:
        assert [fact.what for fact in await store.check() if not fact.ok] == ["evicts nothing"]


@ONE_LOOP
async def test_a_check_of_a_server_that_is_down_tells_that() -> None:
    async with RedisStore(NOWHERE) as store:
        facts = await store.check()

    assert [(fact.what, fact.ok) for fact in facts] == [("answers", False)]
    assert "ConnectionRefusedError" in facts[0].told


@ONE_LOOP
async def test_no_log_and_no_failure_shows_what_is_stored(
    own: RedisServer, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    for logger in (None, "redis", "asyncio"):
        caplog.set_level(logging.DEBUG, logger)
    async with store_on(own) as store:
        await store.commit(key, 0, a_record(1, name="canary"), "one")
        await store.begin(key, 1, "one", LEASE)
        await damage(own, key, "", "intent:other", "soon")
        failures = []
        for attempt in (store.peek(key), store.commit(key, 1, a_record(2, name="canary"), "one")):
            with pytest.raises(StoreError) as caught:
                await attempt
            failures.append(caught.value)
        await asyncio.to_thread(own.kill)
        with pytest.raises(StoreError) as caught:
            await store.commit(key, 1, a_record(2, name="canary"), "one")
        failures.append(caught.value)

    shown = "".join(f"{entry.getMessage()} {entry.args}" for entry in caplog.records)
    for failure in failures:
        assert failure.__context__ is failure.__cause__ is None
        shown += "".join(traceback.TracebackException.from_exception(failure, capture_locals=True).format())
    assert "canary-" not in shown
    assert PASSWORD not in shown


# URLs


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://user:canary@host", "no RedisStore for such a URL"),
        ("postgresql://user:canary@host/name", "for SQLite and PostgreSQL use SQLStore"),
        ("canary", "no RedisStore for such a URL"),
        ("", "no RedisStore for such a URL"),
        ("redis://user:canary@host:port/0", "cannot be read"),
        ("redis://[canary", "cannot be read"),
        (None, "no RedisStore for such a URL"),
        ("redis://", "names no host"),
        ("redis://:canary@/0", "names no host"),
        ("redis://:canary@host/name", "names no database by its number"),
        ("redis://host/0?password=canary", "parameters that are not taken: password"),
        ("rediss://host/0?ssl_cert_reqs=none", "parameters that are not taken: ssl_cert_reqs"),
        ("redis://user:?canary@host:6379/0", r"parameters that are not taken: \(no word\); a password needs quoting"),
        ("redis://user:1/2canary@host:6379/0", "a password needs quoting"),
        ("redis://user:1#canary@host:6379/0", "a password needs quoting"),
        ("unix://user:canary@", "names no socket"),
        ("unix://socket", "names no socket"),
        ("unix://:1/2canary@/run/redis", "names no socket"),
        ("unix://:/canary@/run/redis", "names no socket"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(url: str, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice) as caught:
        RedisStore(url)

    assert caught.value.__context__ is None
    assert "canary" not in str(caught.value)
    in_our_frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert all("canary" not in str(frame.locals) for frame in in_our_frames.stack if "tests" not in frame.filename)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:canary@host", "redis://host:6379/0"),
        ("redis://:canary@[::1]:1/2", "redis://[::1]:1/2"),
        ("valkey://user:canary@host:1/2", "valkey://host:1/2"),
        ("rediss://user:canary@host:1?db=2&ssl_ca_certs=/ca.pem", "rediss://host:1/2"),
        ("unix://user:canary@/run/redis?db=2", "unix:///run/redis?db=2"),
    ],
)
async def test_the_password_of_a_server_is_not_shown(url: str, shown: str) -> None:
    store = RedisStore(url)

    assert repr(store) == f"RedisStore({shown!r})"
    async with store:
        home = store._door.home()
        assert "canary" not in f"{store} {store!r} {vars(store)} {vars(home)}"
    with pytest.raises(TypeError):
        pickle.dumps(store)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://user:canary@host/3", "host:6379"),
        ("rediss://:canary@[::1]:1/2?ssl_ca_certs=/ca.pem", "[::1]:1"),
        ("unix://user:canary@/run/a%20redis?db=2", "/run/a redis"),
    ],
)
def test_a_server_is_named_by_where_it_is_and_by_nothing_else(url: str, place: str) -> None:
    assert parsed(url).place == place


@ONE_LOOP
async def test_a_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with RedisStore(f"unix://:canary@{tmp_path}/socket?db=7") as store:
        with pytest.raises(StoreError) as caught:
            await store.peek("key")

    assert str(caught.value) == f"the server at {tmp_path}/socket failed: FileNotFoundError"


def test_a_certificate_is_verified_with_its_name() -> None:
    """Older versions of redis-py leave out the name unless they are told."""
    options = parsed("rediss://host?ssl_ca_certs=/ca.pem").options
    assert (options["ssl_cert_reqs"], options["ssl_check_hostname"]) == ("required", True)
    assert options["ssl_ca_certs"] == "/ca.pem"
