"""What one candidate does, in a process of its own.

A call is timed from the moment at which it was due: what a deaf event loop costs is its candidate's, too. An expired
token that is handed out is one that was: renewal is due a second ahead, so callers who are held up for more than that
can get one, where the times of real life would leave minutes.
"""

import asyncio
import gc
import json
import logging
import math
import multiprocessing
import resource
import signal
import tempfile
import time
import urllib.request
import warnings
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.floor import LATENCY
from benchmarks.peers.peer import Bearer, Grant, Login, Peer
from benchmarks.peers.registry import Candidate

Options = dict[str, Any]
Outcome = dict[str, Any]

WAITED = 0.02
"""Seconds from which a call counts as one that waited: well above what scheduling takes, well below the latency."""
PAUSE = 0.25
"""Seconds between two calls of a caller."""
PROCESSES = 8
_PATIENCE = 150
"""Seconds until a candidate that hangs is ended."""


class Zoom:
    """One candidate's endpoint, and what it saw."""

    def __init__(self, maker: str, *, lifetime: float = 3600.0, latency: float = LATENCY) -> None:
        facts = _asked(f"{maker}/zoom", {"lifetime": lifetime, "latency": latency})
        self._facts = facts
        self._url = f"{facts['url']}/_bench"

    def login(self, candidate: Candidate, *, ahead: int, person: bool = False, folder: Path | None = None) -> Login:
        grant: Grant = "refresh_token" if person else candidate.grant
        client_id, client_secret = self._facts["apps"][grant]
        return Login(
            grant=grant,
            url=self._facts["url"],
            client_id=client_id,
            client_secret=client_secret,
            account_id=self._facts["account_id"],
            access_token=self._facts["access_token"],
            refresh_token=self._facts["refresh_token"],
            ahead=ahead,
            folder=folder,
        )

    def change(self, **change: float | None) -> None:
        _asked(self._url, change)

    def seen(self) -> Outcome:
        return _asked(self._url)


def _asked(url: str, body: Outcome | None = None) -> Outcome:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data)) as answer:  # noqa: S310 -- our own
        content = answer.read()
    return json.loads(content) if content else {}


@asynccontextmanager
async def _opened(candidate: Candidate, login: Login) -> AsyncIterator[Peer]:
    peer = candidate.new()
    await peer.open(login)
    try:
        yield peer
    finally:
        await peer.close()


# 1. A call while a token is held


async def cached(maker: str, candidates: Sequence[Candidate], options: Options) -> Outcome:
    """Return nanoseconds per call, in rounds that alternate: all candidates are in this one process."""
    times: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    async with AsyncExitStack() as stack:
        calls = {}
        for candidate in candidates:
            peer = await stack.enter_async_context(_opened(candidate, Zoom(maker).login(candidate, ahead=60)))
            await peer.bearer()
            calls[candidate.name] = peer.bearer
        gc.disable()
        for _ in range(int(options["rounds"])):
            for name, call in calls.items():
                times[name].append(await _timed(call, int(options["calls"])))
    return times


async def _timed(call: Bearer, calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        await call()
    return (time.perf_counter() - started) / calls * 1e9


# 2. Many cold callers


async def stampede(maker: str, candidates: Sequence[Candidate], options: Options) -> Outcome:
    """Return requests, seconds beyond the endpoint's latency, and megabytes that the process has grown by."""
    [candidate] = candidates
    async with _opened(candidate, Zoom(maker).login(candidate, ahead=60)) as peer:
        await peer.bearer()  # what is loaded at the first use is not what is measured
    zoom = Zoom(maker)
    async with _opened(candidate, zoom.login(candidate, ahead=60)) as peer:
        outcome = await _rushed(int(options["callers"]), peer.bearer)
    return {**outcome, "requests": zoom.seen()["requests"]}


async def _rushed(callers: int, call: Bearer) -> Outcome:
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    tasks = [asyncio.create_task(call()) for _ in range(callers)]
    await asyncio.wait(tasks)
    took = time.perf_counter() - started
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    failed = sum(task.cancelled() or task.exception() is not None for task in tasks)
    return {"seconds": took - LATENCY, "MB": grown / 1024, "failed": failed}


# 3. and 4. Callers who ask all the time


@dataclass(slots=True)
class Asked:
    """What callers saw."""

    took: list[float] = field(default_factory=list)
    handed: list[tuple[str, float]] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)


async def _ask(peer: Peer, *, callers: int, seconds: float) -> Asked:
    """Have callers ask, evenly spread; one who was kept waiting does not make up for it."""
    asked, start = Asked(), time.monotonic()

    async def ask(number: int) -> None:
        due = start + PAUSE * number / callers
        while due < start + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            try:
                token = await peer.bearer()
            except Exception as error:  # noqa: BLE001 -- whatever a library raises
                asked.errors[type(error).__name__] = asked.errors.get(type(error).__name__, 0) + 1
            else:
                asked.handed.append((token, time.time()))
            now = time.monotonic()
            asked.took.append(now - due)
            due = max(due + PAUSE, now)

    await asyncio.gather(*(ask(number) for number in range(callers)))
    return asked


def _summary(asked: Asked, issued: dict[str, float]) -> Outcome:
    took = sorted(asked.took)
    return {
        "calls": len(took),
        **{f"p{share}": took[int(len(took) * share / 100)] for share in (50, 99, 99.9)},
        "max": took[-1],
        "waited": sum(seconds > WAITED for seconds in took),
        "failed": sum(asked.errors.values()),
        "errors": asked.errors,
        "expired": sum(at > issued.get(token, math.inf) for token, at in asked.handed),
    }


async def renewals(maker: str, candidates: Sequence[Candidate], options: Options) -> Outcome:
    """200 callers, each four times a second, over several lives of a token."""
    [candidate] = candidates
    zoom = Zoom(maker, lifetime=options["lifetime"])
    async with _opened(candidate, zoom.login(candidate, ahead=1)) as peer:
        await peer.bearer()
        asked = await _ask(peer, callers=200, seconds=options["seconds"])
    seen = zoom.seen()
    return {**_summary(asked, seen["issued"]), "requests": seen["requests"]}


async def outage(maker: str, candidates: Sequence[Candidate], options: Options) -> Outcome:
    """The endpoint answers 500 while the one token that was got is in its window of renewal, and valid."""
    [candidate] = candidates
    life = options["lifetime"]
    zoom = Zoom(maker, lifetime=life)
    async with _opened(candidate, zoom.login(candidate, ahead=int(life / 2))) as peer:
        await peer.bearer()
        asked, _ = await asyncio.gather(
            _ask(peer, callers=100, seconds=0.85 * life), asyncio.to_thread(_trouble, zoom, life)
        )
    seen = zoom.seen()
    return {**_summary(asked, seen["issued"]), "requests": seen["requests"]}


def _trouble(zoom: Zoom, life: float) -> None:
    """Keep to the time from a thread of its own, however deaf the event loop is."""
    time.sleep(0.4 * life)
    zoom.change(outage=500)
    time.sleep(0.45 * life)
    zoom.change(outage=None)


# 5. The caller who fetches is cancelled, after the endpoint has spent the refresh token


async def cancelled(maker: str, candidates: Sequence[Candidate], _: Options) -> Outcome:
    """100 callers, of whom the first is cancelled while its request is answered; then the next renewal."""
    [candidate] = candidates
    zoom = Zoom(maker, lifetime=2.0, latency=0.4)
    async with _opened(candidate, zoom.login(candidate, ahead=1, person=True)) as peer:
        tasks = [asyncio.create_task(peer.bearer()) for _ in range(100)]
        while not (await asyncio.to_thread(zoom.seen))["requests"]:  # noqa: ASYNC110 -- seen in another process
            await asyncio.sleep(0.01)
        tasks[0].cancel()
        await asyncio.to_thread(zoom.change, latency=0.02)
        await asyncio.wait(tasks)
        served = sum(not task.cancelled() and task.exception() is None for task in tasks[1:])
        requests = zoom.seen()["requests"]
        await asyncio.sleep(2.1)
        alive = await _serves(peer)
    return {"served": served, "requests": requests, "alive": alive}


async def _serves(peer: Peer) -> bool:
    try:
        async with asyncio.timeout(5.0):
            await peer.bearer()
    except Exception:  # noqa: BLE001 -- whatever a library raises
        return False
    return True


# 6. Processes that were given the same refresh token


def processes(maker: str, candidates: Sequence[Candidate], options: Options) -> Outcome:
    """Eight processes ask for several lives of a token; return how many are served in the end."""
    [candidate] = candidates
    zoom = Zoom(maker, lifetime=2.0)
    candidate.new()  # imported once, before the fork
    with tempfile.TemporaryDirectory() as folder:
        login = zoom.login(candidate, ahead=1, person=True, folder=Path(folder))
        share = getattr(candidate.new(), "share", None)
        if share is not None:
            asyncio.run(share(login))
        fork = multiprocessing.get_context("fork")
        with fork.Pool(PROCESSES) as pool:
            alive = pool.starmap(_one_of_many, [(candidate, login, options["seconds"])] * PROCESSES, chunksize=1)
    seen = zoom.seen()
    return {"alive": sum(alive), "invalid_grants": seen["invalid_grants"], "requests": seen["requests"]}


def _one_of_many(candidate: Candidate, login: Login, seconds: float) -> bool:
    return asyncio.run(_asks(candidate, login, seconds))


async def _asks(candidate: Candidate, login: Login, seconds: float) -> bool:
    async with _opened(candidate, login) as peer:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await _serves(peer)
            await asyncio.sleep(0.1)
        return await _serves(peer)


SCENARIOS = {scenario.__name__: scenario for scenario in (cached, stampede, renewals, outage, cancelled, processes)}


def run(name: str, maker: str, candidates: Sequence[Candidate], options: Options) -> Outcome:
    """Run a scenario.

    Args:
        name: Of the scenario.
        maker: Where endpoints are made.
        candidates: Who is measured; a single one for all scenarios but the first.
        options: Of the scenario.
    """
    logging.disable()
    warnings.simplefilter("ignore")
    signal.alarm(_PATIENCE)
    outcome = SCENARIOS[name](maker, candidates, options)
    if not isinstance(outcome, dict):
        outcome = _run(outcome, uvloop=options.get("uvloop", False))
    signal.alarm(0)
    return outcome


def _run(scenario: Coroutine[Any, Any, Outcome], *, uvloop: bool) -> Outcome:
    if not uvloop:
        return asyncio.run(scenario)
    import uvloop as other  # noqa: PLC0415 -- not on Windows

    with asyncio.Runner(loop_factory=other.new_event_loop) as runner:
        return runner.run(scenario)
