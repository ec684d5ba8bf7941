"""The README's Celery worker, on a real Redis."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.examples.programs import copied, environment, running, stored
from tests.processes.place import App, Place
from tests.stores.redis_server import redis
from zoom_async_auth.sandbox import Sandbox

pytestmark = [pytest.mark.asyncio(loop_factories=["plain"]), pytest.mark.timeout(180)]

TASKS = 20
QUIETLY = ("--concurrency", "2", "--loglevel", "WARNING", "--without-mingle", "--without-gossip")
ASK = """
import sys
from worker import count_users
tasks = [count_users.delay() for _ in range(int(sys.argv[1]))]
assert [task.get(timeout=60) for task in tasks] == [1] * len(tasks)
"""


async def test_the_tasks_of_all_processes_share_one_token_and_wait_for_zoom_when_it_says_so(tmp_path: Path) -> None:
    """A task that there is no token for is put back; nobody loses one."""
    place = Place((await asyncio.to_thread(redis, "redis")).url)
    async with Sandbox() as zoom:
        variables = environment(zoom, zoom.credentials, REDIS_URL=place.url)
        copied("worker.py", tmp_path)

        async def ask(number: int) -> None:
            async with running("-c", ASK, str(number), folder=tmp_path, variables=variables) as asking:
                assert await asking.ended() == 0, asking.said()

        worker = running("-m", "celery", "-A", "worker", "worker", *QUIETLY, folder=tmp_path, variables=variables)
        async with worker as process:
            await ask(TASKS)
            asked = zoom.stats
            _, token = await stored(App.of(zoom, personal=False), place)
            zoom.faults.add("any:retry-after=3")  # longer than a task waits there
            zoom.reject(token)
            await ask(1)
            code = await process.ended(by=signal.SIGTERM)

        assert asked == {"account_credentials": {"ok": 1}}
        assert zoom.stats == {"account_credentials": {"ok": 2, "fault": 1}}
        assert code == 0
        assert "ResourceWarning" not in process.said()
        assert "Traceback" not in process.said()
