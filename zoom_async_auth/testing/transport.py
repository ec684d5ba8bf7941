"""The way to a sandbox's Zoom without sockets: for tests in virtual time, where a day passes in milliseconds."""

import asyncio
from collections.abc import Mapping

from zoom_async_auth.errors import TokenUnavailableError
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.sandbox.zoom import Zoom


class MemoryTransport:
    """A `Transport` to a `Zoom` in this process: `TokenManager(..., transport=MemoryTransport(zoom))`.

    Args:
        zoom: Who answers.
    """

    def __init__(self, zoom: Zoom) -> None:
        self._zoom = zoom

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        """Send one POST; the answer comes `zoom.latency` seconds later, or never, if that is beyond `timeout`."""
        reply = self._zoom.post(url.removeprefix(self._zoom.url), headers, body)
        if self._zoom.latency > timeout:
            await asyncio.sleep(timeout)
            raise TokenUnavailableError("no answer from the token endpoint: TimeoutError", in_doubt=True)
        await asyncio.sleep(self._zoom.latency)
        return Answer(status=reply.status, headers=reply.headers, body=reply.body)
