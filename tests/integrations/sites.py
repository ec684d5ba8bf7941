"""A web app that connects with Zoom, in each framework, and a browser that visits it."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import uvicorn
from aiohttp import web
from aiohttp.test_utils import TestServer
from fastapi import FastAPI

from zoom_async_auth import AuthorizationCodeGrant, TokenManager, TokenPool, UserOAuth
from zoom_async_auth.integrations import aiohttp as on_aiohttp
from zoom_async_auth.integrations import fastapi as on_fastapi
from zoom_async_auth.integrations.accounts import Accounts, OneAccount
from zoom_async_auth.integrations.connect import Connect, Webhook
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.testing import ManualClock

REDIRECT = "http://127.0.0.1:8000/zoom/callback"
ORIGIN = "http://127.0.0.1:8000"
SECRET = "a secret of 32 characters, or so."
SECRET_TOKEN = "what-Zoom-signs-with"
OURS = {"Sec-Fetch-Site": "same-origin"}
NEVER_SPOKEN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Making one that knows all authorities takes longer than a test."""

Opens = Callable[[], AbstractAsyncContextManager[TokenManager | TokenPool]]
Site = Callable[[Connect | None, Opens | None], AbstractAsyncContextManager[httpx.AsyncClient]]
"""A web app with these pages, and what it opens; entering it yields a client of it."""


@dataclass
class Refusing:
    """Accounts that do nothing but note what was asked, and fail with what a test says."""

    failure: Exception | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def authorize(self, key: str, grant: AuthorizationCodeGrant, /) -> None:
        del grant
        self._note("authorize", key)

    async def revoke(self, key: str, /) -> None:
        self._note("revoke", key)

    async def forget(self, key: str, /) -> None:
        self._note("forget", key)

    def _note(self, verb: str, key: str) -> None:
        self.asked.append((verb, key))
        if self.failure is not None:
            raise self.failure


def connect_for(
    accounts: Accounts,
    app: UserOAuth,
    *,
    base_url: str = "https://zoom.us",
    secret: str = SECRET,
    redirect_uri: str = REDIRECT,
    webhook: Webhook | None = None,
    clock: ManualClock | None = None,
) -> Connect:
    return Connect(
        accounts,
        credentials=app,
        redirect_uri=redirect_uri,
        secret=secret,
        after="/done",
        webhook=webhook,
        base_url=base_url,
        clock=clock,
    )


def account_at(zoom: Zoom) -> OneAccount:
    return OneAccount(zoom.user_app, base_url=zoom.url)


@asynccontextmanager
async def fastapi_site(connect: Connect | None, opens: Opens | None) -> AsyncIterator[httpx.AsyncClient]:
    api = FastAPI(lifespan=None if opens is None else on_fastapi.zoom_lifespan(opens))
    if connect is not None:
        router = on_fastapi.connect_router(connect, identify=lambda request: request.headers.get("x-person"))
        api.include_router(router, prefix="/zoom")
    api.include_router(on_fastapi.health_router())

    @api.get("/token")
    async def token(bearer: on_fastapi.Bearer) -> str:
        return bearer

    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url=ORIGIN) as client,
    ):
        yield client


@asynccontextmanager
async def aiohttp_site(connect: Connect | None, opens: Opens | None) -> AsyncIterator[httpx.AsyncClient]:
    async def identify(request: web.Request) -> str | None:
        return request.headers.get("x-person")

    async def token(request: web.Request) -> web.Response:
        return web.json_response(await request.config_dict[on_aiohttp.ZOOM].bearer())

    app = web.Application(middlewares=[on_aiohttp.zoom_unavailable])
    if opens is not None:
        app.cleanup_ctx.append(on_aiohttp.zoom_context(opens))
    app.add_routes([on_aiohttp.health_route(), web.get("/token", token)])
    if connect is not None:
        app.add_subapp("/zoom", on_aiohttp.connect_app(connect, identify=identify))
    async with TestServer(app) as server:  # in which who hangs up cancels the handler
        url = str(server.make_url("/"))
        async with httpx.AsyncClient(base_url=url, verify=NEVER_SPOKEN, trust_env=False) as client:
            yield client


@asynccontextmanager
async def served(api: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an app by uvicorn, on a real socket."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(api, log_config=None, access_log=False))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            async with asyncio.timeout(10):
                while not server.started:  # noqa: ASYNC110 -- uvicorn does not tell
                    await asyncio.sleep(0.01)
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            async with httpx.AsyncClient(base_url=url, verify=NEVER_SPOKEN, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            await serving


SITES = {"fastapi": fastapi_site, "aiohttp": aiohttp_site}


class Browser:
    """What a person does in a browser at an app.

    Args:
        client: Has the browser's cookies.
        person: Who is logged in at the app; None: nobody.
    """

    def __init__(self, client: httpx.AsyncClient, person: str | None = "default") -> None:
        self.client = client
        self.person = person

    def other(self) -> "Browser":
        """Return another browser at the same app."""
        client = httpx.AsyncClient(transport=self.client._transport, base_url=self.client.base_url, trust_env=False)
        return Browser(client, self.person)

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path, headers=self._headers())

    async def connect(self) -> str:
        """Visit /connect; return the address of the consent page."""
        reply = await self.get("/zoom/connect")
        assert reply.status_code == 303, reply.text
        return reply.headers["Location"]

    async def come_back(self, **query: str) -> httpx.Response:
        return await self.get(f"/zoom/callback?{urlencode(query)}")

    async def connected(self, zoom: Zoom, user: str = "alice") -> httpx.Response:
        """Do all that it takes to connect."""
        return await self.come_back(**allowed(zoom, await self.connect(), user))

    async def disconnect(self, headers: dict[str, str]) -> httpx.Response:
        return await self.client.post("/zoom/disconnect", headers={**self._headers(), **headers})

    def _headers(self) -> dict[str, str]:
        return {} if self.person is None else {"X-Person": self.person}


async def asks_for_a_token(zoom: Zoom) -> None:
    """Return once a token request has arrived."""
    async with asyncio.timeout(10):
        while not zoom.token_requests:  # noqa: ASYNC110 -- the sandbox counts, in silence
            await asyncio.sleep(0)


def asked_for(address: str) -> dict[str, str]:
    """Return what the address of a consent page says."""
    return dict(parse_qsl(urlsplit(address).query))


def allowed(zoom: Zoom, address: str, user: str = "alice") -> dict[str, str]:
    """Return what Zoom sends along to the callback once `user` has said yes."""
    asked = asked_for(address)
    app = zoom.model.app(asked["client_id"])
    assert app is not None
    code = zoom.model.authorize(app, user, redirect_uri=asked["redirect_uri"], challenge=asked["code_challenge"])
    return {"code": code, "state": asked["state"]}
