"""Who gives a token, where it may go, and how an aiohttp session attaches it.

A bearer token is cash: whoever reads it can spend it. So it goes to Zoom's hosts over https and nowhere else, whatever
a redirect or a server's answer says.
"""

import json
from collections.abc import Collection
from typing import Protocol

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.hdrs import AUTHORIZATION
from yarl import URL

ZOOM_HOSTS = ("zoom.us", "zoomgov.com")
TOKEN_REJECTED = 124
"""Zoom's code for a token that is malformed, expired, revoked or superseded."""
_UNAUTHORIZED = 401
_HTTPS_PORT = 443
_MAX_ERROR_BODY = 64 * 1024


class BearerSource(Protocol):
    """What an adapter needs: a manager is one, and so is one identity of a pool."""

    async def bearer(self) -> str:
        """Return an access token that can be used now."""
        ...

    def invalidate(self, token: str, /) -> bool:
        """Stop trusting `token`, if it is the current one; tell whether it was."""
        ...


def origin_of(url: URL) -> str:
    """Return scheme, host and port, comparable as a string."""
    return f"{url.scheme}://{url.host}:{url.port}"


def may_carry_bearer(url: URL, allowed: Collection[str] = ()) -> bool:
    """Tell whether a token may be sent to `url`.

    Args:
        url: Where a request is about to go.
        allowed: Origins (see `origin_of`) that count besides https on Zoom's hosts.
    """
    if origin_of(url) in allowed:
        return True
    host = (url.host or "").lower()
    at_zoom = any(host == name or host.endswith("." + name) for name in ZOOM_HOSTS)
    return at_zoom and url.scheme == "https" and url.port == _HTTPS_PORT and url.user is None


class BearerMiddleware:
    """Attaches the token in an aiohttp session: `ClientSession(middlewares=(BearerMiddleware(manager),))`.

    A 401 with Zoom's code 124 invalidates the token that was rejected, and the request is sent once more, if its body
    can be. A caller's own Authorization header stays as it is. Runs anew for each hop of a redirect.

    Args:
        source: Gives the token.
        allowed: Origins (see `origin_of`) that may have it besides Zoom's.
    """

    def __init__(self, source: BearerSource, *, allowed: Collection[str] = ()) -> None:
        self._source = source
        self._allowed = frozenset(allowed)

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send the request with the token, twice at most."""
        if AUTHORIZATION in request.headers or not may_carry_bearer(request.url, self._allowed):
            return await handler(request)

        # No token in a local variable: tracebacks with locals end up in logs.
        request.headers[AUTHORIZATION] = f"Bearer {await self._source.bearer()}"
        response = await handler(request)
        if not await _token_was_rejected(response):
            return response

        # Does nothing if somebody renewed it already.
        self._source.invalidate(request.headers[AUTHORIZATION].removeprefix("Bearer "))
        if getattr(request.body, "consumed", False):  # an async generator would be sent again, empty
            return response
        response.release()
        request.headers[AUTHORIZATION] = f"Bearer {await self._source.bearer()}"
        return await handler(request)


async def _token_was_rejected(response: ClientResponse) -> bool:
    """Tell whether Zoom's API refused the token itself, and not what it was used for."""
    if response.status != _UNAUTHORIZED or (response.content_length or 0) > _MAX_ERROR_BODY:
        return False
    try:
        content = json.loads(await response.read())
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(content, dict)
        and content.get("code") == TOKEN_REJECTED
        and "not supported as query parameter" not in str(content.get("message", ""))  # the caller's fault
    )
