"""`zoom-async-auth exec -- CMD`: what CMD gets, what it does not get, and what becomes of its end."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Call, LogIn
from tests.integrations.raw import TOKEN, answers, raw_server
from zoom_async_auth import RenewalPolicy
from zoom_async_auth.cli import who
from zoom_async_auth.sandbox import Zoom

pytestmark = [
    pytest.mark.asyncio(loop_factories=["plain"]),
    pytest.mark.skipif(sys.platform == "win32", reason="nothing takes the place of a process there"),
]

Exec = Callable[..., Awaitable[tuple[int | None, str, str]]]


@pytest.fixture
def app(at_home: dict[str, str], zoom: Zoom) -> dict[str, str]:
    return {
        **at_home,
        "ZOOM_BASE_URL": zoom.url,
        "ZOOM_ACCOUNT_ID": zoom.credentials.account_id,
        "ZOOM_CLIENT_ID": zoom.credentials.client_id,
        "ZOOM_CLIENT_SECRET": zoom.credentials.client_secret,
        "ZOOM_USER_CLIENT_SECRET": "of another app",  # as the sandbox prints it
        "ZOOM_STORE_KEYS": "a-key",
        "ZOOM_STORE_URL": "postgresql://user:password@host/name",
    }


@pytest.fixture
def execute(app: dict[str, str]) -> Exec:
    async def execute(*arguments: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "zoom_async_auth", "exec", *arguments),
            env=app,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        return process.returncode, output.decode(), errors.decode()

    return execute


def variables(shown: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


async def test_the_command_gets_the_token_and_none_of_our_secrets(zoom: Zoom, execute: Exec) -> None:
    """S47. Its exit code is ours; it may die of a broken pipe, as any command."""
    code, shown, errors = await execute("--", "sh", "-c", "env; cat /proc/self/status 2>/dev/null; exit 7")
    given = variables(shown)

    assert (code, errors) == (7, "")
    assert zoom.model.user_of(given["ZOOM_ACCESS_TOKEN"]) == "account-owner"
    assert sorted(name for name in given if name.startswith("ZOOM_")) == [
        "ZOOM_ACCESS_TOKEN",
        "ZOOM_ACCOUNT_ID",
        "ZOOM_API_URL",
        "ZOOM_BASE_URL",
        "ZOOM_CLIENT_ID",
    ]
    assert given["ZOOM_API_URL"] == zoom.url  # where the API of this account is
    for ignored in [int(line.split()[1], 16) for line in shown.splitlines() if line.startswith("SigIgn:")]:
        assert not ignored & (1 << (signal.SIGPIPE - 1))
    assert zoom.stats == {"account_credentials": {"ok": 1}}


async def test_the_command_keeps_our_secrets_if_it_is_to_have_them(app: dict[str, str], execute: Exec) -> None:
    """It may be another program of the same app."""
    _, shown, _ = await execute("--keep-env", "--", "env")
    given = variables(shown)

    for name in ("ZOOM_CLIENT_SECRET", "ZOOM_STORE_KEYS", "ZOOM_STORE_URL"):
        assert given[name] == app[name]


async def test_a_command_that_cannot_be_run_is_126(execute: Exec, tmp_path: Path) -> None:
    """As shells have it."""
    nonsense = tmp_path / "nonsense"
    await asyncio.to_thread(nonsense.write_bytes, b"\x00\x01")
    await asyncio.to_thread(nonsense.chmod, 0o700)
    code, shown, errors = await execute("--", str(nonsense))

    assert (code, shown) == (126, "")
    assert errors == f"zoom-async-auth: '{nonsense}' cannot be run: Exec format error\n"


async def test_a_file_that_is_not_executable_is_126_and_costs_no_token(
    called: Call, zoom: Zoom, app: dict[str, str], tmp_path: Path
) -> None:
    """As shells have it, by its path and by its name."""
    script = tmp_path / "script-of-ours"
    await asyncio.to_thread(script.write_text, "#!/bin/sh\n")
    by_name = app | {"PATH": str(tmp_path)}
    for name, environment in ((str(script), app), (script.name, by_name)):
        assert await called(environment, "exec", "--", name) == (
            126,
            "",
            f"zoom-async-auth: {name!r} cannot be run: it is not executable\n",
        )
    assert zoom.token_requests == 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One in the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "folder-of-ours"
    folder.mkdir()
    return folder


async def test_a_folder_is_126_and_costs_no_token(called: Call, zoom: Zoom, app: dict[str, str], folder: Path) -> None:
    """As shells have it. By its name alone it is not looked for."""
    assert await called(app, "exec", "--", str(folder)) == (
        126,
        "",
        f"zoom-async-auth: {str(folder)!r} cannot be run: it is a folder\n",
    )
    assert (await called(app | {"PATH": str(folder.parent)}, "exec", "--", folder.name))[0] == 127
    assert zoom.token_requests == 0


async def test_a_token_that_does_not_say_where_its_api_is_leaves_that_to_the_command(
    app: dict[str, str], execute: Exec
) -> None:
    async with raw_server(answers(TOKEN)) as server:
        app |= {"ZOOM_BASE_URL": server.url, "ZOOM_API_URL": "https://api.example"}
        _, shown, errors = await execute("--", "env")

    assert errors == ""
    assert variables(shown)["ZOOM_API_URL"] == "https://api.example"


async def test_a_command_that_is_not_there_is_127_and_costs_no_token(
    called: Call, zoom: Zoom, app: dict[str, str]
) -> None:
    assert await called(app, "exec", "--", "no-such-command", "--option") == (
        127,
        "",
        "zoom-async-auth: there is no command 'no-such-command'\n",
    )
    assert zoom.token_requests == 0


async def test_a_token_that_would_end_too_soon_is_renewed_once(
    called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here no renewal is of any use, and it says so."""
    monkeypatch.setattr(who, "PATIENCE", RenewalPolicy(min_interval=0.01))
    await log_in()
    code, shown, errors = await called(person, "exec", "--as-user", "--valid-for", "3700", "--", "true")

    assert (code, shown) == (3, "")
    assert errors == "zoom-async-auth: the app's tokens do not live for 3700 s: ask for less by --valid-for S\n"
    assert zoom.stats == {"authorization_code": {"ok": 1}, "refresh_token": {"ok": 1}}


async def test_while_zoom_is_down_a_token_that_would_end_too_soon_is_no_matter_of_the_option(
    called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one may live long enough: later it may work."""
    monkeypatch.setattr(who, "PATIENCE", RenewalPolicy(min_interval=0.01, timeout=0.5))
    await log_in()
    zoom.outage = 503
    code, shown, errors = await called(person, "exec", "--as-user", "--valid-for", "3600", "--", "true")

    assert (code, shown, errors.count("\n")) == (4, "", 1)
    assert "status=503" in errors
    assert "--valid-for" not in errors
