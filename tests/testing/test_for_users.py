"""What the package offers for the tests of others: fixtures, virtual time, a clock to turn, an asserter."""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from zoom_async_auth import MisuseError, Token, TokenManager, testing
from zoom_async_auth.bearer import BearerSource
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.stores.base import Record
from zoom_async_auth.stores.redis import RedisStore
from zoom_async_auth.stores.sql import SQLStore
from zoom_async_auth.testing import ManualClock, MemoryTransport, VirtualTimeLoop, assert_one_request
from zoom_async_auth.testing.shuffled import ShuffledLoop

A_BOTS_TEST = """
import asyncio
from fastapi import FastAPI
from fastapi.testclient import TestClient
from zoom_async_auth import TokenManager
from zoom_async_auth.integrations.fastapi import Bearer, zoom_lifespan
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.testing import ManualClock, MemoryTransport, VirtualTimeLoop


async def bot(manager: TokenManager, hours: float) -> int:
    answers = 0
    for _ in range(int(hours * 60)):
        await manager.bearer()
        answers += 1
        await asyncio.sleep(60)
    return answers


def test_a_bot_runs_for_a_day():
    async def day() -> int:
        clock = ManualClock(asyncio.get_running_loop().time)
        zoom = Zoom(clock=clock.time)
        transport = MemoryTransport(zoom)
        async with TokenManager(zoom.credentials, base_url=zoom.url, transport=transport, clock=clock) as manager:
            return await bot(manager, hours=24)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(day()) == 24 * 60


async def test_the_fixtures_are_there(zoom_sandbox, zoom_manager):
    await zoom_manager.bearer()
    assert zoom_sandbox.token_requests == 1


def test_a_route_with_a_client_that_blocks(zoom_sandbox):
    app = FastAPI(lifespan=zoom_lifespan(lambda: TokenManager(zoom_sandbox.credentials, base_url=zoom_sandbox.url)))

    @app.get("/token")
    async def token(bearer: Bearer) -> str:
        return bearer

    with TestClient(app) as client:
        assert zoom_sandbox.model.user_of(client.get("/token").json()) == "account-owner"
    assert zoom_sandbox.token_requests == 1
"""


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_a_users_test_of_a_day_and_the_fixtures_work_as_installed(tmp_path: Path, mode: str) -> None:
    """The plugin is found by its entry point; nothing has to be configured but pytest-asyncio's mode."""
    text = A_BOTS_TEST
    if mode == "strict":
        text = "import pytest\n" + text.replace("async def test_the", "@pytest.mark.asyncio\nasync def test_the")
    (tmp_path / "test_bot.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--asyncio-mode={mode}", "test_bot.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "3 passed" in done.stdout, done.stdout


def test_the_plugin_is_cheap_to_load() -> None:
    """It is loaded in every test run of every project that has the package installed."""
    done = subprocess.run(
        [sys.executable, "-c", "import pytest, sys, zoom_async_auth.testing.plugin; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name for name in done.stdout.split() if name.startswith("zoom_async_auth")}

    assert loaded == {"zoom_async_auth", "zoom_async_auth.testing", "zoom_async_auth.testing.plugin"}
    assert "aiohttp" not in done.stdout.split()


async def test_the_fixtures_fit_together(zoom_sandbox: Zoom, zoom_manager: TokenManager) -> None:
    await assert_one_request(zoom_manager, zoom_sandbox)
    async with zoom_manager.session() as session, session.get("/v2/users") as response:
        assert response.status == 200
    assert zoom_sandbox.token_requests == 1


class Inventive:
    """Gives each caller another token."""

    def __init__(self, manager: TokenManager) -> None:
        self._manager = manager
        self._numbers = itertools.count()

    async def bearer(self) -> str:
        number = next(self._numbers)
        return f"{await self._manager.bearer()}{number}"

    def invalidate(self, token: str, /) -> bool:
        return self._manager.invalidate(token)


async def test_the_asserter_sees_what_it_is_for(zoom_sandbox: Zoom, zoom_manager: TokenManager) -> None:
    source: BearerSource = Inventive(zoom_manager)
    with pytest.raises(AssertionError, match="10 callers got 10 different tokens"):
        await assert_one_request(source, zoom_sandbox, callers=10)
    with pytest.raises(AssertionError, match="10 callers cost 0 token requests, not 1"):
        await assert_one_request(zoom_manager, zoom_sandbox, callers=10)


def test_every_name_is_there_and_documented() -> None:
    for name in testing.__all__:
        assert getattr(testing, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        getattr(testing, "Nothing")  # noqa: B009 -- a checker would object


def test_waiting_takes_no_time_on_a_virtual_loop() -> None:
    async def wait() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(90 * 24 * 3600.0)
        return loop.time() - before

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(wait()) == pytest.approx(90 * 24 * 3600.0)


def test_a_virtual_loop_that_nothing_can_wake_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would hang for ever fails instead."""
    monkeypatch.setattr("zoom_async_auth.testing.virtual.DEADLOCK_AFTER", 0.01)
    loop = VirtualTimeLoop()
    with pytest.raises(RuntimeError, match="deadlock"):
        loop.run_until_complete(loop.create_future())
    loop.close()


def test_threads_get_their_grace() -> None:
    """With a timer pending, time would leap past the thread."""

    async def work() -> str:
        return await asyncio.wait_for(asyncio.to_thread(str, 7), timeout=1.0)

    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(grace=0.05)) as runner:
        assert runner.run(work()) == "7"


def _commit(store: SQLStore | RedisStore) -> Callable[[], Coroutine[Any, Any, bool]]:
    async def commit() -> bool:
        token = Token(access_token="access", expires_in=3600.0)
        async with store:
            now = (await store.peek("key")).now
            record = Record(generation=1, token=token, issued_at=now, expires_at=now + 3600.0)
            return await store.commit("key", 0, record, "one")

    return commit


@pytest.mark.parametrize("loop", [VirtualTimeLoop, partial(ShuffledLoop, 7)])
def test_a_store_with_a_database_is_refused_where_time_leaps(
    tmp_path: Path, loop: Callable[[], VirtualTimeLoop]
) -> None:
    """The database would be told to have given no answer, and people would look for what is wrong with it."""
    for store in (SQLStore(f"sqlite:///{tmp_path}/private/tokens.db"), RedisStore("redis://127.0.0.1:1")):
        with (
            asyncio.Runner(loop_factory=loop) as runner,
            pytest.raises(MisuseError, match="this event loop leaps over waiting, a database cannot: take MemoryStore"),
        ):
            runner.run(_commit(store)())
    assert not list(tmp_path.iterdir())


def test_a_store_with_a_database_works_where_time_waits_for_it(tmp_path: Path) -> None:
    store = SQLStore(f"sqlite:///{tmp_path}/private/tokens.db")
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(grace=5.0)) as runner:
        assert runner.run(_commit(store)()) is True


def test_a_clock_goes_where_it_is_told_to() -> None:
    clock = ManualClock()
    started, wall = clock.monotonic(), clock.time()
    clock.advance(10.0)
    clock.step_wall(-3600.0)
    assert clock.monotonic() - started == 10.0
    assert clock.time() - wall == pytest.approx(10.0 - 3600.0)
    with pytest.raises(ValueError, match="never goes back"):
        clock.advance(-1.0)


def test_a_clock_can_follow_a_loop_and_be_pushed_beyond_it() -> None:
    """As if the host had been suspended."""

    async def look() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        clock = ManualClock(loop.time)
        started = clock.monotonic()
        await asyncio.sleep(5.0)
        clock.advance(100.0)
        return clock.monotonic() - started, loop.time()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(look()) == pytest.approx((105.0, 5.0))


def test_a_transport_in_memory_has_zooms_latency() -> None:
    async def ask() -> float:
        loop = asyncio.get_running_loop()
        clock = ManualClock(loop.time)
        zoom = Zoom(latency=2.0, clock=clock.time)
        transport = MemoryTransport(zoom)
        async with TokenManager(zoom.credentials, transport=transport, clock=clock) as manager:
            await manager.bearer()
            return loop.time()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(ask()) == pytest.approx(2.0)
