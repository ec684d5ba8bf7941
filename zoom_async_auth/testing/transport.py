"""The way to a sandbox's Zoom without sockets: for tests in virtual time, where a day passes in milliseconds."""

import asyncio
from collections.abc import Mapping
from typing import assert_never
from urllib.parse import urlsplit

from zoom_async_auth.errors import TokenUnavailableError
from zoom_async_auth.oauth.wire import MAX_BODY, Answer
from zoom_async_auth.sandbox.faults import Delivery, Reply
from zoom_async_auth.sandbox.zoom import Zoom


class MemoryTransport:
    """A `Transport` to a `Zoom` in this process: `TokenManager(..., transport=MemoryTransport(zoom))`.

    A fault that takes a socket shows as what aiohttp makes of it: an error that leaves it in doubt whether Zoom acted.

    Args:
        zoom: Who answers.
    """

    def __init__(self, zoom: Zoom) -> None:
        self._zoom = zoom

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        """Send one POST; the answer comes `zoom.latency` seconds later, or never, if that is beyond `timeout`."""
        reply = self._zoom.post(urlsplit(url).path, headers, body)
        takes = self._zoom.latency + _seconds(reply)
        await asyncio.sleep(min(takes, timeout))
        kind = "TimeoutError" if takes > timeout else _broken(reply)
        if kind is not None:
            raise TokenUnavailableError(f"no answer from the token endpoint: {kind}", in_doubt=True)
        endless = reply.delivery is Delivery.ENDLESS
        received = reply.body * (MAX_BODY // len(reply.body) + 1) if endless else reply.body
        return Answer(status=reply.status, headers=reply.headers, body=received)


def _seconds(reply: Reply) -> float:
    match reply.delivery:
        case Delivery.NEVER:
            return float("inf")
        case Delivery.DRIP:
            return reply.pace * len(reply.body)
        case Delivery.WHOLE | Delivery.RESET | Delivery.CUT | Delivery.ENDLESS:
            return 0.0
        case _:
            assert_never(reply.delivery)


def _broken(reply: Reply) -> str | None:
    match reply.delivery:
        case Delivery.RESET:
            return "ClientOSError"
        case Delivery.CUT:
            return "ClientPayloadError"
        case _:
            return None
