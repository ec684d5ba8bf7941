"""An expired token is never handed out: not after a suspend, a stalled loop or a stepped clock."""

import asyncio

import pytest

from tests.engine.world import QUIET, World
from zoom_async_auth import RenewalPolicy
from zoom_async_auth.testing import VirtualTimeLoop


async def test_a_suspended_host_wakes_up_with_an_expired_token_and_hands_out_a_new_one(world: World) -> None:
    """The loop's own clock did not move, the suspend-aware one did (F36)."""
    async with world.manager() as manager:
        old = await manager.bearer()
        world.clock.advance(2 * 3600.0)
        assert await manager.bearer() != old

    assert world.zoom.token_requests == 2


async def test_the_scheduler_notices_a_suspend_within_thirty_seconds(world: World) -> None:
    """Nobody has to ask: it sleeps in slices and looks at the suspend-aware clock (F36)."""
    async with world.manager() as manager:
        await manager.bearer()
        world.clock.advance(2 * 3600.0)
        await asyncio.sleep(30.5)
        assert manager.health().state == "fresh"

    assert world.zoom.token_requests == 2


async def test_a_token_that_aged_on_its_way_is_counted_from_before_the_request(world: World) -> None:
    """The host slept for ten minutes between request and answer: they are gone from its life."""
    async with world.manager() as manager:
        world.wire.held_after = asyncio.Event()
        caller = asyncio.create_task(manager.bearer())
        await asyncio.sleep(1.0)
        world.clock.advance(600.0)
        world.wire.held_after.set()
        await caller
        assert manager.health().seconds_left == pytest.approx(3600.0 - 601.0 - 10.0, abs=0.1)


async def test_a_host_that_slept_while_callers_waited_gets_them_a_token_that_lives(world: World) -> None:
    """The answer that was on its way expired during the sleep: it is thrown away, another one is got."""
    async with world.manager() as manager:
        world.wire.held_after = asyncio.Event()
        caller = asyncio.create_task(manager.bearer())
        await asyncio.sleep(1.0)
        world.clock.advance(2 * 3600.0)
        world.wire.held_after.set()
        world.wire.held_after = None
        assert world.is_good(await caller)

    assert world.zoom.token_requests == 2


@pytest.mark.parametrize("step", [3600.0, -3600.0], ids=["forward", "back"])
async def test_a_stepped_wall_clock_changes_nothing(world: World, step: float) -> None:
    """It is read for dates in Zoom's headers only (F35)."""
    async with world.manager(policy=QUIET) as manager:
        token = await manager.bearer()
        before = manager.health().seconds_left
        world.clock.step_wall(step)
        assert await manager.bearer() == token
        assert manager.health().seconds_left == before
        await asyncio.sleep(3299.0)
        assert world.zoom.token_requests == 1
        await asyncio.sleep(2.0)
        assert world.zoom.token_requests == 2


async def test_a_loop_that_stalled_for_ninety_seconds_sends_no_burst(world: World) -> None:
    """Timers that all came due at once lead to one request (F38)."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    world.zoom.token_lifetime = 60.0
    async with world.manager(policy=QUIET) as manager:
        old = await manager.bearer()
        loop.stall(90.0)
        tokens = await asyncio.gather(*(manager.bearer() for _ in range(1000)))
        await asyncio.sleep(5.0)

    assert old not in tokens
    assert len(set(tokens)) == 1
    assert world.zoom.token_requests == 2


async def test_a_token_is_withheld_in_its_last_seconds(world: World) -> None:
    """`leeway` is for the way to Zoom's API: what is handed out arrives alive."""
    async with world.manager(policy=RenewalPolicy(jitter=0.0, leeway=10.0)) as manager:
        old = await manager.bearer()
        await asyncio.sleep(10.0)
        world.zoom.outage = 503
        world.clock.advance(3600.0 - 0.1 - 10.0 - 10.0 - 0.001)
        assert await manager.bearer() == old
        world.clock.advance(0.002)
        world.zoom.outage = None
        assert await manager.bearer() != old
