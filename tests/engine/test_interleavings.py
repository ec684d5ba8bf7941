"""Interleavings and inputs that broke a promise once: each test names which, and how."""

import asyncio
from typing import Any, Self

import pytest

from tests.engine.world import QUIET, FaultyStore, World, turns
from zoom_async_auth import (
    AuthorizationCodeGrant,
    AuthorizationRequiredError,
    ClientCredentialsGrant,
    ConfigurationError,
    ManagerClosedError,
    RenewalPolicy,
    StoredToken,
    TokenManager,
    TokenPool,
    TokenUnavailableError,
)
from zoom_async_auth.events import GrantDied, RenewalFailed
from zoom_async_auth.identity import namespace_of
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.stores.base import Begun, Reading


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


class _GoesOn(FaultyStore):
    """Gives up on a release after two seconds; what was asked for is done later, as by a server behind a slow wire."""

    lateness = 0.0

    async def release(self, key: str, holder: str, *, doubt: bool) -> None:
        lateness, self.lateness = self.lateness, 0.0

        async def work() -> None:
            await asyncio.sleep(lateness)
            await super(_GoesOn, self).release(key, holder, doubt=doubt)

        task = asyncio.get_running_loop().create_task(work())
        done, _ = await asyncio.wait({task}, timeout=2.0)
        if not done:
            raise TimeoutError


async def test_a_release_that_is_carried_out_late_ends_no_lease_of_the_next_attempt(world: World) -> None:
    """Interleaving: else another process would send the refresh token that is on the wire already."""
    inner = world.store()
    store = _GoesOn(inner)
    one = await _opened(world, store=store)
    async with world.personal(store=inner) as other:
        await asyncio.sleep(31.0)
        await other.bearer()
        send = world.wire.send

        async def no_connection(*_: object) -> Answer:
            world.wire.send = send  # type: ignore[method-assign]
            raise TokenUnavailableError("no connection")

        world.wire.send = no_connection  # type: ignore[method-assign,assignment]
        store.lateness = 2.5
        renewing = asyncio.create_task(one.renew())
        await asyncio.sleep(2.2)
        world.wire.held_after = asyncio.Event()
        await asyncio.sleep(0.8)  # released by now
        also = asyncio.create_task(other.renew())
        await asyncio.sleep(1.0)
        world.wire.held_after.set()
        world.wire.held_after = None
        assert world.is_good((await also).access_token)
        assert world.is_good((await renewing).access_token)
    await one.aclose()
    assert world.zoom.stats["refresh_token"].keys() == {"ok"}
    assert not world.seen(GrantDied)


async def test_a_release_without_an_answer_costs_the_time_of_a_lease_and_is_told_once(world: World) -> None:
    """It is no failure of Zoom's that would make the pauses longer."""
    store = FaultyStore(world.store())
    async with world.personal(store=store, policy=QUIET) as manager:
        await manager.authorize(world.consent())
        await asyncio.sleep(3590.0)
        world.wire.instead.append(Answer(status=503, headers={}, body=b""))
        store.slow["release"] = 8.0
        world.events.clear()
        manager.invalidate(await manager.bearer())
        asking = asyncio.create_task(manager.bearer())
        await asyncio.sleep(7.0)
        store.slow.clear()
        assert world.is_good(await asking)
        assert len(world.seen(RenewalFailed)) == 1


async def test_no_app_token_is_got_past_the_store_once_it_was_revoked(world: World) -> None:
    """Interleaving: its renewal waits for another process's lease, and then the store fails."""
    inner = world.store()
    store = FaultyStore(inner)
    async with world.manager(store=store, policy=QUIET) as manager:
        token = await manager.bearer()
        assert isinstance(await inner.begin(manager._engine.prefix + "default", 1, "other", 60.0), Begun)
        manager.invalidate(token)
        await asyncio.sleep(1.5)
        await manager.revoke()
        store.down = {"peek", "begin"}
        posts = world.wire.posts
        await asyncio.sleep(60.0)
        assert world.wire.posts == posts


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


async def test_what_the_store_said_before_an_authorization_does_not_replace_it(world: World) -> None:
    """Interleaving: a pool asks for the stored token, its answer is late, the person authorizes anew meanwhile."""
    store = FaultyStore(world.store())
    earlier = await _opened(world, store=store)
    old = await earlier.bearer()
    await earlier.aclose()
    async with TokenPool(
        world.zoom.user_app,
        store=store,
        keep_alive=None,
        base_url=world.zoom.url,
        transport=world.wire,
        clock=world.clock,
    ) as pool:
        store.late = {"peek": 3.0}
        reading = asyncio.create_task(pool.bearer("default"))
        await turns()
        store.late = {}
        new = await pool.authorize("default", world.consent())
        assert await reading == await pool.bearer("default") == new.access_token != old


async def test_what_the_store_said_before_a_revocation_is_not_served_after_it(world: World) -> None:
    """Interleaving: the first look of a manager is late, and the token is revoked meanwhile."""
    store = FaultyStore(world.store())
    earlier = await _opened(world, store=store)
    await earlier.aclose()
    store.late = {"peek": 3.0}
    async with world.personal(store=store) as manager:
        await turns()
        store.late = {}
        await manager.revoke()
        await asyncio.sleep(5.0)
        assert manager.health().state == "unauthorized"
        with pytest.raises(AuthorizationRequiredError):
            await manager.bearer()


async def test_nobody_is_told_that_there_is_no_authorization_once_there_is(world: World) -> None:
    """Interleaving: the store says that there is none, late; the code comes meanwhile."""
    store = FaultyStore(world.store())
    store.late = {"peek": 3.0}
    async with world.personal(store=store) as manager:
        reading = asyncio.create_task(manager.bearer())
        await turns()
        store.late = {}
        token = await manager.authorize(world.consent())
        requests = world.zoom.token_requests
        assert await reading == token.access_token
        assert manager.health().last_error is None
        await asyncio.sleep(120.0)
        assert world.zoom.token_requests == requests


async def test_a_renewal_that_somebody_asks_for_is_tried_though_another_attempt_has_begun(world: World) -> None:
    """Interleaving: `bearer()` looks at a grant that is noted as dead, then `renew()` wants it tried once more."""
    store = FaultyStore(world.store())
    manager = await _opened(world, store=store)
    world.wire.instead.append(Answer(status=400, headers={}, body=b'{"error":"invalid_grant"}'))
    with pytest.raises(AuthorizationRequiredError):
        await manager.renew()
    world.clock.advance(3700.0)
    store.late = {"peek": 0.5}
    caller = asyncio.create_task(manager.bearer())
    await asyncio.sleep(0.2)
    token = await manager.renew()
    assert await caller == token.access_token
    assert world.is_good(token.access_token)
    await manager.aclose()


async def test_a_trouble_of_yesterday_is_no_excuse_of_today(world: World) -> None:
    """A 429 is over, and an hour later the endpoint hangs: that is another matter."""
    async with world.manager(policy=RenewalPolicy(timeout=5.0)) as manager:
        await manager.bearer()
        world.zoom.faults.add("account_credentials#1:retry-after=20")
        with pytest.raises(TokenUnavailableError, match="fewer requests"):
            await manager.renew()
        await asyncio.sleep(30.0)
        await manager.renew()
        await asyncio.sleep(600.0)
        world.wire.held_before = asyncio.Event()
        manager.invalidate(await manager.bearer())
        with pytest.raises(TokenUnavailableError, match="no token within 5 s") as caught:
            await manager.bearer()
        assert caught.value.status is None
        world.wire.held_before.set()


async def test_a_token_that_was_imported_in_its_last_minute_is_renewed_for_who_needs_longer(world: World) -> None:
    """What is left of an imported token says nothing of how long tokens live."""
    manager = await _opened(world)
    held = await manager.token()
    await manager.aclose()
    async with world.personal() as other:
        end = world.clock.time() + 60.0
        await other.authorize(
            StoredToken(access_token=held.access_token, refresh_token=held.refresh_token, expires_at=end)
        )
        assert (await other.token(valid_for=300.0)).expires_in == 3600.0


async def test_a_manager_whose_store_does_not_open_is_closed(world: World) -> None:
    class Broken(FaultyStore):
        async def __aenter__(self) -> Self:
            raise OSError("no such folder")

    manager = world.manager(store=Broken(world.store()))
    with pytest.raises(OSError, match="no such folder"):
        await manager.start()
    with pytest.raises(ManagerClosedError):
        await manager.bearer()
    await manager.aclose()
