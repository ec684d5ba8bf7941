"""`session()` of a manager and of a pool's identity: where it sends, what it takes, a herd whose token is rejected.

On real sockets.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tests.integrations.hosts import Certificates, Hosts, certificates, counted, serve
from zoom_async_auth import ConfigurationError, ManagerClosedError, RenewalPolicy, StoredToken, TokenManager, TokenPool
from zoom_async_auth.oauth.origin import ZOOM
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.pool import PooledIdentity
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.testing import MemoryTransport

HERD = 1000
NO_FLOOR = RenewalPolicy(jitter=0.0, min_interval=0.001)


class Open(Protocol):
    """Opens what has a `session()`; at the sandbox, unless another `base_url` is said."""

    def __call__(
        self, zoom: Zoom, *, base_url: str | None = None, **options: Any
    ) -> AbstractAsyncContextManager[TokenManager | PooledIdentity]: ...


@asynccontextmanager
async def a_manager(zoom: Zoom, *, base_url: str | None = None, **options: Any) -> AsyncIterator[TokenManager]:
    async with TokenManager(zoom.credentials, base_url=base_url or zoom.url, **options) as manager:
        yield manager


@asynccontextmanager
async def an_identity(zoom: Zoom, *, base_url: str | None = None, **options: Any) -> AsyncIterator[PooledIdentity]:
    async with TokenPool(zoom.credentials, store=MemoryStore(), base_url=base_url or zoom.url, **options) as pool:
        yield pool.manager("alice")


@pytest.fixture(params=[a_manager, an_identity])
def opened(request: pytest.FixtureRequest) -> Open:
    face: Open = request.param
    return face


async def test_a_session_speaks_to_the_api_of_the_account(opened: Open, zoom: Zoom) -> None:
    """`api_url` comes with the token; the session uses it."""
    async with opened(zoom) as manager:
        await manager.bearer()
        async with manager.session() as session, session.get("/v2/users/me") as response:
            assert response.status == 200
            assert response.url == URL(zoom.url).with_path("/v2/users/me")


async def test_a_session_replaces_a_rejected_token_once(opened: Open, zoom: Zoom) -> None:
    async with (
        opened(zoom, policy=NO_FLOOR) as manager,
        manager.session() as session,
    ):
        zoom.reject(await manager.bearer())
        async with session.get("/v2/users/me") as response:
            assert response.status == 200

    assert zoom.token_requests == 2


async def test_a_session_takes_the_options_of_aiohttp_and_other_middlewares(opened: Open, zoom: Zoom) -> None:
    seen: list[str | None] = []

    async def look(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        seen.append(request.headers.get("X-Mine"))
        return await handler(request)

    async with (
        opened(zoom) as manager,
        manager.session(headers={"X-Mine": "1"}, middlewares=[look], raise_for_status=True) as session,
        session.get("/v2/users/me") as response,
    ):
        assert (await response.json())["type"] == 1

    assert seen == ["1"]


@pytest.mark.parametrize("base_url", ["https://api.zoom.us", None])
async def test_a_base_url_of_ones_own_is_refused_with_what_to_do(
    opened: Open, zoom: Zoom, base_url: str | None
) -> None:
    async with opened(zoom) as manager:
        with pytest.raises(ConfigurationError, match=r"aiohttp\.ClientSession\(base_url, middlewares="):
            manager.session(base_url=base_url)


async def test_a_session_is_made_by_what_is_open(opened: Open, zoom: Zoom) -> None:
    async with opened(zoom) as manager:
        pass
    with pytest.raises(ManagerClosedError):
        manager.session()


async def test_an_api_url_that_is_not_zooms_is_not_used(opened: Open, zoom: Zoom) -> None:
    """It comes from a server's answer (S41)."""
    async with opened(zoom) as manager:
        own, zoom.url = zoom.url, "https://evil.example"
        token = await manager.token()
        zoom.url = own
        assert token.api_url == "https://evil.example"
        async with manager.session() as session, session.get("/v2/users/me") as response:
            assert response.url.origin() == URL(own).origin()


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a server of `hosts` was asked."""

    host: str
    path: str
    authorization: str | None


@pytest.fixture
def seen() -> list[Arrival]:
    return []


@pytest.fixture(scope="module")
def known() -> Certificates:
    return certificates()


@pytest.fixture
async def hosts(seen: list[Arrival], known: Certificates) -> AsyncIterator[Hosts]:
    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(Arrival(request.host, request.raw_path, request.headers.get("Authorization")))
        if "to" in request.query:
            raise web.HTTPFound(request.query["to"])
        if "Upgrade" not in request.headers:
            return web.Response()
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close()
        return socket

    async with serve(handle, known) as hosts:
        yield hosts


class _Token:
    """A `Transport` to a Zoom that tells this `api_url`."""

    def __init__(self, zoom: Zoom) -> None:
        self._zoom = zoom

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        assert url == "https://zoom.us/oauth/token"
        return await MemoryTransport(self._zoom).send(f"{self._zoom.url}/oauth/token", headers, body, timeout)


@asynccontextmanager
async def _session(
    opened: Open, hosts: Hosts, zoom: Zoom
) -> AsyncIterator[tuple[TokenManager | PooledIdentity, aiohttp.ClientSession]]:
    """Open a manager, or a pool, of Zoom itself, and a session at the same moment."""
    async with opened(zoom, base_url=ZOOM, transport=_Token(zoom), policy=NO_FLOOR) as manager:
        assert manager.health().generation is None
        async with manager.session(connector=hosts.connector()) as session:
            yield manager, session


@pytest.fixture
def europe() -> Zoom:
    zoom = Zoom()
    zoom.url = "https://eu01api.zoom.us"
    return zoom


async def test_a_session_that_is_older_than_the_first_token_speaks_to_the_api_of_the_account(
    opened: Open, hosts: Hosts, seen: list[Arrival], europe: Zoom
) -> None:
    """An app opens both when it starts. Each part of a path arrives as it was written."""
    path = "/v2/past_meetings/%252Fabc%253D%253D?a=%2B1&b=x%20y"
    async with _session(opened, hosts, europe) as (manager, session):
        async with session.get(path) as response:
            assert str(response.url) == europe.url + path
        bearer = f"Bearer {await manager.bearer()}"

    assert seen == [Arrival("eu01api.zoom.us", path, bearer)]


async def test_a_session_goes_along_when_the_api_of_the_account_moves(
    opened: Open, hosts: Hosts, seen: list[Arrival], europe: Zoom
) -> None:
    async with _session(opened, hosts, europe) as (manager, session):
        for api_url in (None, "https://us02api.zoom.us", "https://evil.example", "https://api.zoom.us"):
            if api_url is not None:
                europe.url = api_url
                await manager.renew()
            await (await session.get("/v2/users")).read()

    told = ["eu01api.zoom.us", "us02api.zoom.us", "api.zoom.us", "api.zoom.us"]
    assert [arrival.host for arrival in seen] == told


async def test_a_session_is_redirected_from_where_it_was_sent_to(
    opened: Open, hosts: Hosts, seen: list[Arrival], europe: Zoom
) -> None:
    async with _session(opened, hosts, europe) as (manager, session):
        await (await session.get("/first?to=/second")).read()
        await (await session.get("/first?to=https://files.zoom.us/third")).read()
        await (await session.get("/first?to=https://evil.example/fourth")).read()
        bearer = f"Bearer {await manager.bearer()}"

    first = "eu01api.zoom.us"
    assert [(arrival.host, arrival.path, arrival.authorization) for arrival in seen] == [
        (first, "/first?to=/second", bearer),
        (first, "/second", bearer),
        (first, "/first?to=https://files.zoom.us/third", bearer),
        ("files.zoom.us", "/third", bearer),
        (first, "/first?to=https://evil.example/fourth", bearer),
        ("evil.example", "/fourth", None),
    ]


async def test_a_request_to_another_host_or_in_another_name_is_sent_where_it_says(
    opened: Open, hosts: Hosts, seen: list[Arrival], europe: Zoom
) -> None:
    """Whose token it is, knows who sets it."""
    async with _session(opened, hosts, europe) as (manager, session):
        await (await session.get("https://zoom.us/rec/download/abc")).read()
        await (await session.get("/v2/users", headers={"Authorization": "Bearer own"})).read()
        bearer = f"Bearer {await manager.bearer()}"

    assert seen == [
        Arrival("zoom.us", "/rec/download/abc", bearer),
        Arrival("api.zoom.us", "/v2/users", "Bearer own"),
    ]


async def test_a_websocket_of_zooms_connects_with_the_token_and_no_other_does(
    opened: Open, hosts: Hosts, seen: list[Arrival], europe: Zoom
) -> None:
    """Zoom's events come over `wss://ws.zoom.us/ws`; without TLS anybody could read along."""
    async with _session(opened, hosts, europe) as (manager, session):
        for url in ("wss://ws.zoom.us/ws", "/ws", "ws://ws.zoom.us/ws", "wss://evil.example/ws"):
            async with session.ws_connect(url):
                pass
        bearer = f"Bearer {await manager.bearer()}"

    assert seen == [
        Arrival("ws.zoom.us", "/ws", bearer),
        Arrival("eu01api.zoom.us", "/ws", bearer),
        Arrival("ws.zoom.us", "/ws", None),
        Arrival("evil.example", "/ws", None),
    ]


def _token_of(person: str, api_url: str | None = None) -> tuple[str, StoredToken]:
    """Return what `import_tokens` takes."""
    return person, StoredToken(
        access_token=f"access-{person}",
        refresh_token=f"refresh-{person}",
        expires_at=time.time() + 3600.0,
        api_url=api_url,
    )


async def test_each_identity_of_a_pool_has_a_session_of_its_own_account_and_they_share_connections(
    hosts: Hosts, seen: list[Arrival], europe: Zoom
) -> None:
    """Nobody's token goes out in another one's name, nor where its account is not (S41)."""
    accounts = {"alice": "https://eu01api.zoom.us", "bob": "https://us02api.zoom.us", "mallory": "https://evil.example"}
    async with (
        TokenPool(europe.user_app, store=MemoryStore(), transport=_Token(europe)) as pool,
        hosts.connector() as connector,
    ):
        await pool.import_tokens(_token_of(person, api_url) for person, api_url in accounts.items())
        for person in (*accounts, *accounts):  # loaded by the first request, held at the second session's making
            async with pool.manager(person).session(connector=connector, connector_owner=False) as session:
                await (await session.get("/v2/users/me")).read()
                await (await session.get("https://evil.example/")).read()

    evil = Arrival("evil.example", "/", None)
    assert seen == 2 * [
        Arrival("eu01api.zoom.us", "/v2/users/me", "Bearer access-alice"),
        evil,
        Arrival("us02api.zoom.us", "/v2/users/me", "Bearer access-bob"),
        evil,
        Arrival("api.zoom.us", "/v2/users/me", "Bearer access-mallory"),
        evil,
    ]
    assert europe.token_requests == 0


async def test_a_session_still_knows_its_api_when_its_identity_left_memory_meanwhile(
    hosts: Hosts, seen: list[Arrival], europe: Zoom
) -> None:
    """A pool that has no room forgets whom nobody uses; a session may live as long as the program."""
    async with (
        TokenPool(europe.user_app, store=MemoryStore(), transport=_Token(europe), capacity=1) as pool,
        pool.manager("alice").session(connector=hosts.connector()) as session,
    ):
        await pool.import_tokens([_token_of("alice", europe.url), _token_of("bob")])
        for _ in range(2):
            await (await session.get("/v2/users/me")).read()
            await pool.bearer("bob")
            assert pool.health("alice").generation is None

    assert seen == [Arrival("eu01api.zoom.us", "/v2/users/me", "Bearer access-alice")] * 2


@pytest.mark.timeout(120)
@pytest.mark.asyncio(loop_factories=["plain", "uvloop"])
async def test_a_herd_whose_token_is_rejected_costs_one_token_request_and_each_call_one_replay(
    opened: Open, zoom: Zoom
) -> None:
    """All thousand were sent with the same token. No lock is held across a request, or they would take turns."""
    calls = counted(zoom)
    async with (
        opened(zoom, policy=NO_FLOOR) as manager,
        manager.session() as session,
    ):

        async def call() -> int:
            async with session.get("/v2/users") as response:
                return response.status

        rejected = await manager.bearer()
        zoom.reject(rejected)
        statuses = Counter(await asyncio.gather(*(call() for _ in range(HERD))))
        good = await manager.bearer()

    assert statuses == {200: HERD}
    assert calls == {f"Bearer {rejected}": HERD, f"Bearer {good}": HERD}
    assert zoom.token_requests == 2
