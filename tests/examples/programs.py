"""The whole programs that the README shows: each block that is titled with the name of a file."""

import asyncio
import contextlib
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.processes.place import App, Place
from zoom_async_auth.oauth.credentials import ServerToServer, UserOAuth
from zoom_async_auth.sandbox import Zoom

ROOT = Path(__file__).parents[2]


def copied(name: str, folder: Path) -> Path:
    """Copy a program out of the README, as a reader does."""
    found = re.findall(
        rf'^```python title="{re.escape(name)}"\n(.*?)^```$',
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert len(found) == 1, f"the README has one program {name}"
    path = folder / name
    path.write_text(found[0], encoding="utf-8")
    return path


def environment(zoom: Zoom, app: ServerToServer | UserOAuth, **more: str) -> dict[str, str]:
    """Return the variables that a program needs to find an app of the sandbox, and more."""
    account = {"ZOOM_ACCOUNT_ID": app.account_id} if isinstance(app, ServerToServer) else {}
    return {
        "ZOOM_BASE_URL": zoom.url,
        "ZOOM_CLIENT_ID": app.client_id,
        "ZOOM_CLIENT_SECRET": app.client_secret or "",
        "PYTHONPATH": str(ROOT),  # this package, not another one that is installed
        "PYTHONWARNINGS": "default::ResourceWarning",
        **account,
        **more,
    }


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def listening(port: int) -> None:
    """Wait until somebody takes connections there."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return await writer.wait_closed()
            await asyncio.sleep(0.05)


async def stored(app: App, place: Place) -> tuple[int, str]:
    """Return the generation that is in a store, and its access token; "" for one that has vanished."""
    async with place.store() as store:
        record = (await store.peek(app.store_key())).record
    assert record is not None
    return record.generation, "" if record.token is None else record.token.access_token


class Running:
    """A process, and what it says.

    Attributes:
        log: The file that all it says goes to.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.log = log
        self._process = process

    def said(self) -> str:
        """Return what it has said up to now."""
        return self.log.read_text(encoding="utf-8")

    async def ended(self, *, by: signal.Signals | None = None, within: float = 60.0) -> int:
        """Wait for its end, after a signal if one is named; return its exit code."""
        if by is not None:
            self._process.send_signal(by)
        async with asyncio.timeout(within):
            return await self._process.wait()


@contextlib.asynccontextmanager
async def running(
    *command: str, folder: Path, variables: dict[str, str], in_background: bool = False
) -> AsyncIterator[Running]:
    """Run Python with these arguments in a folder; whatever is left of it at the end is killed.

    Args:
        command: The arguments.
        folder: Where.
        variables: Of the environment, beside what there is.
        in_background: As by `&` in a script: the shell has it ignore SIGINT.
    """
    log = folder / f"{secrets.token_hex(4)}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(("/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh") if in_background else ()),
            sys.executable,
            *command,
            cwd=folder,
            env={**os.environ, **variables},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    program = Running(process, log)
    try:
        yield program
    except BaseException as error:
        error.add_note(f"{' '.join(command)} said:\n{program.said()}")
        raise
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # with its children
            await process.wait()
