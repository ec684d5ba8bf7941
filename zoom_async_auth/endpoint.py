"""The only module that speaks HTTP to Zoom's OAuth endpoints.

One POST per attempt, never a redirect, never a retry: whoever spends a refresh token must know how often it was sent.
No foreign exception leaves this module, and none is chained: the repr of aiohttp's shows the Authorization header.
"""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

import aiohttp
import anyio

from zoom_async_auth.cancellation import is_being_cancelled
from zoom_async_auth.clock import Clock
from zoom_async_auth.errors import ConfigurationError, MisuseError, TokenUnavailableError, ZoomAuthError
from zoom_async_auth.oauth.credentials import Credentials, UserOAuth
from zoom_async_auth.oauth.grants import Grant
from zoom_async_auth.oauth.origin import require_base_url
from zoom_async_auth.oauth.requests import Request, device_request, revoke_request, token_request
from zoom_async_auth.oauth.token import Token
from zoom_async_auth.oauth.wire import (
    MAX_BODY,
    Answer,
    DeviceCode,
    read_device_code,
    read_revocation,
    read_token,
)

TLS_PAUSE = 60.0
"""Seconds before the next try when the server's certificate does not verify: that takes a person, or a network."""
_PROXY_AUTHENTICATION_REQUIRED = 407
_ELSEWHERE = "the transport is in use on another event loop: make one for each"


class Transport(Protocol):
    """Sends one POST. One that is also an async context manager is entered and left with the manager."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        """Send one request, once, and read the answer; follow nothing, retry nothing.

        Args:
            url: Where to; https, or http on loopback. It holds no secret.
            headers: All that matter, Authorization among them.
            body: The form.
            timeout: Seconds for everything.

        Returns:
            Status, headers and body, whatever they say; of a body longer than `MAX_BODY` at least one byte more.

        Raises:
            ZoomAuthError: No answer; `in_doubt` says whether the request may have arrived.
            Exception: Anything else counts as in doubt.
        """
        ...


class Endpoint:
    """Zoom's OAuth endpoints, for one client. Each method sends one POST and returns what went wrong, if so.

    Returned, not raised: the frames in between have secrets in their local variables, and tracebacks show those.

    Cancellation: the request is dropped; Zoom may have acted on it.
    """

    def __init__(
        self, credentials: Credentials, *, base_url: str, transport: Transport, clock: Clock, attempt_timeout: float
    ) -> None:
        self._credentials = credentials
        self._base_url = require_base_url(base_url)
        self._transport = transport
        self._clock = clock
        self._attempt_timeout = attempt_timeout
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if isinstance(self._transport, AbstractAsyncContextManager):
            await self._resources.enter_async_context(self._transport)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._resources.aclose()

    async def exchange(self, grant: Grant) -> Token | ZoomAuthError:
        """Ask for a token (RFC 6749, section 5)."""
        request = token_request(self._credentials, grant)
        answer = await self._post(request)
        if isinstance(answer, ZoomAuthError):
            return answer
        return read_token(answer, request, now=self._clock.time())

    async def revoke(self, token: str) -> ZoomAuthError | None:
        """Have Zoom kill a token. 200 for one that it does not know counts (RFC 7009, section 2.2)."""
        request = revoke_request(self._credentials, token)
        answer = await self._post(request)
        if isinstance(answer, ZoomAuthError):
            return answer
        return read_revocation(answer, request, now=self._clock.time())

    async def device_code(self) -> DeviceCode | ZoomAuthError:
        """Ask for a code that a person can type in elsewhere (RFC 8628, section 3.1)."""
        if not isinstance(self._credentials, UserOAuth):
            return ConfigurationError("a device code is for a person's authorization: it needs UserOAuth credentials")
        request = device_request(self._credentials)
        answer = await self._post(request)
        if isinstance(answer, ZoomAuthError):
            return answer
        return read_device_code(answer, request, now=self._clock.time())

    async def _post(self, request: Request) -> Answer | ZoomAuthError:
        failure: ZoomAuthError | None = None
        with anyio.move_on_after(self._attempt_timeout):  # a transport of somebody else may ignore its timeout
            try:
                return await self._transport.send(
                    self._base_url + request.path, request.headers, request.body, self._attempt_timeout
                )
            except asyncio.CancelledError:
                if is_being_cancelled():
                    raise
                failure = TokenUnavailableError(  # what the transport waited for was cancelled, not we
                    f"no answer from {_named(self._base_url)}: CancelledError", in_doubt=True
                )
            except ZoomAuthError as known:
                failure = known.copy()
            except Exception as foreign:  # noqa: BLE001 -- its repr may show the request: only its class is told
                failure = TokenUnavailableError(
                    f"no answer from {_named(self._base_url)}: {type(foreign).__name__}", in_doubt=True
                )
        return failure or _too_late(self._attempt_timeout, self._base_url)


class AiohttpTransport:
    """Sends over a private `aiohttp.ClientSession`: no cookies, no redirects, no connection used twice.

    May be shared by several managers on one event loop: the session is closed when the last one is.

    Args:
        proxy: URL of an HTTP proxy.
        ssl_context: For a private certificate authority. One that does not verify is refused.
        trust_env: Whether HTTPS_PROXY, NO_PROXY and ~/.netrc are honoured.
    """

    def __init__(
        self, *, proxy: str | None = None, ssl_context: ssl.SSLContext | None = None, trust_env: bool = False
    ) -> None:
        if ssl_context is not None and not (
            ssl_context.verify_mode is ssl.CERT_REQUIRED and ssl_context.check_hostname
        ):
            del proxy  # it may have a password
            raise ConfigurationError("ssl_context must verify certificates and host names: there is no way around it")
        self._proxy = proxy
        self._ssl_context = ssl_context
        self._trust_env = trust_env
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        if self._loop is not None and self._loop.is_closed():
            self._users, self._session = 0, None  # it was not left before its loop ended
        if self._users == 0:
            self._loop = asyncio.get_running_loop()
        elif self._loop is not asyncio.get_running_loop():
            raise MisuseError(_ELSEWHERE)
        self._users += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._is_home():
            return  # it was entered in an earlier life, whose loop has ended since
        self._users -= 1
        if self._users == 0 and self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        """Send one POST; see `Transport`."""
        session = self._opened()
        failure: ZoomAuthError | None = None
        if isinstance(session, ZoomAuthError):
            failure = session
        else:
            # Not aiohttp's limit on the total: it throws away what has arrived while a process was stopped beyond it,
            # and that may be the only live refresh token. A scope of anyio leaves what can go on.
            # Half of it to connect: a host that cannot be reached is told as such, with nothing in doubt.
            limits = aiohttp.ClientTimeout(total=None, sock_connect=timeout / 2)
            with anyio.move_on_after(timeout):
                try:
                    return await self._answer(
                        session.post(
                            url, data=body, headers=headers, proxy=self._proxy, allow_redirects=False, timeout=limits
                        )
                    )
                except (aiohttp.ClientError, OSError, ValueError) as foreign:
                    failure = _translated(foreign, url)
        del headers, body
        raise failure or _too_late(timeout, url)

    async def _answer(self, sending: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> Answer:
        async with sending as response:
            received = bytearray()
            async for chunk in response.content.iter_any():
                received += chunk
                if len(received) > MAX_BODY:
                    break
            return Answer(status=response.status, headers=dict(response.headers), body=bytes(received))

    def _is_home(self) -> bool:
        try:
            return self._loop is asyncio.get_running_loop()
        except RuntimeError:  # none is running: what was left open is being collected
            return False

    def _opened(self) -> aiohttp.ClientSession | ZoomAuthError:
        if self._users == 0:
            return ConfigurationError("the transport is not open: enter it (async with), or give it to a manager")
        if not self._is_home():
            return MisuseError(_ELSEWHERE)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A connection that Zoom has closed meanwhile would fail a POST in a way that leaves it in doubt.
                connector=aiohttp.TCPConnector(ssl=self._ssl_context or True, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "User-Agent": "zoom_async_auth"},
                auto_decompress=False,  # nothing compressed was asked for; a bomb is cut at its compressed size
                trust_env=self._trust_env,
            )
        return self._session


def _too_late(timeout: float, url: str) -> ZoomAuthError:
    return TokenUnavailableError(f"no answer from {_named(url)} within {timeout:g} s", in_doubt=True)


def _translated(foreign: Exception, url: str) -> ZoomAuthError:
    """Return what a failure of aiohttp means, by its class name alone."""
    name = type(foreign).__name__
    server = _named(url)
    match foreign:
        case aiohttp.ClientHttpProxyError(status=status) if status == _PROXY_AUTHENTICATION_REQUIRED:
            return ConfigurationError("the proxy wants credentials: put them into its URL", status=status)
        case aiohttp.ClientHttpProxyError(status=status):
            return TokenUnavailableError(f"the proxy found no way to {server}", status=status)
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return TokenUnavailableError(
                f"no trusted connection to {server}: {name}; is its certificate authority known here?",
                retry_after=TLS_PAUSE,
            )
        case aiohttp.InvalidURL():
            return ConfigurationError("base_url, or the URL of the proxy, cannot be used")
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return TokenUnavailableError(f"no connection to {server}: {name}")
        case _:
            return TokenUnavailableError(f"no answer from {server}: {name}", in_doubt=True)


def _named(url: str) -> str:
    return f"the token endpoint at {urlsplit(url).netloc.rpartition('@')[2]}"
