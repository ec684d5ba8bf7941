"""What importing the package and asking the command for help cost, beside a bare interpreter.

    python -m benchmarks.startup [--rounds N]

Whole processes, in rounds that alternate; medians, their spread, and the difference to `python -c pass`.
"""

import argparse
import statistics
import subprocess
import sys
import time

PROGRAMS = {
    "bare": ["-c", "pass"],
    "import": ["-c", "import zoom_async_auth"],
    "--help": ["-m", "zoom_async_auth", "--help"],
    "manager": ["-c", "from zoom_async_auth import TokenManager"],
    "aiohttp": ["-c", "import aiohttp"],
}


def _timed(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - started) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description="The price of starting.")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, arguments in PROGRAMS.items():
            times[name].append(_timed(arguments))
    bare = statistics.median(times["bare"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:>8}  {median:6.0f} ms  ({min(values):.0f} to {max(values):.0f})  bare + {median - bare:.0f} ms")


if __name__ == "__main__":
    main()
