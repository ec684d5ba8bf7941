"""A person's chain of refresh tokens in the hands of two processes to which everything happens, in any order.

    pytest tests/simulation/test_machine.py                             the same examples each time
    EXAMPLES=5000 pytest --timeout 0 tests/simulation/test_machine.py   more, others each time, or by --hypothesis-seed

Hypothesis looks for a sequence of steps after which one of the invariants of `fleet.py` does not hold, and with time
enough shortens it.
"""

import asyncio
import os
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.simulation.fleet import OPERATIONS, Fault, Host, Process
from zoom_async_auth.testing import VirtualTimeLoop

_T = TypeVar("_T")

MOMENTS = st.sampled_from([0.0, 0.015, 0.055, 0.12, 0.2, 1.0, 5.0])
PERIODS = st.sampled_from([31.0, 400.0, 3600.0])
WHICH = st.integers(0, 1)


class Life(RuleBasedStateMachine):
    """The steps."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.host = self._do(_new_host())

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.runner.run(work)

    async def _at(self, which: int) -> Process:
        return await self.host.process(which)

    @initialize()
    def alice_authorizes(self) -> None:
        async def step() -> None:
            await (await self._at(0)).manager.authorize(self.host.world.consent())

        self._do(step())

    @rule(which=WHICH, number=st.integers(1, 5))
    def callers_ask(self, which: int, number: int) -> None:
        async def step() -> None:
            process = await self._at(which)
            for _ in range(number):
                process.call(process.ask())

        self._do(step())

    @rule(which=WHICH)
    def somebody_renews(self, which: int) -> None:
        async def step() -> None:
            process = await self._at(which)
            process.call(process.attempt(process.manager.renew))

        self._do(step())

    @rule(seconds=MOMENTS)
    def a_moment_passes(self, seconds: float) -> None:
        self._do(asyncio.sleep(seconds))

    @rule(seconds=PERIODS)
    def time_passes(self, seconds: float) -> None:
        self._do(asyncio.sleep(seconds))

    @rule(seconds=st.sampled_from([15.0, 400.0, 3600.0]))
    def the_host_is_suspended(self, seconds: float) -> None:
        self.host.world.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-3600.0, 3600.0]))
    def the_wall_clock_is_stepped(self, seconds: float) -> None:
        self.host.clock.step_wall(seconds)

    @rule(which=WHICH, number=st.sampled_from([1, 100]))
    def callers_leave(self, which: int, number: int) -> None:
        async def step() -> None:
            (await self._at(which)).cancel(number)

        self._do(step())

    @rule(faults=st.lists(st.sampled_from(["lost before", "lost after", "429", "500", "html"]), min_size=1, max_size=2))
    def the_next_answers_are_bad(self, faults: list[Fault]) -> None:
        self.host.faults = faults

    @rule(seconds=st.sampled_from([0.1, 5.0, 12.0]))
    def zoom_takes(self, seconds: float) -> None:
        self.host.world.zoom.latency = seconds

    @rule(which=WHICH, operations=st.sampled_from([OPERATIONS, {"commit"}, {"begin"}]))
    def the_store_is_down(self, which: int, operations: set[str]) -> None:
        async def step() -> None:
            (await self._at(which)).store.down |= operations

        self._do(step())

    @rule(which=WHICH)
    def answers_to_commits_are_lost(self, which: int) -> None:
        async def step() -> None:
            (await self._at(which)).store.silent.add("commit")

        self._do(step())

    @rule()
    def the_store_is_up(self) -> None:
        self.host.mend_the_store()

    @rule(which=WHICH)
    def zooms_api_rejects_a_token(self, which: int) -> None:
        async def step() -> None:
            (await self._at(which)).reject()

        self._do(step())

    @rule(which=WHICH)
    def alice_authorizes_again(self, which: int) -> None:
        async def step() -> None:
            process = await self._at(which)
            self.host.outranked_at = self.host.now
            process.call(process.attempt(partial(process.manager.authorize, self.host.world.consent())))

        self._do(step())

    @rule(which=WHICH)
    def alice_revokes(self, which: int) -> None:
        async def step() -> None:
            process = await self._at(which)
            self.host.outranked_at = self.host.now
            process.call(process.attempt(process.manager.revoke))

        self._do(step())

    @rule(which=WHICH)
    def a_process_is_killed(self, which: int) -> None:
        async def step() -> None:
            await (await self._at(which)).kill()

        self._do(step())

    @rule(which=WHICH)
    def a_process_ends(self, which: int) -> None:
        async def step() -> None:
            await (await self._at(which)).close()

        self._do(step())

    @invariant()
    def nothing_is_wrong(self) -> None:
        self.host.assert_nothing_is_wrong()

    def teardown(self) -> None:
        if not self.host.wrong:
            self._do(self.host.end())
        self.runner.close()


async def _new_host() -> Host:
    return Host()


def test_whatever_happens_no_refresh_token_is_lost_and_no_expired_token_is_handed_out() -> None:
    """The contracts of the engine under faults that nobody thought of together (F28, F36, F39-F44, F57, F63-F74)."""
    examples = os.environ.get("EXAMPLES")
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=int(examples or "100"),
            stateful_step_count=30,
            deadline=None,
            database=None,
            derandomize=examples is None,
            phases=[Phase.generate] if examples is None else [Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
