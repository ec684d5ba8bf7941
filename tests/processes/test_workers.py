"""The README's FastAPI app under uvicorn, with four workers that share a token in Redis, under load.

    pytest tests/processes/test_workers.py                   some 3,000 requests
    REQUESTS=20000 pytest tests/processes/test_workers.py    20,000

Each request has the app ask Zoom's API. While `ab` sends them, the token is renewed several times, the API rejects one,
the token endpoint fails for a while, and Redis is killed and comes back. No request may fail.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import time
from asyncio.subprocess import PIPE, STDOUT
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.examples.programs import copied, environment, free_port, listening, running, stored
from tests.processes.place import App, Place
from tests.stores.redis_server import RedisServer
from zoom_async_auth import StoreError
from zoom_async_auth.sandbox import Sandbox, Zoom
from zoom_async_auth.sandbox.faults import Reply

REQUESTS = int(os.environ.get("REQUESTS", "3000"))
pytestmark = [pytest.mark.asyncio(loop_factories=["plain"]), pytest.mark.timeout(180 + REQUESTS / 20)]

WORKERS = 4
CONCURRENCY = 32
ROUNDS = 10
"""The load comes in so many runs of `ab`, and more of them until everything has happened that should."""
LIFETIME = 3.0
SHORTEST_USE = 0.5 * LIFETIME
"""Seconds between two renewals, at the least: at 60 % of a token's life, less 10 % by chance."""
LATENCY = 0.05
GRANT = "account_credentials"
OK, UNAUTHORIZED = 200, 401
SERVE = ("-m", "uvicorn", "tests.processes.web_app:app", "--workers", f"{WORKERS}")
QUIETLY = ("--log-level", "warning", "--timeout-worker-healthcheck", "60")


class Course:
    """What happens to the token while the load goes on, each thing right after a renewal.

    Args:
        zoom: Where it comes from.
        redis: Where it is shared.
        answers: What the API has answered, by status.

    Attributes:
        alone: How many tokens workers got for themselves, while Redis was away.
        away: Seconds until they had one in common again.
    """

    def __init__(self, zoom: Zoom, redis: RedisServer, answers: Counter[int]) -> None:
        self.alone = 0
        self.away = 0.0
        self._zoom = zoom
        self._redis = redis
        self._answers = answers
        self._app = App.of(zoom, personal=False)
        self._place = Place(redis.url)

    async def run(self) -> None:
        """Go through all of it; up to each renewal, every token has cost one request."""
        await self.renewed()
        await self._token_is_rejected()
        await self.renewed()
        await self._endpoint_fails()
        await self.renewed()
        await self._redis_is_away()

    async def _token_is_rejected(self) -> None:
        _, token = await self._shared()
        self._zoom.reject(token)
        await _until(lambda: self._answers[UNAUTHORIZED] > 0)

    async def _endpoint_fails(self) -> None:
        self._zoom.outage = 503
        await _until(lambda: "outage" in self._zoom.stats[GRANT])
        await asyncio.sleep(0.3)
        self._zoom.outage = None

    async def _redis_is_away(self) -> None:
        (generation, _), got, begun = await self._shared(), self._got(), time.monotonic()
        await asyncio.to_thread(self._redis.kill)
        await _until(lambda: self._got() > got)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(self._redis.start)
        while (await self._shared())[0] < generation + 2:  # the first that is offered, and its successor
            pass
        self.away = time.monotonic() - begun
        self.alone = self._got() - (await self._shared())[0]

    async def renewed(self) -> None:
        """Wait for the next token, and for the moment when there are as many as requests: one more is one for ever."""
        before = generation = (await self._shared())[0]
        async with asyncio.timeout(30):
            while generation == before or self._got() > generation + self.alone:
                generation, _ = await self._shared()

    async def _shared(self) -> tuple[int, str]:
        """Return the generation in the store, and its access token; look again if there is no answer."""
        while True:
            await asyncio.sleep(0.05)
            with contextlib.suppress(StoreError):
                return await stored(self._app, self._place)

    def _got(self) -> int:
        return self._zoom.stats[GRANT]["ok"]


async def test_no_request_fails_and_a_token_costs_one_request_for_all_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Redis is away each worker has a token of its own: nobody who calls the app notices."""
    redis, port = RedisServer(appendonly=True), free_port()
    copied("app.py", tmp_path)
    try:
        await asyncio.to_thread(redis.start)
        async with Sandbox(token_lifetime=LIFETIME, latency=LATENCY) as zoom:
            answers = _answers_of_the_api(zoom, monkeypatch)
            course = Course(zoom, redis, answers)
            variables = environment(zoom, zoom.credentials, REDIS_URL=redis.url)
            begun = time.monotonic()
            async with running(*SERVE, "--port", f"{port}", *QUIETLY, folder=tmp_path, variables=variables) as app:
                sent = await _load(port, course)
                await course.renewed()
                code = await app.ended(by=signal.SIGTERM)
            took = time.monotonic() - begun
    finally:
        await asyncio.to_thread(redis.remove)
    tallies = _tallies(tmp_path)

    assert code == 0, app.said()
    assert sent >= REQUESTS
    assert len(tallies) == WORKERS
    assert all(tally.keys() == {"/users 200"} for tally in tallies)
    assert sum(tally.total() for tally in tallies) == sent
    # Those whose token was rejected were sent to Zoom once more.
    assert answers.keys() == {OK, UNAUTHORIZED}
    assert answers[OK] == sent
    # One renewal for all: as many as fit into the time, one more for the token that was rejected, and while Redis was
    # away those of each worker.
    assert zoom.stats.keys() == {GRANT}
    assert zoom.stats[GRANT].keys() == {"ok", "outage"}
    assert course.alone <= WORKERS * (1 + course.away / SHORTEST_USE)
    assert zoom.stats[GRANT]["ok"] <= 1 + took / SHORTEST_USE + 1 + course.alone


def _tallies(folder: Path) -> list[Counter[str]]:
    """Return what each process has answered."""
    return [Counter(json.loads(tally.read_text())) for tally in folder.glob("*.tally")]


def _answers_of_the_api(zoom: Zoom, monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Count what the API answers from now on, by status."""
    answers: Counter[int] = Counter()
    users = zoom.users

    def counted(authorization: str) -> Reply:
        reply = users(authorization)
        answers[reply.status] += 1
        return reply

    monkeypatch.setattr(zoom, "users", counted)
    return answers


async def _load(port: int, course: Course) -> int:
    """Send requests, as many as are wanted and until the course is over; return how many."""
    url = f"http://127.0.0.1:{port}/users"
    sent = CONCURRENCY
    async with asyncio.timeout(90 + REQUESTS / 20), asyncio.TaskGroup() as group:
        await listening(port)
        await _round(url, sent)  # while the workers still start
        happening = group.create_task(course.run())
        while sent < REQUESTS or not happening.done():
            await _round(url, REQUESTS // ROUNDS)
            sent += REQUESTS // ROUNDS
    return sent


async def _round(url: str, number: int) -> None:
    """Send so many requests, each on a connection of its own. All are to be answered by 200, and alike."""
    process = await asyncio.create_subprocess_exec(
        "ab", "-q", "-s", "60", "-n", f"{number}", "-c", f"{CONCURRENCY}", url, stdout=PIPE, stderr=STDOUT
    )
    try:
        told = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, told
    counts = {name: int(count) for name, count in re.findall(r"^(.+?):\s+(\d+)$", told, re.MULTILINE)}
    assert counts["Complete requests"] == number, told
    assert counts["Failed requests"] == counts.get("Non-2xx responses", 0) == 0, told


async def _until(happened: Callable[[], bool]) -> None:
    while not happened():  # noqa: ASYNC110 -- the sandbox counts, in silence
        await asyncio.sleep(0.05)
