"""What `await manager.bearer()` costs on a held token, beside the least that any such method can cost.

    python -m benchmarks.hot_path [--quick] [--json FILE]

On asyncio and on uvloop; in short rounds that alternate, with the collector off.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

from benchmarks.figures import Figure, ratios, run
from benchmarks.peers.floor import Compare, Constant
from zoom_async_auth import TokenManager
from zoom_async_auth.sandbox import Sandbox

try:
    import uvloop
except ImportError:  # there is none for Windows
    uvloop = None  # type: ignore[assignment]

CALLS = 2000
OURS = "zoom_async_auth"
BARE = "a method that reads the clock, compares, returns"
CONSTANT = "a method that returns a constant"


def measure(*, quick: bool) -> list[Figure]:
    rounds = 51 if quick else 501
    figures = _on("asyncio", asyncio.new_event_loop, rounds)
    if uvloop is None:
        return [*figures, Figure(what="the same on uvloop", who=OURS, values=(), unit="ns", aim="not installed")]
    return figures + _on("uvloop", uvloop.new_event_loop, rounds)


def _on(loop: str, new_loop: Callable[[], asyncio.AbstractEventLoop], rounds: int) -> list[Figure]:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        times = runner.run(_times(rounds))
    what = f"bearer() on a held token, {loop}"
    return [
        *(Figure(what=what, who=who, values=tuple(values), unit="ns") for who, values in times.items()),
        Figure(
            what=f"{what}: beside the bare method",
            who=OURS,
            values=ratios(times[OURS], times[BARE]),
            unit="times",
            aim="at most 1.05",
        ),
    ]


async def _times(rounds: int) -> dict[str, list[float]]:
    async with Sandbox() as zoom, TokenManager(zoom.credentials, base_url=zoom.url) as manager:
        await manager.bearer()
        candidates = {OURS: manager.bearer, BARE: Compare().bearer, CONSTANT: Constant().bearer}
        times: dict[str, list[float]] = {who: [] for who in candidates}
        gc.disable()
        for _ in range(rounds):
            for who, call in candidates.items():
                times[who].append(await _timed(call))
        gc.enable()
        return times


async def _timed(call: Callable[[], Awaitable[str]]) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        await call()
    return (time.perf_counter() - started) / CALLS * 1e9


if __name__ == "__main__":
    run(measure)
