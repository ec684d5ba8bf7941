"""A real fleet: processes that share one PostgreSQL, with a Redis in front, renew short tokens of very many identities.

    python -m benchmarks.fleet                    20,000 identities with tokens of 60 s, 4 processes, 3 minutes
    python -m benchmarks.fleet --kill-every 10    the same, while every 10 s one of the processes is killed by -9
    python -m benchmarks.fleet --quick            10 s, for a look

All processes use the same active identities, so they compete for each renewal; the others are only in the store. Zoom
is the sandbox, in a process of its own. At the end every identity is compared with what Zoom knows: it ends with 1 if
anything was renewed twice, or lost that could have been kept. What cannot be kept is a refresh token whose process was
killed between Zoom's answer and the commit.

The floor is the same POST by bare aiohttp, from one process to the same sandbox. The processor time of a renewal in the
workers has everything in it: their callers, the store, and all others who take the token over.
"""

import argparse
import asyncio
import itertools
import math
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.figures import Figure, dump, table
from benchmarks.fleet_city import City, Floor, Verdict, floor_of, settle, spent, verdict_of, zoom
from benchmarks.fleet_worker import ERRORS, EVENTS, Setup, Tally, key_of, longest_of, worker
from tests.processes.family import Child
from tests.stores.postgres import postgres
from tests.stores.redis_server import redis

LATENCY = 0.2
"""Of Zoom, in seconds: so long is a token on its way that a kill can lose."""
ACTIVE = 5
"""How many identities are active for each second that a token lives: some nine renewals a second. A machine that is
busy with something else needs fewer: when calls of the store take seconds renewals fail, and do not catch up."""
HEADROOM = 2.0
"""How many renewals a second a process may start, in multiples of the active identities by the life of a token: the
whole fleet needs less than two, and a turn is used up also by a token that a peer has just renewed."""


@dataclass
class Fleet:
    """The workers.

    Attributes:
        setup: What they are told.
        folder: Where they count.
        members: Those that run, with their tallies.
        tallies: Of all that ever ran.
        gone: Processor seconds of those that were killed.
        excused: Identities whose refresh token a killed worker had in hand.
        timing: Whether it is noted how long calls take.
    """

    setup: Setup
    folder: Path
    members: list[tuple[Child, Tally]] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    gone: float = 0.0
    excused: set[str] = field(default_factory=set)
    timing: bool = False

    async def start_one(self) -> None:
        """Start one more."""
        path = self.folder / f"{len(self.tallies)}"
        tally = Tally(path, self.setup.identities)
        self.members.append((await Child.of(worker, self.setup, path), tally))
        self.tallies.append(tally)
        tally.timing = self.timing

    def time_calls(self, *, wanted: bool) -> None:
        """Have it noted how long calls take, from now on, or no longer."""
        self.timing = wanted
        for tally in self.tallies:
            tally.timing = wanted

    async def loaded(self) -> None:
        """Wait until each has had a token of every active identity."""
        while any(tally.count("loaded") < self.setup.active for _, tally in self.members):  # noqa: ASYNC110 -- in silence
            await asyncio.sleep(0.1)

    async def kill_one(self) -> None:
        """Kill the one that has run for longest, and start another one."""
        child, tally = self.members.pop(0)
        seconds = spent(tally.count("pid"))
        child.signal(signal.SIGKILL)
        await child.ended()
        self.gone += seconds
        self.excused |= {key_of(number) for number, is_open in enumerate(tally.open) if is_open}
        await self.start_one()

    def seconds(self) -> float:
        """Return the processor time of all that ever ran."""
        pids = [tally.count("pid") for _, tally in self.members]
        return self.gone + sum(spent(pid) for pid in pids if pid)  # one that was just started has none yet

    async def close(self) -> list[int | None]:
        """Have all end in order; return their exit codes."""
        for child, _ in self.members:
            await child.tell("enough")
        return [await child.ended(within=60.0) for child, _ in self.members]

    def end(self) -> None:
        """End all that still run."""
        for child, _ in self.members:
            child.end()


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What happened while it was counted.

    Attributes:
        seconds: How long that was.
        kills: How many workers were killed.
        renewals: How many refreshes Zoom has answered with a token.
        processor: Processor seconds, by whose they are.
    """

    seconds: float
    kills: int
    renewals: int
    processor: dict[str, float]


async def _run(fleet: Fleet, city: City, pids: dict[str, int], options: argparse.Namespace) -> Course:
    for _ in range(options.processes):
        await fleet.start_one()
    async with asyncio.timeout(120):
        await fleet.loaded()

    def processor() -> dict[str, float]:
        return {"workers": fleet.seconds(), **{name: spent(pid) for name, pid in pids.items()}}

    begun, before, renewals = time.monotonic(), processor(), (await city.refreshes()).get("ok", 0)
    kills = 0
    fleet.time_calls(wanted=True)
    while (left := begun + options.seconds - time.monotonic()) > 0:
        await asyncio.sleep(min(left, options.kill_every))
        if left > options.kill_every:
            await fleet.kill_one()
            kills += 1
    fleet.time_calls(wanted=False)
    return Course(
        seconds=time.monotonic() - begun,
        kills=kills,
        renewals=(await city.refreshes())["ok"] - renewals,
        processor={name: after - before[name] for name, after in processor().items()},
    )


def _percentile(times: list[int], share: float) -> float:
    """Return the time that so many of the calls did not exceed, in microseconds."""
    wanted = share * sum(times)
    for bucket, so_far in enumerate(itertools.accumulate(times)):
        if so_far >= wanted:
            return longest_of(bucket) / 1000
    return math.nan


def _one(what: str, who: str, value: float, unit: str = "", aim: str = "") -> Figure:
    return Figure(what=what, who=who, values=(value,), unit=unit, aim=aim)


def _costs(course: Course, floor: Floor, imported: float) -> list[Figure]:
    rate = course.renewals / course.seconds
    each = {name: seconds / course.renewals * 1e6 for name, seconds in course.processor.items()}
    busy = sum(course.processor.values()) / course.seconds / (os.cpu_count() or 1)
    what, price = "renewals", "processor time of a renewal"
    return [
        _one(what, "in all", course.renewals),
        _one(what, "a second", rate),
        _one(what, "machine busy", busy * 100, "%"),
        _one(what, "a second, at 100 %", rate / busy, aim="reckoned"),
        _one(what, "bare POSTs a second, one process", floor.rate),
        _one(what, "imports a second, one process", imported),
        *(_one(price, f"in the {name}", cost, "us") for name, cost in each.items()),
        _one(price, "a bare POST, in its process", floor.client * 1e6, "us", "the floor"),
        _one(price, "a bare POST, in the sandbox", floor.sandbox * 1e6, "us"),
        _one(price, "worker / bare POST", each["workers"] / floor.client / 1e6, "times"),
    ]


def _calls(tallies: list[Tally], counts: Counter[str]) -> list[Figure]:
    figures = []
    for what, first in (("bearer() of active identities", False), ("the first bearer() of one in a process", True)):
        times = [sum(column) for column in zip(*(tally.times(first=first) for tally in tallies), strict=True)]
        if not any(times):
            continue
        figures += [
            _one(what, "calls", sum(times)),
            *(
                _one(what, name, _percentile(times, share), "us")
                for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1.0))
            ),
        ]
    return [*figures, _one("what callers saw", "waited, after the first call", counts["waited"])]


def _troubles(counts: Counter[str], refreshes: Counter[str], verdict: Verdict, excused: int) -> list[Figure]:
    seen, fate = "what callers saw", "identities at the end"
    return [
        _one(seen, "expired tokens", counts["expired"], aim="0"),
        *(_one(seen, name, counts[name]) for name in ERRORS if counts[name]),
        *(_one("events", name, counts[name]) for name in EVENTS if counts[name]),
        *(_one("refreshes at Zoom", outcome, number) for outcome, number in sorted(refreshes.items())),
        _one(fate, "renewed twice", verdict.doubled, aim="0"),
        _one(fate, "lost that could be kept", verdict.lost + verdict.buried_alive, aim="0"),
        _one(fate, "in a killed worker's hand", excused),
        _one(fate, "of those lost with Zoom's answer", verdict.excused, aim="nobody can keep them"),
        _one(fate, "of those not resolved yet", verdict.unresolved, aim="0"),
    ]


def _complaints(
    counts: Counter[str], refreshes: Counter[str], verdict: Verdict, codes: list[int | None], *, kills: int
) -> list[str]:
    """Return what must not have happened."""
    wrong = {
        "were renewed twice": verdict.doubled,
        "lost a refresh token that could have been kept": verdict.lost,
        "were declared dead, and were alive": verdict.buried_alive,
        "are still in doubt": verdict.unresolved,
        "callers got expired tokens": counts["expired"],
        "grants died whose answer was not lost": counts["GrantDied"] - counts["answers lost"],
        "workers did not end in order": sum(code != 0 for code in codes),
    }
    if kills == 0:
        wrong["grants were declared dead"] = counts["GrantDied"]
        wrong["refreshes were refused"] = refreshes.total() - refreshes["ok"]
        wrong["callers got errors"] = sum(counts[name] for name in ERRORS)
    return [f"{number} {what}" for what, number in wrong.items() if number]


async def _measure(options: argparse.Namespace, folder: Path) -> tuple[list[Figure], list[str]]:
    """Return the figures, and what must not have happened."""
    child = await Child.of(zoom, options.lifetime, LATENCY)
    fleet = None
    try:
        city = await City.in_process(child)
        setup = Setup(
            record=postgres().database(),
            front=redis("redis").url,
            base_url=city.base_url,
            client_id=city.client_id,
            client_secret=city.client_secret,
            identities=options.identities,
            active=options.active,
            lifetime=options.lifetime,
            rate=HEADROOM * options.active / options.lifetime,
        )
        servers = {process.name(): process.pid for process in psutil.Process().children()}
        pids = {"sandbox": city.pid, "PostgreSQL": servers["postgres"], "Redis": servers["redis-server"]}
        floor = await floor_of(city)
        imported = await settle(setup, city)
        before = Counter(await city.refreshes())
        fleet = Fleet(setup, folder)
        course = await _run(fleet, city, pids, options)
        if course.kills:
            await asyncio.sleep(setup.policy.lease + setup.policy.doubt)  # then nothing is in doubt any more
        codes = await fleet.close()
        refreshes = Counter(await city.refreshes()) - before
        verdict = await verdict_of(setup, city, fleet.excused)
        counts = Counter[str]()
        for tally in fleet.tallies:
            counts.update(tally.counts)
        figures = [
            _one("the fleet", "identities", setup.identities),
            _one("the fleet", "active", setup.active),
            _one("the fleet", "processes", options.processes),
            _one("the fleet", "kills", course.kills),
            _one("the fleet", "time", course.seconds, "s"),
            *_costs(course, floor, imported),
            *_calls(fleet.tallies, counts),
            *_troubles(counts, refreshes, verdict, len(fleet.excused)),
        ]
        return figures, _complaints(counts, refreshes, verdict, codes, kills=course.kills)
    finally:
        if fleet is not None:
            fleet.end()
        child.end()


def main() -> None:
    parser = argparse.ArgumentParser(description="A real fleet, on servers of its own.")
    parser.add_argument("--identities", type=int, default=20_000)
    parser.add_argument("--active", type=int, help=f"by default {ACTIVE} for each second that a token lives")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--lifetime", type=float, default=60.0, help="of a token, in seconds")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--kill-every", type=float, default=math.inf, help="kill one process each so many seconds")
    parser.add_argument("--quick", action="store_true", help="10 s, 1,000 identities, tokens of 10 s: for a look")
    parser.add_argument("--json", type=Path, help="keep the figures in this file, too")
    options = parser.parse_args()
    if options.quick:
        options.identities, options.seconds, options.lifetime = 1000, 10.0, 10.0
    options.active = min(options.active or int(ACTIVE * options.lifetime), options.identities)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers end, too
    with tempfile.TemporaryDirectory() as folder:
        figures, complaints = asyncio.run(_measure(options, Path(folder)))
    print(table(figures))
    if options.json:
        dump(figures, options.json)
    if complaints:
        sys.exit("\n".join(complaints))


if __name__ == "__main__":
    main()
