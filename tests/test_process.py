"""What only whole processes show: a fork, an end without `aclose`, an import's price."""

import os
import subprocess
import sys
import textwrap

import pytest

_PRELUDE = """
import asyncio, gc, os, sys, warnings
from zoom_async_auth import MisuseError, TokenManager
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.testing import MemoryTransport

zoom = Zoom()

def make():
    return TokenManager(zoom.credentials, base_url=zoom.url, transport=MemoryTransport(zoom))
"""


def _run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PRELUDE + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_gets_a_clear_error_off_the_hot_path() -> None:
    """No inherited task, socket or lease is used (F49); what the child closes stays open in the parent."""
    done = _run("""
        async def main():
            async with make() as manager:
                token = await manager.bearer()
                if (child := os.fork()) == 0:
                    answers = []
                    for verb in (manager.renew(), manager.revoke(), manager.aclose()):
                        try:
                            verb.send(None)
                        except MisuseError as error:
                            answers.append(str(error))
                    try:
                        manager.invalidate(token)
                    except MisuseError as error:
                        answers.append(str(error))
                    print(*answers, sep="\\n", flush=True)
                    os._exit(0)
                os.waitpid(child, 0)
                assert await manager.bearer() == token
                await manager.renew()
        asyncio.run(main())
    """)

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["the TokenManager was opened before a fork: make one in each process"] * 4


def test_the_end_of_the_loop_without_aclose_warns_and_hangs_nobody() -> None:
    """`asyncio.run` cancels everything that is left (F43); as with a file, the program is told of its mistake."""
    done = _run("""
        warnings.simplefilter("always")
        async def main():
            manager = make()
            await manager.start()
            zoom.latency = 5.0
            asyncio.create_task(manager.bearer())
            await asyncio.sleep(0.05)
        asyncio.run(main())
        print("over")
    """)

    assert done.stdout == "over\n"
    assert "ResourceWarning: a TokenManager was not closed: use async with, or aclose()" in done.stderr


def test_a_manager_that_was_closed_does_not_warn() -> None:
    done = _run("""
        warnings.simplefilter("error")
        async def main():
            async with make() as manager:
                await manager.bearer()
        asyncio.run(main())
        gc.collect()
    """)

    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_runs_the_end_of_the_block() -> None:
    """Ctrl-C reaches `__aexit__`, and comes out as itself (F45)."""
    done = _run("""
        import signal
        async def main():
            async with make() as manager:
                await manager.bearer()
                try:
                    os.kill(os.getpid(), signal.SIGINT)
                    await asyncio.sleep(5)
                finally:
                    globals()["kept"] = manager
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print(kept.health().state)
    """)

    assert (done.stdout, done.stderr) == ("closed\n", "")


def test_importing_the_package_loads_no_dependency() -> None:
    """`import zoom_async_auth` is free: neither aiohttp nor anyio, nor anything of ours but the package itself."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, zoom_async_auth; print(*sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.split()

    assert [name for name in loaded if name.startswith("zoom_async_auth")] == ["zoom_async_auth"]
    assert not {"aiohttp", "anyio", "asyncio", "rich", "yarl"} & set(loaded)


_WORKER = """
from multiprocessing import get_context
from zoom_async_auth import ConfigurationError
from zoom_async_auth.stores.memory import MemoryStore

def person(store):
    return TokenManager(zoom.user_app, base_url=zoom.url, transport=MemoryTransport(zoom), store=store)

async def open_all():
    for manager in (make(), person(MemoryStore(allow_rotating=True)), person(None)):
        async with manager:
            print("open", flush=True)

def work():
    try:
        asyncio.run(open_all())
    except ConfigurationError as error:
        print(error, flush=True)
"""
_REFUSED = (
    "worker processes do not see each other's memory: a person's refresh token would be missing there, or spent twice: "
    "use SQLStore, or MemoryStore(allow_rotating=True)"
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_worker_of_multiprocessing_does_not_keep_a_persons_refresh_token_in_memory() -> None:
    """An app's token it does, and a person's if somebody insists."""
    done = _run(
        _WORKER
        + """
worker = get_context("fork").Process(target=work)
worker.start()
worker.join()
"""
    )

    assert done.stdout.splitlines() == ["open", "open", _REFUSED]


@pytest.mark.parametrize(("announced", "told"), [("4", _REFUSED), ("1", "open"), ("", "open"), ("auto", "open")])
def test_a_worker_of_a_web_server_does_not_either(announced: str, told: str) -> None:
    """uvicorn, gunicorn and Heroku announce how many there are."""
    done = _run(f'{_WORKER}\nos.environ["WEB_CONCURRENCY"] = "{announced}"\nwork()')

    assert done.stdout.splitlines() == ["open", "open", told]
