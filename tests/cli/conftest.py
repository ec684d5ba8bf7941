"""What the tests of the command share: its environment, a run in a process of its own, a call in this one."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import keyring.core
import pytest

import zoom_async_auth
from zoom_async_auth import AuthorizationCodeGrant, Token, TokenManager
from zoom_async_auth.cli import main
from zoom_async_auth.sandbox import Sandbox, Zoom
from zoom_async_auth.stores.urls import store_at

Outcome = tuple[int, str, str]
Call = Callable[..., Awaitable[Outcome]]
LogIn = Callable[..., Awaitable[Token]]

PACKAGE = Path(zoom_async_auth.__file__).parent


@pytest.fixture
def environment() -> dict[str, str]:
    """The command finds this very package, and no credentials; a warning is an error."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ZOOM_")}
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "error", "PYTHONDEVMODE": ""}


@pytest.fixture
def run(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command to its end."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "zoom_async_auth", *arguments]
        return subprocess.run(command, env=environment | more, capture_output=True, encoding="utf-8", check=False)

    return run


@pytest.fixture
async def zoom() -> AsyncIterator[Zoom]:
    async with Sandbox() as zoom:
        yield zoom


@pytest.fixture
def at_home(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a person with a home, and a keyring."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return {
        **{name: value for name, value in environment.items() if name not in {"DISPLAY", "BROWSER"}},
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "PYTHON_KEYRING_BACKEND": "tests.cli.keyrings.FileKeyring",
        "KEYRING_FILE": str(home / "keyring.json"),
        "TERM": "xterm",
    }


@pytest.fixture
def person(at_home: dict[str, str], zoom: Zoom) -> dict[str, str]:
    """That of a person who wants to log in to the sandbox's app."""
    return {
        **at_home,
        "ZOOM_BASE_URL": zoom.url,
        "ZOOM_CLIENT_ID": zoom.user_app.client_id,
        "ZOOM_CLIENT_SECRET": zoom.user_app.client_secret or "",
    }


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call the command in this process, in a thread, with an environment; return exit code, stdout and stderr."""

    async def call(environment: Mapping[str, str], *arguments: str) -> Outcome:
        for name in [name for name in os.environ if name.startswith("ZOOM_")]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(keyring.core, "_keyring_backend", None)  # it looks at the environment once
        code = await asyncio.to_thread(main, arguments)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture
def log_in(person: dict[str, str], zoom: Zoom) -> LogIn:
    """Keep tokens of alice where the command looks for them, as an earlier `login` did; sealed with `keys` if given."""

    async def log_in(*, keys: Sequence[str] = (), key: str | None = None) -> Token:
        file = tokens_of(person)
        await asyncio.to_thread(file.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
        url = f"sqlite:///{file}"
        grant = AuthorizationCodeGrant(code=zoom.authorize("alice"), redirect_uri=zoom.redirect_uri)
        async with TokenManager(zoom.user_app, base_url=zoom.url, store=store_at(url, keys=keys), key=key) as manager:
            return await manager.authorize(grant)

    return log_in


def tokens_of(environment: Mapping[str, str]) -> Path:
    """Return the file that keeps the log-ins of a person."""
    return Path(environment["XDG_DATA_HOME"]) / "zoom-async-auth" / "tokens.sqlite3"
