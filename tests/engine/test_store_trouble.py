"""A store that is down, slow or forgetful: nothing is spent that cannot be kept, and callers are served meanwhile."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.fernet import Fernet

from tests.engine.world import QUIET, FaultyStore, World
from zoom_async_auth import (
    AuthorizationRequiredError,
    MisuseError,
    RenewalPolicy,
    StoredToken,
    StoreError,
    TokenManager,
    TokenUnavailableError,
)
from zoom_async_auth.events import (
    CommitFailed,
    CommitRecovered,
    GrantDied,
    LateTokenDropped,
    StoreBypassed,
    StoreNotDurable,
    TokenRenewed,
)
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.stores.base import Reading
from zoom_async_auth.stores.encrypted import EncryptedStore


@pytest.fixture
async def world() -> World:
    """A world of average luck: with none, each failure would be followed by the shortest pause."""
    return World(luck=0.5)


async def _opened(world: World, store: FaultyStore, **options: Any) -> TokenManager:
    manager = world.personal(store=store, **{"policy": QUIET, **options})
    await manager.start()
    await manager.authorize(world.consent())
    return manager


@pytest.mark.parametrize("operation", ["peek", "begin"])
async def test_an_app_gets_its_token_past_a_store_that_is_down(world: World, operation: str) -> None:
    """Nothing is spent by it; an event tells (F56)."""
    store = FaultyStore(world.store())
    store.down.add(operation)
    async with world.manager(store=store) as manager:
        assert world.is_good(await manager.bearer())

    assert world.zoom.token_requests == 1
    assert len(world.seen(StoreBypassed)) == 1


async def test_a_token_got_past_the_store_is_offered_to_it_when_it_is_back(world: World) -> None:
    """The next process finds it there."""
    store = FaultyStore(world.store())
    store.down |= {"peek", "begin", "commit"}
    async with world.manager(store=store) as manager:
        token = await manager.bearer()
        assert manager.health().state == "uncommitted"
        assert isinstance(manager.health().last_error, StoreError)
        await asyncio.sleep(100.0)
        store.down.clear()
        await asyncio.sleep(60.0)
        assert manager.health().state == "fresh"
        assert manager.health().last_error is None
        async with world.manager(store=store) as successor:
            assert await successor.bearer() == token

    assert world.zoom.token_requests == 1
    assert len(world.seen(CommitRecovered)) == 1


async def test_a_token_got_past_the_store_goes_on_though_another_was_stored_meanwhile(world: World) -> None:
    """It was only an offer: no event, no loss, no revocation."""
    inner = world.store()
    store = FaultyStore(inner)
    store.down |= {"peek", "begin", "commit"}
    async with world.manager(store=store) as manager, world.manager(store=inner) as other:
        ours, theirs = await manager.bearer(), await other.bearer()
        store.down.clear()
        await asyncio.sleep(60.0)
        assert ours != theirs
        assert await manager.bearer() == ours
        assert world.is_good(ours)
        assert manager.health().state == "fresh"

    assert not world.seen(LateTokenDropped)


@pytest.mark.parametrize("operation", ["peek", "begin"])
async def test_a_person_is_served_while_the_store_is_down_and_nothing_is_spent(world: World, operation: str) -> None:
    """Rotating with the store down: fail closed, serve what is valid (F56, F62)."""
    store = FaultyStore(world.store())
    manager = await _opened(world, store)
    token = await manager.bearer()
    store.down.add(operation)
    await asyncio.sleep(3500.0)
    assert await manager.bearer() == token
    await asyncio.sleep(100.0)
    with pytest.raises(StoreError, match="ConnectionError") as caught:
        await manager.bearer()
    assert caught.value.transient
    assert "secret-host" not in str(caught.value)
    assert "refresh_token" not in world.zoom.stats
    store.down.clear()
    await asyncio.sleep(61.0)
    assert world.is_good(await manager.bearer())
    await manager.aclose()


async def test_a_code_is_not_spent_while_the_store_is_down(world: World) -> None:
    store = FaultyStore(world.store())
    store.down.add("begin")
    async with world.personal(store=store) as manager:
        grant = world.consent()
        with pytest.raises(StoreError):
            await manager.authorize(grant)
        assert world.wire.posts == 0
        store.down.clear()
        await manager.authorize(grant)
        assert world.is_good(await manager.bearer())


async def test_a_commit_that_fails_for_ten_minutes_loses_nothing(world: World) -> None:
    """F57: one request, the new access token from memory, and at the end the store has what Zoom has."""
    store = FaultyStore(world.store())
    manager = await _opened(world, store)
    store.down.add("commit")
    token = await manager.renew()
    assert await manager.bearer() == token.access_token
    assert manager.health().state == "uncommitted"
    assert isinstance(manager.health().last_error, StoreError)
    await asyncio.sleep(600.0)
    assert world.zoom.stats["refresh_token"] == {"ok": 1}
    assert await manager.bearer() == token.access_token
    store.down.clear()
    await asyncio.sleep(61.0)
    assert manager.health().state == "fresh"
    await manager.aclose()

    async with world.personal(store=store) as successor:
        stored = await successor.token()
    assert (stored.access_token, stored.refresh_token) == (token.access_token, token.refresh_token)
    assert len(world.seen(CommitFailed)) == 1
    assert len(world.seen(CommitRecovered)) == 1


async def test_a_refresh_token_that_is_not_stored_is_not_spent(world: World) -> None:
    """The one that would follow could be lost, and with it the person's consent (F57)."""
    store = FaultyStore(world.store())
    manager = await _opened(world, store)
    store.down.add("commit")
    await manager.renew()
    await asyncio.sleep(3600.0)
    with pytest.raises(StoreError):
        await manager.bearer()
    with pytest.raises(StoreError):
        await manager.renew()
    assert world.zoom.stats["refresh_token"] == {"ok": 1}
    store.down.clear()
    await asyncio.sleep(61.0)
    assert world.is_good(await manager.bearer())
    await manager.aclose()

    assert world.zoom.stats["refresh_token"] == {"ok": 2}


async def test_an_authorization_that_could_not_be_stored_is_kept_until_it_can(world: World) -> None:
    store = FaultyStore(world.store())
    store.down.add("commit")
    async with world.personal(store=store) as manager:
        token = await manager.authorize(world.consent())
        assert await manager.bearer() == token.access_token
        store.down.clear()
        await asyncio.sleep(61.0)
        async with world.personal(store=store) as successor:
            assert await successor.bearer() == token.access_token


@pytest.mark.parametrize("verb", ["renew", "authorize"])
async def test_a_commit_whose_answer_was_lost_is_found_done(world: World, verb: str) -> None:
    """The compare-and-set fails on the second try, because the first one worked."""
    store = FaultyStore(world.store())
    manager = await _opened(world, store)
    store.silent.add("commit")
    token = await (manager.renew() if verb == "renew" else manager.authorize(world.consent()))
    store.silent.clear()
    await asyncio.sleep(61.0)
    assert manager.health().state == "fresh"
    assert await manager.bearer() == token.access_token
    await manager.renew()
    await manager.aclose()

    assert not world.seen(GrantDied)
    assert not world.seen(LateTokenDropped)


async def test_a_slow_store_is_given_up_and_the_lease_is_not_outlived(world: World) -> None:
    """Thirty seconds for one call (F58): a person's token is not spent; an app's is got without it."""
    store = FaultyStore(world.store())
    manager = await _opened(world, store)
    store.slow["begin"] = 30.0
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(StoreError, match="no answer within 5 s"):
        await manager.renew()
    assert loop.time() - started <= 30.0
    assert "refresh_token" not in world.zoom.stats
    await manager.aclose()


async def test_a_host_that_slept_after_begin_starts_over(world: World) -> None:
    """The lease no longer covers a request: somebody else may be sending by now (F58)."""

    class Sleepy(FaultyStore):
        sleeps = 0

        async def begin(self, *args: Any, **options: Any) -> Any:
            answer = await super().begin(*args, **options)
            if self.sleeps:
                self.sleeps -= 1
                world.clock.advance(15.0)
            return answer

    store = Sleepy(world.store())
    manager = await _opened(world, store)
    store.sleeps = 1
    store.calls.clear()
    await manager.renew()
    await manager.aclose()

    assert store.calls == ["peek", "begin", "release", "begin", "commit"]


async def test_a_release_that_fails_does_no_harm(world: World) -> None:
    """The lease runs out by itself (F42)."""
    store = FaultyStore(world.store())
    manager = await _opened(world, store)
    store.down.add("release")
    world.clock.advance(3600.0)
    world.zoom.outage = 503
    renewal = asyncio.create_task(manager.bearer())
    await asyncio.sleep(1.0)
    world.zoom.outage = None
    assert world.is_good(await renewal)
    await manager.aclose()


async def test_a_grant_that_cannot_be_condemned_is_still_not_sent_again(world: World) -> None:
    """This process knows: it looks again, and sends nothing (F77)."""
    store = FaultyStore(world.store())
    manager = await _opened(world, store)
    world.zoom.model.revoke(_app(world), (await manager.token()).access_token)
    store.down.add("condemn")
    world.clock.advance(3600.0)
    with pytest.raises(StoreError):
        await manager.bearer()
    await asyncio.sleep(600.0)
    assert world.zoom.stats["refresh_token"] == {"invalid_grant": 1}
    store.down.clear()
    await asyncio.sleep(61.0)
    assert manager.health().state == "dead"
    await manager.aclose()

    assert world.zoom.stats["refresh_token"] == {"invalid_grant": 1}
    assert len(world.seen(GrantDied)) == 1


async def test_a_durable_store_is_told_apart(world: World) -> None:
    async with world.personal(store=FaultyStore(world.store(), durable=True)) as manager:
        assert manager.health().durable is True
    async with world.personal(store=FaultyStore(world.store(), durable=False)) as manager:
        assert manager.health().durable is False

    assert len(world.seen(StoreNotDurable)) == 1


async def test_the_way_of_a_renewal_is_peek_begin_commit(world: World) -> None:
    """The new token is in the store before anybody sees it."""
    store = FaultyStore(world.store())
    async with world.manager(store=store) as manager:
        store.slow["commit"] = 2.0
        caller = asyncio.create_task(manager.bearer())
        await asyncio.sleep(1.0)
        assert world.zoom.token_requests == 1
        assert not caller.done()
        assert not world.seen(TokenRenewed)
        await caller

    assert store.calls == ["peek", "begin", "commit"]


async def test_a_long_commit_outlasts_the_patience_of_callers_and_is_not_cancelled(world: World) -> None:
    """`timeout` bounds what callers wait for; it never cancels a commit."""
    store = FaultyStore(world.store())
    store.slow["commit"] = 4.0
    async with world.manager(store=store, policy=RenewalPolicy(timeout=1.0)) as manager:
        with pytest.raises(Exception, match="no token within 1 s"):
            await manager.bearer()
        await asyncio.sleep(4.0)
        assert world.is_good(await manager.bearer())

    assert world.zoom.token_requests == 1
    assert store.calls.count("commit") == 1
    assert not world.seen(CommitFailed)
    assert not world.seen(CommitRecovered)


def _app(world: World) -> Any:
    return world.zoom.model.app(world.zoom.user_app.client_id)


async def test_a_store_on_another_event_loop_says_so_and_is_not_tried_for_ever(world: World) -> None:
    """It passed for a database that is down; for an app it was bypassed in silence, for a person tried again."""

    class Elsewhere(FaultyStore):
        async def peek(self, key: str) -> Reading:
            del key
            raise MisuseError("a store belongs to one event loop")

    async with world.personal(store=Elsewhere(world.store())) as manager:
        with pytest.raises(StoreError, match="a store belongs to one event loop") as caught:
            await manager.bearer()
        assert not caught.value.transient


async def test_who_begins_to_wait_while_the_store_is_looked_at_is_not_put_off(world: World) -> None:
    """Interleaving: a renewal that nobody waits for looks once more before it gives up; meanwhile somebody comes."""
    loop = asyncio.get_running_loop()
    store = FaultyStore(world.store())
    world.zoom.faults.add("account_credentials#1:retry-after=45")
    async with world.manager(store=store, policy=QUIET) as manager:
        with pytest.raises(TokenUnavailableError):
            await manager.bearer()
        store.slow["peek"] = 1.0
        began = loop.time()
        async with asyncio.timeout(60.0):
            while manager._slot.flight is None or loop.time() - began < 20.0:  # noqa: ASYNC110 -- nobody tells of it
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        assert world.is_good(await manager.bearer())


async def test_a_hint_that_is_cancelled_is_a_lost_hint(world: World) -> None:
    """Some clients of databases cancel tasks of their own when a connection breaks; the renewal is not meant."""
    store = CancelledHints(inner := world.store())
    async with world.manager(store=store, policy=QUIET) as manager:
        await inner.begin(manager._engine.prefix + "default", 0, "another process", 5.0)
        assert world.is_good(await manager.bearer())

    assert store.calls.count("wait") > 1


class CancelledHints(FaultyStore):
    """Whoever waits for a hint hears that a task of the store was cancelled."""

    async def wait(self, key: str, generation: int, timeout: float) -> None:
        self.calls.append("wait")
        listener = asyncio.create_task(self._inner.wait(key, generation, timeout))
        await asyncio.sleep(0)
        listener.cancel()
        await listener


async def test_who_has_yet_to_be_authorized_hears_it_though_the_store_fails_and_asks_it_no_more_than_others(
    world: World,
) -> None:
    store = FaultyStore(world.store())
    async with world.personal(store=store) as manager:
        with pytest.raises(AuthorizationRequiredError):
            await manager.bearer()
        store.down, store.slow = {"peek"}, {"peek": 0.1}
        store.calls.clear()
        for _ in range(3):
            await asyncio.sleep(0.1)
            with pytest.raises(AuthorizationRequiredError):
                await manager.bearer()
        assert store.calls == ["peek"] * 3


async def test_a_refresh_token_that_is_outrun_by_a_revocation_is_revoked_itself(world: World) -> None:
    """Of an import without an access token there is nothing else to name it by."""
    inner = world.store()
    store = FaultyStore(inner)
    async with world.personal() as manager:
        refresh_token = (await manager.authorize(world.consent())).refresh_token
    async with world.personal(store=store) as manager, world.personal(store=inner) as other:
        store.slow["commit"] = 2.0
        importing = asyncio.create_task(manager.authorize(StoredToken(refresh_token=refresh_token)))
        await asyncio.sleep(1.0)
        await other.revoke()
        bodies = sent_by(world)
        with pytest.raises(AuthorizationRequiredError):
            await importing
        assert [parse_qs(body.decode())["token"] for body in bodies] == [[refresh_token]]


async def test_going_on_with_a_refresh_token_alone_returns_a_token_that_can_be_sent(world: World) -> None:
    async with world.personal() as manager:
        refresh_token = (await manager.authorize(world.consent())).refresh_token
    async with world.personal() as manager:
        token = await manager.authorize(StoredToken(refresh_token=refresh_token))
        assert world.is_good(token.access_token)


def sent_by(world: World) -> list[bytes]:
    """Return a list to which each body is added that is sent from now on."""
    bodies: list[bytes] = []
    send = world.wire.send

    async def noted(url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        bodies.append(body)
        return await send(url, headers, body, timeout)

    world.wire.send = noted  # type: ignore[method-assign]
    return bodies


async def test_what_another_program_has_encrypted_is_neither_handed_out_nor_sent_nor_called_dead(world: World) -> None:
    """A program that was told no keys shares the store, while encryption is being introduced say."""
    inner = world.store()
    sealed = EncryptedStore(inner, keys=[Fernet.generate_key()])
    async with world.personal(store=sealed) as manager:
        await manager.authorize(world.consent())
        posts, kept = world.wire.posts, await inner.peek(manager._engine.prefix + "default")
        async with world.personal(store=inner) as without_keys:
            for attempt in (without_keys.bearer, without_keys.renew, lambda: without_keys.authorize(world.consent())):
                with pytest.raises(StoreError, match="encrypted: open the store as EncryptedStore") as caught:
                    await attempt()
                assert not caught.value.transient
            assert without_keys.health().state == "starting"
        assert world.wire.posts == posts
        assert (await inner.peek(manager._engine.prefix + "default")).record == kept.record
        assert world.is_good((await manager.renew()).access_token)


async def test_an_apps_own_token_is_got_past_a_store_that_is_encrypted_for_others(world: World) -> None:
    inner, key = world.store(), Fernet.generate_key()
    async with world.manager(store=EncryptedStore(inner, keys=[key])) as manager:
        sealed = await manager.bearer()
        async with world.manager(store=inner) as without_keys:
            assert world.is_good(await without_keys.bearer())
            await asyncio.sleep(120.0)
            assert without_keys.health().state == "uncommitted"
        async with world.manager(store=EncryptedStore(inner, keys=[key])) as again:
            assert await again.bearer() == sealed
