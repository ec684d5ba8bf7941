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


async def test_who_waits_at_a_tenth_of_the_rate_goes_on_as_soon_as_something_works(world: World) -> None:
    crew = Crew()
    crew.bind(asyncio.get_running_loop(), copy_context())
    gate = Gate(0.1, now=world.clock.monotonic, spawn=crew.spawn)
    for _ in range(5):
        gate.note(TROUBLE)
    flight = Flight[None](timeout=30.0, excuse=lambda: TROUBLE)
    await gate.turn(flight, ends=math.inf, last=False)
    began = world.clock.monotonic()
    waiting = asyncio.create_task(gate.turn(flight, ends=math.inf, last=False))
    await asyncio.sleep(12.0)  # of a hundred seconds
    assert not waiting.done()
    gate.note(None)
    await waiting
    assert world.clock.monotonic() - began <= 13.0
