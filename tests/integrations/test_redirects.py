"""The redirect matrix: who sees the token when a request is passed on. The servers say what they saw."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import chain, cycle, islice
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp import web
from yarl import URL

from tests.integrations.hosts import Certificates, Hosts, certificates, serve
from zoom_async_auth.bearer import BearerMiddleware
from zoom_async_auth.integrations.httpx import BearerAuth, BearerTransport

PLACES = {
    "api": URL("https://api.zoom.us"),
    "files": URL("https://files.zoom.us"),
    "cdn": URL("https://cdn.zoom.us"),
    "evil": URL("https://evil.example"),
    "alike": URL("https://zoom.us.evil.example"),
    "plain": URL("http://api.zoom.us"),
    "doubtful": URL("http://evil.example"),
    "port": URL("https://api.zoom.us:8443"),
}
ZOOM = {"api", "files", "cdn"}
"""These answer 401 to a request without a token. The others answer 200."""

# A call goes through the places of the first column. Of those that it reached, + saw our token, ! the header that the
# caller had set, - none.
MATRIX = """
call             | aiohttp, and BearerTransport | BearerAuth

api api          | api+ api+                    | api+ api+
api files        | api+ files+                  | api+ files- files+
api files cdn    | api+ files+ cdn+             | api+ files- cdn- cdn+
api files api    | api+ files+ api+             | api+ files- api- api+
api evil         | api+ evil-                   | api+ evil-
api alike        | api+ alike-                  | api+ alike-
api plain        | api+ plain-                  | api+ plain-
api port         | api+ port-                   | api+ port-
api evil api     | api+ evil- api-              | api+ evil- api-
api evil files   | api+ evil- files-            | api+ evil- files-
api plain api    | api+ plain- api-             | api+ plain- api-
api port files   | api+ port- files-            | api+ port- files-
evil api         | evil- api-                   | evil- api-
plain api        | plain- api-                  | plain- api-
own: api         | api!                         | api!
own: api api     | api! api!                    | api! api!
own: api files   | api! files-                  | api! files-
own: api evil    | api! evil-                   | api! evil-
own: evil files  | evil! files-                 | evil! files-
"""

# The same for calls that go round and round: what is in parentheses comes again and again.
LOOPS = """
call             | aiohttp, and BearerTransport | BearerAuth

api              | (api+)                       | (api+)
api files        | (api+ files+)                | api+ (files- api-)
api evil         | api+ (evil- api-)            | api+ (evil- api-)
api plain        | api+ (plain- api-)           | api+ (plain- api-)
own: api files   | api! (files- api-)           | api! (files- api-)
"""
STATUSES = (301, 302, 303, 307, 308)
OWN = "Bearer of-the-caller"
REFUSAL = '{"code": 124, "message": "Invalid access token."}'
MOST = 6
"""Requests of a call that a client sends."""

# What a client does with a redirect is the same on all loops.
pytestmark = [pytest.mark.asyncio(loop_factories=["plain"]), pytest.mark.timeout(60)]


def _rows(table: str, column: int) -> dict[str, str]:
    rows = [[cell.strip() for cell in line.split("|")] for line in table.split("\n") if line.strip()][1:]
    return {row[0]: row[column] for row in rows}


class Source:
    """Gives one token, which nobody rejects."""

    async def bearer(self) -> str:
        return "ours"

    def invalidate(self, token: str, /) -> bool:
        raise AssertionError(token)


class Servers:
    """All places. A request says by its query where it is passed on to."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        origin = URL(f"{request.scheme}://{request.host}")
        place = next(name for name, url in PLACES.items() if url == origin)
        mark = {"Bearer ours": "+", OWN: "!", None: "-"}[request.headers.get("Authorization")]
        self.seen.append(place + mark)
        if onward := request.query.getall("to", []):
            return _redirect(onward, request)
        if place in ZOOM and mark == "-":
            return web.Response(status=401, text=REFUSAL)
        return web.Response(text=await request.text())


def _redirect(onward: list[str], request: web.Request) -> web.Response:
    following, *rest = onward
    if "loop" in request.query:
        rest.append(following)
    query = [(name, value) for name, value in request.query.items() if name != "to"]
    query += [("to", place) for place in rest]
    location = PLACES[following].with_path("/").with_query(query)
    return web.Response(status=int(request.query["status"]), headers={"Location": str(location)})


Send = Callable[..., Awaitable[tuple[int, str]]]
Client = Callable[..., AbstractAsyncContextManager[Send]]


@asynccontextmanager
async def _aiohttp(hosts: Hosts, *, allowed: Iterable[str] = ()) -> AsyncIterator[Send]:
    async def send(method: str, url: URL, headers: dict[str, str], data: bytes | None = None) -> tuple[int, str]:
        async with session.request(method, url, headers=headers, data=data, max_redirects=MOST) as response:
            return response.status, await response.text()

    middleware = BearerMiddleware(Source(), allowed=allowed)
    async with aiohttp.ClientSession(connector=hosts.connector(), middlewares=[middleware]) as session:
        yield send


@asynccontextmanager
async def _httpx(**options: Any) -> AsyncIterator[Send]:
    async def send(method: str, url: URL, headers: dict[str, str], data: bytes | None = None) -> tuple[int, str]:
        response = await client.request(method, str(url), headers=headers, content=data)
        return response.status_code, response.text

    async with httpx.AsyncClient(follow_redirects=True, max_redirects=MOST - 1, **options) as client:
        yield send


def _bearer_transport(hosts: Hosts, *, allowed: Iterable[str] = ()) -> AbstractAsyncContextManager[Send]:
    return _httpx(transport=BearerTransport(Source(), transport=hosts.transport(), allowed=allowed))


def _bearer_auth(hosts: Hosts) -> AbstractAsyncContextManager[Send]:
    return _httpx(transport=hosts.transport(), auth=BearerAuth(Source()))


CLIENTS = pytest.mark.parametrize(
    ("client", "column"),
    [(_aiohttp, 1), (_bearer_transport, 1), (_bearer_auth, 2)],
    ids=["aiohttp", "BearerTransport", "BearerAuth"],
)


@pytest.fixture(scope="module")
def known() -> Certificates:
    return certificates()


def _call(row: str, status: int, *, loop: bool = False) -> tuple[URL, dict[str, str]]:
    """Return where a call begins, and with which headers."""
    own, _, places = row.rpartition(": ")
    first, *rest = places.split()
    onward = [*rest, first] if loop else rest
    query = [("status", str(status)), *(("to", name) for name in onward), *[("loop", "1")] * loop]
    return PLACES[first].with_path("/").with_query(query), {"Authorization": OWN} if own else {}


@CLIENTS
async def test_the_token_is_seen_by_zoom_and_by_nobody_else(client: Client, column: int, known: Certificates) -> None:
    """For each kind of redirect."""
    expected = _rows(MATRIX, column)
    servers = Servers()
    found: dict[int, dict[str, str]] = {}
    async with serve(servers.handle, known) as hosts, client(hosts) as send:
        for status in STATUSES:
            for row in expected:
                servers.seen = []
                await send("GET", *_call(row, status))
                found.setdefault(status, {})[row] = " ".join(servers.seen)

    assert found == dict.fromkeys(STATUSES, expected)


@CLIENTS
async def test_a_redirect_that_leads_nowhere_ends(client: Client, column: int, known: Certificates) -> None:
    servers = Servers()
    async with serve(servers.handle, known) as hosts, client(hosts) as send:
        for row, rounds in _rows(LOOPS, column).items():
            servers.seen = []
            with pytest.raises((aiohttp.TooManyRedirects, httpx.TooManyRedirects)):
                await send("GET", *_call(row, 307, loop=True))
            once, _, again = rounds.rstrip(")").partition("(")
            assert servers.seen == [*islice(chain(once.split(), cycle(again.split())), MOST)], row


async def test_hosts_that_ask_for_the_token_only_to_pass_the_request_on_get_it_once_each(known: Certificates) -> None:
    """Each time it is a call of its own to httpx, which counts the redirects of one."""
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        place = request.host.partition(".")[0]
        seen.append(place + ("+" if "Authorization" in request.headers else "-"))
        if seen[-1].endswith("-"):
            return web.Response(status=401)
        onward = {"api": "files", "files": "cdn", "cdn": "files"}[place]
        return web.Response(status=302, headers={"Location": str(PLACES[onward])})

    async with serve(handle, known) as hosts, _bearer_auth(hosts) as send:
        assert await send("GET", PLACES["api"], {}) == (401, "")
    assert seen == ["api+", "files-", "files+", "cdn-", "cdn+", "files-"]


@CLIENTS
@pytest.mark.parametrize("status", [307, 308])
async def test_a_body_arrives_with_the_token_at_another_host_of_zooms(
    client: Client, column: int, status: int, known: Certificates
) -> None:
    """As with an upload."""
    del column
    servers = Servers()
    async with serve(servers.handle, known) as hosts, client(hosts) as send:
        assert await send("POST", *_call("api files", status), b"a recording") == (200, "a recording")
    assert servers.seen[-1] == "files+"


@CLIENTS
async def test_a_refusal_of_one_that_saw_no_token_renews_nothing(
    client: Client, column: int, known: Certificates
) -> None:
    """It is the caller's; `Source` would object."""
    del column
    async with serve(Servers().handle, known) as hosts, client(hosts) as send:
        for row in ("api evil files", "evil api", "own: api files"):
            assert await send("GET", *_call(row, 302)) == (401, REFUSAL)


@pytest.mark.parametrize("client", [_aiohttp, _bearer_transport], ids=["aiohttp", "BearerTransport"])
async def test_an_origin_that_is_allowed_is_not_by_another_scheme(client: Client, known: Certificates) -> None:
    """Not even the better one: it is another server (RFC 6454)."""
    servers = Servers()
    async with serve(servers.handle, known) as hosts, client(hosts, allowed=["http://evil.example"]) as send:
        await send("GET", *_call("doubtful evil", 302))
    assert servers.seen == ["doubtful+", "evil-"]


async def test_two_calls_of_one_task_are_two(known: Certificates) -> None:
    """A call ends as it began; the next one, of the same task and to the same place, begins anew."""
    servers = Servers()
    async with serve(servers.handle, known) as hosts:
        for client in (_aiohttp, _bearer_transport, _bearer_auth):
            async with client(hosts) as send:
                servers.seen = []
                for row in ("evil files", "files", "own: api files", "files"):
                    await send("GET", *_call(row, 302))
                assert servers.seen == ["evil-", "files-", "files+", "api!", "files-", "files+"]
