"""Cancelled at every single await in turn, each time in a world of its own: nothing is lost.

Three injectors. Of one caller: it is cancelled at its k-th suspension. Of one caller at each stage of the work that it
waits for: cancelled while the task that the manager owns is at its k-th. And of everything at once, as at the end of
`asyncio.run`: what no shield survives.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from tests.engine.world import QUIET, World, cancelled_at
from tests.simulation.distance import FarStore, FarWire, key_of, live, stored
from tests.simulation.watch import watching
from zoom_async_auth import (
    AuthorizationCodeGrant,
    AuthorizationRequiredError,
    StoredToken,
    TokenManager,
    TokenUnavailableError,
)
from zoom_async_auth.events import GrantDied

LIFETIME = 3600.0
SETTLED = 60.0
"""Seconds after which nothing of what was begun is still under way."""


class Scene:
    """One manager of alice's chain, in a world of its own, on a store that outlives it."""

    def __init__(self) -> None:
        self.world = World()
        self.store = FarStore(self.world.store())
        self.wire = FarWire(self.world.wire)
        self.manager = self.new_manager()
        self.caller: asyncio.Task[Any] | None = None
        self.grant: AuthorizationCodeGrant | StoredToken = self.world.consent()

    def new_manager(self) -> TokenManager:
        return self.world.personal(store=self.store, transport=self.wire, policy=QUIET)

    async def authorized(self) -> None:
        await self.manager.start()
        await self.manager.authorize(self.world.consent())

    @property
    def requests(self) -> dict[str, dict[str, int]]:
        return self.world.zoom.stats


async def _expired(scene: Scene) -> None:
    await scene.authorized()
    scene.world.clock.advance(LIFETIME)


async def _fresh(scene: Scene) -> None:
    await scene.authorized()
    await asyncio.sleep(2.0)


async def _half_used(scene: Scene) -> None:
    await scene.authorized()
    await asyncio.sleep(LIFETIME / 2)


async def _on_the_wire(scene: Scene) -> None:
    await _expired(scene)
    scene.caller = asyncio.create_task(scene.manager.bearer())
    await asyncio.sleep(0.055)  # begun, sent, and not answered yet


async def _another_programs_pair(scene: Scene) -> None:
    world = scene.world
    async with world.personal() as other_program:
        pair = await other_program.authorize(world.consent())
    expires_at = world.clock.time() + LIFETIME
    scene.grant = StoredToken(
        access_token=pair.access_token, refresh_token=pair.refresh_token, expires_at=expires_at, scope=pair.scope
    )
    await scene.manager.start()
    await asyncio.sleep(1.0)


async def _restarted(scene: Scene) -> None:
    await _expired(scene)
    await scene.manager.aclose()
    scene.manager = scene.new_manager()


REFRESHED = {"authorization_code": {"ok": 1}, "refresh_token": {"ok": 1}}
AUTHORIZED_TWICE = {"authorization_code": {"ok": 2}}
AUTHORIZED_ONCE = {"authorization_code": {"ok": 1}}


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One public coroutine, and what it costs however it is cancelled.

    Attributes:
        prepare: Brings a scene to where the call is worth it.
        call: The call.
        requests: How often Zoom was asked at the end of it all.
        points: Suspensions of the caller.
        stages: Suspensions of the tasks that the manager owns, while the caller waits.
    """

    prepare: Callable[[Scene], Awaitable[None]]
    call: Callable[[Scene], Coroutine[Any, Any, object]]
    requests: dict[str, dict[str, int]]
    points: int
    stages: int


VERBS: dict[str, Verb] = {
    "bearer": Verb(
        prepare=_expired, call=lambda scene: scene.manager.bearer(), requests=REFRESHED, points=1, stages=10
    ),
    "token": Verb(
        prepare=_half_used,
        call=lambda scene: scene.manager.token(valid_for=LIFETIME * 0.75),
        requests=REFRESHED,
        points=1,
        stages=10,
    ),
    "headers": Verb(
        prepare=_expired, call=lambda scene: scene.manager.headers(), requests=REFRESHED, points=1, stages=10
    ),
    "renew": Verb(prepare=_fresh, call=lambda scene: scene.manager.renew(), requests=REFRESHED, points=1, stages=10),
    "authorize": Verb(
        prepare=_fresh,
        call=lambda scene: scene.manager.authorize(scene.grant),
        requests=AUTHORIZED_TWICE,
        points=1,
        stages=9,
    ),
    "authorize a stored token": Verb(
        prepare=_another_programs_pair,
        call=lambda scene: scene.manager.authorize(scene.grant),
        requests=AUTHORIZED_ONCE,
        points=1,
        stages=6,
    ),
    "revoke": Verb(
        prepare=_fresh, call=lambda scene: scene.manager.revoke(), requests=AUTHORIZED_ONCE, points=1, stages=9
    ),
    "start": Verb(prepare=_restarted, call=lambda scene: scene.manager.start(), requests=REFRESHED, points=1, stages=0),
    "aclose": Verb(
        prepare=_on_the_wire, call=lambda scene: scene.manager.aclose(), requests=REFRESHED, points=1, stages=3
    ),
}
each_verb = pytest.mark.parametrize("name", VERBS)
plain = pytest.mark.asyncio(loop_factories=["plain"])


async def _assert_nothing_is_lost(name: str, scene: Scene) -> None:
    """Another caller gets what it should, and the store holds what Zoom takes."""
    world = scene.world
    await asyncio.sleep(SETTLED)
    if name in {"start", "aclose"}:
        await scene.manager.aclose()
        scene.manager = scene.new_manager()
        await scene.manager.start()
    if name == "revoke":
        with pytest.raises(AuthorizationRequiredError):
            await scene.manager.bearer()
        assert live(world) is None
    else:
        assert world.is_good(await scene.manager.bearer())
        assert live(world) is not None
    assert await stored(world, scene.store) == live(world)
    await scene.manager.aclose()
    assert scene.requests == VERBS[name].requests
    assert not world.seen(GrantDied)
    if scene.caller is not None:
        assert world.is_good(await scene.caller)


@each_verb
@plain
async def test_a_caller_that_is_cancelled_at_any_of_its_awaits_loses_nothing(name: str) -> None:
    """The exchange and its commit are the manager's task (F39, F40, F42); asked again, no second request follows."""
    verb = VERBS[name]
    for point in itertools.count(1):
        scene = Scene()
        await verb.prepare(scene)
        caller = asyncio.create_task(cancelled_at(point, verb.call(scene)))
        await asyncio.wait({caller})
        await _assert_nothing_is_lost(name, scene)
        if not caller.cancelled():
            caller.result()
            assert point - 1 == verb.points
            return


@each_verb
@plain
async def test_a_caller_that_is_cancelled_at_any_stage_of_the_work_it_waits_for_loses_nothing(name: str) -> None:
    """Before begin, between Zoom's rotation and its answer, in the commit: the caller's end is its own affair (F39)."""
    verb = VERBS[name]
    for stage in itertools.count(1):
        with watching() as watch:
            scene = Scene()
            await verb.prepare(scene)
            caller: asyncio.Task[object] = asyncio.create_task(verb.call(scene))
            await asyncio.sleep(0)  # it has called, and waits
            watch.at(stage, caller.cancel)
            await asyncio.wait({caller})
            watch.disarm()
        await _assert_nothing_is_lost(name, scene)
        if not caller.cancelled():
            caller.result()
            assert stage - 1 == verb.stages
            return


# From the inside: every task of the loop is cancelled, natively, as at the end of `asyncio.run`; then a restart.

Kept = Literal["nothing is spent", "the successor is stored", "an intent is open"]


async def _end_of_everything(verb: Verb, suspension: int) -> tuple[Scene, bool]:
    """Call the verb; cancel all tasks when one of the manager's is at that suspension. Tell whether it came to that."""
    bystanders = asyncio.all_tasks()
    happened = asyncio.Event()

    def cancel_everything() -> None:
        happened.set()
        for task in asyncio.all_tasks() - bystanders:
            task.cancel()

    with watching() as watch:
        scene = Scene()
        await verb.prepare(scene)
        caller: asyncio.Task[object] = asyncio.create_task(verb.call(scene))
        await asyncio.sleep(0)
        watch.at(suspension, cancel_everything)
        await asyncio.wait({caller})
        watch.disarm()
    if happened.is_set():
        with pytest.warns(ResourceWarning, match="was not closed"):
            await asyncio.wait(asyncio.all_tasks() - bystanders)
    return scene, happened.is_set()


async def _kept(scene: Scene, *, spent: bool) -> Kept:
    """Return which of the three holds, and that it does hold."""
    reading = await scene.store.peek(key_of(scene.world))
    if not spent:
        assert await stored(scene.world, scene.store) == live(scene.world)
        return "nothing is spent"
    if reading.generation > 1:
        assert await stored(scene.world, scene.store) == live(scene.world)
        assert not reading.intents
        return "the successor is stored"
    assert await stored(scene.world, scene.store) != live(scene.world)
    assert [intent.generation for intent in reading.intents] == [1]
    return "an intent is open"


@plain
@pytest.mark.parametrize("grace", [0.0, 1e6], ids=["spent once", "spent twice"])
async def test_a_refresh_that_ends_with_everything_heals_or_leaves_an_intent(grace: float) -> None:
    """No shield survives the end of `asyncio.run` (F43): what Zoom rotated and nobody stored is known to be in doubt.

    A restart on the same store: nothing was spent: one request. The successor is stored: none. An intent is open:
    one, which heals if Zoom takes a refresh token twice; else the person is asked, once the doubt has passed.
    """
    kept: Counter[Kept] = Counter()
    for suspension in itertools.count(1):
        scene, happened = await _end_of_everything(VERBS["bearer"], suspension)
        world = scene.world
        if not happened:
            await scene.manager.aclose()
            break
        world.zoom.model.reuse_grace = grace
        refreshed = world.zoom.stats.get("refresh_token", {}).get("ok", 0)
        what = await _kept(scene, spent=refreshed == 1)
        kept[what] += 1
        lost = what == "an intent is open" and not grace
        async with scene.new_manager() as successor:
            if lost:
                await _assert_the_person_is_asked_after_the_doubt(world, successor)
            else:
                assert world.is_good(await successor.bearer())
                assert await stored(world, scene.store) == live(world)
        requests = {"ok": 1 if what != "an intent is open" else 2} if not lost else {"ok": 1, "invalid_grant": 1}
        assert world.zoom.stats["refresh_token"] == requests
        assert [event.answer_was_lost for event in world.seen(GrantDied)] == [True] * lost

    assert kept == {"nothing is spent": 6, "an intent is open": 2, "the successor is stored": 2}


@plain
@pytest.mark.parametrize("name", ["authorize", "revoke"])
async def test_an_authorization_or_revocation_that_ends_with_everything_leaves_an_intent_at_worst(name: str) -> None:
    """Nothing was spent: all is as it was. It is stored: done. An intent is open: the person is asked again (F43)."""
    kept: Counter[Kept] = Counter()
    for suspension in itertools.count(1):
        scene, happened = await _end_of_everything(VERBS[name], suspension)
        world = scene.world
        if not happened:
            await scene.manager.aclose()
            break
        acted = world.zoom.stats["authorization_code"]["ok"] == 2 if name == "authorize" else live(world) is None
        what = await _kept(scene, spent=acted)
        kept[what] += 1
        lost = what == "an intent is open"
        async with scene.new_manager() as successor:
            if lost:
                successor.invalidate(await successor.bearer())  # it lives on in the store alone
                await _assert_the_person_is_asked_after_the_doubt(world, successor)
            elif live(world) is None:
                with pytest.raises(AuthorizationRequiredError):
                    await successor.bearer()
            else:
                assert world.is_good(await successor.bearer())
        assert world.zoom.stats.get("refresh_token", {}) == ({"invalid_grant": 1} if lost else {})
        assert [event.answer_was_lost for event in world.seen(GrantDied)] == [True] * lost

    # What has arrived is stored by the manager on its way out.
    stored_at = {"authorize": 2, "revoke": 1}[name]
    assert kept == {"nothing is spent": 5, "an intent is open": 4 - stored_at, "the successor is stored": stored_at}


async def _assert_the_person_is_asked_after_the_doubt(world: World, manager: TokenManager) -> None:
    with pytest.raises(TokenUnavailableError, match="perhaps by another process"):
        await manager.bearer()
    world.clock.advance(QUIET.doubt)
    await asyncio.sleep(SETTLED)
    with pytest.raises(AuthorizationRequiredError):
        await manager.bearer()
