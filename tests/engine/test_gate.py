"""Turns among many identities: a wait ends early when the rate rises meanwhile."""

import asyncio
import math
from contextvars import copy_context

from tests.engine.world import World
from zoom_async_auth import TokenUnavailableError
from zoom_async_auth.renewal.crew import Crew
from zoom_async_auth.renewal.flight import Flight
from zoom_async_auth.renewal.gate import Gate

TROUBLE = TokenUnavailableError("down")


def gate_of(world: World, rate: float) -> Gate:
    crew = Crew()
    crew.bind(asyncio.get_running_loop(), copy_context())
    return Gate(rate, now=world.clock.monotonic, random=lambda: 0.0, spawn=crew.spawn)


async def test_who_waits_at_a_tenth_of_the_rate_goes_on_as_soon_as_something_works(world: World) -> None:
    gate = gate_of(world, 0.1)
    for _ in range(5):
        gate.note(TROUBLE)
    flight = Flight[None](timeout=30.0, excuse=lambda: TROUBLE)

    async def turn() -> None:
        async with gate.turn(flight, ends=math.inf, last=False):
            pass

    await turn()
    began = world.clock.monotonic()
    waiting = asyncio.create_task(turn())
    await asyncio.sleep(12.0)  # of a hundred seconds
    assert not waiting.done()
    gate.note(None)
    await waiting
    assert world.clock.monotonic() - began <= 13.0


async def test_no_more_than_fifty_renewals_are_under_way_at_once(world: World) -> None:
    """A store that is slow gets no more to do than it can end."""
    gate = gate_of(world, 100.0)
    flight = Flight[None](timeout=30.0, excuse=lambda: TROUBLE)
    under_way = 0
    most = 0

    async def renew() -> None:
        nonlocal under_way, most
        async with gate.turn(flight, ends=math.inf, last=False):
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(5.0)
            under_way -= 1

    began = world.clock.monotonic()
    await asyncio.gather(*(renew() for _ in range(200)))
    assert most == 50
    assert 20.0 <= world.clock.monotonic() - began < 22.0


async def test_a_turn_that_is_given_back_is_the_next_ones(world: World) -> None:
    gate = gate_of(world, 0.1)
    flight = Flight[None](timeout=30.0, excuse=lambda: TROUBLE)

    async def look() -> None:
        async with gate.turn(flight, ends=math.inf, last=False):
            gate.skip_turn()

    began = world.clock.monotonic()
    await asyncio.gather(*(look() for _ in range(100)))
    assert world.clock.monotonic() - began < 1.0


async def test_a_turn_is_given_back_by_who_is_cancelled_in_the_moment_of_getting_it(world: World) -> None:
    """Interleaving: the gate hands a turn to a task, which is cancelled before it runs. Fifty of them shut the gate."""
    gate = gate_of(world, 100.0)
    flight = Flight[None](timeout=30.0, excuse=lambda: TROUBLE)

    async def turn() -> None:
        async with gate.turn(flight, ends=math.inf, last=False):
            pass

    for _ in range(60):
        await asyncio.sleep(1.0)  # the rate holds nobody up
        waiting = asyncio.create_task(turn())
        while gate._on_turn == 0 and not waiting.done():  # noqa: ASYNC110 -- no event tells; eager tasks are through
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert gate._on_turn == 0
    async with asyncio.timeout(1.0):
        await turn()


async def test_who_gives_up_before_its_turn_gives_nothing_back(world: World) -> None:
    gate = gate_of(world, 1000.0)
    flight = Flight[None](timeout=30.0, excuse=lambda: TROUBLE)
    under_way = 0

    async def renew() -> None:
        nonlocal under_way
        async with gate.turn(flight, ends=math.inf, last=False):
            under_way += 1
            await asyncio.sleep(5.0)

    renewals = [asyncio.create_task(renew()) for _ in range(400)]
    await asyncio.sleep(1.0)
    assert under_way == 250
    for waiting in renewals[250:350]:
        waiting.cancel()
    await asyncio.sleep(1.0)
    assert under_way == 250
    await asyncio.gather(*renewals, return_exceptions=True)
    assert under_way == 300
