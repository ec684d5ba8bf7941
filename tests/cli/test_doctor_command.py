"""`zoom-async-auth doctor`: one line for each thing that it looks at, and what to do about it."""

import asyncio
import json
import socket
import ssl
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme

from tests.cli.conftest import Call, LogIn, tokens_of
from tests.cli.terminal import terminal
from tests.integrations.raw import TOKEN, answers, raw_server
from zoom_async_auth import RenewalPolicy
from zoom_async_auth.cli import who
from zoom_async_auth.sandbox import Zoom

pytestmark = pytest.mark.asyncio(loop_factories=["plain"])

NO_KEYRING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
SECRET = "a-secret-that-is-not-shown"
APP = {"ZOOM_ACCOUNT_ID": "account", "ZOOM_CLIENT_ID": "client", "ZOOM_CLIENT_SECRET": SECRET}


def app(zoom: Zoom) -> dict[str, str]:
    return {
        "ZOOM_BASE_URL": zoom.url,
        "ZOOM_ACCOUNT_ID": zoom.credentials.account_id,
        "ZOOM_CLIENT_ID": zoom.credentials.client_id,
        "ZOOM_CLIENT_SECRET": zoom.credentials.client_secret,
    }


def line_of(shown: str, what: str) -> str:
    """Return the line about one thing, in one piece: state, what was found, what to do."""
    (line,) = [line for line in shown.splitlines() if line[6:].startswith(f"{what}: ")]
    return line


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.timeout(60)
async def test_all_is_well_with_an_app_in_a_terminal(zoom: Zoom, at_home: dict[str, str]) -> None:
    """One token request; a keyring that is there and not needed yet; no store, which is no fault."""
    async with terminal(at_home | app(zoom), sys.executable, "-m", "zoom_async_auth", "doctor") as screen:
        code, shown = await screen.end()

    assert code == 0, shown
    lines = [line for line in shown.splitlines() if line.strip()]
    assert [line.split(": ")[0] for line in lines] == [
        "ok    credentials",
        "ok    name",
        "ok    connection",
        "ok    clock",
        "ok    token",
        "ok    store",
        "ok    keyring",
    ]
    assert line_of(shown, "credentials") == "ok    credentials: of a server-to-server app"
    assert line_of(shown, "token").endswith("characters, for 3600 s, scopes: user:read:admin")
    assert line_of(shown, "keyring") == "ok    keyring: keyrings FileKeyring, without a key of ours"
    assert zoom.stats == {"account_credentials": {"ok": 1}}
    assert not any(value in shown for name, value in app(zoom).items() if name != "ZOOM_BASE_URL")


async def test_all_is_well_with_a_person(called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn) -> None:
    """Nothing is spent: a code of nobody tells whether Zoom knows the app."""
    await log_in()
    code, shown, errors = await called(person, "doctor", "--as-user", "--json")
    found = json.loads(shown)

    assert (code, errors, shown.count("\n")) == (0, "", 1)
    assert {finding["state"] for finding in found} == {"ok"}
    told = [(finding["what"], finding["told"]) for finding in found]
    assert ("credentials", "of an app that people allow, a client with a secret") in told
    assert ("app", "Zoom knows it") in told
    assert ("store", "is durable: journal_mode wal, synchronous 2") in told
    (login,) = (text for what, text in told if what == "log-in")
    assert login.startswith("'default', its token has 3")
    assert zoom.stats == {"authorization_code": {"ok": 1, "invalid_grant": 1}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ZOOM_CLIENT_SECRET": SECRET}, ("Zoom does not know this client", "copy client id and secret anew")),
        ({"ZOOM_ACCOUNT_ID": "another"}, ("Zoom does not accept the request", "copy ZOOM_ACCOUNT_ID from the app")),
        (
            {"ZOOM_ACCOUNT_ID": ""},
            ("the app does not support this grant", "set ZOOM_ACCOUNT_ID for a server-to-server"),
        ),
        ({"ZOOM_ACCOUNT_ID": "a", "kind": "user"}, ("the app does not support this grant", "unset ZOOM_ACCOUNT_ID")),
    ],
    ids=["secret", "account", "no account", "an app of persons"],
)
async def test_each_mistake_with_an_app_has_its_remedy(
    called: Call, zoom: Zoom, at_home: dict[str, str], change: dict[str, str], told: tuple[str, str]
) -> None:
    """S21: one request says it all."""
    kind = {
        "ZOOM_CLIENT_ID": zoom.user_app.client_id,
        "ZOOM_CLIENT_SECRET": zoom.user_app.client_secret or "",
    }
    environment = at_home | app(zoom) | (kind if "kind" in change else {}) | change
    code, shown, _ = await called(environment, "doctor")

    assert code == 1
    line = line_of(shown, "token")
    assert line.startswith(f"fail  token: {told[0]}")
    assert told[1] in line
    assert SECRET not in shown
    assert zoom.token_requests == 1


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"ZOOM_CLIENT_SECRET": SECRET}, "copy client id and secret anew"),
        ({"ZOOM_CLIENT_SECRET": ""}, "set ZOOM_CLIENT_SECRET, unless ZOOM_CLIENT_ID is that of a public client"),
        ({"kind": "app"}, "nobody can log in to this app"),
    ],
)
async def test_each_mistake_with_an_app_of_persons_has_its_remedy(
    called: Call, zoom: Zoom, person: dict[str, str], change: dict[str, str], remedy: str
) -> None:
    other = {key: value for key, value in app(zoom).items() if key != "ZOOM_ACCOUNT_ID"} if "kind" in change else {}
    code, shown, _ = await called(person | other | change, "doctor", "--as-user")

    assert code == 1
    assert line_of(shown, "app").startswith("fail  app: ")
    assert remedy in line_of(shown, "app")
    assert line_of(shown, "log-in").startswith("warn  log-in: nobody has logged in as 'default'; ")


async def test_a_disabled_app_is_to_be_activated(called: Call, at_home: dict[str, str]) -> None:
    """As Zoom says it, by 404 and a reason."""
    refusal = b'{"reason":"The application is disabled","error":"invalid_client"}'
    async with raw_server(answers(b""), answers(refusal, status="404 Not Found")) as server:
        code, shown, _ = await called(at_home | APP | {"ZOOM_BASE_URL": server.url}, "doctor")

    assert code == 1
    assert "activate the app: see the app's page" in line_of(shown, "token")


@pytest.mark.parametrize(
    ("ahead", "state", "told"),
    [
        (timedelta(hours=-1), "fail", "3600 s ahead of the server's"),
        (timedelta(minutes=2), "warn", "120 s behind the server's"),
        (timedelta(), "ok", "0 s "),
    ],
    ids=["an hour", "two minutes", "none"],
)
async def test_a_clock_that_is_wrong_is_told_by_the_date_of_the_answer(
    called: Call, at_home: dict[str, str], ahead: timedelta, state: str, told: str
) -> None:
    date = f"Date: {format_datetime(datetime.now(UTC) + ahead, usegmt=True)}\r\n"
    async with raw_server(answers(b"", headers=date), answers(TOKEN)) as server:
        code, shown, _ = await called(at_home | APP | {"ZOOM_BASE_URL": server.url}, "doctor")

    line = line_of(shown, "clock")
    assert line.startswith(f"{state:<4}  clock: ")
    seconds, _, side = told.partition(" s ")
    assert side in line
    assert abs(int(line.split()[2]) - int(seconds)) <= 10  # a slow machine takes its time
    assert ("set this host's clock" in line) == (state != "ok")
    assert code == (1 if state == "fail" else 0)


async def test_a_server_that_does_not_say_the_time_is_a_warning(called: Call, at_home: dict[str, str]) -> None:
    async with raw_server(answers(b""), answers(TOKEN)) as server:
        code, shown, _ = await called(at_home | APP | {"ZOOM_BASE_URL": server.url}, "doctor")

    assert code == 0
    assert line_of(shown, "clock").startswith("warn  clock: the server does not say")


async def test_what_listens_and_is_no_web_server_is_told(called: Call, at_home: dict[str, str]) -> None:
    async def hangs_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")

    async with raw_server(hangs_up) as server:
        code, shown, _ = await called(at_home | APP | {"ZOOM_BASE_URL": server.url}, "doctor")

    assert code == 1
    assert "is it Zoom that listens there, or a proxy?" in line_of(shown, "answer")
    assert "  token: " not in shown


async def test_zoom_out_of_reach_is_told_and_nothing_that_needs_it_is_tried(
    called: Call, at_home: dict[str, str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        code, shown, _ = await called(at_home | NO_KEYRING | APP | {"ZOOM_BASE_URL": url}, "doctor")

    assert code == 1
    assert [line.split(": ")[0] for line in shown.splitlines()] == [
        "ok    credentials",
        "ok    name",
        "fail  connection",
        "ok    store",
        "warn  keyring",
    ]
    assert "Connection refused" in line_of(shown, "connection")


async def test_a_name_that_is_not_found_is_told(
    called: Call, at_home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    code, shown, _ = await called(at_home | APP | {"ZOOM_BASE_URL": "https://zoom.example"}, "doctor")

    assert code == 1
    assert line_of(shown, "name") == (
        "fail  name: zoom.example is not found (Name or service not known); "
        "check ZOOM_BASE_URL, the network and its DNS"
    )
    monkeypatch.setattr(who, "PATIENCE", RenewalPolicy(timeout=0.1))
    code, shown, errors = await called(at_home | APP | {"ZOOM_BASE_URL": "https://zoom.example"}, "token")
    assert (code, shown, errors.count("\n")) == (4, "", 1)
    assert "no connection to the token endpoint" in errors


@dataclass(frozen=True)
class Authority:
    """A certificate authority: what it issued, and the file that makes it known."""

    path: Path
    valid: ssl.SSLContext
    soon: ssl.SSLContext
    expired: ssl.SSLContext
    foreign: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("authority") / "authority.pem"
    authority.cert_pem.write_to_path(str(path))

    def serving(name: str = "localhost", not_after: datetime | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name, not_after=not_after).configure_cert(context)
        return context

    return Authority(
        path=path,
        valid=serving(not_after=datetime.now(UTC) + timedelta(days=90)),
        soon=serving(not_after=datetime.now(UTC) + timedelta(days=3)),
        expired=serving(not_after=datetime(2020, 1, 1, tzinfo=UTC)),
        foreign=serving("elsewhere.example"),
    )


@pytest.mark.parametrize(
    ("which", "told"),
    [
        ("soon", ("warn", "has to renew it")),
        ("expired", ("fail", "is this host's clock right?")),
        ("foreign", ("fail", "somebody else answers under this name")),
    ],
)
async def test_what_is_wrong_with_a_certificate_is_told(
    called: Call, at_home: dict[str, str], authority: Authority, which: str, told: tuple[str, str]
) -> None:
    """S18."""
    async with raw_server(answers(b""), answers(TOKEN), tls=getattr(authority, which)) as server:
        environment = at_home | APP | {"ZOOM_BASE_URL": server.url, "SSL_CERT_FILE": str(authority.path)}
        _, shown, _ = await called(environment, "doctor")

    assert line_of(shown, "certificate").startswith(f"{told[0]:<4}  certificate: ")
    assert told[1] in line_of(shown, "certificate")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.timeout(60)
async def test_an_authority_of_ones_own_is_made_known_by_the_environment(
    at_home: dict[str, str], authority: Authority
) -> None:
    """The remedy that it names itself."""
    async with raw_server(answers(b""), answers(TOKEN), tls=authority.valid) as server:
        environment = at_home | APP | {"ZOOM_BASE_URL": server.url, "SSL_CERT_FILE": str(authority.path)}
        async with terminal(environment, sys.executable, "-m", "zoom_async_auth", "doctor") as screen:
            code, shown = await screen.end()

    assert code == 0, shown
    assert line_of(shown, "certificate") == "ok    certificate: valid for 90 days, TLSv1.3"
    assert line_of(shown, "token") == "ok    token: 9 characters, for 3599 s, scopes: none told"


async def test_an_authority_that_is_not_known_is_told_and_how_to_make_it_known(
    called: Call, at_home: dict[str, str], authority: Authority
) -> None:
    """S18. No command goes on without."""
    async with raw_server(answers(TOKEN), tls=authority.valid) as server:
        environment = at_home | APP | {"ZOOM_BASE_URL": server.url}
        code, shown, _ = await called(environment, "doctor")
        assert code == 1
        assert "SSL_CERT_FILE has to name its certificate authority" in line_of(shown, "certificate")
        code, shown, errors = await called(environment, "token")

    assert (code, shown, errors.count("\n")) == (4, "", 1)
    assert "is its certificate authority known here?" in errors
    assert not server.requests


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ZOOM_CLIENT_SECRET": f" {SECRET}"}, "credentials: client_secret has white space before or after it"),
        ({"ZOOM_CLIENT_ID": "", "ZOOM_CLIENT_SECRET": ""}, "credentials: set ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET"),
        (
            {"ZOOM_BASE_URL": "http://zoom.example"},
            "base URL: base_url (ZOOM_BASE_URL) must be https://host[:port] without a path",
        ),
        (
            {"ZOOM_BASE_URL": "https://zoom..us"},
            "base URL: base_url (ZOOM_BASE_URL) must be https://host[:port] without a path",
        ),
        (
            {"ZOOM_BASE_URL": f"https://{'a' * 70}.us"},
            "base URL: base_url (ZOOM_BASE_URL) must be https://host[:port] without a path",
        ),
        ({"ZOOM_STORE_URL": "mongodb://host"}, "store: a store's URL begins with sqlite:, postgresql: or redis:"),
        (
            {"XDG_DATA_HOME": "/dev/null/data"},
            "store: /dev/null/data/zoom-async-auth/tokens.sqlite3 cannot be made: /dev/null is no folder that you may",
        ),
        (
            {"ZOOM_STORE_KEYS": SECRET},
            "keyring: ZOOM_STORE_KEYS, with commas between them: keys must be a list of 32 random bytes each",
        ),
    ],
)
async def test_what_the_environment_says_wrongly_is_told_without_a_value(
    called: Call, zoom: Zoom, at_home: dict[str, str], change: dict[str, str], told: str
) -> None:
    code, shown, errors = await called(at_home | app(zoom) | change, "doctor")

    assert (code, errors) == (1, "")
    assert f"fail  {told}" in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("change", "what"),
    [({"ZOOM_BASE_URL": "http://zoom.example"}, "base URL"), ({"ZOOM_STORE_URL": "mongodb://host"}, "store")],
)
async def test_what_is_wrong_with_the_environment_of_a_person_is_told_once(
    called: Call, person: dict[str, str], change: dict[str, str], what: str
) -> None:
    """And not as if the credentials were wrong."""
    _, shown, _ = await called(person | change, "doctor", "--as-user")

    assert line_of(shown, what)
    assert "fail  credentials: " not in shown
    assert shown.count(line_of(shown, what).split(": ", 1)[1].split(";")[0]) == 1


async def test_a_store_and_a_log_in_in_trouble_are_told(called: Call, person: dict[str, str], log_in: LogIn) -> None:
    await log_in()
    await asyncio.to_thread(tokens_of(person).chmod, 0o644)
    code, shown, _ = await called(person | NO_KEYRING, "doctor", "--as-user")

    assert code == 1
    assert "chmod 600 it" in line_of(shown, "store")
    assert line_of(shown, "keyring") == (
        "warn  keyring: this system has no keyring; log-ins are not sealed, unless ZOOM_STORE_KEYS is set"
    )


async def test_a_keyring_that_no_log_in_needs_is_no_trouble(
    called: Call, zoom: Zoom, person: dict[str, str], at_home: dict[str, str], log_in: LogIn
) -> None:
    """What an app does has nothing to do with it; a store that is named is sealed by other keys, or not at all."""
    await log_in()
    locked = {"PYTHON_KEYRING_BACKEND": "tests.cli.keyrings.LockedKeyring"}
    named = {"ZOOM_STORE_URL": f"sqlite:///{tokens_of(person)}"}

    code, shown, _ = await called(at_home | app(zoom) | locked, "doctor")
    assert code == 0
    assert line_of(shown, "keyring").startswith("warn  keyring: the keyring failed, KeyringLocked: unlock it")
    for ring in (locked, NO_KEYRING):
        code, shown, _ = await called(person | named | ring, "doctor", "--as-user")
        assert code == 0
        assert line_of(shown, "keyring") == (
            "ok    keyring: not used: a store that is named is sealed with ZOOM_STORE_KEYS, or not at all"
        )
        assert line_of(shown, "log-in").startswith("ok    log-in: 'default', its token has 3")


async def test_a_keyring_that_a_log_in_needs_is_trouble(called: Call, person: dict[str, str]) -> None:
    locked = {"PYTHON_KEYRING_BACKEND": "tests.cli.keyrings.LockedKeyring"}
    code, shown, _ = await called(person | locked, "doctor", "--as-user")

    assert code == 1
    assert line_of(shown, "keyring").startswith("fail  keyring: the keyring failed, KeyringLocked: unlock it")


@pytest.mark.parametrize(
    ("body", "told"),
    [(b"<html>Log in to the guests' network</html>", "the answer is no JSON object"), (b"{}", "the answer lacks what")],
    ids=["no JSON", "no token"],
)
async def test_an_answer_that_is_none_of_zooms_is_no_trouble_of_zooms(
    called: Call, at_home: dict[str, str], body: bytes, told: str
) -> None:
    async with raw_server(answers(b""), answers(body)) as server:
        code, shown, _ = await called(at_home | APP | {"ZOOM_BASE_URL": server.url}, "doctor")

    assert code == 1
    assert line_of(shown, "token").startswith(f"fail  token: {told}")
    assert line_of(shown, "token").endswith("; see who answers there in Zoom's place: a proxy, or a log-in page")


@pytest.mark.parametrize("arguments", [("--store", ""), ("--client-id", ""), ("--key", "")])
async def test_an_option_that_names_nobody_is_a_mistake(
    called: Call, person: dict[str, str], arguments: tuple[str, str]
) -> None:
    code, shown, _ = await called(person, "doctor", *arguments)

    assert code == 1
    assert [line for line in shown.splitlines() if line.startswith("fail  ")]


async def test_a_dead_log_in_is_to_be_renewed_by_the_person(
    called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn
) -> None:
    """And `token` says so, too, in one line."""
    token = await log_in()
    known = zoom.model.app(zoom.user_app.client_id)
    assert known is not None
    zoom.model.revoke(known, token.access_token)
    code, shown, errors = await called(person, "exec", "--as-user", "--valid-for", "3600", "--", "true")
    assert (code, shown, errors.count("\n")) == (5, "", 1)
    assert "ask the person to authorize the app again" in errors
    assert "zoom-async-auth login" in errors
    assert "status=400, error='invalid_grant', reason='Invalid Token!', x-zm-trackingid='v=2.0;clid=sandbox;" in errors
    code, shown, _ = await called(person, "doctor", "--as-user")

    assert code == 1
    assert line_of(shown, "log-in") == ("fail  log-in: Zoom refused to renew it (invalid_grant); zoom-async-auth login")
