"""The FastAPI app of the README, and a tally of what each of its processes answered: `tests.processes.web_app:app`.

It is loaded from `app.py` in the folder that the server runs in; the tallies are written there, one for each process,
when the server ends it.
"""

import importlib
import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Tallied:
    """An ASGI app that counts the answers of another one, by path and status."""

    def __init__(self, inner: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self._inner = inner
        self._answers: Counter[str] = Counter()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            match message["type"]:
                case "http.response.start":
                    self._answers[f"{scope['path']} {message['status']}"] += 1
                case "lifespan.shutdown.complete":
                    self._write()
            await send(message)

        await self._inner(scope, receive, counted)

    def _write(self) -> None:
        Path(f"{os.getpid()}.tally").write_text(json.dumps(self._answers), encoding="utf-8")


app = Tallied(importlib.import_module("app").app)
