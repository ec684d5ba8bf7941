"""Authorizations that nobody uses: renewed in time, one process each, at nobody else's expense."""

import asyncio
import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest

from tests.engine.test_pool import DAY, HOUR, REFUSED, authorize, pool_of, refreshes
from tests.engine.world import FaultyStore, World
from zoom_async_auth import (
    AuthorizationRequiredError,
    ConfigurationError,
    StoredToken,
    TokenPool,
    TokenUnavailableError,
)
from zoom_async_auth.events import GrantDied, RenewalFailed
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant
from zoom_async_auth.renewal.sleepers import FEW, Sleepers
from zoom_async_auth.renewal.sweep import LATER
from zoom_async_auth.stores.base import Store
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.testing import LoopClock


@pytest.fixture
async def store(world: World) -> MemoryStore:
    return world.store()


def generation(store: MemoryStore, pool: TokenPool, user: str) -> int:
    """Return how often a token of somebody was stored; a look in the pool would count as a use."""
    record = store._entries[f"{pool._engine.prefix}{user}"].row.record
    return 0 if record is None else record.generation


def claims_of(store: MemoryStore) -> list[tuple[str, ...]]:
    """Have it noted, from now on, who is claimed each time."""
    claims: list[tuple[str, ...]] = []
    claim = store.claim

    async def noted(*arguments: Any, **options: Any) -> tuple[str, ...]:
        claims.append(await claim(*arguments, **options))
        return claims[-1]

    store.claim = noted  # type: ignore[method-assign]
    return claims


async def test_a_chain_that_nobody_uses_is_renewed_in_time_by_one_process_of_a_fleet(
    world: World, store: Store
) -> None:
    """Ninety days without a call; the store splits the work (F82)."""
    clock = LoopClock.running()  # on which a season is a matter of seconds
    async with pool_of(world, store, clock=clock) as one, pool_of(world, store, clock=clock) as other:
        users = [f"user-{number}" for number in range(300)]
        await authorize(one, world, *users)
        await asyncio.sleep(29 * 24 * HOUR)
        assert refreshes(world) == 0
        await asyncio.sleep(3 * 24 * HOUR)
        assert world.zoom.stats["refresh_token"] == {"ok": 300}
        assert one.health().identities == other.health().identities == 0
        await asyncio.sleep(60 * 24 * HOUR)
        assert world.zoom.stats["refresh_token"] == {"ok": 900}
        assert world.is_good(await other.bearer("user-7"))


async def test_keep_alive_needs_a_store_that_finds_who_is_idle(world: World) -> None:
    with pytest.raises(ConfigurationError, match=r"FaultyStore cannot find .* keep_alive=None"):
        pool_of(world, FaultyStore(world.store()))
    pool_of(world, FaultyStore(world.store()), keep_alive=None)


async def test_a_store_that_is_down_during_a_sweep_is_asked_again(
    world: World, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool_of(world, store, clock=LoopClock.running()) as pool:
        await authorize(pool, world, "alice")
        claim = store.claim

        async def fail(*_: Any, **__: Any) -> tuple[str, ...]:
            raise ConnectionError("the database at secret-host is down")

        monkeypatch.setattr(store, "claim", fail)
        await asyncio.sleep(31 * 24 * HOUR)
        failures = [str(event.error) for event in world.seen(RenewalFailed)]
        assert set(failures) == {"the store failed: ConnectionError"}
        monkeypatch.setattr(store, "claim", claim)
        await asyncio.sleep(24 * HOUR)
        assert refreshes(world) == 1


async def test_nothing_is_claimed_while_zoom_wants_a_pause(world: World, store: MemoryStore) -> None:
    """What is claimed and not renewed would be out of reach for the others of the fleet."""
    async with pool_of(world, store, clock=LoopClock.running(), keep_alive=DAY) as pool:
        await authorize(pool, world, "alice", "bob")
        await asyncio.sleep(0.95 * DAY)
        world.zoom.faults.add("refresh_token#1:retry-after=3600")
        with pytest.raises(TokenUnavailableError):
            await pool.renew("bob")
        claims = claims_of(store)
        await asyncio.sleep(3500.0)
        assert not claims
        await asyncio.sleep(0.2 * DAY)
        assert claims
        assert world.zoom.stats["refresh_token"]["ok"] == 2


async def test_persons_who_took_the_app_off_long_ago_hold_nobody_up(world: World, store: MemoryStore) -> None:
    """They are the oldest, and many: neither those who call nor others who sleep have to wait for them."""
    gone, asleep = [f"gone-{number}" for number in range(150)], [f"asleep-{number}" for number in range(20)]
    async with pool_of(world, store, clock=LoopClock.running()) as pool:
        await authorize(pool, world, *gone, "bob")
        await asyncio.sleep(HOUR)
        await authorize(pool, world, *asleep)
        for user in gone:
            world.zoom.model.take_off(user)
        for _ in range(31 * 12):
            await asyncio.sleep(2 * HOUR)  # each time bob's token has expired
            assert world.is_good(await pool.bearer("bob"))
            assert not pool.health().suspended
        assert [generation(store, pool, user) for user in asleep] == [2] * 20
        assert {event.key for event in world.seen(GrantDied)} == set(gone)


async def test_one_who_sleeps_is_believed_to_be_gone_when_zoom_says_so_twice(world: World, store: MemoryStore) -> None:
    async with pool_of(world, store, clock=LoopClock.running(), keep_alive=DAY) as pool:
        await authorize(pool, world, "alice", "bob")
        world.zoom.model.take_off("alice")
        await asyncio.sleep(DAY + LATER / 2)
        assert [str(event.error).partition(":")[0] for event in world.seen(RenewalFailed)] == [
            "Zoom refuses the refresh token, which nobody has used for long"
        ]
        assert not world.seen(GrantDied)
        await asyncio.sleep(LATER)
        assert [event.key for event in world.seen(GrantDied)] == ["alice"]
        assert world.zoom.stats["refresh_token"] == {"ok": 1, "invalid_grant": 2}


async def test_when_all_who_sleep_are_refused_for_days_none_is_given_up(world: World, store: MemoryStore) -> None:
    """Zoom's trouble, or the app's: it is asked about a few in a minute, and all live on once it is over."""
    users = [f"user-{number}" for number in range(100)]
    async with pool_of(world, store, clock=LoopClock.running(), keep_alive=DAY) as pool:
        await authorize(pool, world, *users)
        world.wire.instead = [REFUSED] * 100_000
        claims = claims_of(store)
        sent = []
        for _ in range(2 * 24 * 60):
            await asyncio.sleep(60.0)
            sent.append(world.wire.posts)
        assert sent[-1] - sent[0] > 200
        assert max(after - before for before, after in pairwise(sent)) <= 2 * FEW
        assert len(claims) <= 2 * DAY / 86.4 + 60  # a pause of a thousandth, once all are passed over
        assert not world.seen(GrantDied)
        world.wire.instead = []
        await asyncio.sleep(DAY)
        assert {generation(store, pool, user) for user in users} == {2}
        assert not world.seen(GrantDied)


async def test_who_is_asked_for_while_he_is_kept_alive_is_believed_to_be_gone(world: World, store: MemoryStore) -> None:
    async with pool_of(world, store, clock=LoopClock.running(), keep_alive=DAY) as pool:
        await authorize(pool, world, "alice")
        world.zoom.model.take_off("alice")
        world.wire.held_before = asyncio.Event()
        while world.wire.posts == 1:  # noqa: ASYNC110 -- the wire counts, in silence
            await asyncio.sleep(10.0)
        asking = asyncio.create_task(pool.bearer("alice"))
        await asyncio.sleep(1.0)
        world.wire.held_before.set()
        with pytest.raises(AuthorizationRequiredError):
            await asking


async def test_tokens_that_cannot_be_renewed_keep_nobody_from_being_renewed(world: World, store: MemoryStore) -> None:
    """Without a refresh token nothing is sent, so nothing says that they are dead: each sweep finds them anew."""
    clock = LoopClock.running()
    claims = claims_of(store)
    async with pool_of(world, store, clock=clock, keep_alive=DAY) as pool:
        bare = StoredToken(access_token="access", expires_at=clock.time() + HOUR)
        await pool.import_tokens((f"bare-{number}", bare) for number in range(300))
        await asyncio.sleep(60.0)
        await authorize(pool, world, "alice")
        await asyncio.sleep(1.1 * DAY)
        assert generation(store, pool, "alice") == 2
        claims.clear()
        await asyncio.sleep(DAY / 2)
        assert len(claims) <= DAY / 2 / 60


async def _leases(store: MemoryStore, pool: TokenPool, users: Iterable[str]) -> list[float]:
    """Return for how long others have to wait for each."""
    return [(await store.peek(f"{pool._engine.prefix}{user}")).lease_left for user in users]


async def _with_a_backlog(world: World, store: MemoryStore, *, dead: int, alive: int) -> list[str]:
    """Return those who took the app off. They are the oldest of those who sleep, for whom the next sweep comes."""
    gone = [f"gone-{number}" for number in range(dead)]
    async with pool_of(world, store, clock=LoopClock.running(), keep_alive=None) as pool:
        await authorize(pool, world, *gone)
        await asyncio.sleep(1.0)
        await authorize(pool, world, *(f"user-{number}" for number in range(alive)))
    for user in gone:
        world.zoom.model.take_off(user)
    await asyncio.sleep(31 * DAY)
    return gone


async def test_who_is_passed_over_can_be_renewed_by_other_processes(world: World, store: MemoryStore) -> None:
    """A sweep that works through a backlog claims the oldest again with each batch."""
    gone = await _with_a_backlog(world, store, dead=3, alive=1000)
    async with pool_of(world, store, clock=LoopClock.running(), rate=10.0) as pool:
        claims = claims_of(store)
        async with asyncio.timeout(HOUR):
            while len(claims) < 5:  # noqa: ASYNC110 -- the store counts, in silence
                await asyncio.sleep(1.0)
        assert {f"{pool._engine.prefix}{user}" for user in gone} <= set(claims[-1])
        assert await _leases(store, pool, gone) == [0.0] * 3


async def test_those_whose_turn_did_not_come_can_be_renewed_by_other_processes(
    world: World, store: MemoryStore
) -> None:
    """So many were refused that the sweep stops for a minute: nobody waits for the rest of its batch."""
    gone = await _with_a_backlog(world, store, dead=50, alive=0)
    async with pool_of(world, store, clock=LoopClock.running(), rate=10.0) as pool:
        async with asyncio.timeout(HOUR):
            while refreshes(world) < FEW:  # noqa: ASYNC110 -- Zoom counts, in silence
                await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)
        assert refreshes(world) == FEW
        assert await _leases(store, pool, gone) == [0.0] * 50


@pytest.mark.parametrize("hangs", [False, True])
async def test_claims_that_cannot_be_given_back_stop_no_sweep(
    world: World, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, *, hangs: bool
) -> None:
    """They run out by themselves."""
    await _with_a_backlog(world, store, dead=3, alive=300)

    async def fail(*_: Any, **__: Any) -> None:
        if hangs:
            await asyncio.Event().wait()
        raise ConnectionError("the database at secret-host is down")

    async with pool_of(world, store, clock=LoopClock.running(), rate=10.0) as pool:
        monkeypatch.setattr(store, "release", fail)
        await asyncio.sleep(HOUR)
        assert [generation(store, pool, f"user-{number}") for number in range(300)] == [2] * 300


@pytest.mark.parametrize(("slow", "before", "after"), [("claim", 0.0, 0.5), ("release", 0.5, 0.0)])
async def test_a_claim_that_is_given_back_takes_nobody_elses_lease(
    world: World, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, *, slow: str, before: float, after: float
) -> None:
    """Interleaving: a caller of this process begins between the claim and its release, or while that is on its way."""
    work = getattr(store, slow)

    async def slowly(*arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(before)
        answer = await work(*arguments, **options)
        await asyncio.sleep(after)
        return answer

    await _with_a_backlog(world, store, dead=0, alive=1)
    world.luck = 0.9  # the first sweep begins late
    async with (
        pool_of(world, store, clock=LoopClock.running()) as pool,
        pool_of(world, store, clock=LoopClock.running(), keep_alive=None) as other,
    ):
        assert pool._sweep is not None
        monkeypatch.setattr(store, slow, slowly)
        pool._sweep._passed_over["user-0"] = math.inf
        sweeping = asyncio.create_task(pool._sweep._take_batch())
        await asyncio.sleep(0.2)
        world.wire.held_before = asyncio.Event()
        asking = asyncio.create_task(pool.bearer("user-0"))
        await sweeping
        await asyncio.sleep(0.2)
        assert await _leases(store, other, ["user-0"]) != [0.0]
        world.wire.held_before.set()
        assert world.is_good(await asking)


async def test_a_code_that_is_refused_says_nothing_about_the_token_that_the_sweep_renews(
    world: World, store: MemoryStore
) -> None:
    wrong = AuthorizationCodeGrant(code="wrong", redirect_uri=world.zoom.redirect_uri)
    async with pool_of(world, store) as pool:
        sleepers = pool._engine.client.sleepers
        sleepers.asked.add("alice")  # her renewal waits for its turn
        with pytest.raises(AuthorizationRequiredError, match="ask the person"):
            await pool.authorize("alice", wrong)
        assert sleepers.asked == {"alice"}
        assert not sleepers._refused_at


async def test_a_store_that_never_answers_a_claim_ends_no_sweep(
    world: World, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One answer is lost, and unused refresh tokens would die of it, one by one, months later."""
    await _with_a_backlog(world, store, dead=0, alive=3)
    claim, claims = store.claim, 0

    async def hangs_once(*arguments: Any, **options: Any) -> tuple[str, ...]:
        nonlocal claims
        claims += 1
        if claims == 1:
            await asyncio.Event().wait()
        return await claim(*arguments, **options)

    monkeypatch.setattr(store, "claim", hangs_once)
    async with pool_of(world, store, clock=LoopClock.running()) as pool:
        await asyncio.sleep(DAY)
        assert [generation(store, pool, f"user-{number}") for number in range(3)] == [2] * 3
        assert [str(event.error) for event in world.seen(RenewalFailed)] == ["the store failed: TimeoutError"]


async def test_a_refusal_of_long_ago_is_forgotten(world: World) -> None:
    """Most of those who were refused once are gone, by another process's hand, or came back: nobody tells."""
    sleepers = Sleepers(world.clock.monotonic)
    for number in range(10_000):
        assert not sleepers.note_refusal(f"user-{number}")
        world.clock.advance(60.0)
    assert len(sleepers._refused_at) == DAY / 60
    sleepers.note_success("bob")
    assert not sleepers.note_refusal("user-0")
    assert sleepers.note_refusal("user-9999")
