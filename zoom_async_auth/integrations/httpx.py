"""The bearer in httpx: `httpx.AsyncClient(auth=BearerAuth(manager))`.

httpx follows redirects inside of an `auth`, which sees the first request and the last answer, and drops the header at
another origin. So with `BearerAuth` another host of Zoom's gets the token when it asks for it, by a 401; that costs a
request, and a body that cannot be sent twice cannot follow. `BearerTransport` sees each hop, as the middleware for
aiohttp does:

    httpx.AsyncClient(transport=BearerTransport(manager), follow_redirects=True)
"""

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import NoReturn, Self

from yarl import URL

from zoom_async_auth import bearer
from zoom_async_auth.bearer import LONGEST_REFUSAL, UNAUTHORIZED, BearerSource, may_carry_bearer, token_was_rejected
from zoom_async_auth.errors import ConfigurationError, MisuseError
from zoom_async_auth.extras import extra

with extra("httpx"):
    import httpx

_AUTHORIZATION = "Authorization"
_WITHOUT = "zoom_async_auth.without"
_STEP = 1024
"""Bytes that are decompressed at once."""

_Flow = AsyncGenerator[httpx.Request, httpx.Response]


class BearerAuth(httpx.Auth):
    """Attaches the token in an httpx client: `httpx.AsyncClient(auth=BearerAuth(manager))`.

    A 401 that rejects the token invalidates it, and the request is sent once more, if its body can be: bytes, text,
    JSON, forms, and files that can seek. Of a redirect the last request is sent once more, not all of them. A caller's
    own Authorization header stays as it is, and no redirect leads from it, or from a foreign host, to the token.

    Args:
        source: Gives the token.
        allowed: Origins that may have it besides Zoom's, such as `http://127.0.0.1:8000`.

    Raises:
        ConfigurationError: `allowed` holds something else than origins, or one whose token httpx would carry on.
    """

    def __init__(self, source: BearerSource, *, allowed: Iterable[str] = ()) -> None:
        self._source = source
        self._allowed = bearer.origins(allowed)
        if any(origin.startswith("http://") and origin.endswith(":80") for origin in self._allowed):
            raise ConfigurationError(
                "httpx takes a header along from http on port 80 to https: allow another port, or use BearerTransport"
            )

    def sync_auth_flow(self, request: httpx.Request) -> NoReturn:
        """Refuse.

        Raises:
            MisuseError: Always.
        """
        del request
        raise MisuseError("a token is awaited: use BearerAuth in an httpx.AsyncClient")

    async def async_auth_flow(self, request: httpx.Request) -> _Flow:
        """Send the request with the token, and again as far as an answer asks for it."""
        if _AUTHORIZATION in request.headers or not _may_carry(request.url, self._allowed):
            response = yield request
            _warn_of_refusal(request, response, self._allowed)
            return
        call = _Call(self._source, self._allowed)
        while True:
            # No token in a local variable: tracebacks with locals end up in logs.
            response = yield _with(request, f"Bearer {await self._source.bearer()}")
            if not await call.asks_again(response):
                return
            request = response.request


class BearerTransport(httpx.AsyncBaseTransport):
    """Attaches the token beneath an httpx client: `httpx.AsyncClient(transport=BearerTransport(manager))`.

    Does what `BearerAuth` does, for each hop of a redirect, so other hosts of Zoom's get the token at once. A call that
    went on without it once, with a caller's own header or to a foreign host, goes on without it to its end. What is
    above, event hooks for one, sees no token.

    Args:
        source: Gives the token.
        transport: Sends the requests; None: an `httpx.AsyncHTTPTransport`. What a client hands to its own transport
            (`verify`, `http2`, `limits`, a proxy) belongs in there.
        allowed: Origins that may have it besides Zoom's, such as `http://127.0.0.1:8000`.

    Raises:
        ConfigurationError: `allowed` holds something else than origins.
    """

    def __init__(
        self, source: BearerSource, *, transport: httpx.AsyncBaseTransport | None = None, allowed: Iterable[str] = ()
    ) -> None:
        self._source = source
        self._transport = httpx.AsyncHTTPTransport() if transport is None else transport
        self._allowed = bearer.origins(allowed)

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._transport.__aexit__(exc_type, exc_value, traceback)

    async def aclose(self) -> None:
        """Close the transport beneath."""
        await self._transport.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request with the token, twice at most."""
        if (
            _AUTHORIZATION in request.headers
            or _WITHOUT in request.extensions
            or not _may_carry(request.url, self._allowed)
        ):
            request.extensions[_WITHOUT] = True  # httpx hands it on from hop to hop
            response = await self._transport.handle_async_request(request)
            _warn_of_refusal(request, response, self._allowed)
            return response
        call = _Call(self._source, self._allowed)
        while True:
            sent = _with(request, f"Bearer {await self._source.bearer()}")
            response = await self._transport.handle_async_request(sent)
            response.request = sent
            if not await call.asks_again(response):
                return response


@dataclass(slots=True)
class _Call:
    """A request and its repetitions: one for a new token, and one for each host that was not shown any."""

    source: BearerSource
    allowed: frozenset[str]
    told: set[str] = field(default_factory=set)
    is_replay: bool = False

    async def asks_again(self, response: httpx.Response) -> bool:
        """Tell whether the last request has to be sent again, and make away with its answer, if so."""
        if response.status_code != UNAUTHORIZED:
            return False
        try:
            again = await self._asks_again(response)
            if again:
                await response.stream.aclose()  # type: ignore[union-attr] # of an AsyncClient
                response.stream = httpx.ByteStream(b"")  # httpx would read it to its end, if it has one
        except BaseException:
            await response.aclose()
            raise
        return again

    async def _asks_again(self, response: httpx.Response) -> bool:
        sent = response.request
        if _AUTHORIZATION not in sent.headers:  # httpx dropped it
            origin = bearer.origin_of(_place(sent.url))
            on_the_way = [*(past.request.url for past in response.history), sent.url]
            if origin in self.told or not all(_may_carry(url, self.allowed) for url in on_the_way):
                return False
            self.told.add(origin)
        elif self.is_replay or not token_was_rejected(response.status_code, await _peek(response)):
            return False
        else:
            # Does nothing if somebody renewed it already.
            self.source.invalidate(sent.headers[_AUTHORIZATION].removeprefix("Bearer "))
            self.is_replay = True
        return _can_be_sent_again(sent.stream)


def _place(url: httpx.URL) -> URL:
    """Return where httpx connects to, piece by piece: on a text two parsers may disagree."""
    return URL.build(scheme=url.scheme, user=url.username or None, host=url.raw_host.decode("ascii"), port=url.port)


def _may_carry(url: httpx.URL, allowed: frozenset[str]) -> bool:
    try:
        return may_carry_bearer(_place(url), allowed)
    except ValueError:  # no such host is Zoom's
        return False


def _warn_of_refusal(request: httpx.Request, response: httpx.Response, allowed: frozenset[str]) -> None:
    if _AUTHORIZATION not in request.headers:
        with suppress(ValueError):  # not a URL to whoever compares them
            bearer.warn_of_refusal(response.status_code, _place(request.url), allowed)


def _with(request: httpx.Request, authorization: str) -> httpx.Request:
    """Return the request with the header. The caller's object, which may be sent again, stays without."""
    carrying = copy.copy(request)
    carrying.stream, carrying.extensions = request.stream, request.extensions  # which are not copied
    carrying.headers = httpx.Headers(request.headers)
    carrying.headers[_AUTHORIZATION] = authorization
    return carrying


def _can_be_sent_again(stream: object) -> bool:
    """Tell whether a body is whole the second time: a generator's would be an error, an iterator's empty."""
    if isinstance(stream, httpx.ByteStream):
        return True
    fields = getattr(stream, "fields", None)  # of a form with files, for which httpx has no public name
    return fields is not None and all(_is_whole_again(getattr(part, "file", "")) for part in fields)


def _is_whole_again(file: object) -> bool:
    seekable = getattr(file, "seekable", None)
    return isinstance(file, str | bytes) or (seekable is not None and bool(seekable()))


async def _peek(response: httpx.Response) -> bytes:
    """Return the body, which can be read again; its beginning if it is too long, broken, or does not end."""
    response.stream = body = _Begun(response.stream)  # type: ignore[arg-type] # of an AsyncClient
    await body.begin()
    pieces = httpx.Response(response.status_code, headers=response.headers, stream=_Pieces(body.begun))
    try:
        return next(pieces.iter_bytes(LONGEST_REFUSAL), b"")
    except httpx.DecodingError:
        return b""


class _Pieces(httpx.SyncByteStream):
    """Bytes in small pieces, so that little is decompressed beyond what is looked at."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        return (self._content[start : start + _STEP] for start in range(0, len(self._content), _STEP))


class _Begun(httpx.AsyncByteStream):
    """A body whose beginning was looked at, and which can be read from there."""

    def __init__(self, body: httpx.AsyncByteStream) -> None:
        self._body = body
        self._rest = aiter(body)
        self._failure: httpx.TransportError | None = None
        self.begun = b""

    async def begin(self) -> None:
        """Read the body as far as it is looked at."""
        try:
            async with asyncio.timeout(bearer.PATIENCE):
                async for piece in self._rest:
                    self.begun += piece
                    if len(self.begun) > LONGEST_REFUSAL:
                        break
        except TimeoutError:
            self._failure = httpx.ReadTimeout("the body of a 401 does not come to its end")
        except httpx.TransportError as error:
            self._failure = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.begun
        if self._failure is not None:
            raise self._failure
        async for piece in self._rest:
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()
