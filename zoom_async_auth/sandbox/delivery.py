"""How a reply goes over a socket, where that is more than HTTP can say."""

import asyncio
import socket
import struct
from typing import assert_never

from aiohttp import web

from zoom_async_auth.sandbox.faults import Delivery, Reply

_LINGER_NOT = struct.pack("ii", 1, 0)
_LONGEST_HANG = 3600.0
_MOST_CHUNKS = 1_000_000


async def deliver(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Send a reply as it says; whoever hangs up ends it."""
    match reply.delivery:
        case Delivery.WHOLE:
            return response_of(reply)
        case Delivery.NEVER:
            await asyncio.sleep(_LONGEST_HANG)
            _reset(request)
        case Delivery.RESET:
            _reset(request)
        case Delivery.CUT:
            response = await _begun(request, reply)
            await response.write(reply.body[: len(reply.body) // 2])
            await asyncio.sleep(0.01)  # or the reset would overtake what was sent
            _reset(request)
        case Delivery.DRIP:
            response = await _begun(request, reply)
            for byte in reply.body:
                await response.write(bytes([byte]))
                await asyncio.sleep(reply.pace)
            return response
        case Delivery.ENDLESS:
            response = web.StreamResponse(status=reply.status, headers=reply.headers)
            await response.prepare(request)
            for _ in range(_MOST_CHUNKS):
                await response.write(reply.body)
            return response
        case _:
            assert_never(reply.delivery)
    return response_of(reply)  # to nobody: the connection is gone


def response_of(reply: Reply) -> web.Response:
    """Return what aiohttp sends."""
    return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


async def _begun(request: web.Request, reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = len(reply.body)
    await response.prepare(request)
    return response


def _reset(request: web.Request) -> None:
    """Close the connection by RST, without the farewell of TCP."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        transport.abort()
