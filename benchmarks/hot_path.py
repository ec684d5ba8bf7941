"""What `await manager.bearer()` costs on a held token, beside the least that any such method can cost.

    python -m benchmarks.hot_path [--rounds N]

All is measured in one run, in rounds that alternate, with the collector off; medians of the rounds and their spread.
"""

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable

from zoom_async_auth import TokenManager
from zoom_async_auth.clock import SystemClock
from zoom_async_auth.sandbox import Sandbox

CALLS = 20_000


class Bare:
    """The least: read the suspend-aware clock, compare, return."""

    def __init__(self) -> None:
        self.now = SystemClock().monotonic
        self.until = self.now() + 3600.0
        self.token = "x" * 600

    async def bearer(self) -> str:
        if self.now() < self.until:
            return self.token
        raise RuntimeError


class Constant:
    """An `async def` that returns a constant."""

    async def bearer(self) -> str:
        return "x"


async def _timed(call: Callable[[], Awaitable[str]]) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        await call()
    return (time.perf_counter() - started) / CALLS * 1e9


async def _measure(rounds: int) -> dict[str, list[float]]:
    async with Sandbox() as zoom, TokenManager(zoom.credentials, base_url=zoom.url) as manager:
        await manager.bearer()
        candidates = {"manager": manager.bearer, "bare": Bare().bearer, "constant": Constant().bearer}
        times: dict[str, list[float]] = {name: [] for name in candidates}
        gc.disable()
        for _ in range(rounds):
            for name, call in candidates.items():
                times[name].append(await _timed(call))
        gc.enable()
        return times


def _report(loop: str, times: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"{loop}:")
    for name, values in times.items():
        print(f"  {name:>9}  {medians[name]:7.1f} ns per call  ({min(values):.1f} to {max(values):.1f})")
    of_rounds = [manager / bare for manager, bare in zip(times["manager"], times["bare"], strict=True)]
    print(f"  manager / bare      {statistics.median(of_rounds):.3f}  (aim: at most 1.1)")
    print(f"  manager / constant  {medians['manager'] / medians['constant']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The price of bearer() on a held token.")
    parser.add_argument("--rounds", type=int, default=41)
    rounds = parser.parse_args().rounds
    _report("asyncio", asyncio.run(_measure(rounds)))
    try:
        import uvloop  # noqa: PLC0415 -- not on Windows
    except ImportError:
        print("uvloop is not installed: pip install uvloop")
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        _report("uvloop", runner.run(_measure(rounds)))


if __name__ == "__main__":
    main()
