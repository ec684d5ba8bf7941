"""Zoom's hosts and others on loopback: under their names, with certificates, on the ports that the rules are about."""

import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import httpx
import trustme
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.typedefs import Handler

from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.sandbox.faults import Reply

NAMES = ("zoom.us", "*.zoom.us", "evil.example", "zoom.us.evil.example")


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the servers show, and what makes clients trust it."""

    shown: ssl.SSLContext
    trusted: ssl.SSLContext


def certificates() -> Certificates:
    authority = trustme.CA()
    shown, trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(*NAMES).configure_cert(shown)
    authority.configure_trust(trusted)
    return Certificates(shown=shown, trusted=trusted)


@dataclass(frozen=True, slots=True)
class Hosts(AbstractResolver):
    """Where each name and port really is. All names are one server, which is told them by the Host header.

    Attributes:
        certificates: Of all hosts.
        ports: Where a port is on loopback.
    """

    certificates: Certificates
    ports: dict[int, int] = field(default_factory=dict)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        place = ResolveResult(
            hostname=host, host="127.0.0.1", port=self.ports[port], family=socket.AF_INET, proto=0, flags=0
        )
        return [place]

    async def close(self) -> None:
        """Nothing is held."""

    def connector(self) -> aiohttp.TCPConnector:
        """Return what has an aiohttp session connect to the hosts."""
        return aiohttp.TCPConnector(resolver=self, ssl=self.certificates.trusted)

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return what has an httpx client connect to the hosts."""
        return _Transport(self)


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._transport = httpx.AsyncHTTPTransport(verify=hosts.certificates.trusted)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        port = request.url.port or {"https": 443, "http": 80}[request.url.scheme]
        sent = httpx.Request(
            request.method,
            request.url.copy_with(host="127.0.0.1", port=self._hosts.ports[port]),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.host},
        )
        return await self._transport.handle_async_request(sent)

    async def aclose(self) -> None:
        await self._transport.aclose()


@asynccontextmanager
async def serve(handler: Handler, known: Certificates) -> AsyncIterator[Hosts]:
    """Serve all hosts by `handler`: https on 443 and 8443, http on 80."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=known.shown).start()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        (_, https), (_, http) = runner.addresses
        yield Hosts(known, {443: https, 8443: https, 80: http})
    finally:
        await runner.cleanup()


def counted(zoom: Zoom) -> Counter[str]:
    """Have a sandbox count the calls to `/v2/users`, by their Authorization header."""
    calls: Counter[str] = Counter()
    answer = zoom.users

    def users(authorization: str) -> Reply:
        calls[authorization] += 1
        return answer(authorization)

    zoom.users = users  # type: ignore[method-assign]
    return calls
