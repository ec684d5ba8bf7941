"""Zoom's own client, which is for Node: it runs there, and calls go to it and back through a pipe.

https://github.com/zoom/rivet-javascript: each call of an endpoint gets a token first. It renews a minute ahead. RIVET
names a folder in which `npm install @zoom/rivet` was run. A call cannot be cancelled in there: a cancelled caller stops
waiting.
"""

import asyncio
import itertools
import json
import os
from dataclasses import asdict
from pathlib import Path

from benchmarks.peers.peer import Login

_LEEWAY = 60


class Rivet:
    """`client.endpoints.users.listUsers`, without the request itself."""

    async def open(self, login: Login) -> None:
        told = {**asdict(login), "token_url": login.told(_LEEWAY), "folder": None}
        self._node = await asyncio.create_subprocess_exec(
            *("node", str(Path(__file__).with_suffix(".mjs")), json.dumps(told)),
            cwd=os.environ["RIVET"],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._reader = asyncio.create_task(self._read())

    async def bearer(self) -> str:
        number = next(self._numbers)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        if self._node.stdin is not None:
            self._node.stdin.write(f"{number}\n".encode())
        return await answer

    async def _read(self) -> None:
        if self._node.stdout is None:
            return
        async for line in self._node.stdout:
            number, bearer, error = json.loads(line)
            answer = self._waiting.pop(number)
            if answer.cancelled():
                continue
            if error is None:
                answer.set_result(bearer.removeprefix("Bearer "))
            else:
                answer.set_exception(RuntimeError(error))

    async def close(self) -> None:
        if self._node.stdin is not None:
            self._node.stdin.close()
        await self._node.wait()
        await self._reader
