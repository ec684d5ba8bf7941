"""Rows about very many identities in one pool: S40, F75, F78, F82. What else a pool does: engine/test_pool.py."""

import asyncio
import contextlib
import json
from base64 import urlsafe_b64decode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.test_pool import HOUR, authorize, pool_of, refreshes
from tests.engine.world import World
from zoom_async_auth import RenewalPolicy, TokenUnavailableError
from zoom_async_auth.testing import LoopClock, VirtualTimeLoop

HAPPENS = ("call", "call", "call", "invalidate", "renew", "authorize", "pass an hour")
"""To one of two identities."""


@pytest.mark.timeout(120)  # a few seconds, on a machine that has nothing else to do
@given(steps=st.lists(st.tuples(st.sampled_from(["A", "B"]), st.sampled_from(HAPPENS)), min_size=200, max_size=400))
@settings(max_examples=30, deadline=None)
def test_s40_whatever_happens_nobody_gets_the_token_of_another(steps: list[tuple[str, str]]) -> None:
    """Ten thousand calls and more, in any order, some of them at once."""

    async def run() -> None:
        world = World()
        async with pool_of(world, world.store(), capacity=2, keep_alive=None, clock=LoopClock.running()) as pool:
            await authorize(pool, world, "A", "B")
            seen: set[tuple[str, str]] = set()

            async def call(key: str) -> None:
                with contextlib.suppress(TokenUnavailableError):  # after many rejections there is a pause
                    seen.add((key, await pool.bearer(key)))

            async def invalidate(key: str) -> None:
                with contextlib.suppress(TokenUnavailableError):
                    pool.invalidate(key, await pool.bearer(key))

            async def renew(key: str) -> None:
                with contextlib.suppress(TokenUnavailableError):
                    await pool.renew(key)

            under_way = []
            for key, what in steps:
                match what:
                    case "call":
                        under_way.append(asyncio.create_task(call(key)))
                    case "invalidate":
                        await invalidate(key)
                    case "renew":
                        await renew(key)
                    case "authorize":
                        await authorize(pool, world, key)
                    case _:
                        await asyncio.sleep(HOUR)
            await asyncio.gather(*under_way)
        assert all(owner(token) == key for key, token in seen)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())


def owner(token: str) -> str:
    """Return whose token it is, as Zoom has written into it."""
    claims = token.split(".")[1]
    user: str = json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["userId"]
    return user


async def test_f75_all_have_expired_at_once_and_the_rate_holds_and_who_waits_goes_first(world: World) -> None:
    """A hundred thousand by `python -m benchmarks.pool`; done after as long as the rate says."""
    loop = asyncio.get_running_loop()
    users = [f"user-{number}" for number in range(2000)]
    store = world.store()
    async with pool_of(world, store, rate=100.0) as pool:
        await authorize(pool, world, *users)
    await asyncio.sleep(2 * HOUR)
    async with pool_of(world, store, rate=100.0, policy=RenewalPolicy(jitter=0.0, timeout=60.0)) as pool:
        started = loop.time()
        unasked = [pool._use(user).board() for user in users[:1900]]  # as for tokens that are renewed ahead
        await asyncio.sleep(1.0)
        await asyncio.gather(*(pool.bearer(user) for user in users[1900:]))
        assert loop.time() - started < 1.0 + 100 / 100.0 + 1.0
        await asyncio.gather(*(flight.landed() for flight in unasked))
        assert 19.0 < loop.time() - started < 21.0
    assert world.zoom.stats["refresh_token"] == {"ok": 2000}


async def test_f78_nobody_waits_behind_one_whose_answer_does_not_come(world: World) -> None:
    async with pool_of(world, world.store()) as pool:
        await authorize(pool, world, "alice", "bob", "slow")
        await asyncio.sleep(2 * HOUR)
        world.zoom.faults.add("refresh_token#1:hang")
        waiting = asyncio.create_task(pool.bearer("slow"))
        await asyncio.sleep(0.01)
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert {owner(token) for token in await asyncio.gather(pool.bearer("alice"), pool.bearer("bob"))} == {
            "alice",
            "bob",
        }
        assert loop.time() - started < 1.0
        assert owner(await waiting) == "slow"  # by its second try


async def test_f82_an_identity_that_is_idle_for_ninety_days_is_kept_alive(world: World) -> None:
    """In a fleet, and with hundreds: tests/engine/test_pool.py."""
    async with pool_of(world, world.store(), clock=LoopClock.running()) as pool:
        await authorize(pool, world, "alice")
        await asyncio.sleep(89 * 24 * HOUR)
        assert refreshes(world) == 2
        assert owner(await pool.bearer("alice")) == "alice"
