"""A transport on real sockets that counts, and shows what a test needs to meet a renewal half-way."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

from zoom_async_auth import TokenUnavailableError
from zoom_async_auth.endpoint import AiohttpTransport
from zoom_async_auth.oauth.wire import Answer


class Wire:
    """Sends, and keeps count.

    Attributes:
        sent: How many requests of each grant; those that are for no token go by the last part of their path.
        leaves: Set when a request is about to leave.
        answered: Set when the server has acted and answered.
        to_lose: How many of the next answers are lost on their way back.
    """

    def __init__(self) -> None:
        self._inner = AiohttpTransport()
        self.sent: Counter[str] = Counter()
        self.leaves = asyncio.Event()
        self.answered = asyncio.Event()
        self.to_lose = 0

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, traceback)

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        form = parse_qs(body.decode())
        self.sent[form.get("grant_type", [url.rpartition("/")[2]])[0]] += 1
        self.leaves.set()
        answer = await self._inner.send(url, headers, body, timeout)
        self.answered.set()
        await asyncio.sleep(0)  # who waited for this has a turn before the answer is read
        if self.to_lose:
            self.to_lose -= 1
            raise TokenUnavailableError("the connection broke", in_doubt=True)
        return answer
