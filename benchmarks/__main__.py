"""All benchmarks, each in a process of its own; what they measure is kept as JSON, and drawn.

    python -m benchmarks                  wants its machine for itself; keeps benchmarks/results/
    python -m benchmarks --quick          a look at each; keeps nothing, unless told where by --into

Ends with 1 if one of them failed.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import charts

RESULTS = Path(__file__).with_name("results")
NAMES = ("hot_path", "waking", "renewal", "startup", "stores", "simulation", "pool", "fleet", "side_by_side")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run all benchmarks.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: for a look")
    parser.add_argument("--into", type=Path, metavar="FOLDER", help=f"keep figures and charts there ({RESULTS.name}/)")
    options = parser.parse_args()
    with _folder(options.into, quick=options.quick) as folder:
        failed = [name for name in NAMES if not _run(name, folder, quick=options.quick)]
        if charts.can_draw():
            charts.draw(folder, folder)
        else:
            print("no charts: matplotlib is not installed")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


@contextlib.contextmanager
def _folder(into: Path | None, *, quick: bool) -> Iterator[Path]:
    """Figures of a look must not take the place of those that the README tells."""
    if into is None and quick:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        yield into or RESULTS


def _run(name: str, folder: Path, *, quick: bool) -> bool:
    print(f"--- {name}", flush=True)
    started = time.perf_counter()
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(folder / f"{name}.json")]
    done = subprocess.run([*command, *(["--quick"] if quick else [])], check=False)
    print(f"--- {name}: {time.perf_counter() - started:.0f} s\n", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
