"""What the processes of a fleet do: children of a fork server, which report through a pipe."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection

import aiohttp

from tests.processes.moments import Moment, WatchedStore, WatchedTransport
from tests.processes.place import App, Place
from zoom_async_auth import TokenManager, ZoomAuthError
from zoom_async_auth.cli.demo import _watched

CALLERS = 50
PAUSE = 0.02
"""Seconds between two calls of one caller."""
LOOKS = 0.1
"""Seconds between two requests to Zoom's API."""
UNAUTHORIZED = 401


@dataclass
class Report:
    """What a process saw while it counted."""

    calls: int = 0
    waited: int = 0
    errors: int = 0
    asked_zoom: int = 0
    rejected: int = 0

    def begin(self) -> None:
        """Forget what was counted before."""
        for name, nothing in asdict(Report()).items():
            setattr(self, name, nothing)


def member(place: Place, apps: Sequence[App], pipe: Connection) -> None:
    """Serve many callers, each of whom wants a token of every app; when told so, count what they see, and report it."""
    asyncio.run(_member(place, apps, pipe))


async def _member(place: Place, apps: Sequence[App], pipe: Connection) -> None:
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        managers = [await stack.enter_async_context(app.manager(place.store())) for app in apps]
        reports = [Report() for _ in apps]
        watched = list(zip(apps, managers, reports, strict=True))

        async def call() -> None:
            for _, manager, report in watched:
                await _call(manager, report)

        async def look() -> None:
            for app, manager, report in watched:
                await _look(manager, session, app, report)

        for manager in managers:
            await manager.bearer()
        pipe.send("ready")
        tasks = [*(_often(PAUSE, call) for _ in range(CALLERS)), _often(LOOKS, look)]
        await _told(pipe)
        for report in reports:
            report.begin()
        await _told(pipe)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    pipe.send(reports)


async def _told(pipe: Connection) -> None:
    while not pipe.poll():  # noqa: ASYNC110 -- a pipe is no event
        await asyncio.sleep(LOOKS)
    pipe.recv()


def _often(pause: float, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    async def repeat() -> None:
        while True:
            await work()
            await asyncio.sleep(pause)

    return asyncio.create_task(repeat())


async def _call(manager: TokenManager, report: Report) -> None:
    try:
        _, waited = await _watched(manager.bearer())
    except ZoomAuthError:
        report.errors += 1
    else:
        report.calls += 1
        report.waited += waited


async def _look(manager: TokenManager, session: aiohttp.ClientSession, app: App, report: Report) -> None:
    with contextlib.suppress(ZoomAuthError):
        headers = await manager.headers()
        async with session.get(f"{app.base_url}/v2/users", headers=headers) as answer:
            report.asked_zoom += 1
            report.rejected += answer.status == UNAUTHORIZED


def victim(place: Place, app: App, key: str, moment: Moment, pipe: Connection) -> None:
    """Renew a person's token, to whose process something happens at a moment of it."""
    asyncio.run(_victim(place, app, key, moment, pipe))


async def _victim(place: Place, app: App, key: str, moment: Moment, pipe: Connection) -> None:
    store, transport = WatchedStore(place.store(), moment), WatchedTransport(moment)
    async with app.manager(store, transport=transport, key=key) as manager:
        await manager.bearer()
        moment.arm()
        try:
            pipe.send((await manager.renew()).access_token)
        except ZoomAuthError as error:
            pipe.send(type(error).__name__)
