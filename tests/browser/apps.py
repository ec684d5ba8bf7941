"""Two small web apps on the sandbox that act for one person: what it takes, in FastAPI and in aiohttp."""

import asyncio
import html
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import uvicorn
from aiohttp import web
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from zoom_async_auth import AuthorizationRequiredError, TokenManager
from zoom_async_auth.integrations import aiohttp as on_aiohttp
from zoom_async_auth.integrations import fastapi as on_fastapi
from zoom_async_auth.integrations.accounts import OneAccount
from zoom_async_auth.integrations.connect import Connect
from zoom_async_auth.sandbox import Zoom

PREFIX = "/zoom"
CALLBACK = f"{PREFIX}/callback"

_HOME = """<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>{title}</title>
<main><h1>{title}</h1><p><a href="{link}">{label}</a></p></main>
</html>
"""

Serve = Callable[[Zoom, socket.socket], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def fastapi_app(zoom: Zoom, listening: socket.socket) -> AsyncIterator[None]:
    """Serve the one that is made with FastAPI, by uvicorn."""
    account, connect = _account(zoom, listening)
    app = FastAPI(lifespan=on_fastapi.zoom_lifespan(account.opened))
    app.include_router(on_fastapi.connect_router(connect, identify=lambda _: "default"), prefix=PREFIX)

    @app.get("/", response_class=HTMLResponse)
    async def home(request: Request) -> str:
        return await _home(on_fastapi.zoom_of(request))

    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield  # who comes before it accepts has to wait a little
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def aiohttp_app(zoom: Zoom, listening: socket.socket) -> AsyncIterator[None]:
    """Serve the one that is made with aiohttp."""
    account, connect = _account(zoom, listening)
    app = web.Application()
    app.cleanup_ctx.append(on_aiohttp.zoom_context(account.opened))
    app.add_subapp(PREFIX, on_aiohttp.connect_app(connect, identify=lambda _: "default"))

    async def home(_: web.Request) -> web.Response:
        return web.Response(text=await _home(app[on_aiohttp.ZOOM]), content_type="text/html")

    app.router.add_get("/", home)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()


def address_of(listening: socket.socket) -> str:
    """Return where an app is found."""
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def _account(zoom: Zoom, listening: socket.socket) -> tuple[OneAccount, Connect]:
    account = OneAccount(zoom.user_app, base_url=zoom.url)
    connect = Connect(
        account,
        credentials=zoom.user_app,
        redirect_uri=address_of(listening) + CALLBACK,
        secret=secrets.token_urlsafe(32),
        base_url=zoom.url,
    )
    return account, connect


async def _home(manager: TokenManager) -> str:
    """Return the page that says for whom the app acts, as the API knows it."""
    try:
        await manager.bearer()
    except AuthorizationRequiredError:
        return _HOME.format(title="Hello, stranger", link=f"{PREFIX}/connect", label="Connect with Zoom")
    async with manager.session() as http, http.get("/v2/users/me") as response:
        name = (await response.json())["display_name"] if response.ok else f"nobody: {response.status}"
    return _HOME.format(title=html.escape(f"Hello, {name}"), link=f"{PREFIX}/disconnect", label="Disconnect")
