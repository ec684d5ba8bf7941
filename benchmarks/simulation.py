"""What simulated time costs in real time, beside bare sleeping on the same loop.

    python -m benchmarks.simulation [--callers N] [--pause SECONDS] [--rounds N]

A day of many callers, of whom each asks once in that many seconds; and ninety days of one identity. The manager reads
the loop's own clock: on any other one it looks every 30 s whether that ran ahead, as it does while a host is suspended,
and that is 259,200 times in ninety days.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine
from typing import Any

from zoom_async_auth import RenewalPolicy, TokenManager
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.testing import LoopClock, MemoryTransport, VirtualTimeLoop

DAY = 24 * 3600.0
POLICY = RenewalPolicy(renew_before=820.0, jitter=0.0)
"""31 renewals in a day."""


def _manager(policy: RenewalPolicy | None = None) -> tuple[TokenManager, Zoom]:
    clock = LoopClock.running()
    zoom = Zoom(latency=0.1, clock=clock.time)
    return TokenManager(
        zoom.credentials, base_url=zoom.url, transport=MemoryTransport(zoom), clock=clock, policy=policy
    ), zoom


async def _day(callers: int, pause: float) -> str:
    loop = asyncio.get_running_loop()
    asked = 0
    manager, zoom = _manager(POLICY)

    async def ask(start: float) -> None:
        nonlocal asked
        await asyncio.sleep(start)
        while loop.time() < DAY:
            await manager.bearer()
            asked += 1
            await asyncio.sleep(pause)

    async with manager:
        await asyncio.gather(*(ask(number * pause / callers) for number in range(callers)))
    return f"{asked} times asked, {zoom.token_requests} token requests"


async def _bare_day(callers: int, pause: float) -> str:
    loop = asyncio.get_running_loop()

    async def ask(start: float) -> None:
        await asyncio.sleep(start)
        while loop.time() < DAY:  # noqa: ASYNC110 -- sleeping is what is measured
            await asyncio.sleep(pause)

    await asyncio.gather(*(ask(number * pause / callers) for number in range(callers)))
    return "as many sleeps"


async def _ninety_days() -> str:
    manager, zoom = _manager(RenewalPolicy(jitter=0.0))
    async with manager:
        await asyncio.sleep(90 * DAY)
    return f"{zoom.token_requests} token requests"


async def _bare_ninety_days() -> str:
    for _ in range(90 * 24):
        await asyncio.sleep(3600.0)
    return "a sleep for each hour"


def main() -> None:
    parser = argparse.ArgumentParser(description="The price of simulated time.")
    parser.add_argument("--callers", type=int, default=1000)
    parser.add_argument("--pause", type=float, default=3600.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    programs: dict[str, Callable[[], Coroutine[Any, Any, str]]] = {
        "a day": lambda: _day(options.callers, options.pause),
        "  bare": lambda: _bare_day(options.callers, options.pause),
        "90 days": _ninety_days,
        "  bare ": _bare_ninety_days,
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    counts: dict[str, str] = {}
    for _ in range(options.rounds):
        for name, program in programs.items():
            started = time.perf_counter()
            with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
                counts[name] = runner.run(program())
            times[name].append(time.perf_counter() - started)
    for name, values in times.items():
        spread = f"({min(values):.2f} to {max(values):.2f})"
        print(f"{name:<8} {statistics.median(values):6.2f} s  {spread:<16} {counts[name]}")


if __name__ == "__main__":
    main()
