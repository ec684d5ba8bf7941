"""The token on the requests of an httpx client, and what happens when the API refuses it. On real sockets."""

import asyncio
import gzip
import io
import ssl
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.integrations.hosts import counted
from tests.integrations.raw import Behaviour, answers, raw_server
from tests.integrations.raw import request as request_of
from zoom_async_auth import ConfigurationError, ManagerClosedError, MisuseError, RenewalPolicy, TokenManager
from zoom_async_auth.bearer import BearerSource
from zoom_async_auth.integrations.httpx import BearerAuth, BearerTransport
from zoom_async_auth.sandbox import Sandbox

HERD = 1000
NO_FLOOR = RenewalPolicy(jitter=0.0, min_interval=0.001)
REJECTED = b'{"code":124,"message":"Invalid access token."}'
FINE = b"{}"
NO_LIMITS = httpx.Limits()
TLS = ssl.create_default_context()
"""None of these tests needs it, and httpx would read it from the disk each time."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Client = Callable[..., httpx.AsyncClient]


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


def _by_auth(url: str, source: BearerSource, **options: Any) -> httpx.AsyncClient:
    auth = BearerAuth(source, allowed=[url])
    return httpx.AsyncClient(base_url=url, auth=auth, verify=TLS, trust_env=False, **{"timeout": None, **options})


def _by_transport(
    url: str, source: BearerSource, *, limits: httpx.Limits = NO_LIMITS, **options: Any
) -> httpx.AsyncClient:
    beneath = httpx.AsyncHTTPTransport(verify=TLS, limits=limits)
    transport = BearerTransport(source, transport=beneath, allowed=[url])
    return httpx.AsyncClient(base_url=url, transport=transport, **{"timeout": None, **options})


BOTH = pytest.mark.parametrize("client_of", [_by_auth, _by_transport], ids=["BearerAuth", "BearerTransport"])


class Api:
    """An API: what it was asked, and a client that speaks to it with a bearer."""

    def __init__(self, client: httpx.AsyncClient, source: Source) -> None:
        self.client = client
        self.source = source
        self.authorizations: list[str | None] = []
        self.bodies: list[bytes] = []


@asynccontextmanager
async def _api(handler: Handler, client_of: Client, **options: Any) -> AsyncIterator[Api]:
    async def handle(request: web.Request) -> web.StreamResponse:
        api.authorizations.append(request.headers.get("Authorization"))
        api.bodies.append(await request.read())
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    source = Source()
    async with TestServer(app) as server, client_of(str(server.make_url("")), source, **options) as client:
        api = Api(client, source)
        yield api


async def _fine(_: web.Request) -> web.Response:
    return web.json_response({})


def _rejects(*tokens: str, body: bytes = REJECTED) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") in {f"Bearer {token}" for token in tokens}:
            return web.Response(status=401, body=body)
        return web.json_response({})

    return handle


@BOTH
async def test_each_request_carries_the_token(client_of: Client) -> None:
    async with _api(_fine, client_of) as api:
        for _ in range(3):
            assert (await api.client.get("/v2/users/me")).status_code == 200
        assert api.authorizations == ["Bearer token-1"] * 3


@BOTH
async def test_a_rejected_token_is_invalidated_and_the_request_sent_once_more(client_of: Client) -> None:
    async with _api(_rejects("token-1"), client_of) as api:
        response = await api.client.post("/v2/meetings", json={"topic": "x"})
        assert response.status_code == 200
        assert api.source.invalidated == ["token-1"]
        assert api.authorizations == ["Bearer token-1", "Bearer token-2"]
        first, second = api.bodies
        assert first == second != b""


@BOTH
async def test_there_is_one_replay_and_no_second(client_of: Client) -> None:
    """The new token is refused as well: that is the caller's answer."""
    async with _api(_rejects("token-1", "token-2"), client_of) as api:
        response = await api.client.get("/v2/users/me")
        assert (response.status_code, response.content) == (401, REJECTED)
        assert len(api.authorizations) == 2
        assert api.source.invalidated == ["token-1"]


@BOTH
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"code":3001,"message":"No permission."}'),
        (400, b'{"code":4711,"message":"Invalid access token, does not contain scopes:[user:read]."}'),
        (403, REJECTED),
    ],
)
async def test_a_refusal_that_is_not_about_the_token_renews_nothing(
    client_of: Client, status: int, body: bytes
) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    async with _api(handle, client_of) as api:
        response = await api.client.get("/v2/users/me")
        assert (response.status_code, response.content) == (status, body)
        assert api.source.invalidated == []
        assert len(api.authorizations) == 1


@BOTH
@pytest.mark.parametrize("body", [b"", b"<html>", b"x" * 100_000], ids=len)
async def test_a_refusal_that_cannot_be_read_is_one_of_the_token(client_of: Client, body: bytes) -> None:
    async with _api(_rejects("token-1", body=body), client_of) as api:
        assert (await api.client.get("/")).status_code == 200
        assert api.source.invalidated == ["token-1"]


def _refuses(answer: bytes, *, goes_on: bytes = b"", hangs: bool = False) -> Behaviour:
    """Refuse by headers and a part of a body, then go on for ever, hang, or break off."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 401 Unauthorized\r\n" + answer)
        await writer.drain()
        while goes_on:
            writer.write(goes_on)
            await writer.drain()
        if hangs:
            await asyncio.Event().wait()

    return behave


BOMB = gzip.compress(bytes(50_000_000), 1)


@BOTH
@pytest.mark.parametrize(
    "refuses",
    [
        _refuses(b"Transfer-Encoding: chunked\r\n\r\n", goes_on=b"1000\r\n" + b"x" * 0x1000 + b"\r\n"),
        _refuses(b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB, hangs=True),
        _refuses(b"Content-Encoding: gzip\r\nConnection: close\r\nContent-Length: 4\r\n\r\n{}{}"),
        _refuses(b"Content-Length: 100\r\n\r\n{", hangs=True),
        _refuses(b"Content-Length: 100\r\n\r\n{"),
    ],
    ids=["endless", "bomb", "garbled", "hangs", "breaks"],
)
async def test_a_refusal_without_an_end_holds_nothing_up(
    client_of: Client, refuses: Behaviour, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """It is not read, and its connection is given up: the second request has one of its own."""
    monkeypatch.setattr("zoom_async_auth.bearer.PATIENCE", 0.05 if "hangs" in request.node.name else 15.0)
    source = Source()
    async with (
        raw_server(refuses, answers(FINE)) as server,
        client_of(server.url, source, limits=httpx.Limits(max_connections=1)) as client,
    ):
        assert (await client.get("/")).content == FINE
        assert len(server.requests) == 2
    assert source.invalidated == ["token-1"]


@BOTH
@pytest.mark.asyncio(loop_factories=["plain"])
async def test_a_refusal_that_is_large_once_it_is_unpacked_takes_little_memory(client_of: Client) -> None:
    refuses = answers(
        gzip.compress(bytes(20_000_000)),
        status="401 Unauthorized",
        headers="Content-Encoding: gzip\r\nConnection: close\r\n",
    )
    async with raw_server(refuses, answers(FINE)) as server, client_of(server.url, Source()) as client:
        tracemalloc.start()
        try:
            assert (await client.get("/")).content == FINE
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 10_000_000


@BOTH
@pytest.mark.parametrize("size", [10, 60_000, 300_000])
async def test_the_callers_refusal_can_be_read_as_if_nobody_had_looked(client_of: Client, size: int) -> None:
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

    async with _api(handle, client_of) as api:
        for path in ("/", "/?packed"):
            assert (await api.client.post(path, content=once())).content == refusal
            async with api.client.stream("POST", path, content=once()) as response:
                assert b"".join([piece async for piece in response.aiter_bytes()]) == refusal
            async with api.client.stream("POST", path, content=once()) as response:
                raw = b"".join([piece async for piece in response.aiter_raw()])
                assert (gzip.decompress(raw) if "packed" in path else raw) == refusal


@BOTH
async def test_a_refusal_that_broke_off_breaks_off_for_the_caller_as_well(client_of: Client) -> None:
    """Not silently: half of it would look like all."""

    async def once() -> AsyncIterator[bytes]:
        yield b"not to be sent again"

    breaks = _refuses(b"Content-Length: 100\r\n\r\n{")
    async with (
        raw_server(breaks) as server,
        client_of(server.url, Source()) as client,
        client.stream("POST", "/", content=once()) as response,
    ):
        assert response.status_code == 401
        with pytest.raises(httpx.TransportError):
            await response.aread()


@BOTH
async def test_an_answer_that_is_no_refusal_is_not_read(client_of: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording is larger than the memory."""
    monkeypatch.setattr("zoom_async_auth.bearer.PATIENCE", 60.0)

    async def sends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nthe beginning")
        await asyncio.Event().wait()

    async with (
        raw_server(sends) as server,
        client_of(server.url, Source()) as client,
        client.stream("GET", "/") as response,
    ):
        assert response.status_code == 200
        assert not response.is_stream_consumed


@BOTH
@pytest.mark.parametrize("level", ["client", "request"])
async def test_a_callers_own_authorization_stays_as_it_is(client_of: Client, level: str) -> None:
    """A webhook's `download_token`, for one."""
    own = {"Authorization": "Bearer own"}
    async with _api(_rejects("own"), client_of, headers=own if level == "client" else {}) as api:
        response = await api.client.get("/", headers=own if level == "request" else {})
        assert response.status_code == 401
        assert api.authorizations == ["Bearer own"]
        assert api.source.asked == 0
        assert api.source.invalidated == []


@BOTH
async def test_a_name_in_a_url_is_no_reason_to_send_the_token(client_of: Client) -> None:
    async with _api(_fine, client_of) as api:
        await api.client.get(api.client.base_url.copy_with(username="me", password="x"))
        assert "Bearer token-1" not in api.authorizations


class Iterated:
    """An iterator that is no generator: httpx would send it a second time, empty."""

    def __init__(self) -> None:
        self._pieces = [b"all there is"]

    def __aiter__(self) -> "Iterated":
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop()


async def _generated() -> AsyncIterator[bytes]:
    yield b"all there is"


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation


@BOTH
@pytest.mark.parametrize(
    "body",
    [
        lambda: {"content": _generated()},
        lambda: {"content": Iterated()},
        lambda: {"files": {"file": Unseekable(b"all there is")}},
    ],
    ids=["generator", "iterator", "form"],
)
async def test_a_body_that_is_used_up_is_not_replayed(client_of: Client, body: Callable[[], dict[str, Any]]) -> None:
    """It would be sent again empty, or be an exception: the token is invalidated, the answer is the caller's."""
    async with _api(_rejects("token-1"), client_of) as api:
        response = await api.client.post("/", **body())
        assert (response.status_code, response.content) == (401, REJECTED)
        assert api.source.invalidated == ["token-1"]
        (sent,) = api.bodies
        assert b"all there is" in sent


@BOTH
async def test_a_form_with_files_is_replayed_whole(client_of: Client) -> None:
    async with _api(_rejects("token-1"), client_of) as api:
        files: dict[str, Any] = {"a": io.BytesIO(b"a recording"), "b": ("name", b"bytes"), "c": ("name", "text")}
        response = await api.client.post("/", data={"field": "value"}, files=files)
        assert response.status_code == 200
        first, second = api.bodies
        assert first == second
        assert b"a recording" in first


@BOTH
async def test_a_request_object_can_be_sent_again_with_the_next_token(client_of: Client) -> None:
    """It does not keep the first one: that would look like the caller's own."""
    async with _api(_fine, client_of) as api:
        request = api.client.build_request("POST", "/", content=b"a body")
        for _ in range(2):
            response = await api.client.send(request)
            assert response.request.content == b"a body"
            api.source.generation += 1
        assert api.authorizations == ["Bearer token-1", "Bearer token-2"]


async def test_what_is_above_the_transport_sees_no_token() -> None:
    shown: list[httpx.Headers] = []

    async def hook(message: httpx.Request | httpx.Response) -> None:
        shown.append(message.headers)

    hooks = {"request": [hook], "response": [hook]}
    async with _api(_rejects("token-1"), _by_transport, event_hooks=hooks) as api:
        response = await api.client.get("/")
        assert api.authorizations == ["Bearer token-1", "Bearer token-2"]
    assert [headers for headers in (*shown, response.request.headers) if "Authorization" in headers] == []


@pytest.mark.parametrize("adapter", [BearerAuth, BearerTransport])
async def test_it_works_on_a_transport_without_a_network(adapter: type[BearerAuth | BearerTransport]) -> None:
    """In somebody's tests."""

    def answer(request: httpx.Request) -> httpx.Response:
        match request.headers["Authorization"]:
            case "Bearer token-1":
                return httpx.Response(401, json={"code": 124})
            case "Bearer token-2" if request.url.path == "/forbidden":
                return httpx.Response(401, json={"code": 3001})
            case _:
                return httpx.Response(200)

    source, mock = Source(), httpx.MockTransport(answer)
    options: dict[str, Any] = {"transport": mock, "auth": BearerAuth(source)}
    if adapter is BearerTransport:
        options = {"transport": BearerTransport(source, transport=mock)}
    async with httpx.AsyncClient(base_url="https://api.zoom.us", **options) as client:
        assert (await client.get("/v2/users/me")).status_code == 200
        assert (await client.get("/forbidden")).json() == {"code": 3001}
    assert source.invalidated == ["token-1"]


async def test_the_transport_beneath_is_closed_along() -> None:
    class Beneath(httpx.MockTransport):
        entered = closed = 0

        async def __aenter__(self) -> Self:
            self.entered += 1
            return self

        async def __aexit__(self, *_: object) -> None:
            self.closed += 1

        async def aclose(self) -> None:
            self.closed += 1

    beneath = Beneath(lambda _: httpx.Response(200))
    async with httpx.AsyncClient(transport=BearerTransport(Source(), transport=beneath)) as client:
        await client.get("https://api.zoom.us/v2/users/me")
    assert (beneath.entered, beneath.closed) == (1, 1)

    client = httpx.AsyncClient(transport=BearerTransport(Source(), transport=beneath))
    await client.aclose()
    assert beneath.closed == 2


@BOTH
async def test_a_source_that_fails_on_a_refusal_leaves_no_connection_behind(client_of: Client) -> None:
    class Closed(Source):
        def invalidate(self, token: str, /) -> bool:
            raise ManagerClosedError(f"the manager is closed, after {len(token)} characters")

    limits = httpx.Limits(max_connections=1)
    async with (
        raw_server(answers(b"", status="401 Unauthorized"), answers(FINE)) as server,
        client_of(server.url, Closed(), limits=limits) as client,
    ):
        with pytest.raises(ManagerClosedError):
            await client.get("/")
        assert (await client.get("/")).content == FINE


def test_a_client_that_does_not_await_is_told_so() -> None:
    with httpx.Client(auth=BearerAuth(Source()), verify=TLS) as client, pytest.raises(MisuseError, match="AsyncClient"):
        client.get("https://api.zoom.us/v2/users/me")


@pytest.mark.parametrize("adapter", [BearerAuth, BearerTransport])
def test_what_is_no_collection_of_origins_is_refused(adapter: Any) -> None:
    with pytest.raises(ConfigurationError, match="a collection of origins"):
        adapter(Source(), allowed="http://127.0.0.1:8000")


def test_an_origin_whose_header_httpx_takes_along_to_another_is_refused() -> None:
    """From http on port 80 to https on 443 of the same host; an `auth` cannot keep it."""
    for allowed in ("http://127.0.0.1", "http://localhost:80/"):
        with pytest.raises(ConfigurationError, match="allow another port, or use BearerTransport"):
            BearerAuth(Source(), allowed=[allowed])
    BearerAuth(Source(), allowed=["https://127.0.0.1", "http://127.0.0.1:8000"])


class Turnstile(httpx.AsyncHTTPTransport):
    """Lets a few requests in at a time: httpx looks through all that wait whenever one of them is done."""

    def __init__(self) -> None:
        super().__init__(verify=TLS, limits=httpx.Limits(max_connections=10))
        self._turns = asyncio.Semaphore(5)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async with self._turns:
            return await super().handle_async_request(request)


@pytest.mark.timeout(120)
@pytest.mark.asyncio(loop_factories=["plain"])
async def test_a_herd_whose_token_is_rejected_costs_one_token_request_and_each_call_one_replay() -> None:
    """All thousand were sent with the same token. No lock of ours is held across a request."""
    async with Sandbox() as zoom, TokenManager(zoom.credentials, base_url=zoom.url, policy=NO_FLOOR) as manager:
        calls = counted(zoom)
        rejected = await manager.bearer()
        zoom.reject(rejected)
        auth = BearerAuth(manager, allowed=[zoom.url])
        async with httpx.AsyncClient(base_url=zoom.url, auth=auth, transport=Turnstile(), timeout=60.0) as client:
            responses = await asyncio.gather(*(client.get("/v2/users") for _ in range(HERD)))
        good = await manager.bearer()

    assert Counter(response.status_code for response in responses) == {200: HERD}
    assert calls == {f"Bearer {rejected}": HERD, f"Bearer {good}": HERD}
    assert zoom.token_requests == 2
