"""A store that has less than it had: a backup was restored, a server that failed over lost what it had acknowledged."""

import asyncio
import copy
import dataclasses

import pytest

from tests.engine.test_pool import authorize, pool_of
from tests.engine.world import QUIET, FaultyStore, World
from zoom_async_auth import AuthorizationRequiredError, StoreError, TokenManager
from zoom_async_auth.events import GrantDied, LateTokenDropped, StoreWentBack
from zoom_async_auth.stores.base import Reading
from zoom_async_auth.stores.memory import MemoryStore

LIFE = 3600.0


@pytest.fixture
async def world() -> World:
    return World(luck=0.5)


def _backup(store: MemoryStore) -> dict[str, object]:
    return {key: copy.copy(entry.row) for key, entry in store._entries.items()}


def _restore(store: MemoryStore, backup: dict[str, object]) -> None:
    for key, entry in list(store._entries.items()):
        if key in backup:
            entry.row = backup[key]  # type: ignore[assignment]
        else:
            del store._entries[key]


async def _two_lives(manager: TokenManager, world: World, store: MemoryStore) -> dict[str, object]:
    """Return what a backup after the first of them has."""
    await manager.authorize(world.consent())
    backup = _backup(store)
    await manager.renew()
    return backup


async def test_an_older_row_is_noticed_and_the_newer_token_put_back(world: World) -> None:
    """S36: its refresh token is spent; to send it could end the whole chain."""
    store = world.store()
    async with world.personal(store=store, policy=QUIET) as manager:
        _restore(store, await _two_lives(manager, world, store))
        await asyncio.sleep(2 * LIFE)
        assert world.is_good(await manager.bearer())

    assert [(event.generation, event.newest) for event in world.seen(StoreWentBack)] == [(1, 2)]
    assert set(world.zoom.stats["refresh_token"]) == {"ok"}
    assert not world.seen(GrantDied)


async def test_an_emptied_store_gets_the_token_back(world: World) -> None:
    """F70, as long as any process lives that knows it."""
    store = world.store()
    async with world.personal(store=store, policy=QUIET) as manager:
        await _two_lives(manager, world, store)
        _restore(store, {})
        await asyncio.sleep(LIFE)
        assert world.is_good(await manager.bearer())
        async with world.personal(store=store) as successor:
            assert await successor.bearer() == await manager.bearer()

    assert [(event.generation, event.newest) for event in world.seen(StoreWentBack)] == [(0, 2)]


async def test_of_several_processes_the_one_that_knows_the_newest_token_wins(world: World) -> None:
    """One that knows less puts back what it has, and may hear that it is dead; who knows more puts that over it."""
    store = world.store()
    async with world.personal(store=store, policy=QUIET) as one:
        backup = await _two_lives(one, world, store)
        async with world.personal(store=store, policy=QUIET) as other:
            await other.bearer()
            await other.renew()  # `one` does not look before its own token is stale
            _restore(store, backup)
            await asyncio.sleep(3 * LIFE)
            assert world.is_good(await one.bearer())
            assert await one.bearer() == await other.bearer()
            assert one.health().state == other.health().state == "fresh"


async def test_nothing_is_spent_while_the_token_cannot_be_put_back(world: World) -> None:
    store = FaultyStore(inner := world.store())
    async with world.personal(store=store, policy=QUIET) as manager:
        _restore(inner, await _two_lives(manager, world, inner))
        store.down.add("commit")
        sent = world.zoom.token_requests
        with pytest.raises(StoreError):
            await manager.renew()
        assert world.zoom.token_requests == sent
        store.down.clear()
        assert world.is_good((await manager.renew()).access_token)

    assert not world.seen(GrantDied)


async def test_a_token_that_could_not_be_put_back_is_rescued_at_the_end(world: World) -> None:
    """Until then it is one that the store does not have: health says so."""
    store = FaultyStore(inner := world.store())
    rescued: list[str] = []
    async with world.personal(
        store=store, policy=QUIET, on_uncommitted=lambda _key, token: rescued.append(token.access_token)
    ) as manager:
        _restore(inner, await _two_lives(manager, world, inner))
        store.down.add("commit")
        with pytest.raises(StoreError):
            await manager.renew()
        assert manager.health().state == "uncommitted"
        newest = await manager.bearer()
    assert rescued == [newest]


async def test_a_token_that_could_not_be_put_back_is_stored_at_the_end(world: World) -> None:
    store = FaultyStore(inner := world.store())
    async with world.personal(store=store, policy=QUIET) as manager:
        _restore(inner, await _two_lives(manager, world, inner))
        store.down.add("commit")
        with pytest.raises(StoreError):
            await manager.renew()
        newest = await manager.bearer()
        store.down.clear()
    async with world.personal(store=store, policy=QUIET) as successor:
        assert await successor.bearer() == newest
        assert world.is_good((await successor.renew()).access_token)


async def test_an_app_goes_on_with_what_is_there(world: World) -> None:
    """Its tokens are minted, not spent."""
    store = world.store()
    async with world.manager(store=store, policy=QUIET) as manager:
        await manager.bearer()
        await manager.renew()
        _restore(store, {})
        await manager.renew()
        async with world.manager(store=store) as successor:
            assert await successor.bearer() == await manager.bearer()

    assert world.zoom.token_requests == 3
    assert not world.seen(StoreWentBack)


async def test_an_authorization_after_the_store_went_back_is_not_overwritten(world: World) -> None:
    """Its generation is older than what somebody remembers, and it is the later one."""
    store = world.store()
    async with world.personal(store=store, policy=QUIET) as one:
        backup = await _two_lives(one, world, store)
        await asyncio.sleep(2.0)
        await one.renew()
        _restore(store, backup)
        async with world.personal(store=store, policy=QUIET) as other:
            fresh = await other.authorize(world.consent())
            await asyncio.sleep(1.5 * LIFE)
            assert world.is_good(await one.bearer())
            assert world.is_good(await other.bearer())
            assert await one.bearer() == await other.bearer() != fresh.access_token

    assert not world.seen(GrantDied)
    assert not world.seen(StoreWentBack)


async def test_a_revocation_after_the_store_went_back_counts(world: World) -> None:
    store = world.store()
    async with world.personal(store=store, policy=QUIET) as one:
        backup = await _two_lives(one, world, store)
        await asyncio.sleep(2.0)
        await one.renew()
        _restore(store, backup)
        async with world.personal(store=store) as other:
            await other.revoke()
        await asyncio.sleep(LIFE)
        with pytest.raises(AuthorizationRequiredError):
            await one.bearer()

    assert not world.seen(StoreWentBack)


@pytest.mark.parametrize("emptied", [True, False])
async def test_a_store_that_went_back_while_a_renewal_was_on_its_way_gets_the_new_token(
    world: World, *, emptied: bool
) -> None:
    """F69: its commit finds an older generation than the one that was sent, and the only live token in hand."""
    store = world.store()
    async with world.personal(store=store, policy=QUIET) as manager:
        backup = await _two_lives(manager, world, store)
        world.wire.held_after = asyncio.Event()
        await asyncio.sleep(2.0)
        renewal = asyncio.create_task(manager.renew())
        await asyncio.sleep(0.5)
        _restore(store, {} if emptied else backup)
        world.wire.held_after.set()
        token = await renewal
        async with world.personal(store=store) as successor:
            assert await successor.bearer() == token.access_token
            await asyncio.sleep(LIFE)
            assert world.is_good(await successor.bearer())

    assert not world.seen(GrantDied)
    assert not world.seen(LateTokenDropped)


async def test_a_peek_that_lags_is_no_store_that_went_back(world: World) -> None:
    """B's commit is refused, because somebody authorized anew through A; what B looks at then must not lag."""
    store = world.store()
    async with world.personal(store=store, policy=QUIET) as a:
        await a.authorize(world.consent())
        async with world.personal(store=LaggingStore(store), policy=QUIET) as b:
            await b.bearer()
            await asyncio.sleep(2.0)
            await b.renew()
            await asyncio.sleep(2.0)
            release = world.wire.held_after = asyncio.Event()
            late = asyncio.create_task(b.renew())
            await asyncio.sleep(0.5)
            world.wire.held_after = None
            fresh = await a.authorize(world.consent())
            release.set()
            assert await late == fresh

    assert len(world.seen(LateTokenDropped)) == 1
    assert not world.seen(StoreWentBack)


async def test_an_authorization_that_is_not_stored_yet_is_not_replaced_by_what_is_put_back(world: World) -> None:
    """Interleaving: a renewal notices that the store went back, and its turn to write comes after the authorization."""
    store = FaultyStore(inner := world.store())
    async with world.personal(store=store, policy=QUIET) as manager:
        backup = await _two_lives(manager, world, inner)
        await asyncio.sleep(5.0)
        _restore(inner, backup)
        store.slow["begin"] = 0.5
        renewal = asyncio.create_task(manager.renew())
        await asyncio.sleep(0.1)
        store.down.add("commit")
        fresh = await manager.authorize(world.consent())
        await asyncio.wait({renewal})
        store.down.clear()
        await asyncio.sleep(60.0)
        async with world.personal(store=store) as successor:
            assert await successor.token() == fresh
        await asyncio.sleep(LIFE)
        assert world.is_good(await manager.bearer())

    assert not world.seen(GrantDied)


async def test_who_lost_its_row_is_no_stranger_to_a_pool(world: World) -> None:
    """Whoever was never authorized gets no turn at the gate; this one has a token to put back."""
    store = world.store()
    async with pool_of(world, store) as pool:
        await authorize(pool, world, "alice")
        _restore(store, {})
        assert world.is_good((await pool.renew("alice")).access_token)


class LaggingStore(FaultyStore):
    """A store whose peek shows what there was at first."""

    async def peek(self, key: str) -> Reading:
        if not hasattr(self, "_first"):
            self._first = await super().peek(key)
        return dataclasses.replace(self._first, now=(await super().peek(key)).now)
