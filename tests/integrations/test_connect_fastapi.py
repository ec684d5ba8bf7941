"""What is FastAPI's own: the dependency, the lifespan, and how a failure reaches the visitor."""

from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket

from tests.integrations.sites import ORIGIN, SITES, Browser, Refusing, account_at, allowed, connect_for, served
from zoom_async_auth import (
    AuthorizationRequiredError,
    ConfigurationError,
    ManagerClosedError,
    MisuseError,
    TokenManager,
    TokenUnavailableError,
    UserOAuth,
    ZoomAuthError,
)
from zoom_async_auth.integrations.aiohttp import zoom_context
from zoom_async_auth.integrations.fastapi import (
    Bearer,
    bearer,
    connect_router,
    zoom_lifespan,
    zoom_of,
    zoom_unavailable,
)
from zoom_async_auth.sandbox import Zoom

APP = UserOAuth(client_id="an-app", client_secret="not shown to anybody")


async def _talked(api: FastAPI, path: str) -> list[dict[str, Any]]:
    """Knock as a WebSocket; return what the app sends to the server that it runs on."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    scope = {
        "type": "websocket",
        "path": path,
        "query_string": b"",
        "headers": [],
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }
    await api(scope, receive, send)
    return sent


def _visitor(api: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url=ORIGIN)


async def test_a_handler_gets_the_token_by_its_type(zoom: Zoom) -> None:
    api = FastAPI(lifespan=zoom_lifespan(lambda: TokenManager(zoom.credentials, base_url=zoom.url)))

    @api.get("/three")
    async def three(
        one: Bearer,
        two: Annotated[str, Depends(bearer)],
        manager: Annotated[TokenManager, Depends(zoom_of)],
    ) -> list[str]:
        return [one, two, await manager.bearer()]

    async with api.router.lifespan_context(api), _visitor(api) as client:
        tokens = (await client.get("/three")).json()
        assert zoom.model.user_of(tokens[0]) is not None
        assert len(set(tokens)) == 1
        assert "bearer" not in (await client.get("/openapi.json")).text
    assert zoom.token_requests == 1


async def test_a_websocket_gets_the_token_too(zoom: Zoom) -> None:
    api = FastAPI(lifespan=zoom_lifespan(lambda: TokenManager(zoom.credentials, base_url=zoom.url)))

    @api.websocket("/ws")
    async def talk(socket: WebSocket, token: Bearer) -> None:
        await socket.accept()
        await socket.send_text(token)
        await socket.close()

    async with api.router.lifespan_context(api):
        sent = await _talked(api, "/ws")
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert zoom.model.user_of(sent[1]["text"]) is not None


async def test_a_websocket_that_is_open_is_closed_by_a_code_that_says_to_try_again() -> None:
    """No response can follow; before it is accepted, it is the answer that everybody gets."""
    api = FastAPI()
    api.add_exception_handler(ZoomAuthError, zoom_unavailable)

    @api.websocket("/open")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        raise TokenUnavailableError("no token", retry_after=7)

    @api.websocket("/knocking")
    async def refuse(_: WebSocket) -> None:
        raise TokenUnavailableError("no token", retry_after=7)

    sent = await _talked(api, "/open")
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert sent[-1]["code"] == 1013
    refused, *_ = await _talked(api, "/knocking")
    assert (refused["type"], refused["status"]) == ("websocket.http.response.start", 503)
    assert (b"retry-after", b"7") in refused["headers"]


@pytest.mark.parametrize("path", ["/bearer", "/elsewhere"])
async def test_while_the_app_is_restarted_a_visitor_is_told_to_come_back(zoom: Zoom, path: str) -> None:
    """What is closed here is open elsewhere, or in a moment: the log-in pages say so, too."""
    manager = TokenManager(zoom.credentials, base_url=zoom.url)
    api = FastAPI()
    api.state.zoom = manager
    if path == "/elsewhere":  # `bearer` answers by itself
        api.add_exception_handler(ZoomAuthError, zoom_unavailable)

    @api.get("/bearer")
    async def by_type(token: Bearer) -> str:
        return token

    @api.get("/elsewhere")
    async def closed() -> str:
        raise ManagerClosedError("the manager is closed: make a new one")

    async with manager:
        pass
    async with _visitor(api) as client:
        reply = await client.get(path)
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "10")


def _calling_zoom(zoom: Zoom) -> FastAPI:
    """An app whose route takes no token itself: the session that it calls with does."""

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        opens = zoom_lifespan(lambda: TokenManager(zoom.credentials, base_url=zoom.url))
        async with opens(api), api.state.zoom.session() as api.state.session:
            yield

    api = FastAPI(lifespan=lifespan)
    api.add_exception_handler(ZoomAuthError, zoom_unavailable)

    @api.get("/users")
    async def users() -> int:
        async with api.state.session.get("/v2/users") as response:
            status: int = response.status
            return status

    return api


async def test_a_call_that_gets_no_token_within_a_route_is_answered_in_the_same_way(zoom: Zoom) -> None:
    """Also when there was one: here the API has rejected it while the token endpoint is down."""
    api = _calling_zoom(zoom)
    async with api.router.lifespan_context(api), _visitor(api) as client:
        assert (await client.get("/users")).json() == 200
        zoom.faults.add("any#1-:retry-after=120")
        zoom.reject(await api.state.zoom.bearer())
        reply = await client.get("/users")
    assert reply.status_code == 503
    assert 60 < int(reply.headers["Retry-After"]) <= 120
    assert reply.json() == {"detail": "Zoom is not available"}


async def test_what_waiting_does_not_mend_stays_an_error_of_the_server(zoom: Zoom) -> None:
    zoom.credentials = replace(zoom.credentials, client_secret="wrong")
    api = _calling_zoom(zoom)
    async with api.router.lifespan_context(api), _visitor(api) as client:
        with pytest.raises(ConfigurationError, match="check client id and secret"):
            await client.get("/users")


async def test_without_a_token_for_now_a_visitor_is_told_when_to_come_back(zoom: Zoom) -> None:
    zoom.faults.add("any#1-:retry-after=120")
    async with SITES["fastapi"](None, lambda: TokenManager(zoom.credentials, base_url=zoom.url)) as client:
        reply = await client.get("/token")
    assert reply.status_code == 503
    assert 60 < int(reply.headers["Retry-After"]) <= 120
    assert reply.json() == {"detail": "Zoom is not available"}
    assert zoom.token_requests == 1


async def test_what_waiting_does_not_mend_reaches_the_handler_of_the_app(zoom: Zoom) -> None:
    """It is an error of the server, seen in its log, unless the app knows better: here, where to send the person."""
    account = account_at(zoom)
    async with SITES["fastapi"](None, account.opened) as client:
        with pytest.raises(AuthorizationRequiredError):
            await client.get("/token")


async def test_an_app_without_a_manager_is_told_what_to_do() -> None:
    async with SITES["fastapi"](None, None) as client:
        with pytest.raises(MisuseError, match="lifespan"):
            await client.get("/token")


async def test_an_app_can_be_started_many_times(zoom: Zoom) -> None:
    """As tests do: each time with a manager of its own, which is closed at the end."""
    managers: list[TokenManager] = []

    def opens() -> TokenManager:
        managers.append(TokenManager(zoom.credentials, base_url=zoom.url))
        return managers[-1]

    api = FastAPI(lifespan=zoom_lifespan(opens))
    for _ in range(2):
        async with api.router.lifespan_context(api):
            await managers[-1].bearer()
    assert [manager.health().state for manager in managers] == ["closed", "closed"]


async def test_an_app_with_a_lifespan_of_its_own_enters_ours(zoom: Zoom) -> None:
    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        async with zoom_lifespan(lambda: TokenManager(zoom.credentials, base_url=zoom.url))(api):
            yield

    api = FastAPI(lifespan=lifespan)
    async with api.router.lifespan_context(api):
        await api.state.zoom.bearer()


def test_the_pages_are_not_in_the_schema() -> None:
    router = connect_router(connect_for(Refusing(), APP), identify=lambda _: "default")
    assert isinstance(router, APIRouter)
    api = FastAPI()
    api.include_router(router, prefix="/zoom")
    assert api.openapi()["paths"] == {}


async def test_it_is_the_same_under_a_real_server(zoom: Zoom) -> None:
    account = account_at(zoom)
    api = FastAPI(lifespan=zoom_lifespan(account.opened))
    connect = connect_for(account, zoom.user_app, base_url=zoom.url)
    api.include_router(connect_router(connect, identify=lambda _: "default"), prefix="/zoom")
    async with served(api) as client:
        browser = Browser(client)
        assert (await browser.connected(zoom)).status_code == 303
        assert (await browser.disconnect({"Sec-Fetch-Site": "same-origin"})).status_code == 303
    assert zoom.stats == {"authorization_code": {"ok": 1}}


async def test_cookies_that_come_in_a_header_each_are_all_read(zoom: Zoom) -> None:
    """So browsers send them over HTTP/2, and not every server joins them."""
    account = account_at(zoom)
    connect = connect_for(account, zoom.user_app, base_url=zoom.url)
    async with SITES["fastapi"](connect, account.opened) as client:
        browser = Browser(client)
        address = await browser.connect()
        cookies = [f"{name}={value}" for name, value in client.cookies.items()]
        client.cookies.clear()
        headers = [("Cookie", "another=one"), *(("Cookie", cookie) for cookie in cookies)]
        headers += browser._headers().items()
        reply = await client.get(f"/zoom/callback?{urlencode(allowed(zoom, address))}", headers=headers)
    assert reply.status_code == 303


@pytest.mark.parametrize("opened_with", [zoom_lifespan, zoom_context], ids=["fastapi", "aiohttp"])
def test_a_manager_in_the_place_of_what_makes_one_is_refused(opened_with: Callable[[Any], object]) -> None:
    """An app that starts again could not open it again."""
    with pytest.raises(MisuseError, match=r"makes a TokenManager, not an object: TokenManager\.from_env, without \(\)"):
        opened_with(TokenManager(APP))
