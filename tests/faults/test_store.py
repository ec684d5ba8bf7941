"""F56 to F74: a store in trouble, and a lease that is lost. Rows that need a durable store come with it: rows.py."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.engine.world import QUIET, FaultyStore, Wire, World, turns
from tests.faults.steps import LIFE, failure_of, key_of, now, person
from zoom_async_auth import (
    RenewalPolicy,
    StoreError,
    Token,
    TokenUnavailableError,
)
from zoom_async_auth.events import (
    CommitFailed,
    CommitRecovered,
    GrantDied,
    LateTokenDropped,
    StoreBypassed,
    TokenAdopted,
)
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.stores.base import Begun, Reading
from zoom_async_auth.testing import MemoryTransport


@pytest.fixture
async def world() -> World:
    """Of average luck: without any, each failure would be followed by the shortest pause there is."""
    return World(luck=0.5)


@pytest.mark.parametrize("operation", ["peek", "begin"])
async def test_f56_with_the_store_down_an_app_mints_and_a_person_spends_nothing(world: World, operation: str) -> None:
    store = FaultyStore(world.store())
    async with person(world, store=store) as manager, world.manager(store=store) as app:
        token = await manager.bearer()
        store.down.add(operation)
        app.invalidate(await app.bearer())
        assert world.is_good(await app.bearer())
        await asyncio.sleep(LIFE - 11.0 - now())
        assert await manager.bearer() == token
        await asyncio.sleep(2.0)
        assert type(await failure_of(manager)) is StoreError

    assert "refresh_token" not in world.zoom.stats
    assert len(world.seen(StoreBypassed)) >= 1


async def test_f57_a_commit_that_fails_for_ten_minutes_loses_nothing(world: World) -> None:
    """Served from memory, stored in the end, no refresh token spent meanwhile; closing then hands the token over."""
    store = FaultyStore(world.store())
    rescued: list[tuple[str, Token]] = []
    async with person(world, store=store, on_uncommitted=lambda *token: rescued.append(token)) as manager:
        store.down.add("commit")
        token = await manager.renew()
        with pytest.raises(StoreError):
            await manager.renew()
        await asyncio.sleep(600.0)
        assert await manager.bearer() == token.access_token
        assert world.zoom.stats["refresh_token"] == {"ok": 1}
        store.down.clear()
        await asyncio.sleep(61.0)
        reading = await store.peek(key_of(world.zoom))
        assert reading.record is not None
        assert reading.record.token == token

        store.down.add("commit")
        token = await manager.renew()
        await manager.aclose()
        assert rescued == [("default", token)]

    assert (len(world.seen(CommitFailed)), len(world.seen(CommitRecovered))) == (2, 1)


async def test_f58_a_store_that_takes_thirty_seconds_is_given_up_after_five(world: World) -> None:
    store = FaultyStore(world.store())
    async with person(world, store=store) as manager, world.manager(store=store) as app:
        await app.bearer()
        store.slow = {"peek": 30.0, "begin": 30.0}
        started = now()
        assert world.is_good((await app.renew()).access_token)
        assert now() - started == pytest.approx(5.0 + world.zoom.latency, abs=1.0)  # with what is left of the floor
        with pytest.raises(StoreError, match="no answer within 5 s"):
            await manager.renew()
        store.slow.clear()

    assert "refresh_token" not in world.zoom.stats


async def test_f62_a_store_that_cannot_be_written_is_found_before_the_exchange(world: World) -> None:
    """It can be read all the while. Real read-only file systems and roles: with the durable stores."""
    store = FaultyStore(world.store())
    async with person(world, store=store) as manager:
        store.down |= {"begin", "commit", "condemn", "release", "forget"}
        for work in (manager.renew(), manager.authorize(world.consent()), manager.revoke()):
            with pytest.raises(StoreError):
                await work
        assert world.zoom.stats == {"authorization_code": {"ok": 1}}
        assert world.is_good(await manager.bearer())


async def test_f63_the_lease_of_a_dead_holder_is_taken_over_after_its_time_with_its_intent(world: World) -> None:
    """Real stores, real kills: with the durable stores."""
    store = world.store()
    world.zoom.model.reuse_grace = 30.0
    async with person(world, store=store) as manager:
        world.clock.advance(LIFE)
        await store.begin(key_of(world.zoom), 1, "dead", 20.0)
        started = now()
        assert world.is_good(await manager.bearer())
        assert now() - started == pytest.approx(20.0 + world.zoom.latency)

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


async def test_f64_a_late_winner_is_accepted_and_the_other_ones_refusal_not_latched(world: World) -> None:
    """Interleaving: Zoom rotates for A, whose host sleeps beyond its lease; B takes over and is refused; A goes on."""
    store = world.store()
    slow = Wire(MemoryTransport(world.zoom))
    async with person(world, store=store, transport=slow) as a, world.personal(store=store, policy=QUIET) as b:
        await b.bearer()
        slow.held_after = asyncio.Event()
        world.clock.advance(LIFE)
        first = asyncio.create_task(a.bearer())
        await asyncio.sleep(1.0)
        world.clock.advance(QUIET.lease)
        second = asyncio.create_task(b.bearer())
        await asyncio.sleep(1.0)
        assert world.zoom.stats["refresh_token"] == {"ok": 1, "invalid_grant": 1}
        slow.held_after.set()
        assert await first == await second == (await a.token()).access_token
        reading = await store.peek(key_of(world.zoom))
        assert reading.record is not None
        assert (reading.record.cause, reading.record.token) == (None, await a.token())

    assert world.zoom.stats["refresh_token"] == {"ok": 1, "invalid_grant": 1}
    assert not world.seen(GrantDied)


async def test_f65_a_release_after_its_end_does_not_touch_the_next_holders_lease(world: World) -> None:
    """The store in memory; the same contract holds for every other one (with the durable stores)."""
    store = world.store()
    await store.begin("key", 0, "first", 10.0)
    world.clock.advance(10.0)
    assert isinstance(await store.begin("key", 0, "second", 10.0), Begun)
    await store.release("key", "first", doubt=False)
    third = await store.begin("key", 0, "third", 10.0)
    assert isinstance(third, Reading)
    assert third.lease_left == 10.0
    assert [intent.holder for intent in third.intents] == ["second"]


async def test_f66_a_lease_that_was_being_acquired_at_the_end_is_no_orphan_beyond_its_time(world: World) -> None:
    store = FaultyStore(world.store())
    async with person(world, store=store) as manager:
        store.slow["begin"] = 3.0
        renewal = asyncio.create_task(manager.renew())
        await asyncio.sleep(2.0)
        renewal.cancel()
        await manager.aclose()
        store.slow.clear()
        started = now()
        async with world.personal(store=store) as successor:
            await successor.bearer()
            assert world.is_good((await successor.renew()).access_token)
        assert now() - started <= QUIET.lease

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


class _Leased(FaultyStore):
    """A store whose leases somebody else has, for ever."""

    busy = False

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        if self.busy:
            return replace(await self.peek(key), lease_left=1000.0)
        return await super().begin(key, generation, holder, lease, supersede=supersede)


async def test_f67_a_lease_that_is_busy_for_too_long_makes_an_app_mint_and_a_person_fail(world: World) -> None:
    store = _Leased(world.store())
    async with person(world, store=store) as manager, world.manager(store=store) as app:
        await app.bearer()
        store.busy = True
        started = now()
        assert world.is_good((await app.renew()).access_token)
        assert now() - started == pytest.approx(10.0 + world.zoom.latency, abs=1.0)
        with pytest.raises(TokenUnavailableError, match="another process has been renewing for too long"):
            await manager.renew()

    assert "refresh_token" not in world.zoom.stats
    assert [event.error for event in world.seen(StoreBypassed)] == [None]


def test_f68_a_lease_covers_an_attempt_and_its_commit_and_cannot_be_set() -> None:
    assert RenewalPolicy(attempt_timeout=7.0, commit_timeout=3.0).lease == 7.0 + 3.0 + 5.0
    shorter: dict[str, Any] = {"lease": 1.0}
    with pytest.raises(TypeError, match="lease"):
        RenewalPolicy(**shorter)


async def test_f71_a_partition_right_after_the_exchange_loses_nothing(world: World) -> None:
    store = FaultyStore(world.store())

    def partition(answer: Answer) -> Answer:
        store.down |= {"peek", "begin", "commit", "condemn", "release", "wait", "forget"}
        return answer

    async with person(world, store=store) as manager:
        world.wire.replies.append(partition)
        world.clock.advance(LIFE)
        token = await manager.bearer()
        assert manager.health().state == "uncommitted"
        await asyncio.sleep(600.0)
        store.down.clear()
        await asyncio.sleep(61.0)
        assert manager.health().state == "fresh"
        reading = await store.peek(key_of(world.zoom))
        assert reading.record is not None
        assert reading.record.token is not None
        assert reading.record.token.access_token == token

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


class _Replicated(FaultyStore):
    """A store that is read from a replica that lags behind."""

    replica: Reading | None = None

    async def peek(self, key: str) -> Reading:
        return self.replica or await super().peek(key)


async def test_f73_a_replica_that_lags_behind_costs_no_request_because_the_generation_is_checked(world: World) -> None:
    """`peek` may read a replica, `begin` never does. A real replica: with the durable stores."""
    store = _Replicated(world.store())
    async with person(world, store=store) as one, world.personal(store=store, policy=QUIET) as other:
        await other.bearer()
        store.replica = await store.peek(key_of(world.zoom))
        await asyncio.sleep(2.0)
        newer = await one.renew()
        assert await other.renew() == newer

    assert world.zoom.stats["refresh_token"] == {"ok": 1}
    assert len(world.seen(TokenAdopted)) >= 1


async def test_f74_a_reauthorization_during_a_renewal_outranks_the_late_token(world: World) -> None:
    """Exchange in flight on generation 1, the callback writes 2: in the model only its chain is live."""
    store = world.store()
    async with (
        person(world, store=store) as manager,
        world.personal(store=store, transport=MemoryTransport(world.zoom)) as callback,
    ):
        await callback.bearer()
        world.wire.held_after = asyncio.Event()
        late = asyncio.create_task(manager.renew())
        await asyncio.sleep(1.5)
        authorized = await callback.authorize(world.consent())
        world.wire.held_after.set()
        assert await late == authorized
        assert world.is_good(await manager.bearer())
        await turns()

    assert world.zoom.stats == {"authorization_code": {"ok": 2}, "refresh_token": {"ok": 1}}
    assert [event.revoked for event in world.seen(LateTokenDropped)] == [False]
