"""Zoom in a FastAPI app: the token of each request, "connect with Zoom", and a readiness probe.

    from zoom_async_auth.integrations.fastapi import Bearer, health_router, zoom_lifespan, zoom_unavailable

    api = FastAPI(lifespan=zoom_lifespan(TokenManager.from_env))
    api.add_exception_handler(ZoomAuthError, zoom_unavailable)  # 503 with Retry-After
    api.include_router(health_router())  # GET /health

    @api.get("/meetings")
    async def meetings(bearer: Bearer) -> list[str]: ...

An app that acts for a person:

    app = UserOAuth(client_id=..., client_secret=...)
    account = OneAccount(app, store=SQLStore(...))
    connect = Connect(account, credentials=app, redirect_uri="https://example.com/zoom/callback", secret=...)

    api = FastAPI(lifespan=zoom_lifespan(account.opened))
    api.include_router(connect_router(connect, identify=who_is_logged_in), prefix="/zoom")

One that acts for many has a `TokenPool` instead, which is opened by `zoom_lifespan(lambda: pool)`; or `StoredAccounts`,
and opens a manager where it needs one. `OneAccount`, `StoredAccounts`, `Connect` and `Webhook` are the same for every
framework.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Final, cast, overload

from zoom_async_auth.errors import MisuseError, ZoomAuthError
from zoom_async_auth.extras import extra
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
from zoom_async_auth.pool import TokenPool

with extra("fastapi"):
    from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
    from fastapi.requests import HTTPConnection
    from fastapi.responses import JSONResponse
    from starlette.websockets import WebSocket, WebSocketState

__all__ = [
    "Accounts",
    "Bearer",
    "Connect",
    "OneAccount",
    "StoredAccounts",
    "Webhook",
    "bearer",
    "connect_router",
    "health_router",
    "zoom_lifespan",
    "zoom_of",
    "zoom_unavailable",
]

_UNAVAILABLE: Final = HTTPStatus.SERVICE_UNAVAILABLE
_CAN_DENY: Final = "websocket.http.response"  # a server's ability, by the specification of ASGI
_TRY_AGAIN_LATER: Final = 1013  # of the codes that IANA registers for WebSockets

Identify = Callable[[Request], KeyOrNobody | Awaitable[KeyOrNobody]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def zoom_lifespan(opens: Opens) -> Lifespan:
    """Return a lifespan that opens a manager or a pool with the app, as `app.state.zoom`, and closes it.

    An app with a lifespan of its own enters it there: `async with zoom_lifespan(...)(app): yield`.

    Args:
        opens: Makes what is entered, anew each time that the app starts: `TokenManager.from_env`,
            `account.opened`, `lambda: TokenPool(...)`.

    Raises:
        MisuseError: A manager itself: one cannot be opened twice.
    """
    require_maker(opens)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opens() as manager:
            app.state.zoom = manager
            yield

    return lifespan


def zoom_of(connection: HTTPConnection) -> TokenManager:
    """Return the manager, or pool, that `zoom_lifespan` opened: a dependency of requests and WebSockets.

    Raises:
        MisuseError: There is none.
    """
    return cast("TokenManager", _opened_for(connection))  # whoever opens a pool knows that it is one


async def bearer(connection: HTTPConnection) -> str:
    """Return an access token that may be sent to Zoom now: a dependency of requests and WebSockets.

    Raises:
        HTTPException: 503 with `Retry-After`, if there is none at the moment.
        MisuseError: The app has a pool.
        ZoomAuthError: There is none, and waiting does not help: 500, unless the app handles it in another way.
    """
    opened = _opened_for(connection)
    if isinstance(opened, TokenPool):
        raise MisuseError("a pool has a token for each key: await pool.bearer(key)")
    try:
        return await opened.bearer()
    except ZoomAuthError as error:
        if not is_temporary(error):
            raise
        told = HTTPException(_UNAVAILABLE, unavailable(error), headers=_when_again(error))
    raise told


Bearer = Annotated[str, Depends(bearer)]
"""The type of an argument that gets an access token."""


@overload
async def zoom_unavailable(connection: Request, error: Exception) -> Response: ...


@overload
async def zoom_unavailable(connection: WebSocket, error: Exception) -> None: ...


async def zoom_unavailable(connection: Request | WebSocket, error: Exception) -> Response | None:
    """Answer 503 with `Retry-After` where a route gets no token: `app.add_exception_handler(ZoomAuthError, ...)`.

    `bearer` does so by itself; this is for what asks elsewhere: `manager.session()`, `BearerTransport`, a manager of
    one's own. A WebSocket that is open is closed with 1013, "try again later". What waiting does not mend stays an
    error of the server.
    """
    if not isinstance(error, ZoomAuthError) or not is_temporary(error):
        raise error
    response = JSONResponse({"detail": unavailable(error)}, _UNAVAILABLE, headers=_when_again(error))
    if not isinstance(connection, WebSocket):
        return response
    if connection.application_state is WebSocketState.DISCONNECTED:  # by the app itself
        return None
    is_open = connection.application_state is WebSocketState.CONNECTED
    can_deny = _CAN_DENY in (connection.scope.get("extensions") or ())
    # Earlier versions of Starlette send nothing to a WebSocket for what its handler returns.
    if is_open or not can_deny:
        await connection.close(_TRY_AGAIN_LATER)
    else:
        await connection.send_denial_response(response)
    return None


def _opened_for(connection: HTTPConnection) -> TokenManager | TokenPool:
    opened: TokenManager | TokenPool | None = getattr(connection.app.state, "zoom", None)
    if opened is None:
        raise MisuseError("the app has no manager, or has not started: FastAPI(lifespan=zoom_lifespan(...))")
    return opened


def _when_again(error: ZoomAuthError) -> dict[str, str]:
    return {"Retry-After": retry_after(error)}


def connect_router(connect: Connect, *, identify: Identify) -> APIRouter:
    """Return the routes of `connect`, to be included under any prefix.

    Args:
        connect: Answers them.
        identify: Returns the key of the person who is logged in at the app, or None. It is asked on the way back from
            Zoom, too: a session's cookie has to be SameSite=Lax, not Strict. If it returns the same for everybody, as
            `lambda request: "default"`, whoever can reach these pages connects the one account of the app. It may
            raise what sends the browser to the app's log-in, in the way of the framework.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await connect.aclose()

    router = APIRouter(lifespan=lifespan)
    for route in connect.routes:
        endpoint = _endpoint(route.answer, identify)
        router.add_api_route(route.path, endpoint, methods=[route.method], include_in_schema=False)
    return router


def health_router(path: str = "/health") -> APIRouter:
    """Return the route of a readiness probe, which tells how the manager, or pool, of `zoom_lifespan` is.

    It is not for the public: `last_error` may name hosts.
    """

    async def health(request: Request) -> Response:
        return _response(health_reply(_opened_for(request).health()))

    router = APIRouter()
    router.add_api_route(path, health, methods=["GET", "HEAD"], include_in_schema=False)
    return router


def _endpoint(
    answer: Callable[[Visit], Awaitable[Reply]], identify: Identify
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        visit = Visit(
            query=request.scope["query_string"].decode("latin-1"),
            # Over HTTP/2 a browser sends each cookie in a header of its own, and not every server joins them.
            headers={**request.headers, "cookie": "; ".join(request.headers.getlist("cookie"))},
            identify=lambda: resolved(identify(request)),
            body=request.stream,
        )
        return _response(await answer(visit))

    return endpoint


def _response(reply: Reply) -> Response:
    response = Response(reply.body, status_code=reply.status)
    for name, value in reply.headers:
        response.headers.append(name, value)
    return response
