"""What simulated time costs in real time, beside bare sleeping on the same loop.

    python -m benchmarks.simulation [--quick] [--json FILE]

A day of a thousand callers, of whom each asks once in an hour; and ninety days of one identity. The manager reads the
loop's own clock: on any other one it looks every 30 s whether that ran ahead, as it does while a host is suspended,
and that is 259,200 times in ninety days.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.figures import Figure, run
from zoom_async_auth import RenewalPolicy, TokenManager
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.testing import LoopClock, MemoryTransport, VirtualTimeLoop

CALLERS = 1000
HOUR = 3600.0
DAY = 24 * HOUR
POLICY = RenewalPolicy(renew_before=820.0, jitter=0.0)
"""31 renewals in a day."""


def measure(*, quick: bool) -> list[Figure]:
    programs = {
        ("a day of 1,000 callers", "zoom_async_auth"): _day,
        ("a day of 1,000 callers", "bare sleeping"): _bare_day,
        ("90 days of one identity", "zoom_async_auth"): _ninety_days,
        ("90 days of one identity", "bare sleeping"): _bare_ninety_days,
    }
    times: dict[tuple[str, str], list[float]] = {program: [] for program in programs}
    counts: dict[tuple[str, str], str] = {}
    for _ in range(1 if quick else 5):
        for name, program in programs.items():
            taken, counts[name] = _timed(program)
            times[name].append(taken)
    return [
        Figure(what=f"{what}, in virtual time", who=who, values=tuple(values), unit="s", aim=counts[what, who])
        for (what, who), values in times.items()
    ]


def _timed(program: Callable[[], Coroutine[Any, Any, str]]) -> tuple[float, str]:
    started = time.perf_counter()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        count = runner.run(program())
    return time.perf_counter() - started, count


async def _day() -> str:
    loop = asyncio.get_running_loop()
    asked = 0
    manager, zoom = _manager(POLICY)

    async def ask(start: float) -> None:
        nonlocal asked
        await asyncio.sleep(start)
        while loop.time() < DAY:
            await manager.bearer()
            asked += 1
            await asyncio.sleep(HOUR)

    async with manager:
        await asyncio.gather(*(ask(number * HOUR / CALLERS) for number in range(CALLERS)))
    return f"{asked:,} times asked, {zoom.token_requests} token requests"


async def _bare_day() -> str:
    loop = asyncio.get_running_loop()

    async def ask(start: float) -> None:
        await asyncio.sleep(start)
        while loop.time() < DAY:  # noqa: ASYNC110 -- sleeping is what is measured
            await asyncio.sleep(HOUR)

    await asyncio.gather(*(ask(number * HOUR / CALLERS) for number in range(CALLERS)))
    return "as many sleeps"


async def _ninety_days() -> str:
    manager, zoom = _manager(RenewalPolicy(jitter=0.0))
    async with manager:
        await asyncio.sleep(90 * DAY)
    return f"{zoom.token_requests:,} token requests"


async def _bare_ninety_days() -> str:
    for _ in range(90 * 24):
        await asyncio.sleep(HOUR)
    return "a sleep for each hour"


def _manager(policy: RenewalPolicy) -> tuple[TokenManager, Zoom]:
    clock = LoopClock.running()
    zoom = Zoom(latency=0.1, clock=clock.time)
    return TokenManager(
        zoom.credentials, base_url=zoom.url, transport=MemoryTransport(zoom), clock=clock, policy=policy
    ), zoom


if __name__ == "__main__":
    run(measure)
