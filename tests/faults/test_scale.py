"""F75 to F82: many at once. What a pool of many identities does comes with the pool: rows.py."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.engine.world import QUIET, World
from tests.faults.steps import LIFE, failure_of, person
from zoom_async_auth import AuthorizationRequiredError
from zoom_async_auth.events import TokenAdopted, TokenRejected


@pytest.mark.parametrize(("away", "requests"), [(0.0, 0), (2 * LIFE, 1)], ids=["fresh", "expired"])
async def test_f76_fifty_workers_that_restart_look_into_the_store_first(
    world: World, away: float, requests: int
) -> None:
    """At most one request. Real processes on real stores: with the durable stores."""
    store = world.store()
    async with person(world, store=store):
        pass
    world.clock.advance(away)
    async with AsyncExitStack() as stack:
        fleet = [await stack.enter_async_context(world.personal(store=store)) for _ in range(50)]
        tokens = await asyncio.gather(*(manager.bearer() for manager in fleet))

    assert len(set(tokens)) == 1
    assert world.zoom.stats.get("refresh_token", {}) == ({"ok": 1} if requests else {})
    assert len(world.seen(TokenAdopted)) == 50 - requests


async def test_f77_a_dead_refresh_token_costs_one_request_and_then_none_until_the_generation_moves(
    world: World,
) -> None:
    """7,016 elsewhere. A person who authorizes anew, in another process, ends it."""
    store = world.store()
    async with person(world, store=store) as manager:
        world.zoom.faults.add('refresh_token:answer=400 {"error":"invalid_grant"}')
        world.clock.advance(LIFE)
        for _ in range(100):
            assert type(await failure_of(manager)) is AuthorizationRequiredError
            await asyncio.sleep(60.0)
        assert world.zoom.stats["refresh_token"] == {"fault": 1}
        async with world.personal(store=store) as other:
            await other.authorize(world.consent())
        await asyncio.sleep(31.0)
        assert world.is_good(await manager.bearer())

    assert world.zoom.stats["refresh_token"] == {"fault": 1}


async def test_f79_a_thousand_reports_of_one_token_cost_one_renewal(world: World) -> None:
    """As they arrive: before, during and after the renewal."""
    async with person(world) as manager:
        token = await manager.bearer()
        world.zoom.reject(token)

        async def report(after: float) -> None:
            await asyncio.sleep(after)
            manager.invalidate(token)
            assert world.is_good(await manager.bearer())

        await asyncio.gather(*(report(number * 0.005) for number in range(1000)))

    assert world.zoom.stats["refresh_token"] == {"ok": 1}
    assert len(world.seen(TokenRejected)) == 1


async def test_f80_fresh_tokens_that_are_rejected_are_renewed_once_per_floor_which_doubles(world: World) -> None:
    """1, 2, 4 ... 32 s, then 60: after five minutes there are as many renewals as that."""
    async with person(world) as manager:
        gaps: list[float] = []
        loop = asyncio.get_running_loop()
        for _ in range(9):
            arrived = loop.time()
            manager.invalidate(await manager.bearer())
            await asyncio.sleep(0.5)
            pause = manager.health().next_attempt
            assert pause is not None
            await asyncio.sleep(pause + 1.5 * world.zoom.latency)
            assert manager.health().ready
            gaps.append(loop.time() - arrived)

    assert gaps == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60], abs=0.2)
    assert world.zoom.stats["refresh_token"] == {"ok": 9}


async def test_f81_a_rejected_token_is_looked_for_in_the_store_before_zoom_is_asked(world: World) -> None:
    store = world.store()
    async with world.manager(store=store, policy=QUIET) as one, world.manager(store=store, policy=QUIET) as peer:
        token = await one.bearer()
        assert await peer.bearer() == token
        await asyncio.sleep(2.0)
        minted = await peer.renew()
        world.zoom.reject(token)
        assert one.invalidate(token)
        assert await one.bearer() == minted.access_token
        assert world.zoom.token_requests == 2
        world.zoom.reject(minted.access_token)
        assert one.invalidate(minted)
        assert world.is_good(await one.bearer())
        assert world.zoom.token_requests == 3
