"""`zoom-async-auth exec -- CMD`: a command with a token in its environment, and without our secrets.

Where the system can do it, CMD takes the place of this process: signals, terminal and exit code are its own.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from zoom_async_auth.cli.place import is_secret
from zoom_async_auth.cli.terminal import note, progress
from zoom_async_auth.cli.who import Person, named_person, opened

CANNOT_RUN, NOT_FOUND = 126, 127
TOKEN = "ZOOM_ACCESS_TOKEN"  # noqa: S105 -- where it goes


def run(*, arguments: list[str], valid_for: float, keep_env: bool, **whose: Any) -> int:  # noqa: ANN401 -- of `named_person`
    """Run the command; return only if it could not be started, or where nothing takes the place of a process."""
    path = shutil.which(arguments[0])
    if path is None and shutil.which(arguments[0], os.F_OK) is not None:
        note(f"zoom-async-auth: {arguments[0]!r} cannot be run: it is not executable")
        return CANNOT_RUN
    if path is None:
        note(f"zoom-async-auth: there is no command {arguments[0]!r}")
        return NOT_FOUND
    environment = asyncio.run(_environment(named_person(**whose), valid_for, keep_env=keep_env))
    try:
        return _replace(path, arguments, environment)
    except OSError as error:
        note(f"zoom-async-auth: {arguments[0]!r} cannot be run: {error.strerror or type(error).__name__}")
        return CANNOT_RUN


async def _environment(person: Person | None, valid_for: float, *, keep_env: bool) -> dict[str, str]:
    async with opened(person, quiet=False) as manager:
        with progress("asking for a token", quiet=False):
            token = await manager.token(valid_for=valid_for)
    kept = {name: value for name, value in os.environ.items() if keep_env or not is_secret(name)}
    return {**kept, TOKEN: token.access_token}


def _replace(path: str, arguments: list[str], environment: Mapping[str, str]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":
        return subprocess.run([path, *arguments[1:]], env=environment, check=False).returncode  # noqa: S603 -- asked for
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python; a command would inherit that
        signal.signal(ignored, signal.SIG_DFL)
    return os.execve(path, arguments, environment)  # noqa: S606 -- asked for
