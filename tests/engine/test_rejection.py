"""A token that Zoom's API rejected is replaced once, however many callers report it."""

import asyncio
import itertools
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.world import QUIET, World
from zoom_async_auth import ConfigurationError, MisuseError, TokenUnavailableError
from zoom_async_auth.events import TokenRejected


async def test_a_thousand_reports_of_one_token_cost_one_request(world: World) -> None:
    """1,000 answers with 401 on one token (F79)."""
    async with world.manager() as manager:
        rejected = await manager.bearer()
        await asyncio.sleep(10.0)

        async def report_and_ask() -> str:
            manager.invalidate(rejected)
            return await manager.bearer()

        tokens = await asyncio.gather(*(report_and_ask() for _ in range(1000)))

    assert len(set(tokens)) == 1
    assert tokens[0] != rejected
    assert world.zoom.token_requests == 2
    assert len(world.seen(TokenRejected)) == 1


async def test_only_the_current_token_can_be_invalidated(world: World) -> None:
    """A late 401 for a token that was replaced meanwhile costs nothing."""
    async with world.manager() as manager:
        old = await manager.token()
        new = await manager.renew()
        assert manager.invalidate(old) is False
        assert manager.invalidate(old.access_token) is False
        assert manager.invalidate("never seen") is False
        assert manager.invalidate("no text: \ud800") is False
        assert await manager.bearer() == new.access_token
        assert manager.invalidate(new) is True
        assert manager.invalidate(new) is False

    assert world.zoom.token_requests == 2


async def test_what_headers_gave_can_be_invalidated_as_it_is(world: World) -> None:
    async with world.manager() as manager:
        assert manager.invalidate((await manager.headers())["Authorization"]) is True


@pytest.mark.parametrize("wrap", [lambda token: {"access_token": token}, str.encode, lambda _: None])
async def test_nothing_but_a_token_can_be_invalidated_and_none_is_shown(
    world: World, wrap: Callable[[str], Any]
) -> None:
    async with world.manager() as manager:
        token = await manager.bearer()
        with pytest.raises(ConfigurationError, match="what is invalidated is an access token") as caught:
            manager.invalidate(wrap(token))
        frames = [frame for frame, _ in traceback.walk_tb(caught.tb) if frame.f_globals["__name__"] != __name__]
        assert not any(token in repr(frame.f_locals) for frame in frames)
        assert await manager.bearer() == token


async def test_a_rejected_token_is_not_handed_out_again(world: World) -> None:
    async with world.manager(policy=QUIET) as manager:
        rejected = await manager.bearer()
        manager.invalidate(rejected)
        assert await manager.bearer() != rejected


async def test_a_rejection_starts_a_renewal_that_nobody_has_to_ask_for(world: World) -> None:
    async with world.manager() as manager:
        manager.invalidate(await manager.bearer())
        assert manager.health().ready is False
        await asyncio.sleep(1.2)
        assert manager.health().ready is True

    assert world.zoom.token_requests == 2


async def test_fresh_tokens_that_are_rejected_again_are_replaced_ever_more_slowly(world: World) -> None:
    """The floor doubles from `min_interval` to 60 of them (F80)."""
    loop = asyncio.get_running_loop()
    arrivals: list[float] = []
    async with world.manager() as manager:
        for _ in range(6):
            manager.invalidate(await manager.bearer())
            arrivals.append(loop.time())

    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    assert gaps == pytest.approx([pause + world.zoom.latency for pause in (1.0, 2.0, 4.0, 8.0, 16.0)])
    assert world.zoom.token_requests == 6


async def test_callers_hear_at_once_when_the_floor_is_beyond_their_patience(world: World) -> None:
    """The seventh token in a row would come after 32 s; a caller waits 30 at most."""
    loop = asyncio.get_running_loop()
    async with world.manager() as manager:
        for _ in range(6):
            manager.invalidate(await manager.bearer())
        asked = loop.time()
        with pytest.raises(TokenUnavailableError, match="rejected again and again") as caught:
            await manager.bearer()
        assert loop.time() == asked
        assert caught.value.retry_after == pytest.approx(32.0)
        await asyncio.sleep(32.2)
        assert world.is_good(await manager.bearer())


async def test_the_floor_never_exceeds_sixty_intervals(world: World) -> None:
    """In an hour of rejections there is about one request a minute (F80)."""
    async with world.manager() as manager:
        for _ in range(3600):
            await asyncio.sleep(1.0)
            held = manager._slot.held
            if held is not None:
                manager.invalidate(held.token)

    # At 0, 1, 3, 7, 15, 31 s and so on, then every 60 s.
    assert 60 <= world.zoom.token_requests <= 66


async def test_the_floor_is_forgiven_once_a_token_was_good_for_long(world: World) -> None:
    """Trouble at noon does not slow down the answer to another one at night."""
    loop = asyncio.get_running_loop()
    async with world.manager() as manager:
        for _ in range(4):
            manager.invalidate(await manager.bearer())
        token = await manager.bearer()
        await asyncio.sleep(61.0)
        manager.invalidate(token)
        asked = loop.time()
        await manager.bearer()
        assert loop.time() - asked == pytest.approx(world.zoom.latency)
        manager.invalidate(await manager.bearer())
        asked = loop.time()
        await manager.bearer()
        assert loop.time() - asked == pytest.approx(2.0 + world.zoom.latency)


async def test_a_renewal_forgives_as_well(world: World) -> None:
    """A token that was replaced in the ordinary course was not rejected."""
    loop = asyncio.get_running_loop()
    async with world.manager(policy=QUIET) as manager:
        for _ in range(4):
            manager.invalidate(await manager.bearer())
        await manager.bearer()
        await asyncio.sleep(3300.0)  # renewed
        await manager.renew()
        asked = loop.time()
        await manager.renew()
        assert loop.time() - asked == pytest.approx(1.0 + world.zoom.latency)


async def test_a_rejection_during_a_renewal_joins_it(world: World) -> None:
    """One request: the renewal that is on its way brings what is wanted."""
    async with world.manager() as manager:
        old = await manager.bearer()
        renewal = asyncio.create_task(manager.renew())
        await asyncio.sleep(1.05)  # the floor has passed, the request is on the wire
        assert world.wire.posts == 2
        manager.invalidate(old)
        assert await manager.bearer() == (await renewal).access_token
        await asyncio.sleep(10.0)

    assert world.zoom.token_requests == 2


async def test_a_token_rejected_before_its_waiters_had_their_turn_is_not_handed_to_them(world: World) -> None:
    """Check, await, act: what the flight brought is looked at again by each waiter."""
    async with world.manager() as manager:

        async def take_and_reject() -> str:
            token = await manager.bearer()
            manager.invalidate(token)
            return token

        rejected, other = await asyncio.gather(take_and_reject(), manager.bearer())

    assert other != rejected
    assert world.zoom.token_requests == 2


async def test_invalidate_before_the_start_is_an_error(world: World) -> None:
    with pytest.raises(MisuseError, match="not open"):
        world.manager().invalidate("token")
