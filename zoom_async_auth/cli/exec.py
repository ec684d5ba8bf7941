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
from pathlib import Path
from typing import Any

from zoom_async_auth.cli.place import is_secret
from zoom_async_auth.cli.system import words_of
from zoom_async_auth.cli.terminal import note, progress
from zoom_async_auth.cli.who import Person, named_person, opened
from zoom_async_auth.errors import ConfigurationError, TokenUnavailableError
from zoom_async_auth.manager import TokenManager
from zoom_async_auth.oauth.token import Token

CANNOT_RUN, NOT_FOUND = 126, 127
TOKEN, API_URL = "ZOOM_ACCESS_TOKEN", "ZOOM_API_URL"


def run(*, arguments: list[str], valid_for: float, keep_env: bool, **whose: Any) -> int:  # noqa: ANN401 -- of `named_person`
    """Run the command; return only if it could not be started, or where nothing takes the place of a process."""
    path = shutil.which(arguments[0])
    if path is None:
        return _why_not(arguments[0])
    environment = asyncio.run(_environment(named_person(**whose), valid_for, keep_env=keep_env))
    try:
        return _replace(path, arguments, environment)
    except OSError as error:
        note(f"zoom-async-auth: {arguments[0]!r} cannot be run: {words_of(error)}")
        return CANNOT_RUN


def _why_not(name: str) -> int:
    """Say why there is nothing to run, and return the exit code that shells have for it."""
    if os.sep in name and Path(name).is_dir():  # by its name alone no folder is looked for
        note(f"zoom-async-auth: {name!r} cannot be run: it is a folder")
        return CANNOT_RUN
    if shutil.which(name, os.F_OK) is not None:
        note(f"zoom-async-auth: {name!r} cannot be run: it is not executable")
        return CANNOT_RUN
    note(f"zoom-async-auth: there is no command {name!r}")
    return NOT_FOUND


async def _environment(person: Person | None, valid_for: float, *, keep_env: bool) -> dict[str, str]:
    async with opened(person, quiet=False) as manager:
        with progress("asking for a token", quiet=False):
            token = await _token(manager, valid_for)
    kept = {name: value for name, value in os.environ.items() if keep_env or not is_secret(name)}
    api = {} if token.api_url is None else {API_URL: token.api_url}
    return {**kept, **api, TOKEN: token.access_token}


async def _token(manager: TokenManager, valid_for: float) -> Token:
    try:
        return await manager.token(valid_for=valid_for)
    except TokenUnavailableError as error:
        if error.transient or not manager.health().ready:
            raise
    # There is one, and no other would last longer.
    raise ConfigurationError(f"the app's tokens do not live for {valid_for:g} s: ask for less by --valid-for S")


def _replace(path: str, arguments: list[str], environment: Mapping[str, str]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":
        return subprocess.run([path, *arguments[1:]], env=environment, check=False).returncode  # noqa: S603 -- asked for
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python; a command would inherit that
        signal.signal(ignored, signal.SIG_DFL)
    return os.execve(path, arguments, environment)  # noqa: S606 -- asked for
