"""Many callers, one request; and a caller that leaves disturbs nobody."""

import asyncio

import pytest

from tests.engine.world import World, cancelled_at, turns
from zoom_async_auth import RenewalPolicy, TokenManager, TokenUnavailableError
from zoom_async_auth.events import GrantDied, RenewalFailed, TokenRenewed


async def test_ten_thousand_cold_callers_cost_one_request(world: World) -> None:
    """Workers that start together look like one to Zoom (F53)."""
    async with world.manager() as manager:
        tokens = await asyncio.gather(*(manager.bearer() for _ in range(10_000)))

    assert len(set(tokens)) == 1
    assert world.zoom.stats == {"account_credentials": {"ok": 1}}


async def test_a_failure_is_shared_by_all_who_wait_and_each_gets_an_error_of_its_own(world: World) -> None:
    """No convoy: nobody waits for a second flight after the first has failed (F54)."""
    world.zoom.outage = 500
    loop = asyncio.get_running_loop()
    async with world.manager() as manager:
        started = loop.time()
        callers = [asyncio.create_task(manager.bearer()) for _ in range(10_000)]
        await asyncio.wait(callers)
        elapsed = loop.time() - started

    errors = [caller.exception() for caller in callers]
    assert all(type(error) is TokenUnavailableError for error in errors)
    assert len({id(error) for error in errors}) == 10_000
    assert elapsed <= 30.0


async def test_a_failing_flight_sends_what_its_backoff_allows_and_not_one_request_more(world: World) -> None:
    """Full jitter at its worst: pauses of 0.5, 1, 2, 4, 8 and 16 s; the next one would not fit into `timeout`."""
    world.zoom.outage = 500
    world.luck = 1.0 - 1e-9
    async with world.manager() as manager:
        with pytest.raises(TokenUnavailableError) as caught:
            await asyncio.gather(*(manager.bearer() for _ in range(100)))

        assert world.zoom.token_requests == 6
        assert caught.value.transient
        assert caught.value.status == 500
        assert caught.value.retry_after is not None
        assert 15.9 < caught.value.retry_after < 16.1


async def test_errors_of_one_flight_do_not_share_a_traceback(world: World) -> None:
    """A shared exception object would grow by a traceback for each waiter (F54)."""
    world.zoom.outage = 503
    async with world.manager() as manager:
        callers = [asyncio.create_task(manager.bearer()) for _ in range(50)]
        await asyncio.wait(callers)

    for caller in callers:
        error = caller.exception()
        assert error is not None
        assert error.__cause__ is None
        assert error.__context__ is None
        depth, traceback = 0, error.__traceback__
        while traceback is not None:
            depth, traceback = depth + 1, traceback.tb_next
        assert depth <= 4


@pytest.mark.parametrize("first_only", [True, False], ids=["the first", "all"])
async def test_cancelled_callers_harm_nobody_and_waste_nothing(world: World, *, first_only: bool) -> None:
    """The flight goes on; its token is there for whoever comes next (F40, F41)."""
    async with world.manager() as manager:
        callers = [asyncio.create_task(manager.bearer()) for _ in range(100)]
        await turns()
        leaving = callers[:1] if first_only else callers
        for caller in leaving:
            caller.cancel()
        await asyncio.wait(callers)
        served = {caller.result() for caller in callers if not caller.cancelled()}
        await asyncio.sleep(1.0)
        later = await manager.bearer()

    assert [caller.cancelled() for caller in callers] == [caller in leaving for caller in callers]
    assert served == (set() if not first_only else {later})
    assert world.zoom.token_requests == 1


async def test_a_caller_that_loses_patience_leaves_the_others_waiting(world: World) -> None:
    """`asyncio.wait_for` around one call cancels that call and nothing else (F41)."""
    world.zoom.latency = 5.0
    async with world.manager() as manager:
        patient = asyncio.create_task(manager.bearer())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(manager.bearer(), timeout=1.0)
        assert world.is_good(await patient)

    assert world.zoom.token_requests == 1


async def _authorized(world: World) -> TokenManager:
    manager = world.personal()
    await manager.start()
    await manager.authorize(world.consent())
    return manager


async def test_the_leader_cancelled_at_any_moment_of_a_refresh_leaves_the_chain_alive(world: World) -> None:
    """One cancelled caller kills the grant in every other asynchronous library: Zoom had rotated already (F39)."""
    manager = await _authorized(world)
    moments = 0
    for k in range(1, 50):
        world.clock.advance(3600.0)
        leader = asyncio.create_task(cancelled_at(k, manager.bearer()))
        await asyncio.wait({leader})
        followers = await asyncio.gather(*(manager.bearer() for _ in range(99)))
        assert len(set(followers)) == 1
        assert world.is_good(followers[0])
        assert world.zoom.stats["refresh_token"] == {"ok": k}
        if not leader.cancelled():
            break
        moments += 1
    await manager.aclose()

    assert moments >= 1
    assert not world.seen(GrantDied)


async def test_all_callers_cancelled_right_after_zoom_has_rotated_leave_the_chain_alive(world: World) -> None:
    """The answer is on its way back, nobody waits for it any more, and still it is kept (F40)."""
    manager = await _authorized(world)
    for renewal in range(1, 6):
        world.clock.advance(3600.0)
        world.wire.held_after = asyncio.Event()
        callers = [asyncio.create_task(manager.bearer()) for _ in range(100)]
        await asyncio.sleep(1.0)
        assert world.zoom.stats["refresh_token"] == {"ok": renewal}
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        world.wire.held_after.set()
        world.wire.held_after = None
        assert world.is_good(await manager.bearer())
        assert world.zoom.stats["refresh_token"] == {"ok": renewal}
    await manager.aclose()

    assert not world.seen(GrantDied)


async def test_callers_lose_patience_after_timeout_while_the_flight_goes_on(world: World) -> None:
    """`timeout` bounds what callers wait for; an answer that comes later is kept."""
    policy_timeout, attempt_timeout = 3.0, 10.0
    world.zoom.latency = 5.0
    loop = asyncio.get_running_loop()
    manager = world.manager(policy=RenewalPolicy(timeout=policy_timeout, attempt_timeout=attempt_timeout))
    async with manager:
        started = loop.time()
        with pytest.raises(TokenUnavailableError, match="no token within 3 s") as caught:
            await manager.bearer()
        assert loop.time() - started == pytest.approx(policy_timeout)
        assert caught.value.transient
        await asyncio.sleep(3.0)
        assert world.is_good(await manager.bearer())

    assert world.zoom.token_requests == 1
    assert len(world.seen(TokenRenewed)) == 1
    assert not world.seen(RenewalFailed)
