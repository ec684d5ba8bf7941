"""Who gives a token, where it may go, what a refusal means, and how an aiohttp session attaches it.

A bearer token is cash: whoever reads it can spend it. So it goes to Zoom's hosts over https and nowhere else, whatever
a redirect or a server's answer says. The rules are pure, and those of every adapter.
"""

import asyncio
import json
import logging
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from aiohttp import ClientError, ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.hdrs import AUTHORIZATION, HOST
from yarl import URL

from zoom_async_auth.errors import ConfigurationError

_log = logging.getLogger("zoom_async_auth")

ZOOM_HOSTS = ("zoom.us", "zoomgov.com")
TOKEN_REJECTED = 124
"""Zoom's code for a token that is malformed, expired, revoked or superseded."""
UNAUTHORIZED = 401
LONGEST_REFUSAL = 64 * 1024
"""Bytes of a refusal that are looked at."""
PATIENCE = 5.0
"""Seconds that the body of a refusal may take to arrive."""

_HTTPS_PORT = 443
_NESTED = 16
"""How many calls within a call are told apart: another middleware may make some."""
_OVER_HTTP = {"ws": "http", "wss": "https"}


class BearerSource(Protocol):
    """What an adapter needs: a manager is one, and so is one identity of a pool."""

    async def bearer(self) -> str:
        """Return an access token that can be used now."""
        ...

    def invalidate(self, token: str, /) -> bool:
        """Stop trusting `token`, if it is the current one; tell whether it was."""
        ...


def origin_of(url: URL) -> str:
    """Return scheme, host and port, comparable as a string; a WebSocket has those of the request that opens it."""
    return f"{_OVER_HTTP.get(url.scheme, url.scheme)}://{url.host_subcomponent}:{url.port}"


def origins(allowed: Iterable[str]) -> frozenset[str]:
    """Return what `origin_of` makes of each.

    Raises:
        ConfigurationError: One of them is no origin.
    """
    try:
        urls = [URL(text) for text in allowed]
    except (ValueError, TypeError):
        urls = [URL()]
    if any(url.port is None for url in urls):
        raise ConfigurationError("allowed takes a collection of origins, such as http://127.0.0.1:8000")
    return frozenset(map(origin_of, urls))


def may_carry_bearer(url: URL, allowed: Collection[str] = ()) -> bool:
    """Tell whether a token may be sent to `url`.

    Args:
        url: Where a request is about to go.
        allowed: Origins (see `origin_of`) that count besides https on Zoom's hosts.
    """
    if url.user is not None:
        return False
    if origin_of(url) in allowed:
        return True
    host = (url.host or "").lower()
    at_zoom = any(host == name or host.endswith("." + name) for name in ZOOM_HOSTS)
    return at_zoom and url.scheme in {"https", "wss"} and url.port == _HTTPS_PORT


def warn_of_refusal(status: int, url: URL, allowed: Collection[str]) -> None:
    """Log why a request was refused that went without a token because its host may have none: a 401 does not say so."""
    if status == UNAUTHORIZED and not may_carry_bearer(url, allowed):
        _log.warning(
            "%s was sent no token, and answered 401: it is neither https on port 443 of a Zoom host, nor in `allowed`",
            origin_of(url),
        )


def token_was_rejected(status: int, body: bytes) -> bool:
    """Tell whether Zoom's API refused the token itself, and not what it was used for.

    A 401 that says nothing readable counts: it came from something in front of the API. Missing scopes (400, code 4711)
    do not: no new token has more.

    Args:
        status: Of the answer.
        body: Its body, as far as it could be read.
    """
    if status != UNAUTHORIZED:
        return False
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return True
    if not isinstance(content, dict):
        return True
    return (
        content.get("code") == TOKEN_REJECTED
        and "not supported as query parameter" not in str(content.get("message", ""))  # the caller's fault
    )


class BearerMiddleware:
    """Attaches the token in an aiohttp session: `ClientSession(middlewares=(BearerMiddleware(manager),))`.

    A 401 that rejects the token invalidates it, and the request is sent once more, if its body can be. WebSockets
    connect the same way.

    Runs anew for each hop of a redirect: another host of Zoom's gets the token too. A caller's own Authorization header
    stays as it is, and a call that went on without the token once, with that header or to a foreign host, goes on
    without it to its end: a call begun under one identity is not finished under another.

    Args:
        source: Gives the token.
        allowed: Origins that may have it besides Zoom's, such as `http://127.0.0.1:8000`.
        route: Returns where a request goes, once there is a token; None: where it was meant to go.

    Raises:
        ConfigurationError: `allowed` holds something else than origins.
    """

    def __init__(
        self, source: BearerSource, *, allowed: Iterable[str] = (), route: Callable[[URL], URL] | None = None
    ) -> None:
        self._source = source
        self._allowed = origins(allowed)
        self._route = route
        self._without: WeakKeyDictionary[asyncio.Task[Any], deque[object]] = WeakKeyDictionary()

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send the request with the token, twice at most."""
        if self._note_if_without(request):
            response = await handler(request)
            if AUTHORIZATION not in request.headers:
                warn_of_refusal(response.status, request.url, self._allowed)
            return response
        try:
            return await self._send(request, handler)
        finally:  # what was sent is shown by the answer, and by the exceptions of aiohttp
            request.headers.pop(AUTHORIZATION, None)

    def _note_if_without(self, request: ClientRequest) -> bool:
        # Nothing public links the hops of a call, but they share this list. Without it each hop is a call by itself.
        call = getattr(request, "_traces", object())
        task: Any = asyncio.current_task()
        known = self._without.get(task, ())
        if any(one is call for one in known):
            return True
        if AUTHORIZATION in request.headers or not may_carry_bearer(request.url, self._allowed):
            self._without.setdefault(task, deque(maxlen=_NESTED)).append(call)
            return True
        return False

    async def _send(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        await self._equip(request)
        response = await handler(request)
        try:
            again = await self._is_to_be_sent_again(request, response)
        except BaseException:
            response.close()
            raise
        if not again:
            return response
        response.release()
        await request.close()  # a body that is still on its way would get mixed up with its second run
        await self._equip(request)
        return await handler(request)

    async def _equip(self, request: ClientRequest) -> None:
        # No token in a local variable: tracebacks with locals end up in logs.
        request.headers[AUTHORIZATION] = f"Bearer {await self._source.bearer()}"
        if self._route is not None and (url := self._route(request.url)) != request.url:
            request.url = request.original_url = url
            request.headers[HOST] = url.host_port_subcomponent or ""

    async def _is_to_be_sent_again(self, request: ClientRequest, response: ClientResponse) -> bool:
        if response.status != UNAUTHORIZED or not token_was_rejected(response.status, await _peek(response)):
            return False
        # Does nothing if somebody renewed it already.
        self._source.invalidate(request.headers[AUTHORIZATION].removeprefix("Bearer "))
        return not getattr(request.body, "consumed", False)  # an async generator would be sent again, empty


async def _peek(response: ClientResponse) -> bytes:
    """Return the body, which can be read again; its beginning if it is too long, broken, or does not end."""
    begun = bytearray()
    patience = asyncio.timeout(PATIENCE)
    with suppress(ClientError):
        try:
            async with patience:
                while len(begun) <= LONGEST_REFUSAL and (piece := await response.content.read(LONGEST_REFUSAL)):
                    begun += piece
        except TimeoutError:
            if not patience.expired():  # the session's own
                raise
    if begun:
        with warnings.catch_warnings():
            # There is no other way to put bytes back; aiohttp does it itself.
            warnings.simplefilter("ignore", DeprecationWarning)
            response.content.unread_data(bytes(begun))
    return bytes(begun)
