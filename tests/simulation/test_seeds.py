"""Races in a thousand orders. A failure names its seed, and the command that replays it.

    pytest tests/simulation/test_seeds.py                    a thousand seeds, a third of them for each race
    SEEDS=100000 pytest tests/simulation/test_seeds.py       more
    SEED=417 pytest tests/simulation/test_seeds.py -k herd   one of them

A seed decides the order in which tasks that are due at the same moment go on (`ShuffledLoop`), and the moments at which
the participants act: few enough that they meet.
"""

import asyncio
import os
import random
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

import pytest

from tests.engine.world import QUIET, World
from tests.simulation.distance import DISTANCE, FarStore, FarWire, live, stored
from zoom_async_auth import ManagerClosedError, RenewalPolicy, TokenManager, ZoomAuthError
from zoom_async_auth.events import Authorized, Event, GrantDied, LateTokenDropped, RenewalFailed
from zoom_async_auth.stores.base import Store
from zoom_async_auth.testing import ShuffledLoop

CHUNK = 100
ONE = os.environ.get("SEED")
SEEDS = int(os.environ.get("SEEDS", "1000"))
RACES = 3
MOMENTS = [0.0, 2 * DISTANCE, 4 * DISTANCE, 5 * DISTANCE, 5 * DISTANCE + 0.1, 7 * DISTANCE + 0.1]
"""After these seconds a refresh that started at 0 has looked, begun, reached Zoom, heard from it, and is stored."""
LIFETIME = 3600.0
NO_HANG = 1000.0
"""Virtual seconds after which everything has an end."""

Trace = list[tuple[object, ...]]
Race = Callable[[random.Random], Coroutine[Any, Any, Trace]]


def _chunks(first: int) -> pytest.MarkDecorator:
    """Return the seeds of one race, in pieces that end within the time limit of a test."""
    seeds = range(first, SEEDS, RACES) if ONE is None else range(int(ONE), int(ONE) + 1)
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    return pytest.mark.parametrize("seeds", chunks, ids=lambda chunk: f"{chunk[0]}-{chunk[-1]}")


def _run(race: Race, seed: int) -> Trace:
    with asyncio.Runner(loop_factory=partial(ShuffledLoop, seed)) as runner:
        return runner.run(race(random.Random(seed)))  # noqa: S311 -- moments, no secrets


def _run_all(race: Race, seeds: Iterable[int], *, select: str) -> None:
    for seed in seeds:
        try:
            _run(race, seed)
        except BaseException as error:
            error.add_note(f"replay: SEED={seed} pytest tests/simulation/test_seeds.py -k {select}")
            raise


class Course:
    """What happens in one race, in order, and who takes part."""

    def __init__(self, luck: random.Random) -> None:
        self.world = World(luck=0.5)
        self.store = FarStore(self.world.store())
        self.trace: Trace = []
        self._luck = luck
        self._loop = asyncio.get_running_loop()
        self._tasks: list[asyncio.Task[Any]] = []

    def manager(self, store: Store | None = None, **options: Any) -> TokenManager:
        """Return a manager at a distance from Zoom and the store."""
        wire = FarWire(self.world.wire, slow=lambda: self._luck.choice([0.0, 0.0, 2 * DISTANCE, 0.2]))
        return self.world.personal(**{"store": store or self.store, "transport": wire, "policy": QUIET, **options})

    async def authorized(self) -> None:
        """Have alice authorize the app."""
        async with self.manager() as manager:
            await manager.authorize(self.world.consent())

    def at_some_moment(self, name: str, call: Callable[[], Coroutine[Any, Any, object]]) -> "asyncio.Task[object]":
        """Make a call at one of the moments, and note its end."""
        return self.after(self._luck.choice(MOMENTS), name, call)

    def after(
        self, seconds: float, name: str, call: Callable[[], Coroutine[Any, Any, object]]
    ) -> "asyncio.Task[object]":
        """Make a call after that many seconds, and note its end."""

        async def act() -> object:
            await asyncio.sleep(seconds)
            try:
                result = await call()
            except ZoomAuthError as error:
                self._note(name, type(error).__name__)
                return error
            self._note(name, "done")
            return result

        task = asyncio.create_task(act())
        self._tasks.append(task)
        return task

    async def end(self) -> Trace:
        """Wait until all calls have ended, which they do; return what happened, in order."""
        _, hanging = await asyncio.wait(self._tasks, timeout=NO_HANG)
        assert not hanging
        self.trace += [(type(event).__name__, getattr(event, "generation", None)) for event in self.world.events]
        return self.trace

    async def assert_the_chain_is_alive(self) -> None:
        """The store holds what Zoom would take, and a process that starts now gets a good token."""
        assert live(self.world) is not None
        assert await stored(self.world, self.store) == live(self.world)
        async with self.manager() as successor:
            assert self.world.is_good(await successor.bearer())
        assert await stored(self.world, self.store) == live(self.world)
        assert not self.world.seen(GrantDied)

    def _note(self, *what: object) -> None:
        self.trace.append((round(self._loop.time(), 6), *what))


async def _herd(luck: random.Random) -> Trace:
    """A herd on an expired token; one leaves; the token is rejected, renewed, authorized anew; the manager closes."""
    course = Course(luck)
    world = course.world
    await course.authorized()
    manager = course.manager()
    await manager.start()
    rejected = await manager.bearer()
    world.clock.advance(luck.choice([2.0, LIFETIME]))

    async def invalidate() -> bool:
        return manager.invalidate(rejected)

    async def leave() -> None:
        callers[0].cancel()

    callers = [course.at_some_moment("caller", manager.bearer) for _ in range(10)]
    renewal = course.at_some_moment("renew", manager.renew)
    invalidation = course.at_some_moment("invalidate", invalidate)
    course.at_some_moment("leave", leave)
    authorization = course.at_some_moment("authorize", lambda: manager.authorize(world.consent()))
    closing = course.after(luck.choice([*MOMENTS, *[10.0] * len(MOMENTS)]), "aclose", manager.aclose)
    trace = await course.end()

    for call in (*callers[1:], renewal, authorization):
        assert not call.cancelled()
        assert not isinstance(call.result(), ZoomAuthError) or isinstance(call.result(), ManagerClosedError)
    assert not isinstance(invalidation.result(), ZoomAuthError | None) or isinstance(
        invalidation.result(), ManagerClosedError
    )
    assert closing.result() is None
    authorizations = 1 if isinstance(authorization.result(), ManagerClosedError) else 2
    assert world.zoom.stats["authorization_code"] == {"ok": authorizations}
    await course.assert_the_chain_is_alive()
    return trace


async def _late_winner(luck: random.Random) -> Trace:
    """A sends and is suspended; its lease ends; B sends the same refresh token and is refused; A goes on."""
    course = Course(luck)
    world = course.world
    await course.authorized()
    world.clock.advance(LIFETIME)
    patient = RenewalPolicy(jitter=0.0, timeout=200.0, attempt_timeout=200.0)
    a, b = course.manager(policy=patient), course.manager()
    world.wire.held_after = asyncio.Event()
    await a.start()
    of_a = [course.after(0.0, "a", a.bearer) for _ in range(3)]
    await asyncio.sleep(1.0)
    assert world.zoom.stats["refresh_token"] == {"ok": 1}
    release, world.wire.held_after = world.wire.held_after, None
    world.clock.advance(patient.lease)

    async def go_on() -> None:
        release.set()

    await b.start()
    of_b = [course.at_some_moment("b", b.bearer) for _ in range(3)]
    course.at_some_moment("go on", go_on)
    trace = await course.end()

    assert {call.result() for call in (*of_a, *of_b)} == {await a.bearer()}
    requests = world.zoom.stats["refresh_token"]
    assert requests in ({"ok": 1}, {"ok": 1, "invalid_grant": 1})
    await asyncio.sleep(2.0)
    await b.renew()
    assert world.zoom.stats["refresh_token"] == {**requests, "ok": 2}
    await b.aclose()
    await a.aclose()
    await course.assert_the_chain_is_alive()
    return trace


async def _reauthorization(luck: random.Random) -> Trace:
    """Two processes ask and renew; in one of them, or in a third, alice authorizes the app again."""
    course = Course(luck)
    world = course.world
    await course.authorized()
    world.clock.advance(luck.choice([2.0, LIFETIME]))
    fleet = [course.manager() for _ in range(3)]
    for manager in fleet:
        await manager.start()
    refreshing, asking, _ = fleet
    where = luck.choice(fleet)
    course.after(0.0, "renew", refreshing.renew)
    course.at_some_moment("ask", asking.bearer)
    course.at_some_moment("renew too", asking.renew)
    authorization = course.at_some_moment("authorize", lambda: where.authorize(world.consent()))
    trace = await course.end()

    assert not isinstance(authorization.result(), ZoomAuthError)
    assert world.zoom.stats["authorization_code"] == {"ok": 2}
    refreshed = world.zoom.stats.get("refresh_token", {})
    await asyncio.sleep(2.0)
    for manager in fleet:
        if not world.is_good(token := await manager.bearer()):
            manager.invalidate(token)  # the authorization killed it; the store has the next one
        assert world.is_good(await manager.bearer())
    assert world.zoom.stats.get("refresh_token", {}) == refreshed
    for manager in fleet:
        await manager.aclose()
    await course.assert_the_chain_is_alive()
    return trace


@_chunks(0)
def test_a_herd_in_any_order_with_all_that_can_happen_to_it_keeps_the_chain_alive(seeds: range) -> None:
    """Whatever comes first: the store holds what Zoom takes, nobody hangs, whoever waits gets a token or the reason."""
    _run_all(_herd, seeds, select="herd")


@_chunks(1)
def test_a_late_winner_in_any_order_is_accepted_and_the_others_refusal_is_not_believed(seeds: range) -> None:
    """F64: whoever is first at the store, at Zoom or back from it."""
    _run_all(_late_winner, seeds, select="late_winner")


@_chunks(2)
def test_a_reauthorization_in_any_order_outranks_what_was_under_way(seeds: range) -> None:
    """F74: only the chain of the new authorization is live, and no late token overwrites it."""
    _run_all(_reauthorization, seeds, select="reauthorization")


@pytest.mark.parametrize("race", [_herd, _late_winner, _reauthorization])
def test_a_seed_replays_exactly(race: Race) -> None:
    """What a seed found, it finds again: the same calls and events at the same times."""
    assert _run(race, 417) == _run(race, 417)


def test_seeds_differ() -> None:
    """A thousand seeds are more than one."""
    assert len({tuple(_run(_herd, seed)) for seed in range(20)}) == 20


def _happened(race: Race, event: type[Event], *, times: int) -> set[bool]:
    traces = (_run(race, seed) for seed in range(50))
    return {[what[0] for what in trace].count(event.__name__) >= times for trace in traces}


def test_the_races_are_met() -> None:
    """For some seeds Zoom refuses the second of two processes, or a late token is dropped; for others it does not."""
    # Each begins with a process that fails because nobody has authorized the app yet.
    assert _happened(_late_winner, RenewalFailed, times=2) == {True, False}
    assert _happened(_reauthorization, LateTokenDropped, times=1) == {True, False}
    assert _happened(_herd, Authorized, times=2) == {True, False}


async def _three_tasks(_luck: random.Random) -> Trace:
    order: Trace = []

    async def arrive(name: str) -> None:
        await asyncio.sleep(0)
        order.append((name,))

    await asyncio.gather(*map(arrive, "abc"))
    return order


def test_three_tasks_arrive_in_each_order_for_some_seed() -> None:
    """Where asyncio promises no order, there is none."""
    assert len({tuple(_run(_three_tasks, seed)) for seed in range(100)}) == 6


def test_other_callbacks_keep_their_order() -> None:
    """Transports rely on it."""

    async def callbacks(_luck: random.Random) -> Trace:
        loop = asyncio.get_running_loop()
        order: Trace = []
        for number in range(10):
            loop.call_soon(order.append, (number,))
        await asyncio.sleep(0)
        return order

    assert all(_run(callbacks, seed) == [(number,) for number in range(10)] for seed in range(20))
