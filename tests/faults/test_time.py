"""F35 to F38: clocks that jump, hosts that sleep, loops that stall."""

import asyncio
import sys
import time

import pytest

from tests.engine.world import QUIET, World
from tests.faults.steps import LIFE, now, person
from zoom_async_auth.clock import SystemClock
from zoom_async_auth.testing import ManualClock, VirtualTimeLoop
from zoom_async_auth.testing.callers import assert_one_request


@pytest.mark.parametrize("step", [3600.0, -3600.0], ids=["forward", "back"])
async def test_f35_a_stepped_wall_clock_moves_no_renewal(world: World, step: float) -> None:
    async with person(world) as manager:
        due = manager.health().next_attempt
        assert due is not None
        world.clock.step_wall(step)
        assert manager.health().next_attempt == due
        await asyncio.sleep(due - 0.1)
        assert "refresh_token" not in world.zoom.stats
        await asyncio.sleep(0.3)
        assert world.zoom.stats["refresh_token"] == {"ok": 1}


async def test_f36_a_token_that_expired_during_a_suspend_is_not_handed_out(world: World) -> None:
    async with person(world) as manager:
        old = await manager.bearer()
        world.clock.advance(2 * LIFE)
        assert await manager.bearer() != old

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


async def test_f36_the_scheduler_is_awake_within_thirty_seconds_of_a_suspend(world: World) -> None:
    async with person(world) as manager:
        world.clock.advance(2 * LIFE)
        assert manager.health().state == "expired"
        await asyncio.sleep(30.0 + 2 * world.zoom.latency)
        assert manager.health().state == "fresh"

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the ordinary clock goes on, or there is none that does")
def test_f36_the_clock_of_the_system_is_the_one_that_goes_on_during_a_suspend(monkeypatch: pytest.MonkeyPatch) -> None:
    """`time.monotonic` stops on Linux; no test suspends its host, so the clock that is read is named."""
    monkeypatch.setattr(time, "clock_gettime", lambda clock: {time.CLOCK_BOOTTIME: 7.0}.get(clock, 0.0))

    assert SystemClock().monotonic() == 7.0


async def test_f37_hosts_ten_minutes_apart_agree_by_the_clock_of_the_store(world: World) -> None:
    """On expiry, and on a lease: the one who is ahead does not take it for over."""
    ahead = ManualClock(asyncio.get_running_loop().time, wall=0.0)
    ahead.advance(600.0)
    store = world.store()
    async with person(world, store=store) as one, world.personal(store=store, policy=QUIET, clock=ahead) as other:
        assert await other.bearer() == await one.bearer()
        assert other.health().seconds_left == pytest.approx(one.health().seconds_left, abs=2 * world.zoom.latency)
        world.zoom.latency = 8.0
        await asyncio.sleep(2.0)
        renewals = [asyncio.create_task(manager.renew()) for manager in (one, other)]
        assert len({(await renewal).access_token for renewal in renewals}) == 1

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


async def test_f38_a_loop_that_stalled_for_ninety_seconds_looks_again_and_sends_no_burst(world: World) -> None:
    world.zoom.token_lifetime = 60.0
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    async with person(world) as manager:
        old = await manager.bearer()
        started = now()
        loop.stall(90.0)
        assert await assert_one_request(manager, world.zoom) != old
        assert now() - started == pytest.approx(90.0 + world.zoom.latency)
        await asyncio.sleep(5.0)

    assert world.zoom.stats["refresh_token"] == {"ok": 1}
