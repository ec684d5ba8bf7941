"""What is aiohttp's own: the manager in the app and its sub-apps, and how a failure reaches the visitor."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.integrations.sites import SITES, account_at
from zoom_async_auth import TokenManager
from zoom_async_auth.bearer import BearerMiddleware
from zoom_async_auth.integrations import aiohttp as ours
from zoom_async_auth.sandbox import Sandbox, Zoom


@pytest.fixture
async def zoom() -> AsyncIterator[Zoom]:
    async with Sandbox() as zoom:
        yield zoom


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


def test_the_middleware_of_the_client_is_here_too() -> None:
    assert ours.BearerMiddleware is BearerMiddleware
