"""Several managers on one store: one exchange for each renewal, and no refresh token spent twice."""

import asyncio
import contextlib
import dataclasses
from typing import Any

import pytest

from tests.engine.world import QUIET, FaultyStore, World
from zoom_async_auth import (
    AuthorizationCodeGrant,
    AuthorizationRequiredError,
    RenewalPolicy,
    TokenManager,
    TokenUnavailableError,
)
from zoom_async_auth.events import GrantDied, LateTokenDropped, StoreBypassed, TokenAdopted, TokenRenewed
from zoom_async_auth.identity import namespace_of
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.stores.base import PLAUSIBLE_LEASE, Store
from zoom_async_auth.stores.memory import MemoryStore


def _key(world: World) -> str:
    return f"{namespace_of(world.zoom.user_app, world.zoom.url)}/default"


def _let_the_lease_run_out(store: MemoryStore, key: str) -> None:
    entry = store._entries[key]
    entry.row = dataclasses.replace(entry.row, leased_until=0.0)


async def _authorized(world: World, store: Any) -> None:
    async with world.personal(store=store) as manager:
        await manager.authorize(world.consent())


async def test_fifty_workers_that_start_together_cost_one_request(world: World) -> None:
    """Store first, then lease: the others adopt (F76)."""
    store = world.store()
    async with contextlib.AsyncExitStack() as stack:
        fleet = [await stack.enter_async_context(world.manager(store=store)) for _ in range(50)]
        tokens = await asyncio.gather(*(manager.bearer() for manager in fleet))

    assert len(set(tokens)) == 1
    assert world.zoom.token_requests == 1
    assert len(world.seen(TokenAdopted)) == 49


async def test_fifty_workers_that_start_again_cost_none(world: World) -> None:
    """What is stored is served (F76)."""
    store = world.store()
    async with world.manager(store=store) as manager:
        token = await manager.bearer()
    async with contextlib.AsyncExitStack() as stack:
        fleet = [await stack.enter_async_context(world.manager(store=store)) for _ in range(50)]
        assert {await manager.bearer() for manager in fleet} == {token}

    assert world.zoom.token_requests == 1


async def test_one_refresh_serves_the_whole_fleet_for_ten_lives(world: World) -> None:
    """P processes, one token request for each renewal, and the chain lives on."""
    store = world.store()
    await _authorized(world, store)
    async with contextlib.AsyncExitStack() as stack:
        fleet = []
        for number in range(8):
            luck = number / 8
            fleet.append(await stack.enter_async_context(world.personal(store=store, random=lambda luck=luck: luck)))
        await asyncio.sleep(10 * 3600.0)
        tokens = [await manager.bearer() for manager in fleet]

    assert all(map(world.is_good, tokens))
    # The luckiest renews for all, 664 s before the end: 12 times in 10 hours.
    assert world.zoom.stats["refresh_token"] == {"ok": 12}
    assert not world.seen(GrantDied)


async def test_a_rejected_token_is_replaced_by_the_one_that_a_peer_got(world: World) -> None:
    """401, look into the store, only then ask Zoom (F81)."""
    store = world.store()
    async with world.manager(store=store) as one, world.manager(store=store) as other:
        rejected = await one.bearer()
        assert await other.bearer() == rejected
        fresh = await other.renew()
        one.invalidate(rejected)
        assert await one.bearer() == fresh.access_token

    assert world.zoom.token_requests == 2


async def test_a_fleet_that_reports_one_rejected_token_costs_one_request(world: World) -> None:
    store = world.store()
    async with contextlib.AsyncExitStack() as stack:
        fleet = [await stack.enter_async_context(world.manager(store=store)) for _ in range(10)]
        rejected = {await manager.bearer() for manager in fleet}.pop()
        for manager in fleet:
            manager.invalidate(rejected)
        tokens = {await manager.bearer() for manager in fleet}

    assert len(tokens) == 1
    assert world.zoom.token_requests == 2


async def test_the_floor_between_renewals_holds_for_the_fleet(world: World) -> None:
    """It counts from the arrival of the token, which is in the record."""
    store = world.store()
    policy = RenewalPolicy(min_interval=10.0)
    loop = asyncio.get_running_loop()
    async with world.manager(store=store, policy=policy) as one:
        await one.bearer()
        async with world.manager(store=store, policy=policy) as other:
            await other.bearer()
            started = loop.time()
            await other.renew()
            assert loop.time() - started == pytest.approx(10.0, abs=0.2)


async def test_a_busy_lease_makes_an_app_get_its_own_token_after_a_while(world: World) -> None:
    """For an app the lease is for economy (F67)."""
    store = world.store()
    await store.begin(f"{namespace_of(world.zoom.credentials, world.zoom.url)}/default", 0, "stuck", 1000.0)
    loop = asyncio.get_running_loop()
    async with world.manager(store=store) as manager:
        started = loop.time()
        assert world.is_good(await manager.bearer())
        assert loop.time() - started == pytest.approx(10.0 + world.zoom.latency, abs=0.1)

    assert [event.error for event in world.seen(StoreBypassed)] == [None]


async def _hold(store: Store, key: str) -> None:
    """Take the lease again and again: of one that is longer than anybody takes, not all would count."""
    while True:
        await store.begin(key, 1, "stuck", PLAUSIBLE_LEASE)
        await asyncio.sleep(PLAUSIBLE_LEASE / 2)


async def test_a_busy_lease_is_never_bypassed_with_a_refresh_token(world: World) -> None:
    """Serve the access token, or fail (F67)."""
    store = world.store()
    await _authorized(world, store)
    async with world.personal(store=store, policy=QUIET) as manager:
        token = await manager.bearer()
        stuck = asyncio.create_task(_hold(store, _key(world)))
        await asyncio.sleep(3500.0)
        assert await manager.bearer() == token
        await asyncio.sleep(100.0)
        with pytest.raises(TokenUnavailableError, match="another process has been renewing for too long"):
            await manager.bearer()
        stuck.cancel()
        await asyncio.wait({stuck})

    assert "refresh_token" not in world.zoom.stats


async def test_a_dead_holders_lease_ends_and_its_intent_is_retried_once_the_token_has_expired(world: World) -> None:
    """F63: the access token has expired, so there is no time to wait for the doubt to pass."""
    store = world.store()
    await _authorized(world, store)
    world.clock.advance(3600.0)
    await store.begin(_key(world), 1, "dead", 20.0)
    loop = asyncio.get_running_loop()
    async with world.personal(store=store) as manager:
        started = loop.time()
        assert world.is_good(await manager.bearer())
        assert loop.time() - started == pytest.approx(20.0 + world.zoom.latency, abs=0.1)

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


async def test_a_foreign_intent_is_left_alone_while_the_token_lives_until_its_doubt_has_passed(world: World) -> None:
    """Whoever wrote it may be about to store the next token, and there is time."""
    store = world.store()
    await _authorized(world, store)
    async with world.personal(store=store, policy=QUIET) as manager:
        token = await manager.bearer()
        await asyncio.sleep(3200.0)
        await store.begin(_key(world), 1, "paused", 20.0)
        await asyncio.sleep(290.0)  # due since 3300 s, in doubt until 3500 s
        assert "refresh_token" not in world.zoom.stats
        assert await manager.bearer() == token
        await asyncio.sleep(80.0)
        assert world.zoom.stats["refresh_token"] == {"ok": 1}
        assert await manager.bearer() != token


async def test_what_a_paused_peer_stores_is_adopted_soon(world: World) -> None:
    """While in doubt the store is looked at again and again, at the pace of the backoff."""
    world.luck = 0.5
    store = world.store()
    await _authorized(world, store)
    paused = RenewalPolicy(jitter=0.0, timeout=200.0, attempt_timeout=200.0)
    async with world.personal(store=store, policy=QUIET) as manager, world.personal(store=store, policy=paused) as peer:
        token = await manager.bearer()
        await asyncio.sleep(3290.0)
        world.wire.held_after = asyncio.Event()
        renewal = asyncio.create_task(peer.renew())
        await asyncio.sleep(1.0)
        _let_the_lease_run_out(store, _key(world))
        await asyncio.sleep(60.0)
        assert await manager.bearer() == token
        world.wire.held_after.set()
        fresh = await renewal
        await asyncio.sleep(31.0)
        assert await manager.bearer() == fresh.access_token

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


async def test_a_late_winner_is_accepted_and_the_other_ones_refusal_is_not_believed(world: World) -> None:
    """F64: A pauses after Zoom has rotated, its lease ends, B gets invalid_grant; then A goes on."""
    store = world.store()
    await _authorized(world, store)
    world.clock.advance(3600.0)
    policy = RenewalPolicy(attempt_timeout=200.0)
    async with world.personal(store=store, policy=policy) as a:
        world.wire.held_after = asyncio.Event()
        first = asyncio.create_task(a.bearer())
        await asyncio.sleep(1.0)
        assert world.zoom.stats["refresh_token"] == {"ok": 1}
        release, world.wire.held_after = world.wire.held_after, None
        _let_the_lease_run_out(store, _key(world))
        async with world.personal(store=store) as b:
            second = asyncio.create_task(b.bearer())
            await asyncio.sleep(3.0)
            assert world.zoom.stats["refresh_token"] == {"ok": 1, "invalid_grant": 1}
            assert not second.done()
            release.set()
            assert await second == await first
            await asyncio.sleep(10.0)
            await b.renew()

    assert world.zoom.stats["refresh_token"] == {"ok": 2, "invalid_grant": 1}
    assert not world.seen(GrantDied)


async def test_a_refusal_is_believed_once_the_doubt_has_passed(world: World) -> None:
    """The peer is gone for good, with the token that followed: dead, cause lost answer (F28)."""
    world.luck = 0.5
    store = world.store()
    await _authorized(world, store)
    reading = await store.peek(_key(world))
    assert reading.record is not None
    assert reading.record.token is not None
    app = world.zoom.model.app(world.zoom.user_app.client_id)
    assert app is not None
    await store.begin(_key(world), 1, "killed", 20.0)
    world.zoom.model.token(
        app, {"grant_type": "refresh_token", "refresh_token": str(reading.record.token.refresh_token)}
    )
    world.clock.advance(100.0)
    manager = world.personal(store=store)
    async with manager:
        manager.invalidate(await manager.bearer())
        with pytest.raises(TokenUnavailableError, match="perhaps by another process") as caught:
            await manager.bearer()
        assert caught.value.error == "invalid_grant"
        posts = world.wire.posts
        await asyncio.sleep(300.0)
        with pytest.raises(AuthorizationRequiredError):
            await manager.bearer()
        assert world.wire.posts == posts

    assert [event.answer_was_lost for event in world.seen(GrantDied)] == [True]


async def test_a_reauthorization_elsewhere_outranks_a_refresh_on_the_wire(world: World) -> None:
    """F74: the late token is dropped, and only the chain of the new authorization is live."""
    store = world.store()
    await _authorized(world, store)
    async with world.personal(store=store) as one, world.personal(store=store) as other:
        await one.bearer()
        world.wire.held_after = asyncio.Event()
        late = asyncio.create_task(one.renew())
        await asyncio.sleep(1.5)
        assert world.zoom.stats["refresh_token"] == {"ok": 1}
        release, world.wire.held_after = world.wire.held_after, None
        token = await other.authorize(world.consent())
        release.set()
        assert (await late).access_token == token.access_token
        assert await one.bearer() == token.access_token
        assert world.is_good(token.access_token)

    assert [event.revoked for event in world.seen(LateTokenDropped)] == [False]


async def test_a_revocation_elsewhere_outranks_a_refresh_on_the_wire(world: World) -> None:
    """The late token is not stored, and Zoom is told to kill it (S31)."""
    store = world.store()
    await _authorized(world, store)
    async with world.personal(store=store) as one:
        await one.bearer()
        world.wire.held_after = asyncio.Event()
        late = asyncio.create_task(one.renew())
        await asyncio.sleep(1.5)
        release, world.wire.held_after = world.wire.held_after, None
        await store.forget(_key(world))
        release.set()
        with pytest.raises(AuthorizationRequiredError):
            await late
        reading = await store.peek(_key(world))
        assert reading.record is not None
        assert reading.record.token is None

    assert [event.revoked for event in world.seen(LateTokenDropped)] == [True]


async def test_an_authorization_in_one_process_reaches_the_others_unasked(world: World) -> None:
    """They look every thirty seconds, and when somebody asks, but not for each of a thousand who ask at once."""
    store = FaultyStore(world.store())
    async with world.personal(store=store) as waiting, world.personal(store=store) as other:
        with pytest.raises(AuthorizationRequiredError):
            await waiting.bearer()
        store.calls.clear()
        for _ in range(1000):
            with contextlib.suppress(AuthorizationRequiredError):
                await waiting.bearer()
        assert len(store.calls) <= 1
        await other.authorize(world.consent())
        await asyncio.sleep(30.5)
        assert waiting.health().state == "fresh"


async def test_a_person_who_comes_back_from_zoom_to_another_process_is_known_there(world: World) -> None:
    """She was sent away by one of two workers, and authorized the app in the other."""
    store = world.store()
    async with world.personal(store=store) as one, world.personal(store=store) as other:
        with pytest.raises(AuthorizationRequiredError):
            await one.bearer()
        token = await other.authorize(world.consent())
        assert await one.bearer() == token.access_token
        world.zoom.model.take_off("alice")
        assert one.invalidate(token)
        with pytest.raises(AuthorizationRequiredError):
            await one.bearer()
        token = await other.authorize(world.consent())
        assert await one.bearer() == token.access_token


async def test_a_process_with_a_dead_grant_hears_of_a_new_authorization(world: World) -> None:
    """Latched is not lost: the store is looked at when somebody asks."""
    store = world.store()
    await _authorized(world, store)
    async with world.personal(store=store) as one, world.personal(store=store) as other:
        app = world.zoom.model.app(world.zoom.user_app.client_id)
        assert app is not None
        world.zoom.model.revoke(app, await one.bearer())
        with pytest.raises(AuthorizationRequiredError):
            await one.renew()
        token = await other.authorize(world.consent())
        world.clock.advance(2.0)
        await asyncio.sleep(31.0)
        assert await one.bearer() == token.access_token


async def test_hosts_whose_clocks_differ_agree_by_the_stores_time(world: World) -> None:
    """A stored lifetime is counted by the store's clock, from before the read (F37)."""
    inner = MemoryStore(clock=world.clock)
    async with world.manager(store=inner) as one:
        await one.bearer()
        await asyncio.sleep(1000.0)
        async with world.manager(store=inner) as other:
            await other.bearer()
            assert other.health().seconds_left == pytest.approx(one.health().seconds_left, abs=0.2)


async def test_different_keys_are_different_people(world: World) -> None:
    """One store, one app, two identities: never swapped (S40)."""
    store = world.store()
    managers: list[TokenManager] = []
    async with contextlib.AsyncExitStack() as stack:
        for user in ("alice", "bob"):
            manager = await stack.enter_async_context(world.personal(store=store, key=user))
            grant = AuthorizationCodeGrant(code=world.zoom.authorize(user), redirect_uri=world.zoom.redirect_uri)
            await manager.authorize(grant)
            managers.append(manager)
        users = [world.zoom.model.user_of(await manager.bearer()) for manager in managers]

    assert users == ["alice", "bob"]
    assert len(world.seen(TokenRenewed)) == 0


async def test_a_worker_that_zoom_wants_to_wait_takes_the_token_that_a_peer_got(world: World) -> None:
    """`Retry-After` is about requests; a look into the store costs Zoom nothing (F2, F81)."""
    store = world.store()
    world.wire.instead.append(Answer(status=429, headers={"Retry-After": "3000"}, body=b""))
    async with world.manager(store=store) as told:
        with pytest.raises(TokenUnavailableError):
            await told.bearer()
        async with world.manager(store=store) as other:
            token = await other.bearer()
            await asyncio.sleep(60.0)
            assert await told.bearer() == token

    assert world.wire.posts == 2


async def test_who_may_send_nothing_notices_by_itself_that_a_peer_got_a_token(world: World) -> None:
    """Nobody asks; within half a minute or so. And callers who ask all the time do not wear the store out."""
    store = FaultyStore(world.store())
    world.wire.instead.append(Answer(status=429, headers={"Retry-After": "3000"}, body=b""))
    async with world.manager(store=store) as told:
        await asyncio.sleep(1.0)
        store.calls.clear()
        for _ in range(100):
            with pytest.raises(TokenUnavailableError):
                await told.bearer()
        assert store.calls == ["peek"]
        async with world.manager(store=store) as other:
            await other.bearer()
            await asyncio.sleep(31.0)
            assert told.health().ready


async def test_a_token_that_is_to_live_long_is_got_though_another_process_has_one_that_lives_shorter(
    world: World,
) -> None:
    """What the store has is newer than ours, and found first; it is not new enough either."""
    store = world.store()
    async with world.manager(store=store, policy=QUIET) as one, world.manager(store=store, policy=QUIET) as other:
        await other.bearer()
        await asyncio.sleep(10.0)
        await one.renew()
        await asyncio.sleep(600.0)
        assert world.is_good((await other.token(valid_for=3400.0)).access_token)

    assert world.zoom.token_requests == 3
