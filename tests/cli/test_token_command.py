"""`zoom-async-auth token`, run against a sandbox on this loop: a token on stdout, or a reason on stderr."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from zoom_async_auth.sandbox import Zoom

pytestmark = pytest.mark.asyncio(loop_factories=["plain"])

Outcome = tuple[int | None, str, str]
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]
Token = Callable[..., Awaitable[Outcome]]

SECRET = "a-secret-that-is-not-shown"


@pytest.fixture
def start(environment: dict[str, str]) -> Start:
    def start(*arguments: str, **variables: str) -> Awaitable[asyncio.subprocess.Process]:
        return asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "zoom_async_auth", "token", *arguments),
            env=environment | variables,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    return start


@pytest.fixture
def token(start: Start) -> Token:
    """Run the command; return its exit code, stdout and stderr."""

    async def token(*arguments: str, **variables: str) -> Outcome:
        return await outcome_of(await start(*arguments, **variables))

    return token


async def outcome_of(process: asyncio.subprocess.Process) -> Outcome:
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


def variables_of(zoom: Zoom) -> dict[str, str]:
    return {
        "ZOOM_BASE_URL": zoom.url,
        "ZOOM_ACCOUNT_ID": zoom.credentials.account_id,
        "ZOOM_CLIENT_ID": zoom.credentials.client_id,
        "ZOOM_CLIENT_SECRET": zoom.credentials.client_secret,
    }


async def test_the_token_alone_is_on_stdout(zoom: Zoom, token: Token) -> None:
    """For `$(zoom-async-auth token)`; it costs one request."""
    code, output, errors = await token(**variables_of(zoom))

    assert (code, errors, output.count("\n")) == (0, "", 1)
    assert zoom.model.user_of(output.rstrip("\n")) == "account-owner"
    assert zoom.stats == {"account_credentials": {"ok": 1}}


async def test_json_says_all_that_zoom_said(zoom: Zoom, token: Token) -> None:
    code, output, errors = await token("--json", **variables_of(zoom))
    shown = json.loads(output)

    assert (code, errors, output.count("\n")) == (0, "", 1)
    assert list(shown) == ["access_token", "token_type", "expires_in", "scope", "api_url", "seconds_left"]
    assert 3500 < shown.pop("seconds_left") <= 3590  # ten seconds before its end nobody gets it any more
    assert zoom.model.user_of(shown.pop("access_token")) == "account-owner"
    assert shown == {"token_type": "bearer", "expires_in": 3600.0, "scope": "user:read:admin", "api_url": zoom.url}


async def test_a_header_line_is_ready_for_curl(zoom: Zoom, token: Token) -> None:
    code, output, errors = await token("--header", **variables_of(zoom))
    name, scheme, access_token = output.rstrip("\n").split(" ")

    assert (code, errors, name, scheme) == (0, "", "Authorization:", "Bearer")
    assert zoom.model.user_of(access_token) == "account-owner"


async def test_without_an_account_it_is_an_app_that_acts_as_itself(zoom: Zoom, token: Token) -> None:
    own = zoom.client_credentials
    code, _, _ = await token(ZOOM_BASE_URL=zoom.url, ZOOM_CLIENT_ID=own.client_id, ZOOM_CLIENT_SECRET=own.client_secret)

    assert code == 0
    assert zoom.stats == {"client_credentials": {"ok": 1}}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "set ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET"),
        ({"ZOOM_CLIENT_ID": "id"}, "set ZOOM_CLIENT_SECRET"),
        ({"ZOOM_CLIENT_SECRET": SECRET}, "set ZOOM_CLIENT_ID"),
    ],
)
async def test_a_variable_that_is_missing_is_named(token: Token, variables: dict[str, str], message: str) -> None:
    account = "and ZOOM_ACCOUNT_ID for a server-to-server app: see the app's credentials page at Zoom"
    assert await token(**variables) == (3, "", f"zoom-async-auth: {message}, {account}\n")


@pytest.mark.parametrize(
    "wrong",
    [
        {"ZOOM_CLIENT_SECRET": f" {SECRET}"},  # pasted with a blank
        {"ZOOM_CLIENT_SECRET": f"{SECRET}\n"},
        {"ZOOM_BASE_URL": "http://zoom.example"},
        {"ZOOM_BASE_URL": "https://127.0.0.1/path"},
    ],
)
async def test_a_value_that_cannot_be_right_is_not_repeated(token: Token, wrong: dict[str, str]) -> None:
    """Found before anything is sent; the message names what, and shows nothing (S5, S17)."""
    variables = {"ZOOM_ACCOUNT_ID": "account", "ZOOM_CLIENT_ID": "id", "ZOOM_CLIENT_SECRET": SECRET}
    code, output, errors = await token(**{**variables, **wrong})

    assert (code, output, errors.count("\n")) == (3, "", 1)
    assert errors.startswith("zoom-async-auth: ")
    assert SECRET not in errors


async def test_a_wrong_secret_is_for_a_person_to_mend(zoom: Zoom, token: Token) -> None:
    """One request, Zoom's words, and none of ours (S5, S21)."""
    variables = {**variables_of(zoom), "ZOOM_CLIENT_SECRET": SECRET}
    code, output, errors = await token(**variables)

    assert (code, output, errors.count("\n")) == (3, "", 1)
    assert "status=401, error='invalid_client', reason='Invalid client_id or client_secret'" in errors
    assert not [value for value in variables.values() if value in errors]
    assert zoom.stats == {"account_credentials": {"invalid_client": 1}}


class DownEndpoint:
    """Answers 503 and asks for an hour's pause, but not before `may_answer`."""

    def __init__(self) -> None:
        self.requests = 0
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        self.asked.set()
        await self.may_answer.wait()
        writer.write(b"HTTP/1.1 503 Down\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n")
        writer.close()


@pytest.fixture
async def down() -> AsyncIterator[tuple[DownEndpoint, dict[str, str]]]:
    endpoint = DownEndpoint()
    async with await asyncio.start_server(endpoint, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield endpoint, {"ZOOM_BASE_URL": url, "ZOOM_CLIENT_ID": "id", "ZOOM_CLIENT_SECRET": SECRET}


async def test_an_endpoint_that_is_down_may_be_up_later(
    down: tuple[DownEndpoint, dict[str, str]], token: Token
) -> None:
    """It says for how long, so nothing is retried: exit code 4 tells a script to come back (F2)."""
    endpoint, variables = down
    endpoint.may_answer.set()
    code, output, errors = await token(**variables)

    assert (code, output, errors.count("\n")) == (4, "", 1)
    assert "status=503" in errors
    assert SECRET not in errors
    assert endpoint.requests == 1


async def test_an_interrupt_ends_it_without_a_word(down: tuple[DownEndpoint, dict[str, str]], start: Start) -> None:
    """Ctrl-C while it waits for Zoom: no token, no traceback (F45)."""
    endpoint, variables = down
    process = await start(**variables)
    await endpoint.asked.wait()
    process.send_signal(signal.SIGINT)
    endpoint.may_answer.set()

    assert await outcome_of(process) == (130, "", "")
