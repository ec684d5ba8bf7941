"""What goes over the wire to Zoom's OAuth endpoints, and what comes back, on real sockets."""

import asyncio
import gzip
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.integrations.raw import Behaviour, answers, drips, hangs, never_ends, raw_server, resets
from zoom_async_auth import (
    AccountCredentialsGrant,
    ClientCredentials,
    ConfigurationError,
    MisuseError,
    RefreshTokenGrant,
    ServerToServer,
    Token,
    TokenUnavailableError,
    UserOAuth,
    ZoomAuthError,
)
from zoom_async_auth.clock import SystemClock
from zoom_async_auth.endpoint import AiohttpTransport, Endpoint
from zoom_async_auth.oauth.credentials import Credentials
from zoom_async_auth.oauth.wire import DeviceCode
from zoom_async_auth.sandbox import Zoom

APP = ServerToServer(account_id="the-account", client_id="the-id", client_secret="the:se+cret%&é")
GRANT = AccountCredentialsGrant(account_id="the-account")


def _endpoint(
    url: str,
    credentials: Credentials = APP,
    *,
    transport: AiohttpTransport | None = None,
    attempt_timeout: float = 5.0,
) -> Endpoint:
    return Endpoint(
        credentials,
        base_url=url,
        transport=transport or AiohttpTransport(),
        clock=SystemClock(),
        attempt_timeout=attempt_timeout,
    )


async def _failure(behaviour: Behaviour, *, attempt_timeout: float = 5.0) -> ZoomAuthError:
    """Return what an exchange fails with; it must have sent exactly one request."""
    async with raw_server(behaviour) as server, _endpoint(server.url, attempt_timeout=attempt_timeout) as endpoint:
        outcome = await endpoint.exchange(GRANT)
        assert server.connections == 1
    assert isinstance(outcome, ZoomAuthError)
    assert outcome.__cause__ is None
    assert outcome.__context__ is None
    return outcome


async def test_the_request_is_the_one_of_zooms_documentation_to_the_byte() -> None:
    """`POST /oauth/token`, Basic with plain base64, a form; nothing secret in the address (S19, S20)."""
    async with raw_server(answers()) as server, _endpoint(server.url) as endpoint:
        token = await endpoint.exchange(GRANT)
        request = server.requests[0]

    assert isinstance(token, Token)
    assert token.access_token == "the-token"
    head, _, body = request.partition(b"\r\n\r\n")
    line, *rest = head.decode().split("\r\n")
    headers = dict(header.split(": ", 1) for header in rest)
    assert line == "POST /oauth/token HTTP/1.1"
    assert headers == {
        "Host": server.url.removeprefix("http://"),
        "Authorization": "Basic " + b64encode("the-id:the:se+cret%&é".encode()).decode(),
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "zoom_async_auth",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    assert body == b"grant_type=account_credentials&account_id=the-account"


async def test_a_public_client_sends_its_name_in_the_form_and_no_authorization() -> None:
    async with (
        raw_server(answers()) as server,
        _endpoint(server.url, UserOAuth(client_id="public")) as endpoint,
    ):
        await endpoint.exchange(RefreshTokenGrant(refresh_token="r t"))
        request = server.requests[0]

    assert b"Authorization" not in request
    assert request.endswith(b"\r\n\r\ngrant_type=refresh_token&refresh_token=r+t&client_id=public")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_never_followed_and_its_body_never_read(status: str) -> None:
    """aiohttp would send the form, with the refresh token in it, to the other origin (S1, S2)."""
    async with raw_server(answers()) as elsewhere:
        error = await _failure(answers(status=status, headers=f"Location: {elsewhere.url}/oauth/token\r\n"))
        assert elsewhere.connections == 0

    assert type(error) is TokenUnavailableError
    assert "redirect" in str(error)
    assert error.in_doubt is False


async def test_cookies_are_not_kept() -> None:
    """S4."""
    async with raw_server(answers(headers="Set-Cookie: session=1; Path=/\r\n")) as server, _endpoint(server.url) as one:
        for _ in range(2):
            await one.exchange(GRANT)
        assert len(server.requests) == 2
        assert not any(b"cookie" in request.lower() for request in server.requests)


async def test_each_attempt_has_a_connection_of_its_own() -> None:
    """One that Zoom has closed meanwhile would leave the request in doubt (F32)."""
    async with raw_server(answers()) as server, _endpoint(server.url) as endpoint:
        for _ in range(3):
            await endpoint.exchange(GRANT)
        assert server.connections == 3


@pytest.fixture
def misleading_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)


@pytest.mark.usefixtures("misleading_environment")
async def test_proxies_and_netrc_of_the_environment_are_ignored() -> None:
    """Unless they are asked for (S12)."""
    async with raw_server(answers()) as server, _endpoint(server.url) as endpoint:
        assert isinstance(await endpoint.exchange(GRANT), Token)


async def test_a_proxy_that_was_asked_for_is_used() -> None:
    async with (
        raw_server(answers()) as proxy,
        _endpoint("http://localhost:9", transport=AiohttpTransport(proxy=proxy.url)) as endpoint,
    ):
        assert isinstance(await endpoint.exchange(GRANT), Token)
        assert proxy.requests[0].startswith(b"POST http://localhost:9/oauth/token HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("status", "kind"), [("407 Proxy Authentication Required", ConfigurationError), ("502 Bad", TokenUnavailableError)]
)
async def test_a_proxys_refusal_says_nothing_about_the_grant(status: str, kind: type[ZoomAuthError]) -> None:
    """F26: a tunnel that is not built."""
    async with (
        raw_server(answers(b"", status=status)) as proxy,
        _endpoint("https://zoom.us", transport=AiohttpTransport(proxy=proxy.url)) as endpoint,
    ):
        outcome = await endpoint.exchange(GRANT)

    assert isinstance(outcome, ZoomAuthError)
    assert type(outcome) is kind
    assert outcome.in_doubt is False
    assert outcome.status == int(status[:3])


async def test_a_refused_connection_is_known_not_to_have_sent_anything() -> None:
    """F24: a free retry."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    async with _endpoint(url) as endpoint:
        outcome = await endpoint.exchange(GRANT)

    assert type(outcome) is TokenUnavailableError
    assert outcome.in_doubt is False
    assert f"no connection to the token endpoint at {url.removeprefix('http://')}: ClientConnectorError" in str(outcome)


async def test_a_name_that_does_not_exist_is_known_not_to_have_sent_anything() -> None:
    """F23."""
    async with _endpoint("https://no-such-host.invalid") as endpoint:
        outcome = await endpoint.exchange(GRANT)

    assert type(outcome) is TokenUnavailableError
    assert outcome.in_doubt is False


@pytest.mark.parametrize(
    "behaviour",
    [
        resets(after_reading=False),
        resets(after_reading=True),
        resets(after_reading=True, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 68\r\n\r\n{"),
        answers(b'{"access_token":"the-'),
        answers(b"", status="204 No Content"),
        answers(b"<html>"),
        answers(b"", status="500 Oops"),
    ],
    ids=["reset at once", "reset after reading", "reset in the body", "truncated", "empty", "html", "500"],
)
async def test_whoever_got_no_readable_answer_is_in_doubt(behaviour: Behaviour) -> None:
    """Zoom may have rotated the refresh token (F1, F7, F9, F11, F27, F28, F29)."""
    error = await _failure(behaviour)

    assert type(error) is TokenUnavailableError
    assert error.in_doubt is True


@pytest.mark.parametrize("behaviour", [hangs, drips], ids=["hangs", "drips"])
async def test_an_attempt_has_one_deadline_for_everything(behaviour: Behaviour) -> None:
    """F30, F31."""
    error = await _failure(behaviour, attempt_timeout=0.3)

    assert type(error) is TokenUnavailableError
    assert error.in_doubt is True


async def test_a_body_without_end_is_cut() -> None:
    """S11."""
    error = await _failure(never_ends)

    assert "no JSON object" in str(error)


async def test_a_gzip_bomb_is_not_unpacked() -> None:
    """Nothing compressed was asked for: what comes is looked at as it is (S10)."""
    bomb = gzip.compress(b"{" + b" " * 50_000_000 + b"}")
    assert len(bomb) < 64 * 1024
    error = await _failure(answers(bomb, headers="Content-Encoding: gzip\r\n"))

    assert "no JSON object" in str(error)


async def test_a_flood_of_headers_is_refused() -> None:
    """S11."""
    error = await _failure(answers(headers=f"X-Flood: {'x' * 100_000}\r\n"))

    assert type(error) is TokenUnavailableError
    assert "x" * 10 not in str(error)


async def test_the_content_type_does_not_matter() -> None:
    """F10."""
    async with (
        raw_server(answers(headers="Content-Type: text/html\r\n")) as server,
        _endpoint(server.url) as endpoint,
    ):
        assert isinstance(await endpoint.exchange(GRANT), Token)


@dataclass(frozen=True)
class Tls:
    """What a private certificate authority issued."""

    trusting: ssl.SSLContext
    localhost: ssl.SSLContext
    elsewhere: ssl.SSLContext


@pytest.fixture(scope="module")
def tls() -> Tls:
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    serving = []
    for name in ("localhost", "elsewhere.example"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        serving.append(context)
    return Tls(trusting, *serving)


async def test_a_private_certificate_authority_can_be_trusted(tls: Tls) -> None:
    transport = AiohttpTransport(ssl_context=tls.trusting)
    async with (
        raw_server(answers(), tls=tls.localhost) as server,
        _endpoint(server.url, transport=transport) as endpoint,
    ):
        assert isinstance(await endpoint.exchange(GRANT), Token)


async def test_a_server_that_speaks_no_tls_for_a_moment_is_asked_again_soon() -> None:
    """A load balancer that answers for one that restarts: nothing was sent, and no person is needed."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Busy\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "localhost", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with _endpoint(f"https://localhost:{port}") as endpoint:
            outcome = await endpoint.exchange(GRANT)

    assert type(outcome) is TokenUnavailableError
    assert (outcome.in_doubt, outcome.retry_after) == (False, None)
    assert "no connection to the token endpoint" in str(outcome)


@pytest.mark.parametrize("fault", ["unknown authority", "other host"])
async def test_a_certificate_that_does_not_verify_fails_closed(tls: Tls, fault: str) -> None:
    """Nothing is sent; the next try is a minute away (S18, F25)."""
    serving = tls.elsewhere if fault == "other host" else tls.localhost
    transport = AiohttpTransport(ssl_context=tls.trusting if fault == "other host" else None)
    async with raw_server(answers(), tls=serving) as server, _endpoint(server.url, transport=transport) as endpoint:
        outcome = await endpoint.exchange(GRANT)
        assert server.requests == []

    assert type(outcome) is TokenUnavailableError
    assert outcome.in_doubt is False
    assert outcome.retry_after == 60.0
    assert "ClientConnectorCertificateError" in str(outcome)


def test_there_is_no_way_to_switch_verification_off() -> None:
    """S18."""
    context = ssl.create_default_context()
    context.check_hostname = False
    with pytest.raises(ConfigurationError, match="no way around it"):
        AiohttpTransport(ssl_context=context)
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(ConfigurationError, match="no way around it"):
        AiohttpTransport(ssl_context=context)


@pytest.mark.parametrize("url", ["http://zoom.us", "http://127.0.0.1.evil.example", "https://zoom.us/path", "zoom.us"])
def test_an_address_that_would_show_the_secret_is_refused(url: str) -> None:
    """S17."""
    with pytest.raises(ConfigurationError, match="base_url"):
        _endpoint(url)


async def test_a_transport_that_is_not_open_says_so() -> None:
    outcome = await _endpoint("https://zoom.us").exchange(GRANT)

    assert type(outcome) is ConfigurationError
    assert "not open" in str(outcome)


async def test_a_shared_transport_is_closed_by_its_last_user() -> None:
    transport = AiohttpTransport()
    async with raw_server(answers()) as server:
        async with _endpoint(server.url, transport=transport) as one:
            async with _endpoint(server.url, transport=transport) as other:
                await other.exchange(GRANT)
            assert isinstance(await one.exchange(GRANT), Token)
        assert transport._session is None
        async with _endpoint(server.url, transport=transport) as again:
            assert isinstance(await again.exchange(GRANT), Token)


def test_a_transport_that_was_not_left_before_its_loop_ended_serves_the_next_one() -> None:
    transport = AiohttpTransport()

    async def exchanged() -> Token | ZoomAuthError:
        async with raw_server(answers()) as server:
            endpoint = await _endpoint(server.url, transport=transport).__aenter__()
            outcome = await endpoint.exchange(GRANT)
            await endpoint.__aexit__(None, None, None)
            await endpoint.__aenter__()
            return outcome

    for _ in range(2):
        assert isinstance(asyncio.run(exchanged()), Token)


def test_who_leaves_a_transport_after_its_loop_has_ended_takes_nothing_from_who_is_in() -> None:
    """A manager that was not closed is collected at some time, and leaves what it entered."""
    transport = AiohttpTransport()
    ended = asyncio.new_event_loop()
    ended.run_until_complete(transport.__aenter__())
    ended.close()

    async def exchanged() -> Token | ZoomAuthError:
        async with raw_server(answers()) as server, _endpoint(server.url, transport=transport) as endpoint:
            await asyncio.to_thread(_stepped, transport.__aexit__(None, None, None))
            return await endpoint.exchange(GRANT)

    assert isinstance(asyncio.run(exchanged()), Token)
    assert transport._users == 0


def _stepped(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run what does not wait, where no loop runs."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


async def test_a_transport_belongs_to_one_event_loop() -> None:
    """A second one gets a clear error, and no refresh token is in doubt for it."""
    transport = AiohttpTransport()
    async with raw_server(answers()) as server, _endpoint(server.url, transport=transport) as endpoint:

        async def enter() -> None:
            async with _endpoint(server.url, transport=transport):
                pass

        async def send() -> Token | ZoomAuthError:
            return await endpoint.exchange(GRANT)

        with pytest.raises(MisuseError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, enter())
        outcome = await asyncio.to_thread(asyncio.run, send())
        assert isinstance(outcome, MisuseError)
        assert not outcome.in_doubt
        assert isinstance(await endpoint.exchange(GRANT), Token)


async def test_a_cancelled_exchange_drops_the_request() -> None:
    async with raw_server(hangs) as server, _endpoint(server.url) as endpoint:
        exchange = asyncio.create_task(endpoint.exchange(GRANT))
        await server.seen.wait()
        exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange


async def test_the_sandbox_gives_tokens_of_every_kind(zoom: Zoom) -> None:
    async with _endpoint(zoom.url, zoom.credentials) as endpoint:
        token = await endpoint.exchange(AccountCredentialsGrant(account_id=zoom.credentials.account_id))
    assert isinstance(token, Token)
    assert token.api_url == zoom.url


async def test_revoking_kills_the_token(zoom: Zoom) -> None:
    """200 counts, also for a token that nobody knows (S30)."""
    async with _endpoint(zoom.url, zoom.credentials) as endpoint:
        token = await endpoint.exchange(AccountCredentialsGrant(account_id=zoom.credentials.account_id))
        assert isinstance(token, Token)
        assert await endpoint.revoke(token.access_token) is None
        assert zoom.model.user_of(token.access_token) is None
        assert await endpoint.revoke("unknown") is None


async def test_a_device_code_is_for_a_persons_app(zoom: Zoom) -> None:
    async with _endpoint(zoom.url, zoom.user_app) as endpoint:
        codes = await endpoint.device_code()
    assert isinstance(codes, DeviceCode)
    assert codes.verification_uri == f"{zoom.url}/oauth/device"
    assert (codes.expires_in, codes.interval) == (900.0, 5.0)
    async with _endpoint(zoom.url, zoom.client_credentials) as endpoint:
        assert isinstance(await endpoint.device_code(), ConfigurationError)


async def test_a_wrong_secret_costs_one_request_and_no_probing_of_other_ways(zoom: Zoom) -> None:
    """S21."""
    wrong = ClientCredentials(client_id=zoom.client_credentials.client_id, client_secret="wrong")
    async with _endpoint(zoom.url, wrong) as endpoint:
        outcome = await endpoint.exchange(GRANT)
    assert type(outcome) is ConfigurationError
    assert outcome.error == "invalid_client"
    assert outcome.tracking_id is not None
    assert zoom.token_requests == 1


async def test_an_answer_that_came_while_the_process_was_stopped_is_read_after_the_deadline() -> None:
    """It may hold the only live refresh token: whoever wakes up late looks first at what has arrived."""

    async def answers_and_stalls_the_loop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers()(reader, writer)
        awake_at = time.monotonic() + 0.8
        while time.monotonic() < awake_at:
            pass

    async with (
        raw_server(answers_and_stalls_the_loop) as server,
        _endpoint(server.url, attempt_timeout=0.4) as endpoint,
    ):
        token = await endpoint.exchange(GRANT)

    assert isinstance(token, Token)
