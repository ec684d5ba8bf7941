"""A pool of very many identities: what they cost at rest, in a call, in a renewal, and how a bad day goes.

    python -m benchmarks.pool rest [--identities N]      memory, time to load, processor time of ten seconds at rest
    python -m benchmarks.pool call [--rounds N]          bearer(key) on a held token, beside a manager's bearer()
    python -m benchmarks.pool growth [--most N]          the price of a renewal among ever more identities
    python -m benchmarks.pool day [--identities N]       24 hours in virtual time, with faults and a long outage

Without a word: all of them, one after the other, each in a process of its own.
"""

import argparse
import asyncio
import gc
import math
import random
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

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


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


# At rest


async def _rest(identities: int) -> None:
    async with _pool() as pool:
        await pool.bearer("one")
        keys = [f"user-{number}" for number in range(identities)]
        before = await _settled()
        started = time.perf_counter()
        await _loaded(pool, keys)
        loading = time.perf_counter() - started
        grown = (await _settled()) - before
        token = Token(access_token=_text(1), refresh_token=_text(-1), expires_in=HOUR)
        strings = 2 * sys.getsizeof(token.access_token)
        record = strings + sys.getsizeof(token) + sys.getsizeof(token.expires_in)
        used, started = time.process_time(), time.perf_counter()
        await asyncio.sleep(10.0)
        busy = (time.process_time() - used) / (time.perf_counter() - started)
        tasks = len(asyncio.all_tasks())
    floor = _dict_of(identities)
    print(f"{identities:,} identities at rest")
    print(f"  memory beyond the token record   {grown / identities - record:6.0f} bytes for each  (aim: at most 600)")
    print(f"  a dict of as many pairs          {floor:6.0f} bytes for each")
    print(f"  to load them                     {loading:6.1f} s  ({loading / identities * 1e6:.0f} us for each)")
    print(f"  processor time at rest           {busy:6.2%}, {tasks} tasks")


async def _settled() -> int:
    await asyncio.sleep(0.1)
    gc.collect()
    return _resident()


def _dict_of(identities: int) -> float:
    gc.collect()
    before = _resident()
    pairs = {f"floor-{number}": (float(number), str(number)) for number in range(identities)}
    return (_resident() - before) / len(pairs)


# A call


async def _call(rounds: int) -> None:
    calls = 20_000
    async with _pool() as pool, TokenManager(APP, store=EndlessStore(time.time), transport=EndlessZoom()) as manager:
        await _loaded(pool, [f"user-{number}" for number in range(10_000)])
        await manager.bearer()

        async def pooled() -> None:
            for _ in range(calls):
                await pool.bearer("user-5000")

        async def single() -> None:
            for _ in range(calls):
                await manager.bearer()

        ratios, times = [], []
        gc.disable()
        for _ in range(rounds):
            of_manager, of_pool = await _timed(single), await _timed(pooled)
            ratios.append(of_pool / of_manager)
            times.append(of_pool / calls * 1e9)
        gc.enable()
    print("bearer(key) on a held token")
    print(f"  {statistics.median(times):.0f} ns; {_spread(ratios)} times a manager's bearer()  (aim: at most 2)")


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


# Growth


async def _growth(most: int) -> None:
    print("a renewal among ever more identities: processor time of the whole process, without Zoom and store")
    renewals = 2000
    sizes = [size for size in (1000, 10_000, 100_000, 1_000_000) if size <= most]
    first = math.nan
    for size in sizes:
        async with _pool(policy=RenewalPolicy(min_interval=0.001)) as pool:
            keys = [f"user-{number}" for number in range(size)]
            await _loaded(pool, keys)
            gc.collect()
            gc.freeze()
            costs = []
            for _ in range(5):
                chosen = random.sample(keys, min(renewals, size))
                used = time.process_time()
                for start in range(0, len(chosen), 100):
                    await asyncio.gather(*map(pool.renew, chosen[start : start + 100]))
                costs.append((time.process_time() - used) / len(chosen) * 1e6)
            gc.unfreeze()
        cost = statistics.median(costs)
        first = cost if math.isnan(first) else first
        print(
            f"  {size:>9,}  {cost:6.0f} us  ({min(costs):.0f} to {max(costs):.0f}; {cost / first:.2f} times the first)"
        )


# A day


async def _day(identities: int) -> None:
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
    outage_at = 10 * HOUR
    expired = 0

    async def person(pool: TokenPool, key: str, until: float) -> None:
        nonlocal expired
        await asyncio.sleep(luck.uniform(0.0, 600.0))
        while loop.time() < until:
            asked = loop.time()
            try:
                token = await pool.bearer(key)
            except TokenUnavailableError:
                known = outage_at <= asked <= outage_at + OUTAGE
                drains = outage_at + OUTAGE < asked <= outage_at + OUTAGE + 600
                seen["none in the outage" if known else "none in its wake" if drains else "none"] += 1
            except ZoomAuthError as error:
                seen[type(error).__name__] += 1
            else:
                waited = loop.time() - asked
                seen["at once" if waited == 0 else "waited"] += 1
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
    print(f"a day of {identities:,} identities, {identities // 10:,} of them active; an outage of 107 minutes")
    print(f"  calls                            {sum(seen.values()):,}: {dict(seen)}")
    print(f"  expired tokens handed out        {expired}")
    print(f"  grants lost                      {dead}")
    print(f"  requests in the busiest minute   {max(requests.values())}  (the rate allows {rate * 60:.0f})")


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


def main() -> None:
    parser = argparse.ArgumentParser(description="A pool of very many identities.")
    parser.add_argument("what", nargs="?", choices=["rest", "call", "growth", "day"])
    parser.add_argument("--identities", type=int)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--most", type=int, default=1_000_000)
    options = parser.parse_args()
    match options.what:
        case "rest":
            asyncio.run(_rest(options.identities or 100_000))
        case "call":
            asyncio.run(_call(options.rounds))
        case "growth":
            asyncio.run(_growth(options.most))
        case "day":
            with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
                started = time.perf_counter()
                runner.run(_day(options.identities or 10_000))
                print(f"  real time                        {time.perf_counter() - started:.1f} s")
        case _:
            for what in ("rest", "call", "growth", "day"):
                subprocess.run([sys.executable, "-m", "benchmarks.pool", what], check=True)


if __name__ == "__main__":
    main()
