"""How a token gets onto a request, where it may go, and what happens when the API refuses it. On real sockets."""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from tests.integrations.raw import Behaviour, answers, raw_server
from tests.integrations.raw import request as request_of
from zoom_async_auth import ConfigurationError, ManagerClosedError
from zoom_async_auth.bearer import BearerMiddleware, may_carry_bearer, origin_of, origins, token_was_rejected

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
        "wss://ws.zoom.us/ws",
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
        "ws://api.zoom.us/",
        "wss://api.zoom.us:8443/",
        "wss://evil.example/",
        "ftp://zoom.us:443/",
        "http://zoom.us:443/",
        "ws://zoom.us:443/",
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
    assert may_carry_bearer(URL("ws://127.0.0.1:8000/v2"), allowed)
    assert not may_carry_bearer(URL("wss://127.0.0.1:8000/v2"), allowed)
    assert not may_carry_bearer(URL("http://me@127.0.0.1:8000/v2"), allowed)


def test_origins_are_told_as_they_are_written_elsewhere() -> None:
    assert origins(["http://127.0.0.1", "https://[::1]:8443/", "http://localhost:8000/v2"]) == {
        "http://127.0.0.1:80",
        "https://[::1]:8443",
        "http://localhost:8000",
    }


@pytest.mark.parametrize("allowed", ["http://127.0.0.1:8000", ["127.0.0.1:8000"], ["/"], ["http://[::1"], [None]])
def test_what_is_no_collection_of_origins_is_refused(allowed: Any) -> None:
    """Else it would be one that never matches."""
    with pytest.raises(ConfigurationError, match="a collection of origins"):
        BearerMiddleware(Source(), allowed=allowed)


REJECTED = b'{"code":124,"message":"Invalid access token."}'
QUERY = b'{"code":124,"message":"Invalid access token, this access token is not supported as query parameter string."}'


@pytest.mark.parametrize(
    ("status", "body", "rejected"),
    [
        (401, REJECTED, True),
        (401, b'{"code":124,"message":"Access token is expired."}', True),
        (401, b"", True),
        (401, b"<html>", True),
        (401, b"\xff\xfe", True),
        (401, b"[124]", True),
        (401, b"null", True),
        (401, b"[" * 10_000, True),
        (401, b'{"code":124', True),
        (401, b'{"code":3001,"message":"No permission."}', False),
        (401, b'{"message":"No permission."}', False),
        (401, QUERY, False),
        (400, b'{"code":4711,"message":"Invalid access token, does not contain scopes:[user:read]."}', False),
        (400, REJECTED, False),
        (403, REJECTED, False),
        (403, b"", False),
        (200, REJECTED, False),
        (500, b"", False),
    ],
)
def test_a_token_was_rejected_by_a_401_that_says_so_or_nothing(status: int, body: bytes, *, rejected: bool) -> None:
    """What Zoom says in other words is about what the token was used for."""
    assert token_was_rejected(status, body) is rejected


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


@pytest.mark.parametrize("body", [b"", b"<html>", b"x" * 100_000], ids=len)
async def test_a_refusal_that_cannot_be_read_is_one_of_the_token(body: bytes) -> None:
    """It comes from something in front of the API; if not, it costs one request more."""

    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=401 if request.headers["Authorization"] == "Bearer token-1" else 200, body=body)

    async with _api(handle) as api:
        async with api.session.get("/") as response:
            assert response.status == 200
        assert api.source.invalidated == ["token-1"]
        assert len(api.authorizations) == 2


FINE = b"{}"


async def _never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse by a body without end."""
    await request_of(reader)
    writer.write(b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        await writer.drain()


async def _bomb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse by a body that is large once it is unpacked."""
    await request_of(reader)
    packed = gzip.compress(bytes(50_000_000), 1)
    head = f"HTTP/1.1 401 Unauthorized\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    writer.write(head.encode() + packed)
    await writer.drain()
    await asyncio.Event().wait()


async def _hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse by a body that does not come to its end."""
    await request_of(reader)
    writer.write(b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\n{"code":')
    await asyncio.Event().wait()


async def _breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse by a body that ends before its end."""
    await request_of(reader)
    writer.write(b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\n{"code":')
    await writer.drain()


@pytest.mark.parametrize("refuses", [_never_ends, _bomb, _hangs, _breaks])
async def test_a_refusal_without_an_end_holds_nothing_up(refuses: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read, and its connection is given up: the second request has one of its own."""
    monkeypatch.setattr("zoom_async_auth.bearer.PATIENCE", 0.05 if refuses is _hangs else 15.0)
    source = Source()
    async with raw_server(refuses, answers(FINE)) as server:
        connector = aiohttp.TCPConnector(limit=1)
        middleware = BearerMiddleware(source, allowed=[server.url])
        async with (
            aiohttp.ClientSession(server.url, connector=connector, middlewares=[middleware]) as session,
            session.get("/") as response,
        ):
            assert await response.read() == FINE
        assert server.connections == len(server.requests) == 2
    assert source.invalidated == ["token-1"]


@pytest.mark.asyncio(loop_factories=["plain"])
async def test_the_deadline_of_a_session_holds_while_a_refusal_is_read() -> None:
    source = Source()
    async with raw_server(_hangs, answers(FINE)) as server:
        middleware = BearerMiddleware(source, allowed=[server.url])
        timeout = aiohttp.ClientTimeout(total=1.0)
        async with aiohttp.ClientSession(server.url, timeout=timeout, middlewares=[middleware]) as session:
            with pytest.raises(TimeoutError):
                await session.get("/")
        assert server.connections == 1
    assert source.invalidated == []


async def test_an_answer_that_is_no_refusal_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording is larger than the memory."""
    monkeypatch.setattr("zoom_async_auth.bearer.PATIENCE", 60.0)

    async def sends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nthe beginning")
        await asyncio.Event().wait()

    async with raw_server(sends) as server:
        middleware = BearerMiddleware(Source(), allowed=[server.url])
        async with (
            aiohttp.ClientSession(server.url, middlewares=[middleware]) as session,
            session.get("/") as response,
        ):
            assert await response.content.readany() == b"the beginning"


@pytest.mark.parametrize("size", [10, 60_000, 300_000])
async def test_the_callers_refusal_can_be_read_as_if_nobody_had_looked(size: int) -> None:
    """Whole, in pieces, packed or not, however long."""
    refusal = b'{"code":3001,"message":"%s"}' % (b"x" * size)

    async def once() -> AsyncIterator[bytes]:
        yield b"so that a refusal that is too long comes back, too"

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=401)
        response.enable_chunked_encoding()
        if "packed" in request.query:
            response.enable_compression(web.ContentCoding.gzip)
        await response.prepare(request)
        await response.write(refusal)
        return response

    async with _api(handle) as api:
        for path in ("/", "/?packed"):
            async with api.session.post(path, data=once()) as response:
                assert await response.read() == refusal
            async with api.session.post(path, data=once()) as response:
                assert b"".join([piece async for piece in response.content.iter_chunked(1000)]) == refusal
            async with api.session.post(path, data=once()) as response:
                assert b"".join([piece async for piece, _ in response.content.iter_chunks()]) == refusal


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


async def test_a_file_is_replayed_from_its_beginning_alone_or_in_a_form() -> None:
    async with _api(_rejects("token-1", "token-3")) as api:
        async with api.session.put("/", data=io.BytesIO(b"a recording")) as response:
            assert response.status == 200
        api.source.generation = 3
        async with api.session.post("/", data={"file": io.BytesIO(b"a recording")}) as response:
            assert response.status == 200
        assert api.source.invalidated == ["token-1", "token-3"]
        whole, again, form, form_again = api.bodies
        assert whole == again == b"a recording"
        assert b"a recording" in form
        assert form == form_again


class Upload(aiohttp.Payload):
    """A body whose first run does not come to its end, and takes its time to stop."""

    def __init__(self) -> None:
        super().__init__(b"a recording", content_type="video/mp4")
        self._size = len(self._value)
        self.runs: list[str] = []

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise NotImplementedError

    async def write(self, writer: AbstractStreamWriter) -> None:
        self.runs.append("begins")
        if len(self.runs) > 1:
            await writer.write(self._value)
            return
        await writer.write(self._value[:5])
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            self.runs.append("ended")


async def test_a_refusal_amid_an_upload_stops_it_before_it_starts_again() -> None:
    """A server may refuse by the headers alone. Two runs of one file would share its position."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"Bearer token-1" in head:
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n" % len(REJECTED) + REJECTED)
        else:
            assert await reader.readexactly(11) == b"a recording"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    upload = Upload()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        middleware = BearerMiddleware(Source(), allowed=[url])
        async with (
            aiohttp.ClientSession(url, middlewares=[middleware]) as session,
            session.put("/", data=upload) as response,
        ):
            assert response.status == 200
            assert upload.runs == ["begins", "ended", "begins"]


async def test_a_source_that_fails_on_a_refusal_leaves_no_connection_behind() -> None:
    class Closed(Source):
        def invalidate(self, token: str, /) -> bool:
            raise ManagerClosedError(f"the manager is closed, after {len(token)} characters")

    async with raw_server(answers(b"", status="401 Unauthorized"), answers(FINE)) as server:
        middleware = BearerMiddleware(Closed(), allowed=[server.url])
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(server.url, connector=connector, middlewares=[middleware]) as session:
            with pytest.raises(ManagerClosedError):
                await session.get("/")
            async with session.get("/") as response:
                assert response.status == 200


async def test_an_answer_and_its_exceptions_do_not_show_the_token() -> None:
    """aiohttp hands out the headers that were sent, and its errors print them."""

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/first":
            raise web.HTTPFound("/second")
        return web.Response(status=403)

    async with _api(handle) as api:
        response = await api.session.get("/first")
        with pytest.raises(aiohttp.ClientResponseError) as refused:
            response.raise_for_status()
        assert len(response.history) == 1
        for shown in (repr(refused.value), str(response.request_info), str(response.history[0].request_info)):
            assert "token-1" not in shown
        assert api.authorizations == ["Bearer token-1"] * 2


async def test_a_failure_does_not_show_the_token_either() -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 banana\r\n\r\n")
        await writer.drain()

    async with raw_server(garbage) as server:
        middleware = BearerMiddleware(Source(), allowed=[server.url])
        async with aiohttp.ClientSession(server.url, middlewares=[middleware]) as session:
            with pytest.raises(aiohttp.ClientResponseError) as failed:
                await session.get("/")
        assert b"Bearer token-1" in server.requests[0]
    assert "token-1" not in repr(failed.value)


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


async def test_a_call_within_a_call_does_not_make_it_forget_where_that_one_began() -> None:
    """Another middleware notes each request at a foreign host, which could have us post at Zoom in our name (S3)."""
    async with _api(_fine) as zoom:

        async def handle(request: web.Request) -> web.Response:
            if request.path == "/note":
                return web.Response()
            raise web.HTTPTemporaryRedirect(zoom.url)

        async with _api(handle) as foreign:

            async def noting(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
                if request.url.path != "/note":
                    async with session.post(foreign.url / "note"):
                        pass
                return await handler(request)

            bearer = BearerMiddleware(Source(), allowed=[str(zoom.url)])
            async with aiohttp.ClientSession(middlewares=[noting, bearer]) as session:
                async with session.post(foreign.url / "hook") as response:
                    assert response.status == 200
                async with session.post(zoom.url) as response:
                    assert response.status == 200
            assert zoom.authorizations == [None, "Bearer token-1"]


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


async def test_a_websocket_whose_token_was_rejected_connects_with_the_next_one() -> None:
    """The same by its own scheme."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer token-1":
            return web.Response(status=401, body=REJECTED)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        await socket.close()
        return socket

    async with _api(handle) as api:
        async with api.session.ws_connect(api.url.with_scheme("ws")) as socket:
            assert await socket.receive_str() == "hello"
        assert api.authorizations == ["Bearer token-1", "Bearer token-2"]
