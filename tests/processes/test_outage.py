"""A server that stops, or freezes, at each moment of a person's renewal, and comes back: nothing is lost.

    pytest tests/processes/test_outage.py              an outage of less than a second
    OUTAGE=10 pytest tests/processes/test_outage.py    of ten seconds

A frozen server takes connections and answers nothing; when it goes on, it does what it was told meanwhile.
"""

import asyncio
import os
from pathlib import Path

import anyio.to_thread
import pytest

from tests.processes.conftest import place_of
from tests.processes.moments import MOMENTS, Moment, WatchedStore, WatchedTransport
from tests.processes.place import QUICK, App, Place, live
from tests.processes.servers import Server, mend, server_of
from zoom_async_auth import TokenManager, ZoomAuthError
from zoom_async_auth.events import Event, GrantDied
from zoom_async_auth.sandbox import Sandbox, Zoom

pytestmark = [pytest.mark.asyncio(loop_factories=["plain"]), pytest.mark.timeout(300)]

OUTAGE = float(os.environ.get("OUTAGE", "0.7"))
LIFETIME = 60.0 + OUTAGE
"""Seconds: longer than all of it, so that nobody may get an error."""
LATENCY = 0.2


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_an_outage_at_any_moment_of_a_renewal_loses_nothing(tmp_path: Path, how: str) -> None:
    """No caller gets an error, the live refresh token ends up in the store, nobody has to start anything again."""
    async with Sandbox(token_lifetime=LIFETIME, latency=LATENCY) as zoom, asyncio.TaskGroup() as group:
        for kind in ("postgres", "redis", "valkey"):
            place = await anyio.to_thread.run_sync(place_of, kind, tmp_path)
            group.create_task(_all_moments(kind, place, zoom, how))


async def _all_moments(kind: str, place: Place, zoom: Zoom, how: str) -> None:
    server = await anyio.to_thread.run_sync(server_of, kind)
    for name in MOMENTS:
        moment = Moment(name, server.kill if how == "killed" else server.pause)
        user = f"alice-{kind}-{name}".replace(" ", "-")
        try:
            await _live_through(place, zoom, user, moment, server)
        except BaseException as error:
            error.add_note(f"{kind}, at the moment: {name}")
            raise
        finally:
            await anyio.to_thread.run_sync(mend, server)


async def _live_through(place: Place, zoom: Zoom, user: str, moment: Moment, server: Server) -> None:
    app = App.of(zoom, personal=True)
    events: list[Event] = []
    errors: list[ZoomAuthError] = []
    store = WatchedStore(place.store(), moment)
    await app.authorize(place.store(), zoom, user)
    transport = WatchedTransport(moment)
    async with app.manager(store, key=user, transport=transport, observers=[events.append]) as manager:
        await manager.bearer()
        callers = [asyncio.create_task(_ask(manager, errors)) for _ in range(10)]
        await asyncio.sleep(QUICK.min_interval)
        moment.arm()
        renewal = asyncio.create_task(_try(manager))
        async with asyncio.timeout(10.0):
            await moment.came.wait()
        await asyncio.sleep(OUTAGE)
        await anyio.to_thread.run_sync(mend, server)
        async with asyncio.timeout(30.0 + OUTAGE):
            await renewal
            for _ in range(100):  # a refusal to spend, while somebody may be in doubt, is none to callers
                if await _try(manager):
                    break
                await asyncio.sleep(0.3)
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        assert zoom.model.user_of(await manager.bearer()) == user

    assert errors == []
    assert [event for event in events if isinstance(event, GrantDied)] == []
    assert await app.refresh_token(place.store(), user) == live(zoom, user)
    async with app.manager(place.store(), key=user) as successor:
        await successor.bearer()
        assert zoom.model.user_of((await successor.renew()).access_token) == user


async def _ask(manager: TokenManager, errors: list[ZoomAuthError]) -> None:
    while True:
        try:
            await manager.bearer()
        except ZoomAuthError as error:
            errors.append(error)
        await asyncio.sleep(0.02)


async def _try(manager: TokenManager) -> bool:
    try:
        await manager.renew()
    except ZoomAuthError:
        return False
    return True
