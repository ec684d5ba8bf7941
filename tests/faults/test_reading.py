"""S10 to S21: what is read, what is sent, and what is refused before that."""

import asyncio
import json
import ssl
from base64 import b64encode
from typing import Any

import pytest

from tests.engine.world import World, turns
from tests.faults.steps import (
    APP,
    IMPATIENT,
    PAIR,
    PATIENT,
    Tls,
    all_luck,
    consent_of,
    expired_pair,
    failure_of,
    failures,
    in_doubt,
    no_luck,
    person_at,
)
from tests.integrations.raw import Behaviour, answers, raw_server, request
from zoom_async_auth import (
    ClientCredentials,
    ConfigurationError,
    ServerToServer,
    StoredToken,
    TokenManager,
    TokenUnavailableError,
    UserOAuth,
)
from zoom_async_auth.endpoint import AiohttpTransport
from zoom_async_auth.events import FieldsAssumed
from zoom_async_auth.sandbox import Zoom


@pytest.mark.parametrize("what", ["gzip-bomb", "endless"])
async def test_s10_s11_a_body_that_is_too_large_is_cut_and_the_next_try_brings_a_token(
    zoom_sandbox: Zoom, what: str
) -> None:
    """A bomb is never unpacked, a body without end is left after 64 KiB, before any deadline."""
    errors: list[Any] = []
    async with person_at(
        zoom_sandbox, observers=[lambda event: errors.append(getattr(event, "error", None))]
    ) as manager:
        zoom_sandbox.faults.add(f"refresh_token:{what}")
        manager.invalidate(await manager.bearer())
        assert zoom_sandbox.model.user_of(await manager.bearer()) == "alice"

    assert str([error for error in errors if error][-1]).startswith("the answer is no JSON object")
    assert zoom_sandbox.stats["refresh_token"] == {"fault": 1, "ok": 1}


async def test_s10_nothing_compressed_is_asked_for() -> None:
    async with (
        raw_server(answers(PAIR)) as server,
        TokenManager(APP, base_url=server.url, policy=PATIENT) as manager,
    ):
        await manager.authorize(expired_pair())
        await manager.bearer()
        assert b"\r\nAccept-Encoding: identity\r\n" in server.requests[0]


def _floods(head: bytes) -> Behaviour:
    """Begin to answer, and go on with headers without end."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + head)
        while True:
            writer.write(b"X-Flood: " + b"x" * 4000 + b"\r\n")
            await writer.drain()

    return behave


@pytest.mark.parametrize(
    "flood",
    [
        answers(PAIR, headers=f"X-Flood: {'x' * 100_000}\r\n"),
        _floods(b""),
        _floods(b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(PAIR), PAIR)),
    ],
    ids=["a long header", "many headers", "trailers"],
)
async def test_s11_a_flood_of_headers_or_trailers_is_left_and_the_next_try_brings_a_token(flood: Behaviour) -> None:
    async with (
        raw_server(flood, answers(PAIR)) as server,
        TokenManager(APP, base_url=server.url, policy=PATIENT, random=no_luck) as manager,
    ):
        await manager.authorize(expired_pair())
        assert await manager.bearer() == "new"
        assert len(server.requests) == 2


async def test_s12_a_proxy_and_a_netrc_of_the_environment_are_ignored(
    zoom_sandbox: Zoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sandbox knows the app, and not who the file names; at the proxy's address nobody listens."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", __file__)
    monkeypatch.delenv("no_proxy", raising=False)
    async with TokenManager(zoom_sandbox.credentials, base_url=zoom_sandbox.url) as manager:
        assert zoom_sandbox.model.user_of(await manager.bearer())

    assert zoom_sandbox.stats == {"account_credentials": {"ok": 1}}


async def test_s13_nothing_of_the_callers_session_gets_into_a_token_request() -> None:
    """Its headers, its cookies, its middlewares are for the API."""
    seen: list[str] = []

    async def spy(request: Any, handler: Any) -> Any:
        seen.append(request.method)
        return await handler(request)

    async with (
        raw_server(answers(PAIR)) as server,
        TokenManager(APP, base_url=server.url, policy=PATIENT) as manager,
    ):
        await manager.authorize(expired_pair())
        async with manager.session(headers={"X-Own": "1"}, cookies={"a": "b"}, middlewares=(spy,)) as session:
            await (await session.get("/v2/users/me")).read()
            await manager.renew()
        post, get, again = server.requests

    assert seen == ["GET"]
    assert [request[:4] for request in (post, get, again)] == [b"POST", b"GET ", b"POST"]
    assert b"X-Own" in get
    assert not any(name in request for name in (b"X-Own", b"Cookie") for request in (post, again))


@pytest.mark.parametrize("text", ["a\r\nX: y", "a\nb", "a\x00b", ""], ids=["CRLF", "LF", "NUL", "empty"])
def test_s14_control_characters_are_refused_at_construction(text: str) -> None:
    for build in (
        lambda: ServerToServer(account_id=text, client_id="id", client_secret="secret"),
        lambda: ServerToServer(account_id="account", client_id=text, client_secret="secret"),
        lambda: ServerToServer(account_id="account", client_id="id", client_secret=text),
        lambda: TokenManager(APP, key=text),
    ):
        with pytest.raises(ValueError, match=r"control character|is empty|1 to 200") as refused:
            build()
        assert type(refused.value) is ConfigurationError


def test_s14_characters_beyond_ascii_are_refused_in_an_id_or_an_account() -> None:
    for build in (
        lambda: ServerToServer(account_id="accöunt", client_id="id", client_secret="secret"),
        lambda: ClientCredentials(client_id="іd", client_secret="secret"),  # noqa: RUF001 -- it is Cyrillic
    ):
        with pytest.raises(ConfigurationError, match="beyond ASCII"):
            build()


@pytest.mark.parametrize(
    "value", ["", None, 7, [], "x" * 1_000_000, "a b", "a\r\nX: y"], ids=lambda value: repr(value)[:9]
)
async def test_s15_an_access_token_that_cannot_be_one_is_not_cached(world: World, value: object) -> None:
    trap = {"access_token": value, "token_type": "bearer", "expires_in": 3600}
    world.zoom.faults.add(f"any:answer=200 {json.dumps(trap)}")
    async with world.manager() as manager:
        assert world.is_good(await manager.bearer())

    assert in_doubt(world) == [True]
    assert world.zoom.stats == {"account_credentials": {"fault": 1, "ok": 1}}


@pytest.mark.parametrize(("kind", "posts"), [("mac", 2), ("DPoP", 2), ("BEARER", 1), ("Bearer", 1)])
async def test_s16_a_token_type_is_refused_or_accepted(world: World, kind: str, posts: int) -> None:
    trap = {"access_token": "trap", "token_type": kind, "expires_in": 3600}
    world.zoom.faults.add(f"any:answer=200 {json.dumps(trap)}")
    async with world.manager() as manager:
        assert (await manager.bearer() == "trap") is (posts == 1)

    assert [str(error).partition(" [")[0] for error in failures(world)] == (
        ["the answer lacks what it must have, in token_type"] if posts == 2 else []
    )
    assert world.zoom.token_requests == posts


async def test_s16_an_absent_token_type_is_accepted_with_an_event(world: World) -> None:
    world.zoom.faults.add("any:without=token_type")
    async with world.manager() as manager:
        assert world.is_good(await manager.bearer())
        await turns()

    assert [event.fields for event in world.seen(FieldsAssumed)] == [frozenset({"token_type"})]
    assert world.zoom.token_requests == 1


@pytest.mark.parametrize("url", ["http://zoom.us", "http://localhost.evil.example", "http://127.0.0.1@evil.example"])
def test_s17_http_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="http is for loopback only"):
        TokenManager(APP, base_url=url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "https://zoom.us"])
def test_s17_https_and_loopback_are_not(url: str) -> None:
    assert TokenManager(APP, base_url=url).health().state == "new"


@pytest.mark.parametrize("fault", ["expired", "elsewhere", "localhost"])
async def test_s18_a_certificate_that_does_not_verify_fails_closed(tls: Tls, fault: str) -> None:
    """Expired, of another host, of an unknown authority: nothing is sent, and the type of the error is TLS's."""
    serving: ssl.SSLContext = getattr(tls, fault)
    transport = AiohttpTransport(ssl_context=None if fault == "localhost" else tls.trusting)
    async with (
        raw_server(answers(PAIR), tls=serving) as server,
        TokenManager(APP, base_url=server.url, policy=IMPATIENT, random=all_luck, transport=transport) as manager,
    ):
        await manager.authorize(expired_pair())
        error = await failure_of(manager)
        assert type(error) is TokenUnavailableError
        assert "no trusted connection to the token endpoint at localhost:" in str(error)
        assert "ClientConnectorCertificateError" in str(error)
        assert server.requests == []


def test_s18_there_is_no_off_switch() -> None:
    for context in (ssl.create_default_context(), ssl._create_unverified_context()):  # noqa: S323 -- it is refused
        context.check_hostname = False
        with pytest.raises(ConfigurationError, match="no way around it"):
            AiohttpTransport(ssl_context=context)
    with pytest.raises(TypeError):
        AiohttpTransport(ssl=False)  # type: ignore[call-arg]


async def test_s19_a_secret_is_sent_as_it_is() -> None:
    """Zoom's rule, against RFC 6749: `base64(id:secret)` in UTF-8."""
    app = UserOAuth(client_id="the-id", client_secret="a+b:c %d&é")
    async with (
        raw_server(answers(PAIR)) as server,
        TokenManager(app, base_url=server.url, policy=PATIENT) as manager,
    ):
        await manager.authorize(expired_pair())
        await manager.bearer()
        basic = b64encode("the-id:a+b:c %d&é".encode())
        assert b"\r\nAuthorization: Basic " + basic + b"\r\n" in server.requests[0]

    with pytest.raises(ConfigurationError, match="client_id must not have any of ':'"):
        UserOAuth(client_id="the:id", client_secret="secret")


async def test_s20_no_request_has_a_secret_in_its_url() -> None:
    async with (
        raw_server(answers(PAIR)) as server,
        TokenManager(APP, base_url=server.url, policy=PATIENT) as manager,
    ):
        await manager.authorize(StoredToken(access_token="spent", refresh_token="r", expires_at=0.0))
        await manager.bearer()
        await manager.renew()
        await manager.revoke()
        lines = [request.partition(b"\r\n")[0] for request in server.requests]

    assert lines == [b"POST /oauth/token HTTP/1.1"] * 2 + [b"POST /oauth/revoke HTTP/1.1"]


async def test_s21_an_invalid_client_costs_exactly_one_post_and_no_probing_of_styles(zoom_sandbox: Zoom) -> None:
    wrong = UserOAuth(client_id=zoom_sandbox.user_app.client_id, client_secret="of another app")
    async with TokenManager(wrong, base_url=zoom_sandbox.url, policy=PATIENT) as manager:
        with pytest.raises(ConfigurationError) as refused:
            await manager.authorize(consent_of(zoom_sandbox))
        await asyncio.gather(*(manager.bearer() for _ in range(10)), return_exceptions=True)

    assert refused.value.error == "invalid_client"
    assert zoom_sandbox.stats == {"authorization_code": {"invalid_client": 1}}
