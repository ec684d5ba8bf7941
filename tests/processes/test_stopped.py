"""A process that is stopped (SIGSTOP) at a moment of its renewal until its lease has run out, and then goes on (F64).

Another one takes over meanwhile, or nobody does. Whatever the order: the live refresh token ends up in the store, and
nobody declares the grant dead.
"""

import asyncio
import signal
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread
import pytest

from tests.processes.conftest import place_of
from tests.processes.family import Child
from tests.processes.members import victim
from tests.processes.moments import MOMENTS, Moment, Signal
from tests.processes.place import App, Place, live
from zoom_async_auth import RenewalPolicy, TokenManager, ZoomAuthError
from zoom_async_auth.events import Event, GrantDied
from zoom_async_auth.sandbox import Sandbox, Zoom

pytestmark = [pytest.mark.asyncio(loop_factories=["plain"]), pytest.mark.timeout(300)]

KINDS = ("sqlite", "postgres", "redis", "valkey", "layered")
POLICY = RenewalPolicy(min_interval=0.1, attempt_timeout=2.0, commit_timeout=3.0, timeout=4.0, doubt=120.0)
LIFETIME = 4.0
"""Seconds, less than a lease: who takes over has nothing to serve meanwhile."""
LATENCY = 0.3
AT_ONCE = 6
"""So many are on their way to be stopped; afterwards they wait, all together."""


@dataclass
class Course:
    """What happened around one process.

    Attributes:
        kind: Of its store.
        moment: When it was stopped.
        contested: Whether another process took over.
        said: What the stopped one had in the end: a token, or the name of an error (its store was slow, it finds).
        stored: Whether the refresh token that Zoom takes is in the store.
        deaths: How often a grant was declared dead.
        goes_on: Whether the next renewal works.
    """

    kind: str
    moment: str
    contested: bool
    said: str = ""
    stored: bool = False
    deaths: int = 0
    goes_on: bool = False
    events: list[Event] = field(default_factory=list, repr=False)


async def test_f64_whoever_was_stopped_and_goes_on_keeps_the_chain_alive(tmp_path: Path) -> None:
    async with Sandbox(token_lifetime=LIFETIME, latency=LATENCY) as zoom:
        places = {kind: await anyio.to_thread.run_sync(place_of, kind, tmp_path) for kind in KINDS}
        courses = [
            Course(kind, moment, contested)
            for kind in KINDS
            for moment in MOMENTS
            for contested in (True, False)
            if kind != "sqlite" or moment != "in commit"  # its lock is held by whoever is stopped there
        ]
        turns = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for course in courses:
                group.create_task(_go(course, places[course.kind], zoom, turns))

    assert [course for course in courses if not (course.stored and course.goes_on and course.deaths == 0)] == []


async def _go(course: Course, place: Place, zoom: Zoom, turns: asyncio.Semaphore) -> None:
    app = App.of(zoom, personal=True, policy=POLICY)
    user = f"alice-{course.kind}-{course.moment}-{course.contested}".replace(" ", "-")
    async with turns:
        await app.authorize(place.store(), zoom, user)
        child = await _stopped(place, app, user, course.moment)
    try:
        async with app.manager(place.store(), key=user, observers=[course.events.append]) as other:
            if course.contested:
                async with asyncio.timeout(POLICY.lease + POLICY.timeout):
                    await _take_over(other)
            else:
                await asyncio.sleep(POLICY.lease + 1.0)
            child.signal(signal.SIGCONT)
            course.said = await child.hears()
            assert await child.ended() == 0
            for _ in range(50):
                if await _renewed(other):
                    break
                await asyncio.sleep(0.2)
            for _ in range(20):  # it may just be on its way
                course.stored = await app.refresh_token(place.store(), user) == live(zoom, user)
                if course.stored:
                    break
                await asyncio.sleep(0.1)
            course.goes_on = await _renewed(other)
    finally:
        await anyio.to_thread.run_sync(child.end)
    course.deaths = sum(isinstance(event, GrantDied) for event in course.events)


async def _stopped(place: Place, app: App, user: str, moment: str) -> Child:
    """Return a process that was stopped at that moment; on a busy machine one may fail before it gets there."""
    for _ in range(5):
        child = await Child.of(victim, place, app, user, Moment(moment, Signal(signal.SIGSTOP)))
        try:
            if await child.stopped():
                return child
        except BaseException:
            await anyio.to_thread.run_sync(child.end)
            raise
        await anyio.to_thread.run_sync(child.end)
    raise AssertionError(f"{user} was never stopped")


async def _take_over(manager: TokenManager) -> None:
    """Try until the lease of the stopped one has run out, and a little longer."""
    ends = asyncio.get_running_loop().time() + POLICY.lease + 1.0
    while asyncio.get_running_loop().time() < ends:
        if await _renewed(manager):
            return
        await asyncio.sleep(0.1)


async def _renewed(manager: TokenManager) -> bool:
    try:
        await manager.renew()
    except ZoomAuthError:
        return False
    return True
