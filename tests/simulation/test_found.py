"""What the machine found, as plain tests: each names its interleaving."""

import asyncio

import pytest

from tests.engine.world import FaultyStore, Wire, World
from tests.simulation.distance import live, stored
from zoom_async_auth import RenewalPolicy, StoreError, TokenUnavailableError
from zoom_async_auth.events import GrantDied
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.stores.base import Store
from zoom_async_auth.testing import MemoryTransport

pytestmark = pytest.mark.asyncio(loop_factories=["plain"])


@pytest.fixture
async def world() -> World:
    return World()


def _held_line(world: World) -> tuple[Wire, asyncio.Event]:
    """Return a transport of which the answers wait for the event."""
    line = Wire(MemoryTransport(world.zoom))
    line.held_after = asyncio.Event()
    return line, line.held_after


async def _authorized(world: World, store: Store) -> None:
    async with world.personal(store=store) as manager:
        await manager.authorize(world.consent())


async def test_a_revocation_that_meets_a_refresh_kills_the_token_that_came_of_it(world: World) -> None:
    """A's refresh: Zoom rotated. B's revocation of the old token. A's commit. B's tombstone on a live token (S31)."""
    store = world.store()
    await _authorized(world, store)
    line, answer = _held_line(world)
    slow = FaultyStore(store)
    slow.slow = {"forget": 1.0, "commit": 1.0}
    async with world.personal(store=store, transport=line) as a, world.personal(store=slow) as b:
        await asyncio.sleep(2.0)
        refresh = asyncio.create_task(a.renew())
        await asyncio.sleep(0.5)
        assert world.zoom.stats["refresh_token"] == {"ok": 1}
        revocation = asyncio.create_task(b.revoke())
        await asyncio.sleep(0.5)
        answer.set()
        await refresh
        await revocation

    assert await stored(world, store) is None
    assert live(world) is None


async def test_of_two_authorizations_the_one_that_zoom_took_last_stays(world: World) -> None:
    """A's code is taken; B's code is taken, which kills A's tokens; B's commit; A's commit comes late (F74)."""
    store = world.store()
    await _authorized(world, store)
    line, answer = _held_line(world)
    async with world.personal(store=store, transport=line) as a, world.personal(store=store) as b:
        await asyncio.sleep(2.0)
        first = asyncio.create_task(a.authorize(world.consent()))
        await asyncio.sleep(0.5)
        await b.authorize(world.consent())
        answer.set()
        await asyncio.wait({first})
        assert await stored(world, store) == live(world)
        assert world.is_good(await b.bearer())
        assert world.is_good(await a.bearer())


async def test_of_two_authorizations_that_could_not_be_stored_the_one_that_zoom_took_last_stays(world: World) -> None:
    """Both commits fail; A's is made up for first, then B's, which is the live one (F57, F74)."""
    store = world.store()
    await _authorized(world, store)
    of_a, of_b = FaultyStore(store), FaultyStore(store)
    async with world.personal(store=of_a) as a, world.personal(store=of_b) as b:
        of_a.down.add("commit")
        of_b.down.add("commit")
        await a.authorize(world.consent())
        await b.authorize(world.consent())
        of_a.down.clear()
        await asyncio.sleep(61.0)
        of_b.down.clear()
        await asyncio.sleep(61.0)
        assert await stored(world, store) == live(world)


async def test_a_refresh_that_waited_for_an_authorization_spends_nothing_if_that_could_not_be_stored(
    world: World,
) -> None:
    """The old refresh token is dead, the new one is in memory: the refresh goes on with that (F57)."""
    store = FaultyStore(world.store())
    await _authorized(world, store)
    async with world.personal(store=store) as manager:
        await manager.bearer()
        world.clock.advance(3600.0)
        store.down.add("commit")
        authorization = asyncio.create_task(manager.authorize(world.consent()))
        await asyncio.sleep(0.05)
        caller = asyncio.create_task(manager.bearer())
        token = await authorization
        assert await caller == token.access_token
        await asyncio.sleep(5.0)
        assert "refresh_token" not in world.zoom.stats
        assert not world.seen(GrantDied)
        store.down.clear()


async def test_a_revocation_kills_what_is_stored_not_what_was_to_be_stored_before(world: World) -> None:
    """A's commit works, its answer is lost; B refreshes that; A, which knows of neither, revokes (S31, F57)."""
    store = world.store()
    await _authorized(world, store)
    deaf = FaultyStore(store)
    deaf.silent.add("commit")
    async with world.personal(store=deaf) as a, world.personal(store=store) as b:
        await asyncio.sleep(2.0)
        await a.renew()
        await asyncio.sleep(2.0)
        await b.renew()  # finds it in the store
        await asyncio.sleep(2.0)
        await b.renew()
        assert world.zoom.stats["refresh_token"] == {"ok": 2}
        deaf.silent.clear()
        await a.revoke()
        assert live(world) is None
        assert await stored(world, store) is None


@pytest.mark.parametrize("verb", ["authorize", "revoke"])
async def test_who_took_a_lease_over_in_vain_does_not_send_the_same_refresh_token(world: World, verb: str) -> None:
    """A's refresh is on the wire; B takes its lease over, and Zoom does not answer B; B renews, and waits for A."""
    store = world.store()
    await _authorized(world, store)
    line, answer = _held_line(world)
    async with world.personal(store=store, transport=line) as a, world.personal(store=store) as b:
        await asyncio.sleep(2.0)
        world.clock.advance(3600.0)  # nothing is left that B could serve meanwhile
        refresh = asyncio.create_task(a.renew())
        await asyncio.sleep(0.5)
        world.wire.instead.append(Answer(status=503, headers={}, body=b""))
        with pytest.raises(TokenUnavailableError):
            await (b.authorize(world.consent()) if verb == "authorize" else b.revoke())
        renewal = asyncio.create_task(b.renew())
        await asyncio.sleep(5.0)
        answer.set()
        fresh = await refresh
        assert await renewal == fresh

    assert world.zoom.stats["refresh_token"] == {"ok": 1}
    assert await stored(world, store) == live(world)


async def test_a_commit_that_comes_just_before_a_grant_is_declared_dead_counts(world: World) -> None:
    """A was suspended until nobody waited for it any more; B is refused; A commits; B would condemn, and adopts."""
    store = world.store()
    await _authorized(world, store)
    line, answer = _held_line(world)
    patient = RenewalPolicy(attempt_timeout=400.0, timeout=400.0)
    slow = FaultyStore(store)
    slow.slow = {"condemn": 1.0}
    async with world.personal(store=store, transport=line, policy=patient) as a, world.personal(store=slow) as b:
        await asyncio.sleep(2.0)
        refresh = asyncio.create_task(a.renew())
        await asyncio.sleep(0.5)
        world.clock.advance(420.0)  # beyond the lease, and beyond all doubt
        renewal = asyncio.create_task(b.renew())
        await asyncio.sleep(0.5)
        assert slow.calls[-1] == "condemn"
        answer.set()
        assert await renewal == await refresh

    assert world.zoom.stats["refresh_token"] == {"ok": 1, "invalid_grant": 1}
    assert not world.seen(GrantDied)


async def test_who_closes_before_its_code_is_sent_leaves_the_lease_that_it_took_over_to_run_out(world: World) -> None:
    """A's refresh is on the wire; B takes its lease over, and is closed before it sends anything; C waits for A."""
    store = world.store()
    await _authorized(world, store)
    line, answer = _held_line(world)
    slow = FaultyStore(store)
    async with world.personal(store=store, transport=line) as a, world.personal(store=store) as c:
        b = world.personal(store=slow)
        await b.start()
        await asyncio.sleep(2.0)
        world.clock.advance(3600.0)
        refresh = asyncio.create_task(a.renew())
        await asyncio.sleep(0.5)
        slow.slow = {"begin": 1.0}
        authorization = asyncio.create_task(b.authorize(world.consent()))
        await asyncio.sleep(0.5)
        await b.aclose()
        renewal = asyncio.create_task(c.renew())
        await asyncio.sleep(5.0)
        answer.set()
        assert await renewal == await refresh
        await asyncio.wait({authorization})

    assert world.zoom.stats == {"authorization_code": {"ok": 1}, "refresh_token": {"ok": 1}}


async def test_a_lease_that_was_taken_over_without_an_answer_is_not_used(world: World) -> None:
    """A's refresh is on the wire; B takes its lease over, the store's answer is lost; B renews, and waits for A."""
    store = world.store()
    await _authorized(world, store)
    line, answer = _held_line(world)
    faulty = FaultyStore(store)
    async with world.personal(store=store, transport=line) as a, world.personal(store=faulty) as b:
        await asyncio.sleep(2.0)
        world.clock.advance(3600.0)
        refresh = asyncio.create_task(a.renew())
        await asyncio.sleep(0.5)
        faulty.silent.add("begin")
        with pytest.raises(StoreError):
            await b.authorize(world.consent())
        faulty.silent.clear()
        renewal = asyncio.create_task(b.renew())
        await asyncio.sleep(5.0)
        answer.set()
        assert await renewal == await refresh

    assert world.zoom.stats == {"authorization_code": {"ok": 1}, "refresh_token": {"ok": 1}}
