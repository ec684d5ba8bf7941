"""A TCP server that does what no HTTP server would: it hangs, drips, resets, and shows the bytes that it got."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

TOKEN = b'{"access_token":"the-token","token_type":"bearer","expires_in":3599}'


class RawServer:
    """What it saw, and where it is.

    Attributes:
        url: Where it listens.
        requests: The bytes of each request that was read.
        connections: How many there were.
        seen: Set once a request was read.
    """

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[bytes] = []
        self.connections = 0
        self.seen = asyncio.Event()

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """Read one request with its body."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length:")), 0
        )
        self.requests.append(head + await reader.readexactly(length))
        self.seen.set()
        return self.requests[-1]


@asynccontextmanager
async def raw_server(*behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Serve each connection by the next behaviour; the last one serves all that follow."""
    server = RawServer()
    left = list(behaviours)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        behaviour = left.pop(0) if len(left) > 1 else left[0]
        try:
            await behaviour(_Recording(reader, server), writer)
        except (ConnectionError, EOFError, asyncio.CancelledError):  # EOFError: given up before it was sent
            pass
        finally:
            tasks.discard(task)
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{port}"
    try:
        yield server
    finally:
        listening.close()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(set(tasks))


class _Recording(asyncio.StreamReader):
    """Reads like the original, and notes whole requests."""

    def __init__(self, original: asyncio.StreamReader, server: RawServer) -> None:
        self._original = original
        self._server = server

    async def request(self) -> bytes:
        return await self._server.read(self._original)


async def request(reader: asyncio.StreamReader) -> bytes:
    """Read the request of a connection, and have it noted."""
    assert isinstance(reader, _Recording)
    return await reader.request()


def answers(body: bytes = TOKEN, *, status: str = "200 OK", headers: str = "") -> Behaviour:
    """Answer, once."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)
        await writer.drain()

    return behave


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the request, and never answer."""
    del writer
    await request(reader)
    await asyncio.Event().wait()


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one byte at a time."""
    await request(reader)
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(TOKEN)}\r\n\r\n".encode())
    for byte in TOKEN:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.1)


async def never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with a body without end."""
    await request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        await writer.drain()


def resets(*, after_reading: bool, answer: bytes = b"") -> Behaviour:
    """Close the connection by RST: before or after the request was read, with a part of an answer."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if after_reading:
            await request(reader)
            writer.write(answer)
            await writer.drain()
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return behave
