"""`zoom-async-auth login` in a terminal, against a sandbox on this loop, and what a person does afterwards."""

import asyncio
import contextlib
import gc
import json
import socket
import sqlite3
import stat
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Call
from tests.cli.terminal import Terminal, terminal
from tests.engine.world import cancelled_at
from zoom_async_auth import UserOAuth
from zoom_async_auth.cli.receiver import Receiver
from zoom_async_auth.oauth.origin import ZOOM
from zoom_async_auth.sandbox import Sandbox, Zoom

PERSON = UserOAuth(client_id="client", client_secret="secret")

pytestmark = [
    pytest.mark.asyncio(loop_factories=["plain"]),
    pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals"),
    pytest.mark.timeout(120),
]

COMMAND = (sys.executable, "-m", "zoom_async_auth")
BROWSER = Path(__file__).parent / "browser.py"


def command(environment: Mapping[str, str], *arguments: str) -> AbstractAsyncContextManager[Terminal]:
    return terminal(environment, *COMMAND, *arguments)


async def done(environment: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Run a command to its end; return its exit code, and what it showed."""
    async with command(environment, *arguments) as screen:
        return await screen.end()


def with_browser(environment: Mapping[str, str], does: str, saw: Path) -> dict[str, str]:
    return {**environment, "BROWSER": f"{sys.executable} {BROWSER} {does} %s", "BROWSER_SAW": str(saw)}


def read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def look_at(database: Path) -> tuple[int, str]:
    """Return the mode of a database's file, and all that is in there."""
    with closing(sqlite3.connect(database)) as connection:
        return stat.S_IMODE(database.stat().st_mode), "\n".join(connection.iterdump())


async def test_a_person_logs_in_uses_the_token_and_revokes_it(
    zoom: Zoom, person: dict[str, str], called: Call, tmp_path: Path
) -> None:
    """The whole way: browser, token, exec, inspect, revoke. S28, S32, S47, S49."""
    saw = tmp_path / "saw.json"
    code, shown = await done(with_browser(person, "allow", saw), "login")
    assert code == 0, shown
    kept_in = Path(person["XDG_DATA_HOME"]) / "zoom-async-auth" / "tokens.sqlite3"
    assert shown.splitlines()[-1] == (
        f"logged in as 'default'; the tokens are kept in {kept_in}, sealed with a key in the keyring "
        "(keyrings FileKeyring)"
    )
    browser = await asyncio.to_thread(read_json, saw)
    assert browser["status"] == 200
    assert "You are logged in" in browser["last"]
    assert "ZOOM_CLIENT_SECRET" not in browser["environment"]
    mode, dump = await asyncio.to_thread(look_at, kept_in)
    assert mode == 0o600
    assert '"access_token": "sealed.1.' in dump
    assert "eyJhbGciOi" not in dump  # how each token of Zoom begins

    code, shown, _ = await called(person, "token", "--as-user")
    assert (code, zoom.model.user_of(shown.strip())) == (0, "alice")
    token = shown.strip()

    code, shown = await done(person, "exec", "--as-user", "--", "sh", "-c", "env; kill -TERM $$")
    assert code == -15  # it took the place of ours
    assert f"ZOOM_ACCESS_TOKEN={token}\n" in shown
    assert "ZOOM_CLIENT_SECRET" not in shown

    code, shown, _ = await called(person, "inspect", "--as-user")
    assert code == 0
    assert token not in shown
    assert "user id  alice\n" in shown

    assert zoom.stats == {"authorization_code": {"ok": 1}}
    code, shown = await done(person, "revoke")
    assert (code, shown) == (0, "revoked at Zoom, and forgotten here\n")
    assert zoom.model.user_of(token) is None
    assert await called(person, "token", "--as-user") == (
        5,
        "",
        "zoom-async-auth: nobody has logged in as 'default' to this app: zoom-async-auth login\n",
    )
    assert zoom.stats == {"authorization_code": {"ok": 1}}


async def test_a_device_without_a_browser_logs_in_and_out(
    zoom: Zoom, person: dict[str, str], called: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S29. Without a keyring it says so, and what protects the file; a public client needs no secret."""
    monkeypatch.setattr("zoom_async_auth.sandbox.model.DEVICE_INTERVAL", 1.0)
    person |= {
        "ZOOM_CLIENT_ID": zoom.public_app.client_id,
        "ZOOM_CLIENT_SECRET": "",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
    async with command(person, "login", "--device", "--key", "bob") as screen:
        shown = await screen.until("and type in")
        shown = await screen.until("waiting until it is allowed there")
        user_code = shown.replace("\r\n", "\n").split("and type in\n\n  ")[1].split("\n")[0]
        assert f"{zoom.url}/oauth/device" in shown
        assert zoom.model.decide_device(user_code, "bob", allow=True)
        code, shown = await screen.end()
    assert code == 0, shown
    assert shown.splitlines()[0] == (
        "zoom-async-auth: the tokens are not sealed, this system has no keyring: what protects the file is its mode, "
        "0600 in a folder with 0700"
    )
    assert "logged in as 'bob'" in shown

    code, shown, _ = await called(person, "token", "--key", "bob", "--json")
    assert zoom.model.user_of(json.loads(shown)["access_token"]) == "bob"
    code, shown, _ = await called(person, "logout", "--key", "bob")
    assert (code, shown) == (0, "logged out: revoked at Zoom, and forgotten here\n")


@pytest.mark.parametrize(
    ("does", "secret", "told"),
    [
        ("deny", None, (5, "zoom-async-auth: the person declined to authorize the app [error='access_denied']")),
        ("allow", "wrong", (3, "zoom-async-auth: Zoom does not know this client: check client id and secret")),
    ],
)
async def test_a_log_in_that_fails_is_told_in_the_terminal_and_in_the_browser(
    person: dict[str, str], tmp_path: Path, does: str, secret: str | None, told: tuple[int, str]
) -> None:
    """By one line, without a traceback."""
    saw = tmp_path / "saw.json"
    wrong = {} if secret is None else {"ZOOM_CLIENT_SECRET": secret}
    code, shown = await done(with_browser(person | wrong, does, saw), "login")

    assert code == told[0]
    assert shown.splitlines()[-1].startswith(told[1])
    assert "Traceback" not in shown
    assert "Not logged in" in (await asyncio.to_thread(read_json, saw))["last"]


async def test_ctrl_c_gives_up_without_a_word(zoom: Zoom, person: dict[str, str]) -> None:
    """While it waits for the browser, and shows that it does."""
    async with command(person, "login", "--no-browser") as screen:
        await screen.until("waiting for the browser")
        screen.type("\x03")
        code, shown = await screen.end()

    assert code == 130
    assert "Traceback" not in shown
    assert shown.splitlines()[-1].strip() in {"", "^C"}
    assert zoom.token_requests == 0


async def test_nobody_who_answers_in_time_is_one_line(called: Call, person: dict[str, str]) -> None:
    """And what nobody can use is told: the account of a server-to-server app."""
    environment = person | {"ZOOM_ACCOUNT_ID": "an-account"}
    code, shown, errors = await called(environment, "login", "--no-browser", "--timeout", "0.1")

    assert (code, shown) == (5, "")
    assert errors.splitlines()[0] == (
        "zoom-async-auth: ZOOM_ACCOUNT_ID is not used: nobody can log in to a server-to-server app"
    )
    assert errors.splitlines()[-1] == "zoom-async-auth: nobody answered within 0.1 s: log in again, or raise --timeout"


@pytest.mark.parametrize("opens", [Sandbox, lambda: Receiver(PERSON, base_url=ZOOM, port=0, path="/callback")])
async def test_a_server_whose_start_is_cancelled_listens_no_more(opens: Callable[[], Any]) -> None:
    """At any await: nobody could close what was opened half-way."""
    before = _listening()
    for k in range(1, 12):
        server = opens()
        with contextlib.suppress(asyncio.CancelledError):
            await cancelled_at(k, server.__aenter__())
            await server.__aexit__(None, None, None)
        assert _listening() <= before


def _listening() -> set[socket.socket]:
    """Return the sockets of this process that wait for connections."""
    # By their type: to ask some objects for their class does things.
    sockets = {one for one in gc.get_objects() if issubclass(type(one), socket.socket) and one.fileno() >= 0}
    return {one for one in sockets if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)}


async def test_a_port_that_is_taken_is_one_line(called: Call, person: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, shown, errors = await called(person, "login", "--no-browser", "--port", port)

    assert (code, shown, errors.count("\n")) == (3, "", 1)
    assert errors.startswith(f"zoom-async-auth: port {port} of 127.0.0.1 cannot be used (")
