"""The manager beside the libraries that people would use instead, against one endpoint that answers after 50 ms.

    python -m benchmarks.side_by_side [--quick] [--json FILE] [--only SCENARIO] [--who NAME]

Each library is used as its documentation says, by an adapter in `benchmarks/peers`, and shorter tokens than its authors
had in mind are made fair to it: see `peers/peer.py`. A dash says that it lacks the thing, or why it was not measured.
What is not installed is left out: `pip install --group benchmarks`; for Zoom's own client see `peers/with_rivet.py`.

cached     a call while a token is held
stampede   many callers at once, without a token
renewals   200 callers who ask all the time, over several lives of a token
outage     the endpoint answers 500 while the token that is held is valid, but due for renewal
cancelled  the caller who fetches is cancelled, when the endpoint has spent a one-time refresh token
processes  eight processes that were given the same one-time refresh token
starting   the import beside a bare interpreter, and what is installed
"""

import argparse
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

import zoom_async_auth
from benchmarks.figures import Figure, dump, ratios, table
from benchmarks.peers import worker
from benchmarks.peers.registry import CANDIDATES, COMPARE, CONSTANT, SLEEP, Candidate

Outcomes = dict[str, list[worker.Outcome]]
"""By candidate, one for each round; none if it cannot do it."""

_FEW = 100
"""Callers up to which neither memory nor failures tell anything."""
_MANY = 10_000
"""Callers whose time is taken in rounds, one candidate at a time."""
_SLOW = 2.0
"""Seconds for 10,000 callers, from which on 100,000 are not tried."""

BLOCKS = "synchronous: the loop stands still while it fetches, and nobody can be cancelled"
CANNOT_REFRESH = "does not refresh with a refresh token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all scenarios have.

    Attributes:
        maker: Where endpoints are made.
        quick: Whether it is for a look only.
        candidates: Who is measured.
    """

    maker: str
    quick: bool
    candidates: Sequence[Candidate]

    def rounds(
        self, scenario: str, who: Sequence[Candidate], *, times: int, at_once: int, **options: object
    ) -> Outcomes:
        """Have each candidate run a scenario several times, interleaved, so many at the same time."""
        with _processes(at_once) as pool:
            running = [
                (candidate.name, pool.submit(worker.run, scenario, self.maker, [candidate], options))
                for _ in range(times)
                for candidate in who
            ]
        outcomes: Outcomes = {candidate.name: [] for candidate in who}
        for name, outcome in running:
            error = outcome.exception()
            if error is None:
                outcomes[name].append(outcome.result())
            else:
                print(f"{scenario} of {name}: {error!r}", file=sys.stderr)
        return outcomes


def _processes(at_once: int) -> ProcessPoolExecutor:
    """Return what runs each task in a process of its own, forked from one that has imported all candidates."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([worker.__name__, *(candidate.module for candidate in CANDIDATES)])
    return ProcessPoolExecutor(at_once, mp_context=context, max_tasks_per_child=1)


def _figures(
    who: Sequence[Candidate],
    outcomes: Outcomes,
    what: str,
    key: str,
    unit: str = "",
    *,
    scale: float = 1.0,
    lacks: Mapping[str, str] | None = None,
) -> list[Figure]:
    """Return one figure for each. What has no unit is a count of requests or failures, as good through a pipe."""
    return [
        Figure(
            what=what,
            who=candidate.title,
            values=tuple(
                scale * outcome[key] for outcome in outcomes.get(candidate.name, ()) if not (unit and candidate.remote)
            ),
            unit=unit,
            aim=(lacks or {}).get(candidate.name, candidate.note),
        )
        for candidate in who
    ]


def _elsewhere(bench: Bench, what: str) -> list[Figure]:
    """Return dashes for those who run in no process that is measured."""
    remote = [candidate for candidate in bench.candidates if candidate.remote]
    return [Figure(what=what, who=candidate.title, values=(), unit="", aim=candidate.note) for candidate in remote]


def cached(bench: Bench) -> list[Figure]:
    here = [candidate for candidate in bench.candidates if not candidate.remote]
    who = (CONSTANT, COMPARE, *here)
    figures = []
    for loop in ("asyncio", "uvloop"):
        rounds, calls = (5, 300) if bench.quick else (21, 500)
        options = {"rounds": rounds, "calls": calls, "uvloop": loop == "uvloop"}
        with _processes(1) as pool:
            times = pool.submit(worker.run, "cached", bench.maker, who, options).result()
        what = f"cached call on {loop}, times an awaited constant"
        figures += [
            Figure(
                what=what,
                who=candidate.title,
                values=ratios(times[candidate.name], times[CONSTANT.name]),
                unit="times",
                aim=f"{sorted(times[candidate.name])[rounds // 2]:,.0f} ns",
            )
            for candidate in who
        ]
        figures += _elsewhere(bench, what)
    return figures


def stampede(bench: Bench) -> list[Figure]:
    who = (SLEEP, *bench.candidates)
    lacks: dict[str, str] = {}
    figures = []
    for callers in (_FEW, _MANY) if bench.quick else (1, _FEW, _MANY, 100_000):
        able = [candidate for candidate in who if candidate.name not in lacks]
        alone = not bench.quick and callers == _MANY
        outcomes = bench.rounds("stampede", able, times=3 if alone else 1, at_once=1 if alone else 2, callers=callers)
        said = f"{callers:,} cold callers"
        figures += _figures(bench.candidates, outcomes, f"{said}: requests", "requests", lacks=lacks)
        figures += _figures(
            who, outcomes, f"{said}: time beyond the endpoint's latency", "seconds", "ms", scale=1e3, lacks=lacks
        )
        if callers > _FEW:
            figures += _figures(who, outcomes, f"{said}: growth of the process", "MB", "MB", lacks=lacks)
            figures += _figures(bench.candidates, outcomes, f"{said}: calls that failed", "failed", lacks=lacks)
        for name, rounds in outcomes.items():
            if not rounds:
                continue
            requests, seconds = max(one["requests"] for one in rounds), min(one["seconds"] for one in rounds)
            if requests > 1:
                lacks[name] = f"not tried: {requests} requests for {callers} callers"
            elif seconds > _SLOW:
                lacks[name] = f"not tried: {seconds:.1f} s for {callers:,} callers"
    return figures


def renewals(bench: Bench) -> list[Figure]:
    who = (CONSTANT, *bench.candidates)
    lifetime, seconds = (3, 4.5) if bench.quick else (4, 11.0)
    outcomes = bench.rounds(
        "renewals", who, times=1, at_once=8 if bench.quick else 4, lifetime=lifetime, seconds=seconds
    )
    of = f"renewals: {seconds:g} s of tokens that live {lifetime} s, 200 callers: "
    figures = _figures(who, outcomes, f"{of}that waited more than 20 ms", "waited", "calls")
    for key, name in (("p50", "half of all calls"), ("p99", "99 %"), ("p99.9", "99.9 %"), ("max", "all")):
        figures += _figures(who, outcomes, f"{of}{name} took at most", key, "ms", scale=1e3)
    for key, name in (
        ("expired", "expired tokens handed out"),
        ("failed", "calls that failed"),
        ("requests", "requests"),
    ):
        figures += _figures(bench.candidates, outcomes, of + name, key)
    return figures


def outage(bench: Bench) -> list[Figure]:
    who = (CONSTANT, *bench.candidates)
    lifetime = 4 if bench.quick else 10
    outcomes = bench.rounds("outage", who, times=1, at_once=8 if bench.quick else 5, lifetime=lifetime)
    of = f"outage of {0.45 * lifetime:g} s, token valid, 100 callers: "
    return [
        *_figures(bench.candidates, outcomes, f"{of}calls that failed", "failed"),
        *_figures(who, outcomes, f"{of}the longest a call took", "max", "ms", scale=1e3),
        *_figures(bench.candidates, outcomes, f"{of}requests", "requests"),
    ]


def cancelled(bench: Bench) -> list[Figure]:
    lacks = {candidate.name: BLOCKS for candidate in bench.candidates if candidate.blocks}
    lacks |= {candidate.name: CANNOT_REFRESH for candidate in bench.candidates if not candidate.refreshes}
    able = [candidate for candidate in bench.candidates if candidate.name not in lacks]
    outcomes = bench.rounds("cancelled", able, times=1 if bench.quick else 3, at_once=9)
    of = "cancelled leader, one-time refresh token: "
    return [
        *_figures(bench.candidates, outcomes, f"{of}of 99 others are served", "served", lacks=lacks),
        *_figures(bench.candidates, outcomes, f"{of}requests", "requests", lacks=lacks),
        *_figures(
            bench.candidates,
            outcomes,
            f"{of}the grant lives at the next refresh (1) or not (0)",
            "alive",
            lacks=lacks,
        ),
    ]


def processes(bench: Bench) -> list[Figure]:
    lacks = {candidate.name: CANNOT_REFRESH for candidate in bench.candidates if not candidate.refreshes}
    able = [candidate for candidate in bench.candidates if candidate.name not in lacks]
    outcomes = bench.rounds(
        "processes", able, times=1 if bench.quick else 2, at_once=5, seconds=4.0 if bench.quick else 6.0
    )
    of = "8 processes, one one-time refresh token: "
    return [
        *_figures(bench.candidates, outcomes, f"{of}processes served in the end", "alive", lacks=lacks),
        *_figures(bench.candidates, outcomes, f"{of}refused refreshes", "invalid_grants", lacks=lacks),
        *_figures(bench.candidates, outcomes, f"{of}requests", "requests", lacks=lacks),
    ]


def starting(bench: Bench) -> list[Figure]:
    here = [candidate for candidate in bench.candidates if not candidate.remote]
    bare: list[float] = []
    times: dict[str, list[float]] = {candidate.name: [] for candidate in here}
    for _ in range(1 if bench.quick else 5):
        bare.append(_started("pass"))
        for candidate in here:
            times[candidate.name].append(_started(candidate.imports) - bare[-1])
    what, size = "import, beyond a bare interpreter", "installed, with all that it depends on"
    figures = [Figure(what=what, who="floor: the interpreter itself", values=tuple(bare), unit="ms")]
    figures += [
        Figure(what=what, who=candidate.title, values=tuple(times[candidate.name]), unit="ms") for candidate in here
    ]
    figures += _elsewhere(bench, what)
    for candidate in here:
        sizes = _installed(candidate.packages)
        megabytes = sum(sizes.values()) / 1e6
        figures.append(
            Figure(what=size, who=candidate.title, values=(megabytes,), unit="MB", aim=f"{len(sizes)} packages")
        )
    return figures + _elsewhere(bench, size)


def _started(program: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)
    return (time.perf_counter() - began) * 1e3


def _installed(packages: Iterable[str]) -> dict[str, int]:
    """Return the sizes in bytes of packages and of all that they depend on here, by name."""
    sizes: dict[str, int] = {}
    seen: set[str] = set()
    todo = list(packages)
    while todo:
        text = todo.pop()
        wanted = Requirement(text)
        wanted_of = f"{wanted.name}{sorted(wanted.extras)}"
        if wanted_of in seen:
            continue
        seen.add(wanted_of)
        package = distribution(wanted.name)
        sizes[package.metadata["Name"].lower().replace("_", "-")] = _size(package)
        for needed in map(Requirement, package.requires or ()):
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in wanted.extras or {""}
            ):
                needed.marker = None
                todo.append(str(needed))
    return sizes


def _size(package: Distribution) -> int:
    if package.metadata["Name"] == "zoom_async_auth":  # a development install has no files of its own
        files = Path(zoom_async_auth.__file__).parent.rglob("*.py")
    else:
        files = (Path(str(file.locate())) for file in package.files or () if file.suffix != ".pyc")
    return sum(file.stat().st_size for file in files if file.is_file())


SCENARIOS: dict[str, Callable[[Bench], list[Figure]]] = {
    scenario.__name__: scenario for scenario in (cached, stampede, renewals, outage, cancelled, processes, starting)
}


def measure(*, quick: bool, only: Sequence[str] = tuple(SCENARIOS), who: Sequence[str] = ()) -> list[Figure]:
    """Take the figures.

    Args:
        quick: For a look only.
        only: The names of scenarios.
        who: The names of candidates; all if there are none.
    """
    candidates = [candidate for candidate in CANDIDATES if candidate.installed and (not who or candidate.name in who)]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers.endpoint"], stdout=subprocess.PIPE, text=True
    ) as endpoint:
        if endpoint.stdout is None:
            raise RuntimeError
        bench = Bench(maker=endpoint.stdout.readline().strip(), quick=quick, candidates=candidates)
        try:
            return [figure for name in only for figure in _measured(name, bench)]
        finally:
            endpoint.terminate()


def _measured(name: str, bench: Bench) -> list[Figure]:
    began = time.monotonic()
    figures = SCENARIOS[name](bench)
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer rounds: for a look")
    parser.add_argument("--json", type=Path, help="keep the figures in this file, too")
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="a scenario; may be given again")
    parser.add_argument(
        "--who", choices=[candidate.name for candidate in CANDIDATES], action="append", help="likewise, a candidate"
    )
    options = parser.parse_args()
    figures = measure(quick=options.quick, only=options.only or tuple(SCENARIOS), who=options.who or ())
    print(table(figures))
    if options.json:
        dump(figures, options.json)


if __name__ == "__main__":
    main()
