"""Managers on a record with a front, and on one that is encrypted: what the composition must not change."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from cryptography.fernet import Fernet

from tests.engine.world import QUIET, FaultyStore, World
from zoom_async_auth import AuthorizationRequiredError, StoreError, TokenManager
from zoom_async_auth.events import GrantDied, LateTokenDropped, StoreBypassed, StoreWentBack, TokenAdopted, TokenRenewed
from zoom_async_auth.stores.base import Reading
from zoom_async_auth.stores.encrypted import EncryptedStore
from zoom_async_auth.stores.layered import PATIENCE, PAUSE, LayeredStore
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.testing import ManualClock

LIFE = 3600.0


class Layers:
    """A record on the world's clock, and a front whose clock is 5000 s ahead of it."""

    def __init__(self, world: World) -> None:
        clock = ManualClock(world.clock.monotonic)
        clock.advance(5000.0)
        self.kept = world.store()
        self.shown = MemoryStore(clock=clock)
        self.record = FaultyStore(self.kept)
        self.front = FaultyStore(self.shown)

    def store(self) -> LayeredStore:
        """Return the store of one more process."""
        return LayeredStore(self.record, self.front)


@pytest.fixture
async def layers(world: World) -> Layers:
    return Layers(world)


@contextlib.asynccontextmanager
async def _fleet(world: World, layers: Layers, size: int) -> AsyncIterator[list[TokenManager]]:
    """Start that many processes of somebody who has authorized the app."""
    async with world.personal(store=layers.store(), policy=QUIET) as manager:
        if not layers.kept._entries:
            await manager.authorize(world.consent())
    async with contextlib.AsyncExitStack() as stack:
        managers = [world.personal(store=layers.store(), policy=QUIET) for _ in range(size)]
        yield [await stack.enter_async_context(manager) for manager in managers]


async def _until(managers: list[TokenManager], seconds: float, *, step: float = 60.0) -> int:
    """Ask each manager from time to time; return how often the token was another one for them."""
    seen: set[str] = set()
    for _ in range(int(seconds / step)):
        await asyncio.sleep(step)
        seen |= set(await asyncio.gather(*(manager.bearer() for manager in managers)))
    return len(seen)


async def test_who_starts_while_a_token_is_valid_does_not_ask_the_database(world: World, layers: Layers) -> None:
    """A thousand processes that start at once are what a front is for."""
    async with _fleet(world, layers, 1) as (manager,):
        await manager.bearer()
        layers.record.calls.clear()
        await asyncio.sleep(LIFE / 2)
        async with _fleet(world, layers, 20) as fleet:
            assert {await other.bearer() for other in fleet} == {await manager.bearer()}
            assert fleet[0].health().seconds_left == pytest.approx(LIFE / 2 - QUIET.leeway, abs=1.0)

    assert layers.record.calls == []


async def test_a_fleet_lives_on_two_layers_for_a_day(world: World, layers: Layers) -> None:
    """Whoever renews next gets the refresh token from the record, though it has seen the front's only."""
    async with _fleet(world, layers, 5) as fleet:
        tokens = await _until(fleet, 24 * LIFE)
        assert world.is_good(await fleet[4].bearer())

    assert set(world.zoom.stats["refresh_token"]) == {"ok"}
    assert world.zoom.stats["refresh_token"]["ok"] == len(world.seen(TokenRenewed)) == tokens - 1 == 26
    assert not world.seen(GrantDied)
    assert not world.seen(StoreWentBack)


async def test_a_front_that_is_slow_or_down_or_emptied_is_not_noticed(world: World, layers: Layers) -> None:
    """Each in turn, while the fleet goes on."""
    async with _fleet(world, layers, 3) as fleet:
        for trouble in range(12):
            layers.front.slow = dict.fromkeys(("peek", "commit", "wait"), 60.0) if trouble % 3 == 0 else {}
            layers.front.down = {"peek", "commit", "wait"} if trouble % 3 == 1 else set()
            layers.shown._entries.clear()
            await _until(fleet, LIFE)
            assert len({await manager.bearer() for manager in fleet}) == 1

    assert set(world.zoom.stats["refresh_token"]) == {"ok"}
    assert not world.seen(GrantDied)
    assert not world.seen(LateTokenDropped)


async def test_a_front_whose_own_task_was_cancelled_is_not_noticed(world: World, layers: Layers) -> None:
    async def cancelled(*_: object, **__: object) -> Reading:
        raise asyncio.CancelledError

    async with _fleet(world, layers, 1) as (manager,):
        layers.front.peek = cancelled  # type: ignore[method-assign]
        assert world.is_good((await manager.renew()).access_token)


async def test_a_slow_front_costs_a_quarter_of_a_second_and_then_nothing_for_a_while(layers: Layers) -> None:
    """Or everything would be as slow as it is."""
    loop = asyncio.get_running_loop()
    store = layers.store()
    layers.front.slow = {"peek": 60.0}
    started = loop.time()
    for _ in range(10):
        await store.peek("key")
    assert loop.time() - started == pytest.approx(PATIENCE)

    await asyncio.sleep(PAUSE)
    layers.front.slow = {}
    await store.peek("key")
    assert layers.front.calls == ["peek", "peek"]
    assert loop.time() - started == pytest.approx(PATIENCE + PAUSE)


async def test_a_wait_does_not_rely_on_the_front_for_long(layers: Layers) -> None:
    """A lease that was given back is seen in the record only."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    await layers.store().wait("key", 0, 20.0)
    assert loop.time() - started == pytest.approx(1.0)
    layers.front.slow = {"wait": 60.0}
    await layers.store().wait("key", 0, 20.0)
    assert loop.time() - started == pytest.approx(21.0)


async def test_a_slow_commit_of_the_front_does_not_hold_the_token_back(world: World, layers: Layers) -> None:
    async with _fleet(world, layers, 1) as (manager,):
        layers.front.slow = {"commit": 60.0}
        started = asyncio.get_running_loop().time()
        await manager.renew()
        assert asyncio.get_running_loop().time() - started < 2 * PATIENCE + 0.2


async def test_a_rejected_token_is_replaced_though_the_front_still_has_it(world: World, layers: Layers) -> None:
    """A look after a rejection ends at the record: somebody had renewed, and the front was not told."""
    async with _fleet(world, layers, 2) as (one, other):
        rejected = await other.bearer()
        layers.front.down = {"commit"}
        renewed = await one.renew()
        await asyncio.sleep(PAUSE)
        assert other.invalidate(rejected)
        assert await other.bearer() == renewed.access_token

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


async def test_a_token_of_the_app_that_was_got_past_the_store_is_offered_in_its_time(
    world: World, layers: Layers
) -> None:
    """The front's clock, 5000 s ahead, would have it live too long for all who read it."""
    async with world.manager(store=layers.store(), policy=QUIET) as manager:
        await manager.bearer()
        layers.record.down = layers.front.down = {"peek", "begin", "commit"}
        await asyncio.sleep(LIFE)
        token = await manager.bearer()
        assert world.seen(StoreBypassed)
        layers.record.down, layers.front.down = set(), set()
        await asyncio.sleep(120.0)
        (entry,) = layers.kept._entries.values()
        record = entry.row.record
        assert record is not None
        assert record.token is not None
        assert record.token.access_token == token == await manager.bearer()
        left = manager.health().seconds_left + QUIET.leeway
        assert record.expires_at - world.clock.monotonic() == pytest.approx(left, abs=1.0)


async def test_who_waits_for_the_renewal_of_another_process_hears_of_it_from_the_front(
    world: World, layers: Layers
) -> None:
    """One request, and everybody has its token as soon as it is there."""
    async with _fleet(world, layers, 10) as fleet:
        await asyncio.gather(*(manager.bearer() for manager in fleet))
        layers.record.calls.clear()
        world.clock.advance(LIFE)
        assert len(set(await asyncio.gather(*(manager.bearer() for manager in fleet)))) == 1

    assert world.zoom.stats["refresh_token"] == {"ok": 1}
    assert "wait" not in layers.record.calls


async def test_what_was_revoked_is_served_to_nobody_who_starts(world: World, layers: Layers) -> None:
    async with _fleet(world, layers, 1) as (one,):
        await one.revoke()
    (entry,) = layers.shown._entries.values()
    assert entry.row.record is not None
    assert entry.row.record.token is None


async def test_s37_a_missing_key_is_an_unavailable_store_and_not_a_dead_authorization(world: World) -> None:
    """S37: nothing is sent, nothing is changed, and with the key all goes on."""
    world.luck = 0.5  # or it would try again without a pause
    inner = world.store()
    key = Fernet.generate_key()
    async with world.personal(store=EncryptedStore(inner, keys=[key]), policy=QUIET) as manager:
        await manager.authorize(world.consent())
    before = [entry.row for entry in inner._entries.values()]
    requests = world.zoom.token_requests
    await asyncio.sleep(2 * LIFE)

    async with world.personal(store=EncryptedStore(inner, keys=[Fernet.generate_key()])) as manager:
        for ask in (manager.bearer, manager.renew, manager.revoke, lambda: manager.authorize(world.consent())):
            with pytest.raises(StoreError, match="add that key"):
                await ask()
        await asyncio.sleep(LIFE)
    assert [entry.row for entry in inner._entries.values()] == before
    assert world.zoom.token_requests == requests
    assert not world.seen(GrantDied)

    async with world.personal(store=EncryptedStore(inner, keys=[Fernet.generate_key(), key])) as manager:
        assert world.is_good(await manager.bearer())
    assert world.seen(TokenRenewed)


async def test_keys_change_under_a_fleet_that_goes_on(world: World) -> None:
    """New key first in one process after the other, rewrap, old key out: one chain of tokens, and nobody waits."""
    inner = world.store()
    old, new = Fernet.generate_key(), Fernet.generate_key()
    async with contextlib.AsyncExitStack() as stack:

        async def start(keys: list[bytes]) -> TokenManager:
            manager = world.personal(store=EncryptedStore(inner, keys=keys), policy=QUIET)
            return await stack.enter_async_context(manager)

        first = await start([old])
        await first.authorize(world.consent())
        await first.aclose()
        both = [await start([old, new]), await start([new, old])]
        await _until(both, 5 * LIFE)
        (store_key,) = await inner.keys()
        assert await EncryptedStore(inner, keys=[new, old]).rewrap(store_key) in {"done", "current"}
        last = await start([new])
        assert await last.bearer() == await both[0].bearer()

    assert set(world.zoom.stats["refresh_token"]) == {"ok"}
    assert len(world.seen(TokenAdopted)) > 0


@pytest.mark.parametrize("what", ["authorize", "revoke"])
async def test_a_front_that_was_absent_is_told_later_what_it_missed(world: World, layers: Layers, what: str) -> None:
    """Others look there first, and would be served a token that Zoom has killed, for the rest of its life."""
    async with _fleet(world, layers, 1) as (manager,):
        killed = await manager.bearer()
        layers.front.slow["peek"] = 2 * PATIENCE
        if what == "authorize":
            await manager.authorize(world.consent())
        else:
            await manager.revoke()
        layers.front.slow.clear()
        await asyncio.sleep(2 * PAUSE)
        async with world.personal(store=layers.store()) as newcomer:
            if what == "authorize":
                assert await newcomer.bearer() == await manager.bearer() != killed
            else:
                with pytest.raises(AuthorizationRequiredError):
                    await newcomer.bearer()
