"""Turns among many identities: a wait ends early when the rate rises meanwhile."""

import asyncio
import math
from contextvars import copy_context

import pytest

from tests.engine.world import World, turns
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


async def test_who_has_given_up_goes_behind_those_who_wait(world: World) -> None:
    """Else the renewals of a burst, whose callers are gone, hold up everybody who comes afterwards."""
    gate = gate_of(world, 1.0)
    order: list[str] = []

    async def renew(name: str, flight: Flight[None]) -> None:
        async with gate.turn(flight, ends=math.inf, last=False):
            order.append(name)

    def wanted(patience: float) -> Flight[None]:
        flight = Flight[None](timeout=patience, excuse=lambda: TROUBLE)
        waiting.append(asyncio.create_task(flight.wait()))
        return flight

    waiting: list[asyncio.Task[None]] = []
    burst = [wanted(2.5) for _ in range(20)]
    await turns()
    renewals = [asyncio.create_task(renew("burst", flight)) for flight in burst]
    await asyncio.sleep(5.0)
    late = wanted(30.0)
    await turns()
    renewals.append(asyncio.create_task(renew("late", late)))
    await asyncio.sleep(1.5)
    assert order[-1] == "late"
    await asyncio.gather(*renewals)
    assert order.count("burst") == 20
    late.land(None)
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_caller_without_any_token_waits_no_longer_than_one_whose_token_has_expired(world: World) -> None:
    """Whether an identity was in memory is nothing that its callers can know."""
    gate = gate_of(world, 1.0)
    order: list[str] = []
    flights = [Flight[None](timeout=30.0, excuse=lambda: TROUBLE) for _ in range(6)]
    waiting = [asyncio.create_task(flight.wait()) for flight in flights]
    await turns()

    async def renew(name: str, flight: Flight[None], ends: float) -> None:
        async with gate.turn(flight, ends=ends, last=False):
            order.append(name)

    await asyncio.gather(
        *(renew("cold", flight, math.inf) for flight in flights[:3]),
        *(renew("expired", flight, world.clock.monotonic() - 3600.0) for flight in flights[3:]),
    )
    assert order == ["cold"] * 3 + ["expired"] * 3
    for flight in flights:
        flight.land(None)
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_steps_aside_leaves_the_turn_to_others_and_takes_another_one(world: World) -> None:
    gate = gate_of(world, 0.1)
    flight = Flight[None](timeout=30.0, excuse=lambda: TROUBLE)
    began = world.clock.monotonic()
    times: list[float] = []

    async def waits() -> None:
        async with gate.turn(flight, ends=math.inf, last=False) as turn:
            turn.step_aside()
            await asyncio.sleep(5.0)
            await turn.take()
            times.append(world.clock.monotonic() - began)

    async def renews() -> None:
        async with gate.turn(flight, ends=math.inf, last=False):
            times.append(world.clock.monotonic() - began)

    await asyncio.gather(waits(), renews())
    assert times == [pytest.approx(0.0, abs=1.0), pytest.approx(10.0, abs=1.0)]
    assert gate._on_turn == 0


@pytest.mark.parametrize("after", [1.0, 6.0])
async def test_who_is_cancelled_aside_or_on_the_way_back_holds_no_turn(world: World, after: float) -> None:
    gate = gate_of(world, 0.1)
    flight = Flight[None](timeout=30.0, excuse=lambda: TROUBLE)

    async def waits() -> None:
        async with gate.turn(flight, ends=math.inf, last=False) as turn:
            turn.step_aside()
            await asyncio.sleep(5.0)
            await turn.take()

    async def renews() -> None:
        async with gate.turn(flight, ends=math.inf, last=False):
            pass

    waiting = asyncio.create_task(waits())
    await asyncio.sleep(0.5)
    await renews()  # so that the way back is long
    await asyncio.sleep(after)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert gate._on_turn == 0
    await renews()  # of the place that was left nothing is left


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
