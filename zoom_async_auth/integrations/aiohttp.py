"""Zoom in aiohttp: the token on the requests of a client, and in a web app "connect with Zoom" and a readiness probe.

    from zoom_async_auth.integrations.aiohttp import ZOOM, BearerMiddleware, connect_app, health_route, zoom_context

    app = web.Application()
    app.cleanup_ctx.append(zoom_context(TokenManager.from_env))
    app.add_routes([health_route()])  # GET /health

    async def meetings(request: web.Request) -> web.Response:
        token = await request.config_dict[ZOOM].bearer()

A client session of one's own has `ClientSession(middlewares=[BearerMiddleware(manager)])`; `manager.session()` is one.

An app that acts for a person:

    app_at_zoom = UserOAuth(client_id=..., client_secret=...)
    account = OneAccount(app_at_zoom, store=SQLStore(...))
    connect = Connect(account, credentials=app_at_zoom, redirect_uri="https://example.com/zoom/callback", secret=...)

    app.cleanup_ctx.append(zoom_context(account.opened))
    app.add_subapp("/zoom", connect_app(connect, identify=who_is_logged_in))

One that acts for many has a `TokenPool` instead, which is opened by `zoom_context(lambda: pool)`; or `StoredAccounts`,
and opens a manager where it needs one. `OneAccount`, `StoredAccounts`, `Connect` and `Webhook` are the same for every
framework.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict

from zoom_async_auth.bearer import BearerMiddleware
from zoom_async_auth.errors import MisuseError, ZoomAuthError
from zoom_async_auth.integrations.accounts import Accounts, OneAccount, StoredAccounts
from zoom_async_auth.integrations.connect import Connect, KeyOrNobody, Visit, Webhook, resolved
from zoom_async_auth.integrations.pages import Reply
from zoom_async_auth.integrations.readiness import (
    Opens,
    health_reply,
    is_temporary,
    require_maker,
    retry_after,
    unavailable,
)
from zoom_async_auth.manager import TokenManager

__all__ = [
    "ZOOM",
    "Accounts",
    "BearerMiddleware",
    "Connect",
    "OneAccount",
    "StoredAccounts",
    "Webhook",
    "connect_app",
    "health_route",
    "zoom_context",
    "zoom_unavailable",
]

ZOOM = web.AppKey("ZOOM", TokenManager)
"""Where an app has the manager that `zoom_context` opened; `request.config_dict[ZOOM]` finds it in sub-apps, too."""

Identify = Callable[[web.Request], KeyOrNobody | Awaitable[KeyOrNobody]]


def zoom_context(opens: Opens) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return what opens a manager or a pool with the app, as `app[ZOOM]`, and closes it: for `app.cleanup_ctx`.

    Args:
        opens: Makes what is entered: `TokenManager.from_env`, `account.opened`, `lambda: TokenPool(...)`.

    Raises:
        MisuseError: A manager itself: one cannot be opened twice.
    """
    require_maker(opens)

    async def context(app: web.Application) -> AsyncIterator[None]:
        async with opens() as opened:
            app[ZOOM] = cast("TokenManager", opened)  # whoever opens a pool knows that it is one
            yield

    return context


@web.middleware
async def zoom_unavailable(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 503 with `Retry-After` where a handler gets no token at the moment: `web.Application(middlewares=[...])`.

    What waiting does not mend stays an error of the server, and so does what comes when the answer has begun: a body is
    cut off, a WebSocket is closed.
    """
    try:
        return await handler(request)
    except ZoomAuthError as error:
        begun: object = request.writer.output_size  # of a request that is made up for a test, it is no number
        if not is_temporary(error) or (
            isinstance(begun, int) and begun > 0
        ):  # a second answer would be part of the first
            raise
        told, headers = unavailable(error), {"Retry-After": retry_after(error)}
    raise web.HTTPServiceUnavailable(text=told, headers=headers)


def connect_app(connect: Connect, *, identify: Identify) -> web.Application:
    """Return the routes of `connect` as an application, for `add_subapp` with any prefix.

    Args:
        connect: Answers them.
        identify: Returns the key of the person who is logged in at the app, or None. It is asked on the way back from
            Zoom, too: a session's cookie has to be SameSite=Lax, not Strict. If it returns the same for everybody, as
            `lambda request: "default"`, whoever can reach these pages connects the one account of the app. It may
            raise what sends the browser to the app's log-in, in the way of the framework.
    """

    async def close(_: web.Application) -> None:
        await connect.aclose()

    app = web.Application()
    app.on_shutdown.append(close)  # while the manager of the app around it is open: in its cleanup it no longer is
    app.on_cleanup.append(close)  # what a request has begun that was still open then
    for route in connect.routes:
        app.router.add_route(route.method, route.path, _handler(route.answer, identify))
    return app


def health_route(path: str = "/health") -> web.RouteDef:
    """Return the route of a readiness probe, which tells how the manager, or pool, of `zoom_context` is.

    It is not for the public: `last_error` may name hosts.
    """

    async def health(request: web.Request) -> web.Response:
        manager = request.config_dict.get(ZOOM)
        if manager is None:
            raise MisuseError("the app has no manager: app.cleanup_ctx.append(zoom_context(...))")
        return _response(health_reply(manager.health()))

    return web.get(path, health)


def _handler(
    answer: Callable[[Visit], Awaitable[Reply]], identify: Identify
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        visit = Visit(
            query=request.rel_url.raw_query_string,
            headers=request.headers,
            identify=lambda: resolved(identify(request)),
            body=request.content.iter_any,
        )
        return _response(await answer(visit))

    return handler


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, headers=CIMultiDict(reply.headers), body=reply.body or None)
