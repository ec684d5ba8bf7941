"""What a benchmark returns: figures with their spread, printed alike by all and kept as JSON.

A benchmark is a module with `measure(*, quick) -> list[Figure]`, and ends with `run(measure)`.
"""

import argparse
import json
import math
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing that was measured of one candidate.

    Attributes:
        what: What was measured: the same text for all who are compared.
        who: Of whom.
        values: One for each round; none if the candidate lacks the thing.
        unit: Of the values: "ns", "s", "MB", "requests", "times".
        aim: What we want of it, or what else a reader has to know.
    """

    what: str
    who: str
    values: tuple[float, ...]
    unit: str
    aim: str = ""

    @property
    def median(self) -> float:
        """The middle of the values; NaN if there are none."""
        return statistics.median(self.values) if self.values else math.nan

    def __str__(self) -> str:
        if not self.values:
            return "-"
        text = short(self.median)
        if min(self.values) != max(self.values):
            text += f" ({short(min(self.values))} to {short(max(self.values))})"
        return f"{text} {self.unit}".strip()


class Measure(Protocol):
    """Takes the figures of one benchmark; `quick` is for a look, not for the README."""

    def __call__(self, *, quick: bool) -> list[Figure]: ...


def short(value: float) -> str:
    """Return three digits of it, or all of a whole number."""
    if value == int(value) and abs(value) < 1e7:  # noqa: PLR2004
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004


def ratios(of: Sequence[float], to: Sequence[float]) -> tuple[float, ...]:
    """Return how many times the one is the other, round by round: both had the same noise."""
    return tuple(one / other for one, other in zip(of, to, strict=True))


def table(figures: Sequence[Figure]) -> str:
    """Return them as text, a block for each thing that was measured."""
    width = max((len(figure.who) for figure in figures), default=0)
    lines: list[str] = []
    what = None
    for figure in figures:
        if figure.what != what:
            what = figure.what
            lines += ["", what] if lines else [what]
        aim = f"   [{figure.aim}]" if figure.aim else ""
        lines.append(f"  {figure.who:<{width}}  {figure}{aim}")
    return "\n".join(lines)


def dump(figures: Sequence[Figure], path: Path) -> None:
    """Keep them as JSON, with the machine and the versions they were taken on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {"machine": _machine(), "figures": [asdict(figure) for figure in figures]}
    path.write_text(json.dumps(body, indent=1) + "\n")


def load(path: Path) -> list[Figure]:
    """Return what was kept."""
    return [
        Figure(**{**figure, "values": tuple(figure["values"])}) for figure in json.loads(path.read_text())["figures"]
    ]


def run(measure: Measure, *, parts: Mapping[str, Measure] | None = None) -> None:
    """Measure and print, as the command line says.

    Args:
        measure: Takes all figures.
        parts: Take some of them each; `--only` names one.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer rounds: for a look")
    parser.add_argument("--json", type=Path, help="keep the figures in this file, too")
    if parts:
        parser.add_argument("--only", choices=parts, help="a part of it")
    options = parser.parse_args()
    figures = (parts[options.only] if parts and options.only else measure)(quick=options.quick)
    print(table(figures))
    if options.json:
        dump(figures, options.json)


def _machine() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": str(os.cpu_count()),
        "processor": _processor(),
        **{name: version(name) for name in ("zoom_async_auth", "aiohttp", "anyio")},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
