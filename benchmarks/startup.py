"""What importing the package and asking the command for help cost, beside a bare interpreter.

    python -m benchmarks.startup [--quick] [--json FILE]

Whole processes, in rounds that alternate.
"""

import subprocess
import sys
import time

from benchmarks.figures import Figure, run

BARE = "python -c pass"
PROGRAMS = {
    BARE: ["-c", "pass"],
    "import zoom_async_auth": ["-c", "import zoom_async_auth"],
    "zoom-async-auth --help": ["-m", "zoom_async_auth", "--help"],
    "from zoom_async_auth import TokenManager": ["-c", "from zoom_async_auth import TokenManager"],
    "import aiohttp": ["-c", "import aiohttp"],
}


def measure(*, quick: bool) -> list[Figure]:
    times: dict[str, list[float]] = {program: [] for program in PROGRAMS}
    for _ in range(3 if quick else 21):
        for program, arguments in PROGRAMS.items():
            times[program].append(_timed(arguments))
    whole = [
        Figure(what="a whole process", who=program, values=tuple(values), unit="ms")
        for program, values in times.items()
    ]
    more = [
        Figure(
            what="more than a bare interpreter",
            who=program,
            values=tuple(one - bare for one, bare in zip(times[program], times[BARE], strict=True)),
            unit="ms",
        )
        for program in PROGRAMS
        if program != BARE
    ]
    return whole + more


def _timed(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    run(measure)
