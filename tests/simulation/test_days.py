"""Days and months in seconds, every request counted."""

import asyncio
from unittest import mock

import pytest

from tests.engine.world import QUIET, World
from tests.simulation.distance import live
from zoom_async_auth import RenewalPolicy, TokenManager
from zoom_async_auth.events import RenewalFailed, TokenRenewed
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.testing import LoopClock, MemoryTransport

pytestmark = pytest.mark.asyncio(loop_factories=["plain"])

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture
async def world() -> World:
    return World()


async def test_a_day_of_a_thousand_callers_costs_the_first_token_and_31_renewals(world: World) -> None:
    """However many callers ask, the clock decides; nobody ever gets a token that Zoom would not take (F53, F77)."""
    callers, asked = 1000, 0

    async def live_through_the_day(start: float) -> None:
        nonlocal asked
        await asyncio.sleep(start)
        for _ in range(24):
            assert world.is_good(await manager.bearer())
            asked += 1
            await asyncio.sleep(HOUR - 1.0)

    # A renewal 820 s before each end, with the 0.1 s that Zoom takes: every 2,780.1 s.
    async with world.manager(policy=RenewalPolicy(renew_before=820.0, jitter=0.0)) as manager:
        await asyncio.gather(*(live_through_the_day(number * 20.0 / callers) for number in range(callers)))
        assert asyncio.get_running_loop().time() == pytest.approx(DAY, abs=24.0)

    assert asked == callers * 24
    assert world.zoom.stats == {"account_credentials": {"ok": 1 + 31}}
    assert not world.seen(RenewalFailed)


async def test_nine_days_of_a_persons_identity_cost_one_refresh_for_each_life(world: World) -> None:
    """The chain of one-time refresh tokens is as long as that, and alive."""
    async with world.personal(policy=QUIET) as manager:
        token = await manager.authorize(world.consent())
        started = world.clock.monotonic()
        await asyncio.sleep(9 * DAY)
        assert world.is_good(await manager.bearer())
        assert live(world) == (await manager.token()).refresh_token != token.refresh_token

    # Each life ends 300 s early and takes 0.1 s: 9 days are 235.6 of them.
    assert world.clock.monotonic() - started == pytest.approx(9 * DAY)
    assert world.zoom.stats == {"authorization_code": {"ok": 1}, "refresh_token": {"ok": 235}}
    assert len(world.seen(TokenRenewed)) == 235


async def test_ninety_days_of_an_identity_on_the_loops_own_clock_wake_it_for_renewals_only() -> None:
    """Nothing can run ahead of the loop's timers then: no look every 30 s, 259,200 in all."""
    loop, clock = asyncio.get_running_loop(), LoopClock.running()
    zoom = Zoom(latency=0.1, clock=clock.time)
    transport = MemoryTransport(zoom)
    async with TokenManager(
        zoom.credentials, base_url=zoom.url, transport=transport, clock=clock, policy=QUIET
    ) as manager:
        await manager.bearer()
        with mock.patch.object(loop, "call_at", wraps=loop.call_at) as timers:
            await asyncio.sleep(90 * DAY)
        await manager.bearer()

    renewals = zoom.token_requests - 1
    assert renewals == 2356
    assert timers.call_count < 12 * renewals


async def test_ninety_days_of_an_identity_on_a_host_that_sleeps_most_of_the_time(world: World) -> None:
    """Suspended for all but half a minute of each hour, it renews within that half minute (F36, F82)."""
    async with world.personal(policy=QUIET) as manager:
        await manager.authorize(world.consent())
        for _ in range(90 * 24):
            world.clock.advance(HOUR - 31.0)
            await asyncio.sleep(31.0)
            assert world.is_good(await manager.bearer())

    assert world.zoom.stats == {"authorization_code": {"ok": 1}, "refresh_token": {"ok": 90 * 24}}
