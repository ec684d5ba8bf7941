"""Where the browser comes back to on this host: a server on 127.0.0.1, for one answer (RFC 8252, section 7.3)."""

import asyncio
import html
import secrets
from types import TracebackType
from typing import Self

from aiohttp import web

from zoom_async_auth.cancellation import to_its_end
from zoom_async_auth.cli.system import words_of
from zoom_async_auth.errors import ConfigurationError, ZoomAuthError
from zoom_async_auth.oauth.authorize import (
    RANDOMNESS,
    AuthorizationRequest,
    authorization_request,
    read_callback,
)
from zoom_async_auth.oauth.credentials import UserOAuth
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant

_HOST = "127.0.0.1"
_FAREWELL = 5.0
"""Seconds that a browser gets to read the last page."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address of the page has the code in it
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>:root{{color-scheme:light dark}}body{{font:1.0625rem/1.6 system-ui,sans-serif;max-width:32rem;margin:12vh auto;
padding:0 1.25rem;overflow-wrap:anywhere}}h1{{font-size:1.5rem;line-height:1.3}}</style></head>
<body><main><h1>{title}</h1><p>{text}</p></main></body></html>
"""
_NOT_THIS = (400, "This is not the answer", "It belongs to another attempt to log in, or was used. See the terminal.")
_NOTHING_HERE = (404, "Nothing here", "This address only waits for the end of a log-in.")


class Receiver:
    """Waits for the one callback that belongs to its request. Whatever else comes is turned away, and ends nothing.

    Args:
        app: What the person logs in to.
        base_url: Of Zoom.
        port: Of this host; 0: any that is free.
        path: Where the callback comes to.

    Raises:
        ConfigurationError: On entry: the port cannot be used.
    """

    def __init__(self, app: UserOAuth, *, base_url: str, port: int, path: str) -> None:
        self._app = app
        self._base_url = base_url
        self._port = port
        self._path = path
        self._request: AuthorizationRequest | None = None
        loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[AuthorizationCodeGrant | ZoomAuthError] = loop.create_future()
        self._verdict: asyncio.Future[tuple[int, str, str]] = loop.create_future()
        application = web.Application()
        application.router.add_route("*", "/{anything:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_FAREWELL, handle_signals=False)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await to_its_end(web.TCPSite(self._runner, _HOST, self._port).start())
        except OSError as taken:
            failure = ConfigurationError(
                f"port {self._port} of {_HOST} cannot be used ({words_of(taken)}): end what listens there, or name "
                "another --port that the app is registered with"
            )
            await self._runner.cleanup()
        except BaseException:
            await self._runner.cleanup()
            raise
        else:
            port = self._runner.addresses[0][1]
            self._request = authorization_request(
                self._app,
                redirect_uri=f"http://{_HOST}:{port}{self._path}",
                randomness=secrets.token_bytes(RANDOMNESS),
                base_url=self._base_url,
            )
            return self
        raise failure

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.conclude("Not logged in", "The log-in was given up. Start it again.", status=503)
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where the browser has to go."""
        return "" if self._request is None else self._request.url

    async def answer(self) -> AuthorizationCodeGrant | ZoomAuthError:
        """Wait for what the browser brings: a code, or why there is none."""
        return await asyncio.shield(self._answer)

    def conclude(self, title: str, text: str, *, status: int = 200) -> None:
        """Say to the browser how it ended."""
        if not self._verdict.done():
            self._verdict.set_result((status, title, text))

    async def _handle(self, request: web.Request) -> web.Response:
        if request.method != "GET" or request.path != self._path or self._request is None:
            return _page(*_NOTHING_HERE)
        if self._answer.done():
            return _page(*_NOT_THIS)
        outcome = read_callback(request.rel_url.raw_query_string, self._request)
        if not _is_ours(outcome):
            return _page(*_NOT_THIS)
        self._answer.set_result(outcome)
        return _page(*await asyncio.shield(self._verdict))


def _is_ours(outcome: AuthorizationCodeGrant | ZoomAuthError) -> bool:
    """Tell whether a callback has our state: Zoom's refusals have a code, or are of the app."""
    return isinstance(outcome, AuthorizationCodeGrant | ConfigurationError) or outcome.error is not None


def _page(status: int, title: str, text: str) -> web.Response:
    content = _PAGE.format(title=html.escape(title), text=html.escape(text))
    return web.Response(status=status, text=content, content_type="text/html", headers=_HEADERS)
