"""How a token gets onto a request, where it may go, and what happens when the API refuses it. On real sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from zoom_async_auth import TokenManager
from zoom_async_auth.bearer import BearerMiddleware, may_carry_bearer, origin_of
from zoom_async_auth.sandbox import Sandbox, Zoom

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.mark.parametrize(
    "url",
    [
        "https://zoom.us/v2/users/me",
        "https://api.zoom.us/",
        "https://eu01api.zoom.us/v2",
        "https://API.ZOOM.US/",
        "https://api.zoomgov.com:443/v2",
        "https://zoom.us/rec/download/abc?x=1",
    ],
)
def test_the_bearer_goes_to_zoom(url: str) -> None:
    assert may_carry_bearer(URL(url))


@pytest.mark.parametrize(
    "url",
    [
        "http://api.zoom.us/",
        "https://api.zoom.us:8443/",
        "https://evilzoom.us/",
        "https://zoom.us.evil.example/",
        "https://zoom.us@evil.example/",
        "https://me@zoom.us/",
        "https://zoom.com/",
        "https://evil.example/zoom.us",
        "https://zoom.us./",
        "wss://api.zoom.us/",
        "/v2/users/me",
        "//evil.example/",
        "http://127.0.0.1/",
    ],
)
def test_the_bearer_goes_nowhere_else(url: str) -> None:
    """No match by suffix alone, no other scheme, no other port (S41)."""
    assert not may_carry_bearer(URL(url))


@given(host=st.from_regex(r"\A[a-z0-9.\-]{1,20}\Z"))
def test_no_other_host_is_ever_taken_for_zooms(host: str) -> None:
    try:
        url = URL.build(scheme="https", host=host, path="/")
    except ValueError:
        return
    assert may_carry_bearer(url) == (host in {"zoom.us", "zoomgov.com"} or host.endswith((".zoom.us", ".zoomgov.com")))


def test_an_explicit_origin_counts_with_its_scheme_and_port() -> None:
    allowed = {origin_of(URL("http://127.0.0.1:8000"))}
    assert may_carry_bearer(URL("http://127.0.0.1:8000/v2"), allowed)
    assert not may_carry_bearer(URL("http://127.0.0.1:8001/v2"), allowed)
    assert not may_carry_bearer(URL("https://127.0.0.1:8000/v2"), allowed)


class Source:
    """A `BearerSource` that counts, and gives a new token after each invalidation."""

    def __init__(self) -> None:
        self.generation = 1
        self.asked = 0
        self.invalidated: list[str] = []

    async def bearer(self) -> str:
        self.asked += 1
        return f"token-{self.generation}"

    def invalidate(self, token: str, /) -> bool:
        self.invalidated.append(token)
        self.generation += 1
        return True


class Api:
    """An API: what it was asked, and a session that speaks to it with a bearer."""

    def __init__(self, session: aiohttp.ClientSession, url: URL, source: Source) -> None:
        self.session = session
        self.url = url
        self.source = source
        self.authorizations: list[str | None] = []
        self.bodies: list[bytes] = []


@asynccontextmanager
async def _api(handler: Handler) -> AsyncIterator[Api]:
    app = web.Application()
    source = Source()

    async def handle(request: web.Request) -> web.StreamResponse:
        api.authorizations.append(request.headers.get("Authorization"))
        api.bodies.append(await request.read())
        return await handler(request)

    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        url = server.make_url("/")
        middleware = BearerMiddleware(source, allowed=[origin_of(url)])
        async with aiohttp.ClientSession(url, middlewares=[middleware]) as session:
            api = Api(session, url, source)
            yield api


async def _fine(_: web.Request) -> web.Response:
    return web.json_response({})


def _rejects(*tokens: str, code: int = 124, message: str = "Invalid access token.") -> Handler:
    async def handle(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") in {f"Bearer {token}" for token in tokens}:
            return web.json_response({"code": code, "message": message}, status=401)
        return web.json_response({})

    return handle


async def test_each_request_carries_the_token() -> None:
    async with _api(_fine) as api:
        for _ in range(3):
            async with api.session.get("/v2/users/me") as response:
                assert response.status == 200
        assert api.authorizations == ["Bearer token-1"] * 3


async def test_a_rejected_token_is_invalidated_and_the_request_sent_once_more() -> None:
    async with _api(_rejects("token-1")) as api:
        async with api.session.post("/v2/meetings", json={"topic": "x"}) as response:
            assert response.status == 200
        assert api.source.invalidated == ["token-1"]
        assert api.authorizations == ["Bearer token-1", "Bearer token-2"]
        assert api.bodies == [b'{"topic": "x"}'] * 2


async def test_there_is_one_replay_and_no_second() -> None:
    """The new token is refused as well: that is the caller's answer."""
    async with _api(_rejects("token-1", "token-2")) as api:
        async with api.session.get("/v2/users/me") as response:
            assert response.status == 401
            assert (await response.json())["code"] == 124
        assert len(api.authorizations) == 2
        assert api.source.invalidated == ["token-1"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (3001, "No permission."),
        (200, "No permission."),
        (124, "Invalid access token, this access token is not supported as query parameter string."),
    ],
)
async def test_a_refusal_that_is_not_about_the_token_renews_nothing(code: int, message: str) -> None:
    async with _api(_rejects("token-1", code=code, message=message)) as api:
        async with api.session.get("/v2/users/me") as response:
            assert response.status == 401
            assert (await response.json())["message"] == message
        assert api.source.invalidated == []
        assert len(api.authorizations) == 1


async def test_missing_scopes_are_never_a_reason_to_renew() -> None:
    """400 with code 4711: elsewhere an endless loop."""

    async def handle(_: web.Request) -> web.Response:
        body = {"code": 4711, "message": "Invalid access token, does not contain scopes:[user:read]."}
        return web.json_response(body, status=400)

    async with _api(handle) as api:
        async with api.session.get("/v2/users/me") as response:
            assert response.status == 400
        assert api.source.invalidated == []
        assert len(api.authorizations) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[124]", b"null", b"[" * 100_000], ids=len)
async def test_a_refusal_that_cannot_be_read_is_the_callers(body: bytes) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=401, body=body)

    async with _api(handle) as api:
        async with api.session.get("/") as response:
            assert response.status == 401
            assert await response.read() == body
        assert api.source.invalidated == []


async def test_a_callers_own_authorization_stays_as_it_is() -> None:
    """A webhook's `download_token`, for one."""
    async with _api(_fine) as api:
        async with api.session.get("/", headers={"Authorization": "Bearer own"}):
            pass
        assert api.authorizations == ["Bearer own"]
        assert api.source.asked == 0


async def test_a_body_that_is_used_up_is_not_replayed() -> None:
    """It would be sent again empty, and be answered with 200: the token is invalidated, the answer is the caller's."""

    async def once() -> AsyncIterator[bytes]:
        yield b"all there is"

    async with _api(_rejects("token-1")) as api:
        async with api.session.post("/", data=once()) as response:
            assert response.status == 401
            assert (await response.json())["code"] == 124
        assert api.source.invalidated == ["token-1"]
        assert api.bodies == [b"all there is"]


async def test_a_redirect_to_another_origin_does_not_get_the_token() -> None:
    """The middleware runs anew for each hop (S3)."""
    async with _api(_fine) as elsewhere:

        async def handle(_: web.Request) -> web.Response:
            raise web.HTTPFound(elsewhere.url)

        async with _api(handle) as api:
            async with api.session.get("/") as response:
                assert response.status == 200
            assert api.authorizations == ["Bearer token-1"]
            assert elsewhere.authorizations == [None]


async def test_a_redirect_within_the_origin_keeps_it() -> None:
    """Recordings and uploads redirect, and want the bearer again."""

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/first":
            raise web.HTTPFound("/second")
        return web.json_response({})

    async with _api(handle) as api:
        async with api.session.get("/first") as response:
            assert response.status == 200
        assert api.authorizations == ["Bearer token-1"] * 2


async def test_a_websocket_connects_with_the_token() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        await socket.close()
        return socket

    async with _api(handle) as api:
        async with api.session.ws_connect("/ws") as socket:
            assert await socket.receive_str() == "hello"
        assert api.authorizations == ["Bearer token-1"]


@pytest.fixture
async def zoom() -> AsyncIterator[Zoom]:
    async with Sandbox() as zoom:
        yield zoom


async def test_a_session_speaks_to_the_api_of_the_account(zoom: Zoom) -> None:
    """`api_url` comes with the token; the session of a manager uses it."""
    async with TokenManager(zoom.credentials, base_url=zoom.url) as manager:
        await manager.bearer()
        async with manager.session() as session, session.get("/v2/users/me") as response:
            assert response.status == 200
            assert response.url == URL(zoom.url).with_path("/v2/users/me")


async def test_a_session_replaces_a_rejected_token_once(zoom: Zoom) -> None:
    async with TokenManager(zoom.credentials, base_url=zoom.url) as manager, manager.session() as session:
        zoom.reject(await manager.bearer())
        async with session.get("/v2/users/me") as response:
            assert response.status == 200

    assert zoom.token_requests == 2


async def test_a_session_takes_the_options_of_aiohttp_and_other_middlewares(zoom: Zoom) -> None:
    seen: list[str | None] = []

    async def look(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        seen.append(request.headers.get("X-Mine"))
        return await handler(request)

    async with (
        TokenManager(zoom.credentials, base_url=zoom.url) as manager,
        manager.session(headers={"X-Mine": "1"}, middlewares=[look], raise_for_status=True) as session,
        session.get("/v2/users/me") as response,
    ):
        assert (await response.json())["type"] == 1

    assert seen == ["1"]


async def test_an_api_url_that_is_not_zooms_is_not_used(zoom: Zoom) -> None:
    """It comes from a server's answer (S41)."""
    async with TokenManager(zoom.credentials, base_url=zoom.url) as manager:
        own, zoom.url = zoom.url, "https://evil.example"
        token = await manager.token()
        zoom.url = own
        assert token.api_url == "https://evil.example"
        async with manager.session() as session, session.get("/v2/users/me") as response:
            assert response.url.origin() == URL(own).origin()
