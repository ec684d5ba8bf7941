"""A pool of very many identities: what they cost at rest, in a call, in a renewal, and how a bad day goes.

    python -m benchmarks.pool [--only rest|call|growth|day] [--quick] [--json FILE]

rest      memory, time to load, processor time while nobody asks
call      bearer(key) on a held token, beside a manager's bearer()
growth    a renewal among ever more identities
day       24 hours in virtual time, with faults and a long outage

What is measured of a million identities is measured in a process of its own.
"""

import asyncio
import gc
import multiprocessing
import random
import resource
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.figures import Figure, Measure, ratios, run
from zoom_async_auth import (
    AuthorizationCodeGrant,
    RenewalPolicy,
    TokenManager,
    TokenPool,
    TokenUnavailableError,
    UserOAuth,
    ZoomAuthError,
)
from zoom_async_auth.oauth.token import Token
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.sandbox.faults import Reply
from zoom_async_auth.stores.base import Begun, Reading, Record
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.testing import LoopClock, MemoryTransport, VirtualTimeLoop

APP = UserOAuth(client_id="client", client_secret="secret")
LENGTH = 64
"""Of the tokens: what strings take is not what is measured."""
HOUR = 3600.0
DAY = 24 * HOUR
OUTAGE = 107 * 60.0
FAULTS = ("answer=500", "retry-after=5", "reset", "hang", "html", "answer=429")
"""Once in each hour. What loses an answer after Zoom has rotated is not among them: a grant is lost by it."""


class EndlessStore:
    """Has a token for every key, and keeps none: so that memory is the pool's."""

    durable = True
    rotating_risk = None

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def _reading(self) -> Reading:
        self._count += 1
        now = self._now()
        token = Token(access_token=_text(self._count), refresh_token=_text(-self._count), expires_in=HOUR)
        return Reading(record=Record(generation=1, token=token, issued_at=now, expires_at=now + HOUR), now=now)

    async def peek(self, key: str) -> Reading:
        return self._reading()

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        return Begun(reading=self._reading())

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:
        return True

    async def condemn(self, key: str, generation: int, cause: str) -> bool:
        return True

    async def release(self, key: str, holder: str, *, doubt: bool) -> None:
        pass

    async def wait(self, key: str, generation: int, timeout: float) -> None:
        await asyncio.sleep(timeout)

    async def forget(self, key: str) -> None:
        pass


class EndlessZoom:
    """A transport that answers each refresh with the next token."""

    def __init__(self) -> None:
        self.posts = 0

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        self.posts += 1
        text = (
            f'{{"access_token":"{_text(self.posts)}","token_type":"bearer","refresh_token":"{_text(-self.posts)}",'
            f'"expires_in":3600,"scope":"user:read"}}'
        )
        return Answer(status=200, headers={"Content-Type": "application/json"}, body=text.encode())


def _text(number: int) -> str:
    return f"{number:0{LENGTH}d}"


def _pool(policy: RenewalPolicy | None = None) -> TokenPool:
    return TokenPool(
        APP,
        store=EndlessStore(time.time),
        transport=EndlessZoom(),
        policy=policy,
        capacity=10_000_000,
        rate=1e9,
        keep_alive=None,
    )


async def _loaded(pool: TokenPool, keys: list[str]) -> None:
    for start in range(0, len(keys), 1000):
        await asyncio.gather(*map(pool.bearer, keys[start : start + 1000]))


Part = Callable[..., Coroutine[Any, Any, list[Figure]]]


def _apart(part: Part, *arguments: float) -> list[Figure]:
    """Measure in a process of its own: what one leaves behind in memory would count as another's."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_alone, part, *arguments).result()


def _alone(part: Part, *arguments: float) -> list[Figure]:
    return asyncio.run(part(*arguments))


# At rest

BEYOND = "memory of an identity at rest, beyond its token record"


def _rest(*, quick: bool) -> list[Figure]:
    sizes = (2000,) if quick else (100_000, 1_000_000)
    return [
        *_apart(_counted, 10_000),
        *(figure for size in sizes for figure in _apart(_grown, size)),
        *(figure for size in sizes for figure in _apart(_pairs, size)),
        *_apart(_idle, sizes[0], 1.0 if quick else 35.0),
    ]


async def _counted(identities: int) -> list[Figure]:
    """Count what Python allocates: exact, without what the allocator itself needs."""
    async with _pool() as pool:
        keys = await _warm(pool, identities)
        tracemalloc.start()
        await _loaded(pool, keys)
        await _settled()
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    each = grown / identities - _record_size()
    return [
        Figure(
            what=BEYOND,
            who=f"{identities:,} identities, counted in Python",
            values=(each,),
            unit="bytes",
            aim="at most 600",
        )
    ]


async def _grown(identities: int) -> list[Figure]:
    """Look from outside: what the process grows by, with all that the allocator leaves unused."""
    async with _pool() as pool:
        keys = await _warm(pool, identities)
        before = await _settled()
        started = time.perf_counter()
        await _loaded(pool, keys)
        loading = (time.perf_counter() - started) / identities * 1e6
        each = (await _settled() - before) / identities - _record_size()
    who = f"{identities:,} identities"
    return [
        Figure(what=BEYOND, who=f"{who}, growth of the process", values=(each,), unit="bytes"),
        Figure(what="to load an identity that is in the store", who=who, values=(loading,), unit="us"),
    ]


async def _pairs(identities: int) -> list[Figure]:
    """Take the floor: a dict with a float and a short text for each."""
    before = await _settled()
    pairs = {f"user-{number}": (float(number), str(number)) for number in range(identities)}
    each = (await _settled() - before) / len(pairs)
    return [
        Figure(what=BEYOND, who=f"{identities:,} pairs in a dict, growth of the process", values=(each,), unit="bytes")
    ]


async def _idle(identities: int, seconds: float) -> list[Figure]:
    """Look at the processor while nobody asks; the background task looks at the clock once in 30 seconds."""
    idle = await _busy(seconds)
    async with _pool() as pool:
        await _loaded(pool, await _warm(pool, identities))
        await _settled()
        busy = await _busy(seconds)
    what = f"processor time in {seconds:.0f} s in which nobody asks"
    return [
        Figure(what=what, who=f"{identities:,} identities", values=(busy,), unit="ms"),
        Figure(what=what, who="an idle loop", values=(idle,), unit="ms"),
    ]


async def _warm(pool: TokenPool, identities: int) -> list[str]:
    """Load some, so that all is there that is needed once and for a moment; return the keys of the others."""
    await _loaded(pool, [f"warm-{number}" for number in range(1000)])
    return [f"user-{number}" for number in range(identities)]


async def _settled() -> int:
    """Return the resident size, in bytes."""
    await asyncio.sleep(0.1)
    gc.collect()
    return _resident()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _record_size() -> int:
    token = Token(access_token=_text(1), refresh_token=_text(-1), expires_in=HOUR)
    return 2 * sys.getsizeof(token.access_token) + sys.getsizeof(token) + sys.getsizeof(token.expires_in)


async def _busy(seconds: float) -> float:
    used = time.process_time()
    await asyncio.sleep(seconds)
    return (time.process_time() - used) * 1000


# A call


def _call(*, quick: bool) -> list[Figure]:
    return asyncio.run(_calls(1000, rounds=21) if quick else _calls(10_000, rounds=201))


async def _calls(identities: int, *, rounds: int) -> list[Figure]:
    calls = 2000
    async with _pool() as pool, TokenManager(APP, store=EndlessStore(time.time), transport=EndlessZoom()) as manager:
        await _loaded(pool, [f"user-{number}" for number in range(identities)])
        await manager.bearer()

        async def pooled() -> None:
            for _ in range(calls):
                await pool.bearer("user-500")

        async def single() -> None:
            for _ in range(calls):
                await manager.bearer()

        of_pool, of_manager = [], []
        gc.disable()
        for _ in range(rounds):
            of_manager.append(await _timed(single) / calls * 1e9)
            of_pool.append(await _timed(pooled) / calls * 1e9)
        gc.enable()
    what = f"a call on a held token, among {identities:,} identities"
    return [
        Figure(what=what, who="a pool's bearer(key)", values=tuple(of_pool), unit="ns"),
        Figure(what=what, who="a manager's bearer()", values=tuple(of_manager), unit="ns"),
        Figure(
            what=f"{what}: beside the manager's",
            who="a pool's bearer(key)",
            values=ratios(of_pool, of_manager),
            unit="times",
            aim="at most 2",
        ),
    ]


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


# Growth


def _growth(*, quick: bool) -> list[Figure]:
    """Take the processor time of the whole process; Zoom and the store cost next to nothing here."""
    sizes = (1000, 3000) if quick else (1000, 10_000, 100_000, 1_000_000)
    return [figure for size in sizes for figure in _apart(_renewing, size)]


async def _renewing(identities: int) -> list[Figure]:
    async with _pool(policy=RenewalPolicy(min_interval=0.001)) as pool:
        keys = [f"user-{number}" for number in range(identities)]
        await _loaded(pool, keys)
        gc.collect()
        gc.freeze()
        costs = []
        for _ in range(7):
            chosen = random.sample(keys, 1000)
            used = time.process_time()
            for start in range(0, len(chosen), 100):
                await asyncio.gather(*map(pool.renew, chosen[start : start + 100]))
            costs.append((time.process_time() - used) / len(chosen) * 1e6)
        gc.unfreeze()
    return [Figure(what="a renewal among ever more identities", who=f"{identities:,}", values=tuple(costs), unit="us")]


# A day


def _day(*, quick: bool) -> list[Figure]:
    started = time.perf_counter()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        figures = runner.run(_bad_day(200 if quick else 10_000))
    taken = time.perf_counter() - started
    return [*figures, Figure(what="real time of that day", who="all of it", values=(taken,), unit="s")]


async def _bad_day(identities: int) -> list[Figure]:
    clock = LoopClock.running()
    loop = asyncio.get_running_loop()
    zoom = Zoom(latency=0.2, clock=clock.time)
    rate = max(1.0, identities / 10 / 600)  # all who are active within ten minutes
    luck = random.Random(1)  # noqa: S311 -- a day that can be had again
    store = MemoryStore(clock=clock, allow_rotating=True)
    seen = Counter[str]()
    requests = Counter[int]()
    count = zoom.post

    def post(path: str, headers: Mapping[str, str], body: bytes, query: str = "") -> Reply:
        requests[int(loop.time() // 60)] += 1
        return count(path, headers, body, query)

    zoom.post = post  # type: ignore[method-assign]
    begins, outage_at = 0.0, 10 * HOUR
    expired = 0

    async def person(pool: TokenPool, key: str, until: float) -> None:
        nonlocal expired
        await asyncio.sleep(luck.uniform(0.0, 600.0))
        while loop.time() < until:
            asked = loop.time()
            try:
                token = await pool.bearer(key)
            except TokenUnavailableError:
                seen[f"no token{_excuse(asked, begins, outage_at)}"] += 1
            except ZoomAuthError as error:
                seen[type(error).__name__] += 1
            else:
                waited = loop.time() - asked
                seen["a token at once" if waited == 0 else "a token after a while"] += 1
                expired += zoom.model.user_of(token) is None
            await asyncio.sleep(luck.uniform(60.0, 600.0))

    async with TokenPool(
        zoom.user_app,
        store=store,
        base_url=zoom.url,
        transport=MemoryTransport(zoom),
        clock=clock,
        rate=rate,
        keep_alive=None,
        random=luck.random,
    ) as pool:
        keys = [f"user-{number}" for number in range(identities)]
        await _authorized(pool, zoom, keys)
        await asyncio.sleep(2 * HOUR)  # nobody is used: all leave memory
        requests.clear()
        begins = loop.time()
        outage_at += begins
        _trouble(zoom, begins, outage_at)
        active = luck.sample(keys, identities // 10)
        await asyncio.gather(*(person(pool, key, begins + DAY) for key in active))
        dead = pool.health().dead
    what = f"a day of {identities:,} identities, {identities // 10:,} of them active, an outage of 107 minutes"
    counts = [
        *((f"calls: {kind}", float(count), "calls", "") for kind, count in sorted(seen.items())),
        ("expired tokens handed out", float(expired), "tokens", "none"),
        ("grants lost", float(dead), "grants", "none"),
        ("requests in the busiest minute", float(max(requests.values())), "requests", f"at most {rate * 60:.0f}"),
    ]
    return [Figure(what=what, who=who, values=(count,), unit=unit, aim=aim) for who, count, unit, aim in counts]


def _excuse(asked: float, begins: float, outage_at: float) -> str:
    """Say why there may be no token: the rate is such that all who come at once are served within some ten minutes."""
    if asked <= begins + 660:
        return ", while all come at once"
    if outage_at <= asked <= outage_at + OUTAGE:
        return ", in the outage"
    return ", in its wake" if outage_at + OUTAGE < asked <= outage_at + OUTAGE + 600 else ""


def _trouble(zoom: Zoom, begins: float, outage_at: float) -> None:
    """Plan what goes wrong."""
    loop = asyncio.get_running_loop()
    loop.call_at(outage_at, setattr, zoom, "outage", 503)
    loop.call_at(outage_at + OUTAGE, setattr, zoom, "outage", None)
    for hour in range(24):
        for number, fault in enumerate(FAULTS):
            loop.call_at(begins + hour * HOUR + number * 60, zoom.faults.add, f"refresh_token#1:{fault}")


async def _authorized(pool: TokenPool, zoom: Zoom, keys: list[str]) -> None:
    for key in keys:
        code = zoom.authorize(key)
        await pool.authorize(key, AuthorizationCodeGrant(code=code, redirect_uri=zoom.redirect_uri))


PARTS: dict[str, Measure] = {"rest": _rest, "call": _call, "growth": _growth, "day": _day}


def measure(*, quick: bool) -> list[Figure]:
    return [figure for part in PARTS.values() for figure in part(quick=quick)]


if __name__ == "__main__":
    run(measure, parts=PARTS)
