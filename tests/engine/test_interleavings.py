"""Interleavings and inputs that broke a promise once: each test names which, and how."""

import asyncio
from typing import Any

import pytest

from tests.engine.world import QUIET, FaultyStore, World
from zoom_async_auth import (
    AuthorizationCodeGrant,
    AuthorizationRequiredError,
    ClientCredentialsGrant,
    ConfigurationError,
    ManagerClosedError,
    RenewalPolicy,
    StoredToken,
    TokenManager,
    TokenUnavailableError,
)
from zoom_async_auth.events import GrantDied
from zoom_async_auth.identity import namespace_of
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.stores.base import Reading


@pytest.fixture
async def world() -> World:
    return World(luck=0.5)


def _key(world: World) -> str:
    return f"{namespace_of(world.zoom.user_app, world.zoom.url)}/default"


async def _opened(world: World, **options: Any) -> TokenManager:
    manager = world.personal(**{"policy": QUIET, **options})
    await manager.start()
    await manager.authorize(world.consent())
    return manager


async def test_two_processes_in_doubt_of_each_other_come_to_an_end(world: World) -> None:
    """Each tries again, and its doubt does not begin anew each time: else neither would ever believe the refusal."""
    store = world.store()
    first = await _opened(world, store=store)
    async with world.personal(store=store) as second:
        await second.bearer()
        world.clock.advance(3600.0)
        world.zoom.faults.add("refresh_token:reset-after")
        for manager in (first, second):
            with pytest.raises((TokenUnavailableError, AuthorizationRequiredError)):
                await manager.bearer()
        await asyncio.sleep(700.0)
        for manager in (first, second):
            with pytest.raises(AuthorizationRequiredError):
                await manager.bearer()
    await first.aclose()

    assert len(world.seen(GrantDied)) == 1


async def test_a_store_that_was_cancelled_is_a_store_in_trouble(world: World) -> None:
    """Its connection pool shares a future that somebody else cancelled: our task is not cancelled, so nobody stops."""

    class Cancelled(FaultyStore):
        broken = True

        async def peek(self, key: str) -> Reading:
            self.calls.append("peek")
            if self.broken:
                raise asyncio.CancelledError
            return await super().peek(key)

    store = Cancelled(world.store())
    async with world.manager(store=store) as manager:
        assert world.is_good(await manager.bearer())
        assert store.calls.count("peek") == 1


async def test_a_renewal_that_somebody_cancels_is_tried_again_after_a_pause(world: World) -> None:
    """A program that cancels tasks which are not its own: no busy loop, and a transient error."""
    async with world.manager() as manager:
        caller = asyncio.create_task(manager.bearer())
        await asyncio.sleep(0.05)
        (flying,) = manager._engine.crew._tasks
        flying.cancel()
        with pytest.raises(TokenUnavailableError, match="was cancelled"):
            await caller
        assert world.wire.posts == 1
        await asyncio.sleep(1.0)
        assert world.is_good(await manager.bearer())
        assert world.wire.posts == 2


async def test_a_refused_code_does_not_stop_the_renewals_of_the_living_chain(world: World) -> None:
    """A wrong redirect URI is a fault of that authorization; it was taken for one of the whole client."""
    manager = await _opened(world)
    with pytest.raises(ConfigurationError):
        await manager.authorize(
            AuthorizationCodeGrant(code=world.zoom.authorize(), redirect_uri="https://wrong.example/")
        )
    with pytest.raises(AuthorizationRequiredError):
        await manager.authorize(AuthorizationCodeGrant(code="made up", redirect_uri=world.zoom.redirect_uri))
    await asyncio.sleep(3400.0)
    assert world.zoom.stats["refresh_token"] == {"ok": 1}
    world.clock.advance(3600.0)
    world.wire.held_before = asyncio.Event()
    with pytest.raises(TokenUnavailableError):  # and its error is not told as that of a renewal
        await manager.bearer()
    world.wire.held_before.set()
    await manager.aclose()


@pytest.mark.parametrize("recovers", [True, False], ids=["the store recovers", "the store is down"])
async def test_a_token_in_its_commit_at_the_end_of_everything_is_handed_over(world: World, *, recovers: bool) -> None:
    """All tasks are cancelled while the store has yet to answer: the rotated token is stored, or rescued (F43, F57)."""
    inner = world.store()
    store = FaultyStore(inner)
    rescued: list[str] = []
    manager = await _opened(world, store=store, on_uncommitted=lambda key, _: rescued.append(key))
    await asyncio.sleep(2.0)
    store.slow["commit"] = 3.0
    renewal = asyncio.create_task(manager.renew())
    await asyncio.sleep(1.0)
    store.slow.clear()
    store.down |= set() if recovers else {"commit"}
    for task in asyncio.all_tasks():
        if task.get_name() == "zoom-async-auth":
            task.cancel()

    async def end() -> None:
        await asyncio.wait({renewal})
        await manager.aclose()

    with pytest.warns(ResourceWarning):
        await end()

    assert rescued == ([] if recovers else ["default"])
    assert (await inner.peek(_key(world))).generation == (2 if recovers else 1)


async def test_closing_before_a_code_is_sent_spends_it_not(world: World) -> None:
    """F44: `authorize` was still at the store when the end came."""
    store = FaultyStore(world.store())
    manager = world.personal(store=store)
    await manager.start()
    await asyncio.sleep(0.1)
    store.slow["begin"] = 2.0
    authorization = asyncio.create_task(manager.authorize(world.consent()))
    await asyncio.sleep(1.0)
    await manager.aclose()
    with pytest.raises(ManagerClosedError):
        await authorization
    assert world.wire.posts == 0


@pytest.mark.parametrize("elsewhere", ["revoke", "authorize"])
async def test_a_token_that_could_not_be_stored_in_time_is_not_served_on(world: World, elsewhere: str) -> None:
    """It waited for the store; meanwhile the person revoked, or authorized anew, and it is dead (S31, F74)."""
    inner = world.store()
    store = FaultyStore(inner)
    manager = await _opened(world, store=store)
    store.down |= {"commit"}
    await manager.renew()
    async with world.personal(store=inner) as other:
        await asyncio.sleep(2.0)
        await (other.revoke() if elsewhere == "revoke" else other.authorize(world.consent()))
    store.down.clear()
    await asyncio.sleep(61.0)
    if elsewhere == "revoke":
        with pytest.raises(AuthorizationRequiredError):
            await manager.bearer()
    else:
        assert world.is_good(await manager.bearer())
    await manager.aclose()


async def test_renew_never_returns_a_token_that_expired_on_its_way(world: World) -> None:
    """The host slept while the answer was on the wire."""
    async with world.manager() as manager:
        await manager.bearer()
        await asyncio.sleep(2.0)
        world.wire.held_after = asyncio.Event()
        renewal = asyncio.create_task(manager.renew())
        await asyncio.sleep(1.0)
        world.clock.advance(7200.0)
        world.wire.held_after.set()
        world.wire.held_after = None
        assert world.is_good((await renewal).access_token)


async def test_no_caller_waits_longer_than_timeout(world: World) -> None:
    """What landed had expired, and the next flight hangs: the patience is that of both together."""
    loop = asyncio.get_running_loop()
    async with world.manager(policy=RenewalPolicy(timeout=30.0, attempt_timeout=60.0)) as manager:
        started = loop.time()
        world.wire.held_after = asyncio.Event()
        caller = asyncio.create_task(manager.bearer())
        await asyncio.sleep(29.0)
        world.clock.advance(7200.0)
        release, world.wire.held_after = world.wire.held_after, asyncio.Event()
        release.set()
        with pytest.raises(TokenUnavailableError):
            await caller
        assert loop.time() - started == pytest.approx(30.0)
        world.wire.held_after.set()


async def test_a_refused_code_leaves_the_lease_that_it_took_over_to_run_out(world: World) -> None:
    """The holder may have its request on the wire: a third process must not spend the same refresh token."""
    store = world.store()
    first = await _opened(world, store=store)
    async with world.personal(store=store) as second, world.personal(store=store) as third:
        await third.bearer()
        await asyncio.sleep(2.0)
        world.wire.held_after = asyncio.Event()
        renewal = asyncio.create_task(first.renew())
        await asyncio.sleep(0.5)
        release, world.wire.held_after = world.wire.held_after, None
        with pytest.raises(AuthorizationRequiredError):
            await second.authorize(AuthorizationCodeGrant(code="made up", redirect_uri=world.zoom.redirect_uri))
        other = asyncio.create_task(third.renew())
        await asyncio.sleep(2.0)
        release.set()
        assert await other == await renewal
    await first.aclose()

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


async def test_a_peek_that_lags_is_not_believed(world: World) -> None:
    """A replica or a cache that has not heard of the authorization yet: the record is asked (F73)."""

    class Lagging(FaultyStore):
        async def peek(self, key: str) -> Reading:
            return Reading(record=None, now=(await super().peek(key)).now)

    manager = await _opened(world, store=Lagging(world.store()))
    await manager.renew()
    world.clock.advance(3600.0)
    assert world.is_good(await manager.bearer())
    await manager.aclose()

    assert world.zoom.stats["refresh_token"] == {"ok": 2}


async def test_a_lease_that_could_not_be_given_back_is_our_own(world: World) -> None:
    """`begin` is re-entrant for its holder: nobody has to wait for it."""
    loop = asyncio.get_running_loop()
    store = FaultyStore(world.store())
    manager = await _opened(world, store=store)
    world.clock.advance(3600.0)
    store.down.add("release")
    world.zoom.faults.add("refresh_token:answer=503")
    started = loop.time()
    assert world.is_good(await manager.bearer())
    assert loop.time() - started < 1.0
    await manager.aclose()


async def test_a_store_whose_wait_returns_at_once_is_not_asked_without_pause(world: World) -> None:
    """`wait` is a hint, and may come at any time."""

    class Hasty(FaultyStore):
        async def wait(self, key: str, generation: int, timeout: float) -> None:
            del key, generation, timeout
            await asyncio.sleep(0)

    inner = world.store()
    manager = await _opened(world, store=inner)
    await manager.aclose()
    world.clock.advance(3600.0)
    await inner.begin(_key(world), 1, "peer", 3.0)
    store = Hasty(inner)
    async with world.personal(store=store) as other:
        assert world.is_good(await other.bearer())

    assert store.calls.count("begin") < 70


async def test_closing_does_not_wait_for_the_lease_of_another(world: World) -> None:
    loop = asyncio.get_running_loop()
    inner = world.store()
    await (await _opened(world, store=inner)).aclose()
    world.clock.advance(3600.0)
    await inner.begin(_key(world), 1, "peer", 100.0)
    store = FaultyStore(inner)
    store.slow["begin"] = 2.0
    manager = world.personal(store=store)
    await manager.start()
    await asyncio.sleep(1.0)
    started = loop.time()
    await manager.aclose()
    assert loop.time() - started == pytest.approx(1.0)


async def test_a_token_that_was_authorized_and_rejected_meanwhile_is_not_adopted_again(world: World) -> None:
    """A flight that began before both sees it in the store, and takes it for news."""
    store = FaultyStore(world.store())
    async with world.personal(store=store) as manager:
        await asyncio.sleep(2.0)
        store.slow["peek"] = 3.0
        flight = asyncio.create_task(manager.renew())
        await asyncio.sleep(1.0)
        store.slow.clear()
        rejected = await manager.authorize(world.consent())
        manager.invalidate(rejected)
        await flight
        assert await manager.bearer() != rejected.access_token


async def test_revoke_kills_the_token_that_is_handed_out_too(world: World) -> None:
    """An app's own one, got past a lease that was busy, is not the one in the store."""
    store = world.store()
    key = f"{namespace_of(world.zoom.credentials, world.zoom.url)}/default"
    async with world.manager(store=store) as manager:
        first = await manager.bearer()
        await store.begin(key, 1, "stuck", 15.0)
        await asyncio.sleep(2.0)
        second = (await manager.renew()).access_token
        await manager.revoke()
        assert first != second
        assert not world.is_good(first)
        assert not world.is_good(second)


@pytest.mark.parametrize("grant", [ClientCredentialsGrant(), None, "code"], ids=["an app's", "none", "text"])
async def test_what_is_no_persons_grant_is_refused_before_anything_happens(world: World, grant: Any) -> None:
    """An app's token in the place of a person's would throw the refresh token away."""
    manager = await _opened(world)
    with pytest.raises(ConfigurationError, match="a code, a device code"):
        await manager.authorize(grant)
    await manager.renew()
    await manager.aclose()


@pytest.mark.parametrize(
    "details", [{"scope": ["a"]}, {"scope": "a b"}, {"scope": None}, {"api_url": 5}, {"api_url": "x"}]
)
def test_a_pair_with_details_of_a_wrong_kind_is_refused_at_once(details: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"scope|api_url"):
        StoredToken(access_token="a", expires_at=0.0, **details)


async def test_health_tells_dead_from_unauthorized_and_plans_nothing_once_closed(world: World) -> None:
    """Zoom's older form of a refusal has no `error`."""
    manager = await _opened(world)
    world.clock.advance(3600.0)
    world.wire.instead.append(Answer(status=400, headers={}, body=b'{"reason":"Invalid Token!"}'))
    with pytest.raises(AuthorizationRequiredError):
        await manager.bearer()
    assert manager.health().state == "dead"
    await manager.aclose()
    assert manager.health().next_attempt is None
