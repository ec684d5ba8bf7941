"""What it costs to wake many callers who wait for one token, beside a bare `asyncio.Event`.

    python -m benchmarks.waking [--callers N] [--rounds N]

From the moment at which all wait to the moment at which all have gone on; the time of the server is not part of it.
"""

import argparse
import asyncio
import gc
import statistics
import time

from zoom_async_auth import TokenManager, TokenUnavailableError
from zoom_async_auth.oauth.credentials import ServerToServer
from zoom_async_auth.oauth.wire import Answer

CREDENTIALS = ServerToServer(account_id="account", client_id="client", client_secret="secret")
ANSWER = Answer(
    status=200, headers={}, body=b'{"access_token":"' + b"x" * 600 + b'","token_type":"bearer","expires_in":3599}'
)


class Gate:
    """A transport that answers when it is told to."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.requests = 0

    async def send(self, url: str, headers: object, body: bytes, timeout: float) -> Answer:
        self.requests += 1
        await self.opened.wait()
        return ANSWER


async def _manager_round(callers: int) -> float:
    gate = Gate()
    async with TokenManager(CREDENTIALS, transport=gate) as manager:
        tasks = [asyncio.create_task(manager.bearer()) for _ in range(callers)]
        await asyncio.sleep(0.05)
        started = time.perf_counter()
        gate.opened.set()
        await asyncio.wait(tasks)
        elapsed = time.perf_counter() - started
    if gate.requests != 1:
        raise TokenUnavailableError("one request was expected")
    return elapsed


async def _event_round(callers: int) -> float:
    event = asyncio.Event()

    async def wait() -> str:
        await event.wait()
        return "x"

    tasks = [asyncio.create_task(wait()) for _ in range(callers)]
    await asyncio.sleep(0.05)
    started = time.perf_counter()
    event.set()
    await asyncio.wait(tasks)
    return time.perf_counter() - started


async def _measure(callers: int, rounds: int) -> None:
    manager, event = [], []
    for _ in range(rounds):
        gc.collect()
        manager.append(await _manager_round(callers))
        gc.collect()
        event.append(await _event_round(callers))
    print(f"{callers} callers, {rounds} rounds")
    print(
        f"  manager  {statistics.median(manager) * 1e3:8.2f} ms  ({min(manager) * 1e3:.2f} to {max(manager) * 1e3:.2f})"
    )
    print(f"  event    {statistics.median(event) * 1e3:8.2f} ms  ({min(event) * 1e3:.2f} to {max(event) * 1e3:.2f})")
    ratios = [ours / theirs for ours, theirs in zip(manager, event, strict=True)]
    print(f"  manager / event  {statistics.median(ratios):.2f}  (aim: at most 1.5)")


def main() -> None:
    parser = argparse.ArgumentParser(description="The price of waking all who wait for a token.")
    parser.add_argument("--callers", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    asyncio.run(_measure(options.callers, options.rounds))


if __name__ == "__main__":
    main()
