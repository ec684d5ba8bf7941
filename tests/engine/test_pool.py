"""Many identities of one app: loaded when used, renewed while used, at a rate, and none given up in a crowd."""

import asyncio
import dataclasses
import math
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.engine.world import QUIET, FaultyStore, World, turns
from zoom_async_auth import (
    AuthorizationRequiredError,
    ConfigurationError,
    ManagerClosedError,
    MisuseError,
    RenewalPolicy,
    StoredToken,
    StoreError,
    Token,
    TokenPool,
    TokenUnavailableError,
)
from zoom_async_auth.bearer import BearerSource
from zoom_async_auth.events import Authorized, GrantDied, TokenAdopted, TokenRenewed
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.renewal.slot import Slot
from zoom_async_auth.stores.base import Begun, Record, Store
from zoom_async_auth.stores.memory import MemoryStore

REFUSED = Answer(status=400, headers={}, body=b'{"reason":"Invalid Token!","error":"invalid_grant"}')
HOUR = 3600.0
DAY = 24 * HOUR


def pool_of(world: World, store: Store, **options: Any) -> TokenPool:
    known: dict[str, Any] = {
        "base_url": world.zoom.url,
        "transport": world.wire,
        "clock": world.clock,
        "observers": [world.events.append],
        "random": lambda: world.luck,
        "policy": QUIET,
        "rate": 1000.0,
    }
    return TokenPool(world.zoom.user_app, store=store, **{**known, **options})


async def authorize(pool: TokenPool, world: World, *users: str) -> None:
    for user in users:
        code = world.zoom.authorize(user)
        await pool.authorize(user, AuthorizationCodeGrant(code=code, redirect_uri=world.zoom.redirect_uri))


@pytest.fixture
async def store(world: World) -> MemoryStore:
    return world.store()


@pytest.fixture
async def pool(world: World, store: Store) -> AsyncIterator[TokenPool]:
    async with pool_of(world, store) as pool:
        yield pool


class CountingStore(FaultyStore):
    """Counts how many commits are under way at once.

    Attributes:
        most: How many were.
    """

    most = 0
    _now = 0

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            return await super().commit(key, sent, record, holder)
        finally:
            self._now -= 1


def refreshes(world: World) -> int:
    return sum(world.zoom.stats.get("refresh_token", {}).values())


async def test_each_key_gets_its_own_token(world: World, pool: TokenPool) -> None:
    await authorize(pool, world, "alice", "bob")

    tokens = {key: await pool.bearer(key) for key in ("alice", "bob")}
    assert {world.zoom.model.user_of(token) for token in tokens.values()} == {"alice", "bob"}
    assert world.zoom.model.user_of(tokens["bob"]) == "bob"


async def test_a_first_call_finds_a_valid_token_in_the_store_and_sends_nothing(world: World, store: Store) -> None:
    async with pool_of(world, store) as pool:
        await authorize(pool, world, "alice")
        token = await pool.bearer("alice")
    requests = world.zoom.token_requests
    async with pool_of(world, store) as pool:
        assert await pool.bearer("alice") == token
        assert await pool.bearer("alice") == token
    assert world.zoom.token_requests == requests


async def test_a_thousand_callers_of_one_key_cost_one_request(world: World, pool: TokenPool) -> None:
    await authorize(pool, world, "alice")
    await asyncio.sleep(2 * HOUR)

    tokens = await asyncio.gather(*(pool.bearer("alice") for _ in range(1000)))
    assert len(set(tokens)) == 1
    assert refreshes(world) == 1


async def test_who_is_used_is_renewed_ahead_of_expiry_and_who_is_not_leaves_memory(
    world: World, pool: TokenPool
) -> None:
    await authorize(pool, world, "alice", "bob")
    for _ in range(4 * 60):
        await pool.bearer("alice")
        await asyncio.sleep(60.0)

    assert pool.health().identities == 1
    assert {event.key for event in world.seen(TokenRenewed)} == {"alice"}
    assert refreshes(world) == 4
    # And comes back with the next call, by the one renewal that its token needs.
    assert world.is_good(await pool.bearer("bob"))
    assert refreshes(world) == 5


async def test_after_a_pause_somebody_is_renewed_again_when_needed(world: World, pool: TokenPool) -> None:
    await authorize(pool, world, "alice")
    await asyncio.sleep(24 * HOUR)
    assert pool.health().identities == 0
    assert refreshes(world) == 0

    assert world.is_good(await pool.bearer("alice"))


async def test_at_rest_there_is_one_task_for_all(world: World, pool: TokenPool) -> None:
    before = len(asyncio.all_tasks())
    await authorize(pool, world, *(f"user-{number}" for number in range(50)))
    await turns()

    assert pool.health().identities == 50
    assert len(asyncio.all_tasks()) == before


async def test_no_more_identities_are_in_memory_than_the_capacity(world: World, store: Store) -> None:
    async with pool_of(world, store, capacity=10) as pool:
        for number in range(100):
            await authorize(pool, world, f"user-{number}")
            await pool.bearer("user-0")
            assert pool.health().identities <= 10
        adopted = len(world.seen(TokenAdopted))
        assert world.is_good(await pool.bearer("user-0"))  # the one that is used all the time stayed
        assert len(world.seen(TokenAdopted)) == adopted
        assert world.is_good(await pool.bearer("user-50"))
    assert refreshes(world) == 0


async def test_while_all_are_busy_there_are_more_than_the_capacity_and_hardly_a_look_for_room(
    world: World, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    is_at_rest = Slot.is_at_rest

    def looked_at(slot: Slot) -> bool:
        nonlocal looks
        looks += 1
        return bool(is_at_rest.__get__(slot))

    users = [f"user-{number}" for number in range(400)]
    async with pool_of(world, store, capacity=100) as pool:
        await authorize(pool, world, *users)
        await asyncio.sleep(2 * HOUR)
        world.wire.held_before = asyncio.Event()
        waiting = [asyncio.create_task(pool.bearer(user)) for user in users]
        monkeypatch.setattr(Slot, "is_at_rest", property(looked_at))
        await turns(50)
        monkeypatch.undo()
        assert pool.health().identities == 400
        assert looks < 50 * 300  # a look at all for each of them would be five times as many
        world.wire.held_before.set()
        await asyncio.wait(waiting)
        with pytest.raises(AuthorizationRequiredError):
            await pool.bearer("one-more")
        assert pool.health().identities <= 100


async def test_who_is_about_to_use_an_identity_keeps_it_in_memory(world: World, store: Store) -> None:
    """Of one identity there must never be two: each would spend its refresh token."""
    async with pool_of(world, store, capacity=1) as pool:
        await authorize(pool, world, "alice")
        await asyncio.sleep(2 * HOUR)
        grant = AuthorizationCodeGrant(code=world.zoom.authorize("alice"), redirect_uri=world.zoom.redirect_uri)
        anew = asyncio.create_task(pool.authorize("alice", grant))
        others = [asyncio.create_task(pool.bearer(key)) for key in ("bob", "alice", "carol", "alice")]
        await turns(1)
        only = pool._slots["alice"]
        await asyncio.wait([anew, *others])
        assert pool._slots.get("alice", only) is only
        assert {task.result() for task in (others[1], others[3])} == {anew.result().access_token}
    assert refreshes(world) == 0


async def test_who_is_let_go_late_takes_nobody_elses_place(world: World, pool: TokenPool) -> None:
    """A sweep ends after its identity has left memory and come back."""
    await authorize(pool, world, "alice")
    early = pool._slots["alice"]
    pool._let_go(early)
    await pool.bearer("alice")
    late = pool._slots["alice"]
    pool._let_go(early)
    assert pool._slots["alice"] is late is not early


async def test_a_token_that_was_rejected_is_not_taken_for_a_good_one_again(world: World, store: Store) -> None:
    """It is still in the store while the next one has to wait."""
    policy = RenewalPolicy(jitter=0.0, min_interval=10.0)
    async with pool_of(world, store, capacity=1, policy=policy) as pool:
        await authorize(pool, world, "alice")
        rejected = await pool.bearer("alice")
        pool.invalidate("alice", rejected)
        for number in range(5):
            with pytest.raises(AuthorizationRequiredError):
                await pool.bearer(f"nobody-{number}")
        assert await pool.bearer("alice") != rejected
    assert refreshes(world) == 1


async def test_what_only_this_process_knows_does_not_leave_memory(world: World) -> None:
    """A token that could not be stored yet."""
    store = FaultyStore(world.store())
    async with pool_of(world, store, capacity=2, keep_alive=None) as pool:
        await authorize(pool, world, "alice")
        await asyncio.sleep(2 * HOUR)
        store.down = {"commit"}
        token = await pool.bearer("alice")
        store.down = set()
        for number in range(10):
            await authorize(pool, world, f"user-{number}")
        assert await pool.bearer("alice") == token
        await asyncio.sleep(120.0)
    async with pool_of(world, store, keep_alive=None) as other:
        assert await other.bearer("alice") == token


async def test_an_identity_whose_token_has_just_been_stored_is_not_forgotten_before_it_is_planned_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the forgotten one would be renewed later, beside the one that took its place."""
    store = FaultyStore(world.store())
    settle = Slot.settle
    async with pool_of(world, store, capacity=1, keep_alive=None) as pool:
        await authorize(pool, world, "alice")
        await asyncio.sleep(2 * HOUR)
        store.down = {"commit"}
        await pool.bearer("alice")
        store.down = set()
        slot = pool._slots["alice"]

        async def settle_when_memory_is_short(slot: Slot) -> bool | StoreError:
            outcome = await settle(slot)
            asyncio.get_running_loop().call_soon(pool._make_room)
            return outcome

        monkeypatch.setattr(Slot, "settle", settle_when_memory_is_short)
        await asyncio.sleep(120.0)
        assert slot.pending is None
        assert pool._slots["alice"] is slot


async def test_a_dead_identity_holds_up_nobody(world: World, pool: TokenPool) -> None:
    """Nor one whose answer never comes (F78)."""
    await authorize(pool, world, "alice", "bob", "slow")
    world.zoom.model.take_off("bob")
    await asyncio.sleep(2 * HOUR)
    world.wire.held_before = asyncio.Event()
    waiting = asyncio.create_task(pool.bearer("slow"))
    await turns()
    world.wire.held_before = None

    with pytest.raises(AuthorizationRequiredError):
        await pool.bearer("bob")
    assert world.is_good(await pool.bearer("alice"))
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait({waiting})


async def test_a_dead_grant_is_latched_counted_listed_and_revived(world: World, pool: TokenPool) -> None:
    await authorize(pool, world, "alice", "bob")
    world.zoom.model.take_off("bob")
    await asyncio.sleep(2 * HOUR)
    for _ in range(5):
        with pytest.raises(AuthorizationRequiredError):
            await pool.bearer("bob")

    assert [event.key for event in world.seen(GrantDied)] == ["bob"]
    assert refreshes(world) == 1
    health = pool.health()
    assert (health.dead, health.dead_keys) == (1, {"bob": "invalid_grant"})
    assert pool.health("bob").state == "dead"
    await authorize(pool, world, "bob")
    await turns()
    assert (pool.health().dead, pool.health().dead_keys) == (0, {})
    assert world.zoom.model.user_of(await pool.bearer("bob")) == "bob"


async def test_who_is_forgotten_is_no_longer_among_the_dead(world: World, pool: TokenPool) -> None:
    await authorize(pool, world, "alice")
    world.wire.instead.append(REFUSED)
    with pytest.raises(AuthorizationRequiredError):
        await pool.renew("alice")
    await turns()
    assert pool.health().dead_keys == {"alice": "invalid_grant"}
    await pool.forget("alice")
    assert (pool.health().dead, pool.health().dead_keys) == (0, {})


async def test_leases_of_a_process_that_was_killed_hold_up_nobody_else(world: World, store: MemoryStore) -> None:
    """It had fifty renewals under way, as many as are under way at once: their leases are waited for aside."""
    loop = asyncio.get_running_loop()
    users, others = ([f"{name}-{number}" for number in range(50)] for name in ("killed", "other"))
    async with pool_of(world, store) as pool:
        await authorize(pool, world, *users, *others)
    await asyncio.sleep(2 * HOUR)
    async with pool_of(world, store, rate=100.0) as pool:
        for user in users:
            assert isinstance(await store.begin(pool._engine.prefix + user, 1, "killed", 20.0), Begun)
        asking = [asyncio.create_task(pool.bearer(user)) for user in users]
        await asyncio.sleep(1.0)
        started = loop.time()
        await asyncio.gather(*(pool.bearer(user) for user in others))
        assert loop.time() - started < 2.0
        assert all(map(world.is_good, await asyncio.gather(*asking)))
    assert world.zoom.stats["refresh_token"] == {"ok": 100}


async def test_who_waits_for_another_processes_lease_needs_no_turn_for_the_token_that_it_stores(
    world: World, store: Store
) -> None:
    """However many wait for a turn."""
    loop = asyncio.get_running_loop()
    users = ["alice", *(f"user-{number}" for number in range(400))]
    async with pool_of(world, store) as other, pool_of(world, store, rate=10.0) as pool:
        await authorize(other, world, *users)
        await asyncio.sleep(HOUR - 5.0)
        world.wire.held_before = asyncio.Event()
        renewing = asyncio.create_task(other.bearer("alice"))
        await asyncio.sleep(0.3)
        answer, world.wire.held_before = world.wire.held_before, None
        started = loop.time()
        asking = asyncio.create_task(pool.bearer("alice"))
        await asyncio.sleep(0.1)
        others = [asyncio.create_task(pool.bearer(user)) for user in users[1:]]
        await asyncio.sleep(1.5)
        answer.set()
        assert await asking == await renewing
        assert loop.time() - started < 3.0
        await asyncio.gather(*others, return_exceptions=True)


async def test_a_refused_token_and_a_code_that_was_accepted_say_that_zoom_is_well(
    world: World, pool: TokenPool
) -> None:
    """And a failure of long ago says nothing."""
    users = [f"user-{number}" for number in range(10)]
    await authorize(pool, world, *users)
    for ends in ("refusal", "code", "time"):
        world.zoom.outage = 503
        await asyncio.gather(*map(pool.renew, users), return_exceptions=True)
        world.zoom.outage = None
        assert pool.health().last_error is not None
        if ends == "refusal":
            world.wire.instead.append(REFUSED)
            with pytest.raises(AuthorizationRequiredError):
                await pool.renew("user-0")
        elif ends == "code":
            await authorize(pool, world, "alice")
        else:
            await asyncio.sleep(121.0)
        assert pool.health().last_error is None


async def test_imports_that_fail_leave_nobody_in_memory(world: World, store: Store) -> None:
    """Nor do they where the store was too slow to say that the lease is given back."""
    faulty = FaultyStore(store)
    async with pool_of(world, faulty, keep_alive=None) as pool:
        faulty.down, faulty.slow = {"commit"}, {"release": 6.0}
        for number in range(5):
            with pytest.raises(StoreError):
                await pool.import_tokens([(f"user-{number}", StoredToken(refresh_token="refresh"))])
        faulty.down, faulty.slow = set(), {}
        await asyncio.sleep(120.0)
        assert pool.health().identities == 0


async def test_what_is_no_token_is_nobodys_and_is_not_kept(pool: TokenPool) -> None:
    for text in ("", "two words", "x" * 20_000):
        assert pool.invalidate("alice", text) is False
    assert pool.health().identities == 0


async def test_a_token_that_is_rejected_while_it_is_on_its_way_from_the_store_is_not_taken(
    world: World, store: Store
) -> None:
    """Interleaving: another caller still has it from before its identity left memory."""
    slow = FaultyStore(store)
    async with pool_of(world, store) as pool:
        await authorize(pool, world, "alice")
        rejected = await pool.bearer("alice")
    world.zoom.reject(rejected)
    async with pool_of(world, slow, keep_alive=None) as pool:
        slow.slow["peek"] = 0.2
        asking = asyncio.create_task(pool.bearer("alice"))
        await asyncio.sleep(0.05)
        assert pool.invalidate("alice", rejected) is True
        assert world.is_good(await pool.bearer("alice"))
        assert world.is_good(await asking)


async def test_a_token_that_was_reported_for_another_identity_is_not_revoked_with_that(
    world: World, pool: TokenPool
) -> None:
    await authorize(pool, world, "alice", "bob")
    token = await pool.bearer("alice")
    pool._let_go(pool._slots["bob"])
    assert pool.invalidate("bob", token) is True
    await pool.revoke("bob")
    assert world.is_good(token)


async def test_all_who_wait_for_a_turn_hear_at_once_of_the_pause_that_zoom_wants(world: World, store: Store) -> None:
    loop = asyncio.get_running_loop()
    users = [f"user-{number}" for number in range(40)]
    async with pool_of(world, store) as pool:
        await authorize(pool, world, *users)
    await asyncio.sleep(2 * HOUR)
    async with pool_of(world, store, rate=2.0) as pool:
        world.wire.instead.append(Answer(status=429, headers={"Retry-After": "300"}, body=b"{}"))
        posts, started = world.wire.posts, loop.time()
        outcomes = await asyncio.gather(*map(pool.bearer, users), return_exceptions=True)
        assert loop.time() - started < 1.0
        assert {type(outcome) for outcome in outcomes} == {TokenUnavailableError}
        assert world.wire.posts == posts + 1


async def test_a_rejected_token_is_not_handed_out_again_though_its_identity_left_memory(
    world: World, store: Store
) -> None:
    """A request that is on its way keeps no identity in memory."""
    async with pool_of(world, store, capacity=1) as pool:
        await authorize(pool, world, "alice", "bob")
        rejected = await pool.bearer("alice")
        world.zoom.reject(rejected)
        await pool.bearer("bob")
        assert pool._slots.keys() == {"bob"}
        assert pool.invalidate("alice", f"Bearer {rejected}") is True
        assert world.is_good(await pool.bearer("alice"))
        posts = world.wire.posts
        await pool.bearer("bob")
        assert pool._slots.keys() == {"bob"}
        assert pool.invalidate("alice", rejected) is True  # told of late: another one is there
        assert world.is_good(await pool.bearer("alice"))
        assert world.wire.posts == posts


async def test_an_authorization_outranks_an_import_that_began_before_it(world: World, store: Store) -> None:
    """Interleaving: the import's question is slow on its way to the store."""
    slow = FaultyStore(store)
    imported = StoredToken(access_token="imported", refresh_token="old", expires_at=world.clock.time() + HOUR)
    async with pool_of(world, slow, keep_alive=None) as pool:
        slow.slow["begin"] = 0.5
        importing = asyncio.create_task(pool.import_tokens([("alice", imported)]))
        await asyncio.sleep(0.2)
        slow.slow.clear()
        await authorize(pool, world, "alice")
        assert await importing == 1
        assert world.is_good(await pool.bearer("alice"))
        assert world.is_good((await pool.renew("alice")).access_token)


async def test_refresh_tokens_alone_can_be_imported_and_are_used_when_somebody_asks(world: World, store: Store) -> None:
    async with pool_of(world, store) as pool:
        await authorize(pool, world, "alice", "bob")
        known = {key: (await pool.token(key)).refresh_token for key in ("alice", "bob")}
    requests = world.zoom.token_requests
    async with pool_of(world, world.store()) as pool:
        assert await pool.import_tokens((key, StoredToken(refresh_token=token)) for key, token in known.items()) == 2
        assert world.zoom.token_requests == requests
        assert world.zoom.model.user_of(await pool.bearer("alice")) == "alice"
        world.wire.instead.append(Answer(status=200, headers={}, body=b'{"status":"success"}'))
        posts = world.wire.posts
        await pool.revoke("bob")
        assert world.wire.posts == posts + 1


async def test_the_short_life_of_one_token_says_nothing_about_those_of_others(world: World, pool: TokenPool) -> None:
    await authorize(pool, world, "alice")
    await asyncio.sleep(3000.0)
    world.zoom.token_lifetime = 60.0
    await authorize(pool, world, "bob")
    world.zoom.token_lifetime = HOUR
    assert (await pool.token("alice", valid_for=1800.0)).expires_in == HOUR


async def test_an_outage_of_zoom_is_seen_in_the_health_of_the_pool(world: World, pool: TokenPool) -> None:
    """No identity says it by itself: whose token lives on has no trouble yet."""
    users = [f"user-{number}" for number in range(10)]
    await authorize(pool, world, *users)
    assert pool.health().last_error is None
    world.zoom.outage = 503
    await asyncio.sleep(2 * HOUR)
    await asyncio.gather(*map(pool.bearer, users), return_exceptions=True)
    trouble = pool.health().last_error
    assert (type(trouble), trouble and trouble.status) == (TokenUnavailableError, 503)
    world.zoom.outage = None
    await asyncio.sleep(61.0)
    await asyncio.gather(*map(pool.bearer, users))
    assert pool.health().last_error is None


async def test_a_pool_is_as_ready_from_any_thread_as_on_its_own_loop(pool: TokenPool) -> None:
    """A probe that is no coroutine runs in a thread."""
    assert (pool.health().ready, (await asyncio.to_thread(pool.health)).ready) == (True, True)
    await pool.aclose()
    assert (pool.health().ready, (await asyncio.to_thread(pool.health)).ready) == (False, False)


async def test_all_of_the_dead_are_counted_and_the_latest_thousand_named(pool: TokenPool) -> None:
    gone = AuthorizationRequiredError("gone", error="invalid_grant")
    for number in range(1500):
        pool._note(GrantDied(key=f"user-{number}", error=gone, answer_was_lost=False))
    assert pool.health().dead == 1500
    assert list(pool.health().dead_keys) == [f"user-{number}" for number in range(1499, 499, -1)]
    for number in range(1500):
        pool._note(Authorized(key=f"user-{number}", generation=2))
    assert pool.health().dead == 0


async def test_a_burst_of_refusals_gives_up_few_and_the_rest_goes_on(world: World, pool: TokenPool) -> None:
    """Zoom, or a proxy, refuses everybody for a while: the chains are alive, and must not be declared dead."""
    users = [f"user-{number}" for number in range(100)]
    await authorize(pool, world, *users)
    await asyncio.sleep(2 * HOUR)
    world.wire.instead = [REFUSED] * 1000
    outcomes = await asyncio.gather(*(pool.bearer(user) for user in users), return_exceptions=True)

    dead = [outcome for outcome in outcomes if isinstance(outcome, AuthorizationRequiredError)]
    doubted = [outcome for outcome in outcomes if isinstance(outcome, TokenUnavailableError)]
    assert len(dead) == len(world.seen(GrantDied)) == 4
    assert len(doubted) == 96
    assert pool.health().suspended
    assert not pool.health().ready
    assert 1000 - len(world.wire.instead) <= 6  # the rest was not even sent
    world.wire.instead = []
    await asyncio.sleep(61.0)
    tokens = await asyncio.gather(*(pool.bearer(user) for user in users[10:]))
    assert all(map(world.is_good, tokens))
    assert not pool.health().suspended
    assert len(world.seen(GrantDied)) == 4


async def test_a_burst_in_a_busy_pool_is_seen_at_once(world: World, pool: TokenPool) -> None:
    """Hundreds of renewals that have just worked do not hide it."""
    users = [f"user-{number}" for number in range(300)]
    await authorize(pool, world, *users)
    await asyncio.sleep(2 * HOUR)
    await asyncio.gather(*(pool.bearer(user) for user in users[:250]))
    world.wire.instead = [REFUSED] * 1000
    await asyncio.gather(*(pool.bearer(user) for user in users[250:]), return_exceptions=True)

    assert len(world.seen(GrantDied)) == 4
    assert pool.health().suspended


async def test_many_who_are_really_dead_do_not_keep_the_living_from_their_tokens(world: World, store: Store) -> None:
    """They are asked for all the time, and their tokens ended first."""
    async with pool_of(world, store, rate=10.0) as pool:
        dead, living = ([f"{kind}-{number}" for number in range(20)] for kind in ("dead", "living"))
        await authorize(pool, world, *dead)
        await asyncio.sleep(60.0)
        await authorize(pool, world, *living)
        for user in dead:
            world.zoom.model.take_off(user)
        await asyncio.sleep(2 * HOUR)

        async def insist(user: str) -> str:
            for _ in range(20):
                try:
                    return await pool.bearer(user)
                except TokenUnavailableError as error:
                    await asyncio.sleep(error.retry_after or 1.0)
            return "nothing"

        stubborn = [asyncio.create_task(insist(user)) for user in dead]
        await turns()
        tokens = await asyncio.gather(*(insist(user) for user in living))
        assert all(map(world.is_good, tokens))
        for task in stubborn:
            task.cancel()
        await asyncio.wait(stubborn)


async def test_a_valid_token_of_the_store_takes_no_turn(world: World, store: Store) -> None:
    """After a restart all are loaded as fast as the store can."""
    users = [f"user-{number}" for number in range(100)]
    async with pool_of(world, store) as pool:
        await authorize(pool, world, *users)
    async with pool_of(world, store, rate=0.1) as pool:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.gather(*(pool.bearer(user) for user in users))
        assert loop.time() - started < 1.0


async def test_an_import_never_replaces_an_authorization_that_comes_at_the_same_time(
    world: World, pool: TokenPool
) -> None:
    old = StoredToken(access_token="old", refresh_token="old", expires_at=world.clock.time() + HOUR)
    world.wire.held_after = asyncio.Event()
    anew = asyncio.create_task(authorize(pool, world, "alice"))
    await turns()
    importing = asyncio.create_task(pool.import_tokens([("alice", old)]))
    await turns()
    world.wire.held_after.set()
    await anew
    assert await importing == 0
    assert world.is_good(await pool.bearer("alice"))


async def test_one_who_is_asked_for_is_believed_to_be_dead_in_a_crowd(world: World, pool: TokenPool) -> None:
    users = [f"user-{number}" for number in range(20)]
    await authorize(pool, world, *users)
    await asyncio.sleep(2 * HOUR)
    for user in users:
        world.zoom.model.take_off(user)
    await asyncio.gather(*(pool.bearer(user) for user in users), return_exceptions=True)
    assert pool.health().suspended

    with pytest.raises(AuthorizationRequiredError):
        await pool.renew(users[-1])
    assert pool.health(users[-1]).state == "dead"


async def test_renewals_start_at_the_rate_and_callers_who_wait_go_first(world: World, store: Store) -> None:
    loop = asyncio.get_running_loop()
    async with pool_of(world, store, rate=2.0) as pool:
        users = [f"user-{number}" for number in range(40)]
        await authorize(pool, world, *users)
        for _ in range(3):
            await asyncio.sleep(0.4 * HOUR)
            await asyncio.gather(*(pool.bearer(user) for user in users), return_exceptions=True)
        sent = refreshes(world)
        await asyncio.sleep(120.0)  # all in the background, one each half second
        assert refreshes(world) - sent <= 40
        await asyncio.sleep(2 * HOUR)
        began = loop.time()
        unhurried = [asyncio.create_task(pool.bearer(user)) for user in users]
        await asyncio.wait(unhurried)
        assert loop.time() - began >= 39 / 2.0 - 1


async def test_a_fleet_works_off_what_is_due_at_the_rate_of_all_its_processes(world: World, store: Store) -> None:
    """Each renews others: who finds at its turn that another one was faster gives the turn to the next."""
    users = [f"user-{number}" for number in range(100)]
    async with pool_of(world, store) as pool:
        await authorize(pool, world, *users)
    await asyncio.sleep(2 * HOUR)
    policy = RenewalPolicy(timeout=300.0)
    options: dict[str, Any] = {"rate": 5.0, "policy": policy, "random": random.Random(1).random}  # noqa: S311 -- luck that can be had again
    async with AsyncExitStack() as stack:
        fleet = [await stack.enter_async_context(pool_of(world, store, **options)) for _ in range(4)]
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(one.bearer(user) for one in fleet for user in users))
        assert asyncio.get_running_loop().time() - began < 100 / 5.0 / 2
    assert world.zoom.stats["refresh_token"] == {"ok": 100}


async def test_a_background_renewal_that_waits_for_its_turn_goes_first_once_somebody_waits_for_it(
    world: World, store: Store
) -> None:
    async with pool_of(world, store, rate=0.5, policy=RenewalPolicy(jitter=0.0, timeout=100.0)) as pool:
        users = [f"user-{number}" for number in range(20)]
        await authorize(pool, world, *users)
        await asyncio.sleep(0.75 * HOUR)
        for user in users:
            await pool.bearer(user)
        await asyncio.sleep(0.25 * HOUR - 300.0 + 3.0)  # all are due; two seconds for each
        assert pool.health().waiting > 10
        last = max(users, key=lambda user: pool.health(user).generation == 1)
        before = refreshes(world)
        world.zoom.reject(token := await pool.bearer(last))
        pool.invalidate(last, token)
        assert world.zoom.model.user_of(await pool.bearer(last)) == last
        assert refreshes(world) - before <= 2


async def test_who_cannot_be_renewed_takes_no_turn_from_those_who_can(world: World, store: Store) -> None:
    """Unknown keys, of a bot that guesses for example, and authorizations that are dead: nothing is sent for them."""
    dead = [f"dead-{number}" for number in range(300)]
    async with pool_of(world, store) as pool:
        await authorize(pool, world, "alice", *dead)
        for user in dead:
            await store.condemn(pool._engine.prefix + user, 1, "invalid_grant")
    world.clock.advance(2 * HOUR)
    loop = asyncio.get_running_loop()
    async with pool_of(world, store, rate=10.0) as pool:
        asking = [asyncio.create_task(pool.bearer(user)) for user in (*dead, *(f"nobody-{n}" for n in range(300)))]
        await asyncio.sleep(0.01)
        began = loop.time()
        assert world.is_good(await pool.bearer("alice"))
        assert loop.time() - began < 1.0
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {AuthorizationRequiredError}
    assert world.zoom.stats["refresh_token"] == {"ok": 1}


async def test_a_dead_authorization_is_tried_for_who_insists_while_the_store_is_looked_at(world: World) -> None:
    """Interleaving: a caller's look finds that it is dead, and `renew` joins before that is told."""
    store = FaultyStore(inner := world.store())
    async with pool_of(world, store, keep_alive=None) as pool:
        await authorize(pool, world, "alice")
        await inner.condemn(pool._engine.prefix + "alice", 1, "invalid_grant")
        world.clock.advance(2 * HOUR)
        store.slow["peek"] = 1.0
        asking = asyncio.create_task(pool.bearer("alice"))
        await asyncio.sleep(0.5)
        assert world.is_good((await pool.renew("alice")).access_token)
        assert world.is_good(await asking)


async def test_an_authorization_that_is_not_stored_yet_outranks_a_dead_one(world: World) -> None:
    """The row says that nothing can be renewed; what this process has is stored over it first."""
    store = FaultyStore(inner := world.store())
    async with pool_of(world, store, keep_alive=None) as pool:
        await authorize(pool, world, "alice")
        key = pool._engine.prefix + "alice"
        old = (await inner.peek(key)).record
        assert old is not None
        await asyncio.sleep(5.0)
        store.down.add("commit")
        await authorize(pool, world, "alice")
        await inner.commit(key, 1, dataclasses.replace(old, generation=2, cause="invalid_grant"), "late")
        world.clock.advance(2 * HOUR)
        store.down.clear()
        assert world.is_good(await pool.bearer("alice"))


async def test_too_many_requests_halve_the_rate_which_comes_back_slowly(world: World, pool: TokenPool) -> None:
    await authorize(pool, world, "alice")
    world.zoom.faults.add("refresh_token#1:retry-after=1")
    await asyncio.sleep(2 * HOUR)
    await pool.bearer("alice")

    assert pool.health().rate == 500.0
    await asyncio.sleep(31.0)
    assert pool.health().rate == 625.0
    await asyncio.sleep(90.0)
    assert pool.health().rate == 1000.0


async def test_while_nothing_but_failures_comes_back_a_tenth_of_the_rate_is_used(world: World, pool: TokenPool) -> None:
    users = [f"user-{number}" for number in range(20)]
    await authorize(pool, world, *users)
    await asyncio.sleep(2 * HOUR)
    world.zoom.outage = 503
    outcomes = await asyncio.gather(*(pool.bearer(user) for user in users), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {TokenUnavailableError}
    assert pool.health().rate == 100.0
    world.zoom.outage = None

    assert all([world.is_good(await pool.bearer(user)) for user in users])
    assert pool.health().rate == 1000.0


async def test_tokens_of_another_program_are_taken_over_without_a_request_once(world: World, pool: TokenPool) -> None:
    now = world.clock.time()
    await authorize(pool, world, "alice")
    tokens = [
        (name, StoredToken(access_token=f"access-{name}", refresh_token=f"refresh-{name}", expires_at=now + HOUR))
        for name in ("alice", *(f"user-{number}" for number in range(200)))
    ]
    requests = world.zoom.token_requests

    assert await pool.import_tokens(tokens) == 200
    assert await pool.import_tokens(tokens) == 0
    assert pool.health().identities == 1  # they come into memory when they are used
    assert await pool.bearer("user-7") == "access-user-7"
    assert await pool.bearer("alice") != "access-alice"
    assert world.zoom.token_requests == requests


async def test_an_import_that_fails_keeps_what_it_has_and_says_so(world: World) -> None:
    store = FaultyStore(world.store())
    async with pool_of(world, store, keep_alive=None) as pool:
        store.down = {"commit"}
        token = StoredToken(access_token="access", refresh_token="refresh", expires_at=world.clock.time() + HOUR)
        with pytest.raises(StoreError, match="import it again"):
            await pool.import_tokens([("alice", token), ("bob", token)])
        store.down = set()
        assert await pool.import_tokens([("alice", token), ("bob", token)]) == 2


async def test_what_ends_an_import_is_raised_as_it_is(world: World, store: Store) -> None:
    token = StoredToken(access_token="access", refresh_token="refresh", expires_at=world.clock.time() + HOUR)

    def broken() -> Iterator[tuple[str, StoredToken]]:
        yield "alice", token
        raise KeyError("a row of the old program")

    async with pool_of(world, store) as pool:
        with pytest.raises(KeyError):
            await pool.import_tokens(broken())
        with pytest.raises(ConfigurationError, match="key"):
            await pool.import_tokens([("alice", token), ("", token)])
        assert await pool.import_tokens([("alice", token)]) == 1
        closing = [(f"user-{number}", token) for number in range(100)]
        work = asyncio.create_task(pool.import_tokens(closing))
        await turns(3)
        await pool.aclose()
        with pytest.raises(ManagerClosedError):
            await work


@pytest.mark.parametrize("end", ["closed", "killed"])
async def test_an_import_that_was_broken_off_at_any_moment_can_be_done_again(world: World, end: str) -> None:
    """Interleaving: the lease is taken, nothing is stored. What is closed ends its commits, what is killed cannot."""
    inner = world.store()
    store = FaultyStore(inner)
    store.slow = {"commit": 3.0}
    token = StoredToken(access_token="access", refresh_token="refresh", expires_at=world.clock.time() + HOUR)
    pool = pool_of(world, store, keep_alive=None)
    await pool.start()
    work = asyncio.create_task(pool.import_tokens([("alice", token)]))
    await asyncio.sleep(1.0)
    if end == "killed":
        for task in pool._engine.crew._tasks:
            task.cancel()
        with pytest.raises(ManagerClosedError):
            await work
    await pool.aclose()
    async with pool_of(world, inner) as other:
        if end == "killed":
            with pytest.raises(TokenUnavailableError, match="import it again later") as caught:
                await other.import_tokens([("alice", token)])
            await asyncio.sleep(caught.value.retry_after or 0.0)
            assert await other.import_tokens([("alice", token)]) == 1
        else:
            assert await work == 1
            assert await other.import_tokens([("alice", token)]) == 0
        assert await other.bearer("alice") == "access"


async def test_who_asked_too_early_gets_the_token_that_was_imported_then(world: World, pool: TokenPool) -> None:
    token = StoredToken(access_token="access", refresh_token="refresh", expires_at=world.clock.time() + HOUR)
    with pytest.raises(AuthorizationRequiredError):
        await pool.bearer("alice")
    assert await pool.import_tokens([("alice", token)]) == 1
    assert await pool.bearer("alice") == "access"


async def test_what_is_forgotten_is_gone_and_zoom_is_not_told(world: World, pool: TokenPool) -> None:
    await authorize(pool, world, "alice")
    token = await pool.bearer("alice")
    await pool.forget("alice")

    with pytest.raises(AuthorizationRequiredError):
        await pool.bearer("alice")
    assert world.is_good(token)
    await authorize(pool, world, "alice")
    assert world.is_good(await pool.bearer("alice"))


async def test_what_is_revoked_is_dead_at_zoom(world: World, pool: TokenPool) -> None:
    await authorize(pool, world, "alice", "bob")
    token = await pool.bearer("alice")
    await pool.revoke("alice")

    assert not world.is_good(token)
    with pytest.raises(AuthorizationRequiredError):
        await pool.bearer("alice")
    assert world.is_good(await pool.bearer("bob"))


async def test_names_of_nobody_cost_no_request_and_leave_memory(world: World, pool: TokenPool) -> None:
    """Whoever can choose keys can ask for many."""
    for number in range(100):
        with pytest.raises(AuthorizationRequiredError):
            await pool.bearer(f"nobody-{number}")
    assert pool.health().identities == 100
    await asyncio.sleep(120.0)
    assert pool.health().identities == 0
    assert world.zoom.token_requests == 0


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0},
        {"rate": "10"},
        {"rate": True},
        {"capacity": 0},
        {"capacity": 2.5},
        {"idle_after": math.nan},
        {"keep_alive": 0},
    ],
)
async def test_a_value_that_cannot_be_is_refused(world: World, store: Store, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="more than 0"):
        pool_of(world, store, **options)


async def test_a_pool_without_a_rate_sends_as_it_likes(world: World, store: Store) -> None:
    users = [f"user-{number}" for number in range(200)]
    async with pool_of(world, store, rate=math.inf) as pool:
        await authorize(pool, world, *users)
        await asyncio.sleep(2 * HOUR)
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*map(pool.bearer, users))
        assert asyncio.get_running_loop().time() - began < 1.0


async def test_an_observer_that_cannot_be_called_is_told_by_its_place(world: World, store: Store) -> None:
    with pytest.raises(ConfigurationError, match="observer 0 cannot be called"):
        pool_of(world, store, observers=[3])


async def test_a_pool_is_opened_once_and_says_so(world: World, store: Store) -> None:
    pool = pool_of(world, store)
    with pytest.raises(MisuseError, match="the TokenPool is not open"):
        await pool.bearer("alice")
    async with pool:
        await authorize(pool, world, "alice")
        with pytest.raises(ConfigurationError, match="key must have"):
            await pool.bearer("")
    with pytest.raises(ManagerClosedError, match="the TokenPool is closed"):
        await pool.bearer("alice")
    with pytest.raises(MisuseError, match="only once"):
        await pool.start()


async def test_renewals_on_the_wire_land_before_the_end(world: World, store: Store) -> None:
    users = [f"user-{number}" for number in range(20)]
    async with pool_of(world, store) as pool:
        await authorize(pool, world, *users)
        await asyncio.sleep(2 * HOUR)
        world.wire.held_after = asyncio.Event()
        waiting = [asyncio.create_task(pool.bearer(user)) for user in users]
        while refreshes(world) < 20:  # noqa: ASYNC110 -- the sandbox counts, in silence
            await asyncio.sleep(0.01)
        closing = asyncio.create_task(pool.aclose())
        await turns()
        world.wire.held_after.set()
        await closing
        tokens = await asyncio.gather(*waiting)
    assert all(map(world.is_good, tokens))
    async with pool_of(world, store) as other:
        assert [await other.bearer(user) for user in users] == list(tokens)


async def test_thousands_of_tokens_are_stored_at_the_end_a_few_at_a_time(world: World) -> None:
    """A database that had a bad time does not get them all at once."""
    store = CountingStore(world.store())
    users = [f"user-{number}" for number in range(200)]
    async with pool_of(world, store, keep_alive=None) as pool:
        await authorize(pool, world, *users)
        await asyncio.sleep(2 * HOUR)
        store.down = {"commit"}
        tokens = [await pool.bearer(user) for user in users]
        store.down = set()
        store.slow = {"commit": 0.01}
        store.most = 0
    assert store.most == 20
    async with pool_of(world, store, keep_alive=None) as other:
        assert [await other.bearer(user) for user in users] == tokens


async def test_a_store_that_hangs_at_the_end_does_not_keep_a_pool_open_for_each_of_its_tokens(world: World) -> None:
    store = FaultyStore(world.store())
    users = [f"user-{number}" for number in range(200)]
    saved: dict[str, Token] = {}
    pool = pool_of(world, store, keep_alive=None, on_uncommitted=saved.__setitem__)
    async with pool:
        await authorize(pool, world, *users)
        await asyncio.sleep(2 * HOUR)
        store.down = {"commit"}
        tokens = [await pool.bearer(user) for user in users]
        store.slow = {"commit": HOUR}
        began = world.clock.monotonic()
    assert world.clock.monotonic() - began <= 2 * QUIET.lease
    assert [saved[user].access_token for user in users] == tokens


async def test_an_identity_of_a_pool_is_a_bearer_source(world: World, pool: TokenPool) -> None:
    await authorize(pool, world, "alice")
    alice = pool.manager("alice")
    source: BearerSource = alice
    token = await source.bearer()

    assert world.zoom.model.user_of(token) == "alice"
    assert await alice.headers() == {"Authorization": f"Bearer {token}"}
    assert (await alice.token()).access_token == token
    assert alice.health().state == "fresh"
    await asyncio.sleep(2.0)
    assert source.invalidate(token)
    assert await alice.bearer() != token
    assert (await alice.renew()).access_token == await alice.bearer()


async def test_a_key_is_one_identity_however_it_is_typed(world: World, pool: TokenPool) -> None:
    await authorize(pool, world, "zo\u00eb")
    assert await pool.bearer("zoe\u0308") == await pool.bearer("zo\u00eb")
    assert pool.health().identities == 1


@pytest.mark.parametrize("verb", ["bearer", "token", "headers", "renew", "revoke", "forget"])
async def test_persons_without_a_key_do_not_share_a_token(world: World, pool: TokenPool, verb: str) -> None:
    await authorize(pool, world, "default")
    with pytest.raises(ConfigurationError, match="key must be a string"):
        await getattr(pool, verb)(None)


@pytest.mark.parametrize("entries", [[("alice", {"access_token": "secret"})], {"alice": "secret"}, [(None, None)], [7]])
async def test_an_import_of_something_else_names_what_it_takes_and_leaves_no_lease(
    world: World, pool: TokenPool, entries: Any
) -> None:
    with pytest.raises(ConfigurationError, match="pairs of a key and a StoredToken") as caught:
        await pool.import_tokens(entries)
    assert "secret" not in str(caught.value)
    token = StoredToken(access_token="access", refresh_token="refresh", expires_at=world.clock.time() + HOUR)
    assert await pool.import_tokens({"alice": token}.items()) == 1
