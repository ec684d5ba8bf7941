"""A Discord on loopback, as much of it as a bot needs to log in, to be told something, and to answer."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import WSMsgType, web

_DISPATCH, _HEARTBEAT, _IDENTIFY, _HELLO, _HEARTBEAT_ACK = 0, 1, 2, 10, 11
"""Opcodes of the gateway."""
_BOT = {"id": "1", "username": "bot", "discriminator": "0", "avatar": None, "bot": True}
_PERSON = {"id": "2", "username": "alice", "discriminator": "0", "avatar": None}
_APPLICATION = {
    "id": "1",
    "name": "bot",
    "description": "",
    "icon": None,
    "bot_public": False,
    "bot_require_code_grant": False,
    "verify_key": "",
    "owner": _PERSON,
    "flags": 0,
}


class Discord:
    """What a bot sees of Discord: one channel, in which one person talks to it.

    Attributes:
        url: Where its API is.
    """

    def __init__(self) -> None:
        self.url = ""
        self._gateway: asyncio.Future[web.WebSocketResponse] = asyncio.get_running_loop().create_future()
        self._said: asyncio.Queue[str] = asyncio.Queue()
        self._number = 1

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls) -> AsyncIterator["Discord"]:
        """Serve on a port that is free."""
        discord = cls()
        application = web.Application()
        application.add_routes(
            [
                web.get("/users/@me", discord._me),
                web.get("/oauth2/applications/@me", discord._application),
                web.post("/channels/{channel}/messages", discord._message),
                web.get("/", discord._connection),
            ]
        )
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handle_signals=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            discord.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield discord
        finally:
            await runner.cleanup()

    async def hears(self, text: str, *, within: float = 60.0) -> str:
        """Tell the bot something, once it is there; return what it answers."""
        async with asyncio.timeout(within):
            await self._dispatch("MESSAGE_CREATE", self._written(text, _PERSON))
            return await self._said.get()

    async def changes_its_answer(self, text: str, answer: str) -> str:
        """Tell the bot something until it no longer gives this answer; return what it says then."""
        async with asyncio.timeout(60):
            while (said := await self.hears(text)) == answer:  # noqa: ASYNC110 -- a bot says nothing unasked
                await asyncio.sleep(0.1)
        return said

    async def _connection(self, request: web.Request) -> web.WebSocketResponse:
        gateway = web.WebSocketResponse()
        await gateway.prepare(request)
        await gateway.send_json({"op": _HELLO, "d": {"heartbeat_interval": 30_000}})
        async for message in gateway:
            if message.type is not WSMsgType.TEXT:
                break
            told = json.loads(message.data)
            if told["op"] == _HEARTBEAT:
                await gateway.send_json({"op": _HEARTBEAT_ACK})
            elif told["op"] == _IDENTIFY:
                self._gateway.set_result(gateway)
                ready = {"user": _BOT, "guilds": [], "session_id": "1", "resume_gateway_url": f"{request.url}"}
                await self._dispatch("READY", {**ready, "application": {"id": "1", "flags": 0}})
        return gateway

    async def _dispatch(self, event: str, data: dict[str, Any]) -> None:
        gateway = await asyncio.shield(self._gateway)
        self._number += 1
        await gateway.send_json({"op": _DISPATCH, "t": event, "s": self._number, "d": data})

    async def _me(self, _: web.Request) -> web.Response:
        return _json(_BOT)

    async def _application(self, _: web.Request) -> web.Response:
        return _json(_APPLICATION)

    async def _message(self, request: web.Request) -> web.Response:
        text = (await request.json())["content"]
        self._said.put_nowait(text)
        return _json(self._written(text, _BOT))

    def _written(self, text: str, author: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        return {
            "id": f"{self._number}",
            "channel_id": "3",
            "author": author,
            "content": text,
            "timestamp": "2026-01-01T00:00:00+00:00",
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
            "pinned": False,
            "type": 0,
        }


def _json(content: object) -> web.Response:
    """Answer without a charset: with one, discord.py takes it for text."""
    return web.Response(body=json.dumps(content).encode(), headers={"Content-Type": "application/json"})
