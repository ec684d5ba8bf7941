"""kill -9 at each moment of a person's renewal: the next process goes on, whenever Zoom's state allows it (F43, F51).

    pytest tests/processes/test_kill.py              each moment once on each store, with and without a grace
    TIMES=20 pytest tests/processes/test_kill.py     each twenty times

A process that is killed before Zoom has acted, or after the commit, costs nothing. In between the answer is lost: the
intent that it left is followed by exactly one more request with the same refresh token. Zoom documents no grace for
that: without one the person has to authorize again, and is told why; a server that has one gives the next token.
"""

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread
import pytest

from tests.processes.conftest import place_of
from tests.processes.family import Child
from tests.processes.members import victim
from tests.processes.moments import MOMENTS, Moment, Signal
from tests.processes.place import App, Place, live, patiently
from zoom_async_auth import AuthorizationRequiredError
from zoom_async_auth.endpoint import AiohttpTransport
from zoom_async_auth.events import Event, GrantDied
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.sandbox import Sandbox, Zoom

TIMES = int(os.environ.get("TIMES", "1"))
pytestmark = [pytest.mark.asyncio(loop_factories=["plain"]), pytest.mark.timeout(120 * TIMES)]

AT_ONCE = 8
BATCH = 1
"""So many of each are under way together: they wait for leases most of the time, in one process and on one file."""
LIFETIME = 4.0
"""Seconds, less than a lease: who comes next finds nothing to serve meanwhile."""
LATENCY = 0.3
DURABLE = ["sqlite", "postgres", "redis", "valkey", "encrypted", "layered"]
KEEPS_COMMANDS = {"redis", "valkey"}
"""What these have been sent they do, though the sender dies: the token is stored."""


@dataclass
class Fate:
    """What became of one identity.

    Attributes:
        kind: Of its store.
        moment: When its process was killed.
        grace: Seconds for which Zoom takes a spent refresh token.
        number: Counts those of the same kind.
        alive: Whether Zoom takes what is stored then.
        good: Whether the next process got a token that Zoom takes.
        error: What that one got instead.
        requests: How many more requests that took.
        unheard: How many of them had no answer in time: on a busy host that happens, and is another loss.
        events: What it reported.
    """

    kind: str
    moment: str
    grace: float
    number: int
    alive: bool = False
    good: bool = False
    error: str | None = None
    requests: int = 0
    unheard: int = 0
    events: list[Event] = field(default_factory=list)


async def test_f51_the_next_process_goes_on_whenever_that_is_possible(tmp_path: Path) -> None:
    turns = asyncio.Semaphore(AT_ONCE)
    places = {kind: await anyio.to_thread.run_sync(place_of, kind, tmp_path) for kind in DURABLE}
    fates = [
        Fate(kind, moment, grace, number)
        for kind in DURABLE
        for moment in MOMENTS
        for grace in (0.0, 60.0)
        for number in range(TIMES)
    ]
    async with (
        Sandbox(token_lifetime=LIFETIME, latency=LATENCY) as strict,
        Sandbox(token_lifetime=LIFETIME, latency=LATENCY, reuse_grace=60.0) as lenient,
    ):
        for start in range(0, TIMES, BATCH):
            async with asyncio.TaskGroup() as group:
                for fate in fates:
                    if start <= fate.number < start + BATCH:
                        group.create_task(_befall(fate, places[fate.kind], lenient if fate.grace else strict, turns))

    assert [fate for fate in fates if fate.good != (fate.alive or fate.grace > 0) and not fate.unheard] == []
    assert sum(fate.unheard > 0 for fate in fates) <= 1 + len(fates) // 100
    for fate in fates:
        died = [event for event in fate.events if isinstance(event, GrantDied)]
        if fate.good:
            assert (fate.error, died) == (None, [])
        elif fate.unheard:
            assert [event.answer_was_lost for event in died] == [True]
        else:
            assert (fate.error, fate.requests) == (AuthorizationRequiredError.__name__, 1)
            assert [event.answer_was_lost for event in died] == [True]
    answer_lost = {(fate.kind, fate.moment) for fate in fates if not fate.alive}
    assert answer_lost == {
        (kind, moment)
        for kind in DURABLE
        for moment in ("sent", "received", "in commit")
        if moment != "in commit" or kind not in KEEPS_COMMANDS
    }


async def _befall(fate: Fate, place: Place, zoom: Zoom, turns: asyncio.Semaphore) -> None:
    user = f"alice-{fate.kind}-{fate.moment}-{fate.grace:g}-{fate.number}".replace(" ", "-")
    app = App.of(zoom, personal=True)
    async with turns:
        await app.authorize(place.store(), zoom, user)
        child = await Child.of(victim, place, app, user, Moment(fate.moment, Signal(signal.SIGKILL)))
        assert await child.ended() == -signal.SIGKILL
    fate.alive = await app.refresh_token(place.store(), user) == live(zoom, user)
    wire = Counting()
    async with app.manager(place.store(), key=user, transport=wire, observers=[fate.events.append]) as manager:
        try:
            await patiently(manager.bearer)
            token = await patiently(manager.renew)
        except AuthorizationRequiredError as error:
            fate.error = type(error).__name__
        else:
            fate.good = zoom.model.user_of(token.access_token) == user
    fate.requests, fate.unheard = wire.requests, wire.unheard


class Counting(AiohttpTransport):
    """A transport that counts.

    Attributes:
        requests: How many there were.
        unheard: How many of them had no answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self.unheard = 0

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        self.requests += 1
        self.unheard += 1  # until there is an answer: who waits for it may also be cancelled
        answer = await super().send(url, headers, body, timeout)
        self.unheard -= 1
        return answer
