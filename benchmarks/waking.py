"""What it costs to wake many callers who wait for one token, beside a bare `asyncio.Event`.

    python -m benchmarks.waking [--quick] [--json FILE]

From the moment at which all wait to the moment at which all have gone on; the time of the server is not part of it.
The collector is off meanwhile: whose round it falls into is chance, and it takes longer than the waking.
"""

import asyncio
import gc
import time

from benchmarks.figures import Figure, ratios, run
from zoom_async_auth import TokenManager, TokenUnavailableError
from zoom_async_auth.oauth.credentials import ServerToServer
from zoom_async_auth.oauth.wire import Answer

CREDENTIALS = ServerToServer(account_id="account", client_id="client", client_secret="secret")
ANSWER = Answer(
    status=200, headers={}, body=b'{"access_token":"' + b"x" * 600 + b'","token_type":"bearer","expires_in":3599}'
)
OURS = "zoom_async_auth"


class Gate:
    """A transport that answers when it is told to."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.requests = 0

    async def send(self, url: str, headers: object, body: bytes, timeout: float) -> Answer:
        self.requests += 1
        await self.opened.wait()
        return ANSWER


def measure(*, quick: bool) -> list[Figure]:
    if quick:
        return asyncio.run(_woken(10_000, rounds=3))
    return asyncio.run(_woken(10_000, rounds=21)) + asyncio.run(_woken(100_000, rounds=7))


async def _woken(callers: int, *, rounds: int) -> list[Figure]:
    ours, bare = [], []
    for _ in range(rounds):
        gc.collect()
        ours.append(await _by_a_token(callers))
        gc.collect()
        bare.append(await _by_an_event(callers))
    what = f"{callers:,} callers woken"
    return [
        Figure(what=what, who=OURS, values=tuple(ours), unit="ms"),
        Figure(what=what, who="a bare asyncio.Event", values=tuple(bare), unit="ms"),
        Figure(what=f"{what}: beside the event", who=OURS, values=ratios(ours, bare), unit="times", aim="at most 1.3"),
    ]


async def _by_a_token(callers: int) -> float:
    gate = Gate()
    async with TokenManager(CREDENTIALS, transport=gate) as manager:
        elapsed = await _woken_by(gate.opened, [asyncio.create_task(manager.bearer()) for _ in range(callers)])
    if gate.requests != 1:
        raise TokenUnavailableError("one request was expected")
    return elapsed


async def _by_an_event(callers: int) -> float:
    event = asyncio.Event()

    async def wait() -> str:
        await event.wait()
        return "x"

    return await _woken_by(event, [asyncio.create_task(wait()) for _ in range(callers)])


async def _woken_by(event: asyncio.Event, tasks: list[asyncio.Task[str]]) -> float:
    await asyncio.sleep(0.05)  # until all wait
    gc.disable()
    started = time.perf_counter()
    event.set()
    await asyncio.wait(tasks)
    elapsed = time.perf_counter() - started
    gc.enable()
    return elapsed * 1000


if __name__ == "__main__":
    run(measure)
