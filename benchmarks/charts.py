"""Draws what the benchmarks have kept: SVG for the README, readable on light pages and on dark ones.

    python -m benchmarks.charts [FOLDER]          of the JSON files there, into the same folder: benchmarks/results

The same figures give the same bytes. What was not measured is left out.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Figure, load, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

OURS = "zoom_async_auth"
FLOOR = "floor: "
TEXT, ACCENT, OTHERS = "#737d88", "#2f81f7", "#8c959f"
"""Text in a tone that is read on white and on black; the accent is for ours alone."""
FAINT = 0.45
STYLE: dict[Any, Any] = {  # of matplotlib's own key type, which only it has
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "zoom_async_auth",
    "font.size": 9,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Bars of one thing that was measured of all.

    Attributes:
        what: A pattern of `Figure.what`.
        title: What the reader is told.
        log: Whether the scale is logarithmic.
    """

    what: str
    title: str
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Panels side by side, with a row for each one that was measured, in the order of the first panel.

    Attributes:
        name: Of the file.
        title: One sentence.
        panels: From left to right.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]


CHARTS = (
    Chart(
        name="hot-call",
        title="A call while a token is held",
        panels=(Panel(what="cached call on asyncio*", title="times an awaited constant", log=True),),
    ),
    Chart(
        name="stampede",
        title="Many callers at once, without a token",
        panels=(
            Panel(what="10,000 cold callers: time*", title="10,000: ms beyond the endpoint's", log=True),
            Panel(what="10,000 cold callers: growth*", title="10,000: MB of memory", log=True),
            Panel(what="100 cold callers: requests", title="100: token requests", log=True),
        ),
    ),
    Chart(
        name="trouble",
        title="The endpoint is down while the token is valid; the caller who fetches is cancelled",
        panels=(
            Panel(what="outage*calls that failed", title="failed calls in the outage"),
            Panel(what="outage*longest*", title="longest call in the outage, ms", log=True),
            Panel(what="cancelled leader*others are served", title="served after a cancellation, of 99"),
        ),
    ),
)


def can_draw() -> bool:
    """Tell whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(source: Path, target: Path) -> None:
    """Draw the charts of the figures in `source` into `target`."""
    import matplotlib as mpl  # noqa: PLC0415 -- the other benchmarks need none

    target.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, picture in _pictures(source):
            path = target / f"{name}.svg"
            picture.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})
            print(f"drawn: {path.name}")


def _pictures(source: Path) -> Iterator[tuple[str, "Picture"]]:
    beside = _kept(source / "side_by_side.json")
    for chart in CHARTS:
        if any(_chosen(beside, panel) for panel in chart.panels):
            yield chart.name, _bars(chart, beside)
    growth = [figure for figure in _kept(source / "pool.json") if figure.what == "a renewal among ever more identities"]
    if growth:
        yield "growth", _growth(growth)


def _kept(path: Path) -> list[Figure]:
    return load(path) if path.exists() else []


def _chosen(figures: Sequence[Figure], panel: Panel) -> dict[str, Figure]:
    return {figure.who: figure for figure in figures if fnmatchcase(figure.what, panel.what)}


def _bars(chart: Chart, figures: Sequence[Figure]) -> "Picture":
    panels = [_chosen(figures, panel) for panel in chart.panels]
    rows = sorted(dict.fromkeys(who for panel in panels for who in panel), key=lambda who: _rank(who, panels[0]))
    picture = _picture(1.8 + 2.6 * len(panels) + 0.8 / len(panels), 0.7 + 0.24 * len(rows), chart.title)
    all_axes = picture.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel, chosen in zip(all_axes, chart.panels, panels, strict=True):
        _draw_bars(axes, panel, [chosen.get(who) for who in rows])
    first = all_axes[0]
    first.set_yticks(range(len(rows)), rows)
    first.invert_yaxis()
    for label, who in zip(first.get_yticklabels(), rows, strict=True):
        label.set_color(_colour(who))
        label.set_fontweight("bold" if _is_ours(who) else "normal")
    return picture


def _picture(width: float, height: float, title: str) -> "Picture":
    """Return an empty one, of so many inches."""
    from matplotlib.figure import Figure as Picture  # noqa: PLC0415 -- see above
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 -- see above

    picture = Picture(figsize=(width, height), layout=ConstrainedLayoutEngine(wspace=0.06))
    picture.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return picture


def _rank(who: str, panel: dict[str, Figure]) -> tuple[bool, float, bool]:
    """Order by value; floors come first, what has no value comes last; of equals ours is the first."""
    figure = panel.get(who)
    value = figure.median if figure is not None and figure.values else float("inf")
    return not who.startswith(FLOOR), value, not _is_ours(who)


def _draw_bars(axes: "Axes", panel: Panel, figures: Sequence[Figure | None]) -> None:
    axes.set_title(panel.title, fontsize=9, loc="left")
    known = [figure.median for figure in figures if figure is not None and figure.median > 0] or [1.0]
    start = min(known) / 2 if panel.log else 0.0
    if panel.log:
        axes.set_xscale("log")
    axes.set_xlim(start, max(known) * (8 if panel.log else 1.2))
    for row, figure in enumerate(figures):
        if figure is None:
            continue
        colour, end, text = _colour(figure.who), start, figure.aim.partition(":")[0]
        if figure.values:
            end, text = max(start, figure.median), short(figure.median)
            axes.barh(row, end - start, left=start, height=0.66, color=colour, alpha=_strength(figure.who))
        axes.annotate(
            text,
            (end, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=colour,
            style="normal" if figure.values else "italic",
        )
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_alpha(FAINT)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", which="both", bottom=False, labelbottom=False)


def _growth(figures: Sequence[Figure]) -> "Picture":
    sizes = [int(figure.who.replace(",", "")) for figure in figures]
    medians = [figure.median for figure in figures]
    below = [figure.median - min(figure.values) for figure in figures]
    above = [max(figure.values) - figure.median for figure in figures]
    picture = _picture(5.2, 2.6, "A renewal among ever more identities")
    axes = picture.subplots()
    axes.errorbar(sizes, medians, yerr=(below, above), fmt="o-", color=ACCENT, ecolor=OTHERS, capsize=3)
    for size, median in zip(sizes, medians, strict=True):
        axes.annotate(f"{median:,.0f}", (size, median), (6, 6), textcoords="offset points", fontsize=8, color=ACCENT)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [figure.who for figure in figures])
    axes.minorticks_off()
    axes.set_ylim(0, max(max(figure.values) for figure in figures) * 1.1)
    axes.set_xlabel("identities of one pool")
    axes.set_ylabel("µs of the processor")
    axes.grid(axis="y", color=OTHERS, alpha=0.25)
    return picture


def _is_ours(who: str) -> bool:
    return who.startswith(OURS)


def _colour(who: str) -> str:
    return ACCENT if _is_ours(who) else TEXT


def _strength(who: str) -> float:
    if _is_ours(who):
        return 1.0
    return FAINT / 2 if who.startswith(FLOOR) else FAINT


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw what the benchmarks have kept.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).with_name("results"))
    folder: Path = parser.parse_args().folder
    draw(folder, folder)


if __name__ == "__main__":
    main()
