"""What is aiohttp's own: the manager in the app and its sub-apps, and how a failure reaches the visitor."""

import asyncio

import httpx
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from tests.integrations.sites import NEVER_SPOKEN, SITES, Browser, account_at, allowed, connect_for
from zoom_async_auth import ManagerClosedError, TokenManager, TokenUnavailableError
from zoom_async_auth.bearer import BearerMiddleware
from zoom_async_auth.integrations import aiohttp as ours
from zoom_async_auth.integrations.accounts import StoredAccounts
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.stores.memory import MemoryStore


async def test_without_a_token_for_now_a_visitor_is_told_when_to_come_back(zoom: Zoom) -> None:
    zoom.faults.add("any#1-:retry-after=120")
    async with SITES["aiohttp"](None, lambda: TokenManager(zoom.credentials, base_url=zoom.url)) as client:
        reply = await client.get("/token")
    assert (reply.status_code, reply.text) == (503, "Zoom is not available")
    assert 60 < int(reply.headers["Retry-After"]) <= 120
    assert zoom.token_requests == 1


async def test_what_waiting_does_not_mend_is_an_error_of_the_server(
    zoom: Zoom, caplog: pytest.LogCaptureFixture
) -> None:
    account = account_at(zoom)
    async with SITES["aiohttp"](None, account.opened) as client:
        reply = await client.get("/token")
    assert reply.status_code == 500
    assert "Retry-After" not in reply.headers
    assert "AuthorizationRequiredError" in caplog.text


async def _raw_answer(url: URL, *headers: str) -> bytes:
    """Return all that a server sends until it closes the connection."""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    lines = [f"GET {url.path} HTTP/1.1", "Host: here", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(10):
        received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


async def test_a_body_that_has_begun_ends_too_soon_and_no_second_answer_is_in_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A client would take a broken report for a whole one. What is cut off it notices."""

    async def report(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"first")
        raise TokenUnavailableError("no token", retry_after=5)

    app = web.Application(middlewares=[ours.zoom_unavailable])
    app.add_routes([web.get("/report", report)])
    async with TestServer(app) as server:
        received = await _raw_answer(server.make_url("/report"), "Connection: close")
    assert received.endswith(b"\r\n\r\n5\r\nfirst\r\n")
    assert received.count(b"HTTP/1.1") == 1
    assert "TokenUnavailableError: no token" in caplog.text


async def test_a_websocket_that_is_open_is_closed_and_gets_no_answer_of_http(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        raise TokenUnavailableError("no token", retry_after=5)

    app = web.Application(middlewares=[ours.zoom_unavailable])
    app.add_routes([web.get("/talk", talk)])
    async with TestClient(TestServer(app)) as client, client.ws_connect("/talk") as socket:
        assert (await socket.receive()).data == "hello"
        end = await socket.receive()
    assert (end.type, socket.close_code) == (WSMsgType.CLOSED, 1006)
    assert "TokenUnavailableError: no token" in caplog.text


async def test_while_the_app_is_restarted_a_visitor_is_told_to_come_back() -> None:
    """What is closed here is open elsewhere, or in a moment: the log-in pages say so, too."""

    async def closed(_: web.Request) -> web.Response:
        raise ManagerClosedError("the manager is closed: make a new one")

    app = web.Application(middlewares=[ours.zoom_unavailable])
    app.add_routes([web.get("/", closed)])
    async with TestClient(TestServer(app)) as client, client.get("/") as reply:
        assert (reply.status, reply.headers["Retry-After"]) == (503, "10")


async def test_the_manager_is_found_in_sub_apps_and_closed_with_the_app(zoom: Zoom) -> None:
    async def token(request: web.Request) -> web.Response:
        return web.Response(text=await request.config_dict[ours.ZOOM].bearer())

    app, inner = web.Application(), web.Application()
    app.cleanup_ctx.append(ours.zoom_context(lambda: TokenManager(zoom.credentials, base_url=zoom.url)))
    inner.add_routes([web.get("/token", token), ours.health_route("/ready")])
    app.add_subapp("/inner", inner)
    async with TestClient(TestServer(app)) as client:
        async with client.get("/inner/token") as reply:
            assert zoom.model.user_of(await reply.text()) is not None
        async with client.get("/inner/ready") as reply:
            assert (await reply.json())["ready"]
    assert app[ours.ZOOM].health().state == "closed"


async def test_a_probe_of_an_app_without_a_manager_is_told_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    app = web.Application()
    app.add_routes([ours.health_route()])
    async with TestClient(TestServer(app)) as client, client.get("/health") as reply:
        assert reply.status == 500
    assert "MisuseError: the app has no manager: app.cleanup_ctx.append(zoom_context(...))" in caplog.text


async def test_a_code_that_comes_while_the_app_is_shut_down_is_not_lost(zoom: Zoom) -> None:
    """aiohttp asks to close first, lets open requests go on for a moment, then cancels them in the exchange."""
    zoom.latency = 0.3
    accounts = StoredAccounts(zoom.user_app, store=MemoryStore(), base_url=zoom.url)
    open_request, closing = asyncio.Event(), asyncio.Event()
    closing.set()

    async def identify(_: web.Request) -> str:
        open_request.set()
        await closing.wait()
        return "default"

    async def go_on(_: web.Application) -> None:
        closing.set()

    app = web.Application()
    app.add_subapp(
        "/zoom", ours.connect_app(connect_for(accounts, zoom.user_app, base_url=zoom.url), identify=identify)
    )
    app.on_shutdown.append(go_on)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with httpx.AsyncClient(base_url=url, verify=NEVER_SPOKEN, trust_env=False) as client:
        browser = Browser(client)
        query = allowed(zoom, await browser.connect())
        open_request.clear()
        closing.clear()
        load = asyncio.create_task(browser.come_back(**query))
        await open_request.wait()
        await runner.cleanup()
        assert zoom.stats == {"authorization_code": {"ok": 1}}
        await asyncio.gather(load, return_exceptions=True)  # the visitor gets no answer
    async with accounts.opened("default") as manager:
        assert zoom.model.user_of(await manager.bearer()) == "alice"


def test_the_middleware_of_the_client_is_here_too() -> None:
    assert ours.BearerMiddleware is BearerMiddleware
