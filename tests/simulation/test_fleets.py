"""Fleets of two to five processes on one store, to which everything happens at random. A failure names its seed.

    pytest tests/simulation/test_fleets.py                   a thousand seeds
    SEEDS=10000 pytest tests/simulation/test_fleets.py       ten thousand
    SEED=417 pytest tests/simulation/test_fleets.py          one of them

The invariants are those of `fleet.py`. What a seed decides: how many processes there are, what happens to which of them
and when, who cannot reach the store, which operations are slow or lose their answer, and the order of tasks that are
due at the same moment.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.simulation.fleet import OPERATIONS, Host, Process
from zoom_async_auth.testing import ShuffledLoop

CHUNK = 100
ONE = os.environ.get("SEED")
SEEDS = int(os.environ.get("SEEDS", "1000"))
STEPS = 25


class Course:
    """One seed's course of events."""

    def __init__(self, luck: random.Random) -> None:
        self.host = Host()
        self.luck = luck
        self.size = luck.randint(2, 5)

    async def run(self) -> list[str]:
        """Go through all steps; return what happened."""
        await (await self._somebody()).manager.authorize(self.host.world.consent())
        happenings, weights = zip(*HAPPENINGS.items(), strict=True)
        for happening in self.luck.choices(happenings, weights, k=STEPS):
            self.host.note(happening.__name__.strip("_"))
            await happening(self)
            self.host.assert_nothing_is_wrong()
        await self.host.end()
        return self.host.log

    async def _somebody(self) -> Process:
        return await self.host.process(self.luck.randrange(self.size))

    async def callers_ask(self) -> None:
        for _ in range(self.luck.randint(1, 4)):
            process = await self._somebody()
            process.call(process.ask())

    async def somebody_renews(self) -> None:
        process = await self._somebody()
        process.call(process.attempt(process.manager.renew))

    async def a_moment_passes(self) -> None:
        await asyncio.sleep(self.luck.choice([0.0, 0.015, 0.055, 0.12, 0.2, 1.0, 5.0, 21.0]))

    async def time_passes(self) -> None:
        await asyncio.sleep(self.luck.choice([31.0, 400.0]))

    async def the_hosts_are_suspended(self) -> None:
        self.host.world.clock.advance(self.luck.choice([15.0, 400.0, 3600.0]))

    async def callers_leave(self) -> None:
        (await self._somebody()).cancel(self.luck.choice([1, 100]))

    async def an_answer_is_bad(self) -> None:
        self.host.faults = [self.luck.choice(["lost before", "lost after", "429", "500", "html"])]

    async def zoom_is_slow_or_quick(self) -> None:
        self.host.world.zoom.latency = self.luck.choice([0.1, 0.1, 5.0, 12.0])

    async def a_process_is_cut_off(self) -> None:
        (await self._somebody()).store.down |= self.luck.choice(
            [OPERATIONS, {"commit"}, {"begin"}, {"release", "wait"}]
        )

    async def an_operation_is_slow(self) -> None:
        operation = self.luck.choice(sorted(OPERATIONS))
        (await self._somebody()).store.slow[operation] = self.luck.choice([0.05, 1.0, 7.0])

    async def answers_are_lost(self) -> None:
        (await self._somebody()).store.silent.add(self.luck.choice(["begin", "commit", "condemn", "release"]))

    async def the_store_is_mended(self) -> None:
        self.host.mend_the_store()

    async def a_token_is_rejected(self) -> None:
        (await self._somebody()).reject()

    async def alice_authorizes_again(self) -> None:
        process = await self._somebody()
        self.host.outranked_at = self.host.now
        process.call(process.attempt(partial(process.manager.authorize, self.host.world.consent())))

    async def alice_revokes(self) -> None:
        process = await self._somebody()
        self.host.outranked_at = self.host.now
        process.call(process.attempt(process.manager.revoke))

    async def a_process_is_killed(self) -> None:
        await (await self._somebody()).kill()

    async def a_process_ends(self) -> None:
        await (await self._somebody()).close()


HAPPENINGS: dict[Callable[[Course], Awaitable[None]], int] = {
    Course.callers_ask: 8,
    Course.somebody_renews: 3,
    Course.a_moment_passes: 8,
    Course.time_passes: 5,
    Course.the_hosts_are_suspended: 4,
    Course.callers_leave: 1,
    Course.an_answer_is_bad: 3,
    Course.zoom_is_slow_or_quick: 2,
    Course.a_process_is_cut_off: 2,
    Course.an_operation_is_slow: 2,
    Course.answers_are_lost: 1,
    Course.the_store_is_mended: 3,
    Course.a_token_is_rejected: 1,
    Course.alice_authorizes_again: 1,
    Course.alice_revokes: 1,
    Course.a_process_is_killed: 1,
    Course.a_process_ends: 1,
}


def _run(seed: int) -> list[str]:
    async def course() -> list[str]:
        return await Course(random.Random(seed)).run()  # noqa: S311 -- moments, no secrets

    with asyncio.Runner(loop_factory=partial(ShuffledLoop, seed)) as runner:
        return runner.run(course())


def _chunks() -> list[range]:
    seeds = range(SEEDS) if ONE is None else range(int(ONE), int(ONE) + 1)
    return [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]


@pytest.mark.parametrize("seeds", _chunks(), ids=lambda chunk: f"{chunk[0]}-{chunk[-1]}")
def test_whatever_happens_to_a_fleet_no_refresh_token_is_lost(seeds: range) -> None:
    """One exchange for each renewal, no expired token, and the live refresh token is where somebody finds it."""
    for seed in seeds:
        try:
            _run(seed)
        except BaseException as error:
            error.add_note(f"replay: SEED={seed} pytest tests/simulation/test_fleets.py")
            raise


def test_a_seed_replays_exactly() -> None:
    assert _run(417) == _run(417)
