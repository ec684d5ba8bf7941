"""The Zoom of `benchmarks.fleet`, in a process of its own: who is there, what a POST costs, and what became of all."""

import asyncio
import os
import signal
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final, Self, TypeAlias

import aiohttp
import psutil
from sqlalchemy import insert, select

from benchmarks.fleet_worker import Setup
from tests.processes.family import Child
from zoom_async_auth import Token, TokenPool
from zoom_async_auth.oauth.token import StoredToken
from zoom_async_auth.sandbox import Sandbox, Zoom
from zoom_async_auth.sandbox.model import Refusal
from zoom_async_auth.stores.base import Record
from zoom_async_auth.stores.layered import LayeredStore
from zoom_async_auth.stores.redis import RedisStore
from zoom_async_auth.stores.row import Row
from zoom_async_auth.stores.sql import SQLStore
from zoom_async_auth.stores.sql.engine import make_engine, parsed
from zoom_async_auth.stores.sql.table import metadata, row_of, row_values, tokens

BATCH = 1000
FLOOR_CHAINS = 50
FLOOR_SECONDS = 5.0
Issued: TypeAlias = tuple[str, str, str, float]
"""Whose tokens, the access token, the refresh token, and when the former expires."""


# The process of the sandbox


def zoom(lifetime: float, latency: float, pipe: Connection) -> None:
    """Be a Zoom, and answer questions about it, until nobody is left who may ask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the benchmark ends it
    asyncio.run(_zoom(lifetime, latency, pipe))


async def _zoom(lifetime: float, latency: float, pipe: Connection) -> None:
    async with Sandbox(token_lifetime=lifetime, latency=latency) as served:
        ended = asyncio.Event()

        def answer() -> None:
            try:
                question, details = pipe.recv()
            except EOFError:
                ended.set()
            else:
                pipe.send(_ANSWERS[question](served, details))

        loop = asyncio.get_running_loop()
        loop.add_reader(pipe.fileno(), answer)
        await ended.wait()
        loop.remove_reader(pipe.fileno())


def _introduce(served: Zoom, _: object) -> tuple[int, str, str, str | None]:
    return os.getpid(), served.url, served.user_app.client_id, served.user_app.client_secret


def _authorize(served: Zoom, users: list[str]) -> list[Issued]:
    app = served.model.app(served.user_app.client_id)
    if app is None:
        raise LookupError
    issued = []
    for user in users:
        form = {"grant_type": "authorization_code", "redirect_uri": served.redirect_uri}
        answer = served.model.token(app, {**form, "code": served.authorize(user)})
        if isinstance(answer, Refusal):
            raise TypeError(answer.error)
        issued.append((user, answer["access_token"], answer["refresh_token"], time.time() + answer["expires_in"]))
    return issued


def _chains(served: Zoom, _: object) -> dict[str, tuple[str, int]]:
    chains = served.model._chains.values()  # noqa: SLF001 -- nobody else needs to know
    return {chain.user: (chain.refresh_token, len(chain.issued)) for chain in chains}


def _refreshes(served: Zoom, _: object) -> dict[str, int]:
    return served.stats.get("refresh_token", {})


_ANSWERS: Final[dict[str, Any]] = {
    "introduce": _introduce,
    "authorize": _authorize,
    "chains": _chains,
    "refreshes": _refreshes,
}


class City:
    """Where the sandbox is, and a way to ask it.

    Attributes:
        pid: Of its process.
        base_url: Where it serves.
        client_id: Of its app for people.
        client_secret: Of that app.
    """

    def __init__(self, child: Child, pid: int, base_url: str, client_id: str, client_secret: str) -> None:
        self._child = child
        self.pid = pid
        self.base_url = base_url
        self.client_id = client_id
        self.client_secret = client_secret

    @classmethod
    async def in_process(cls, child: Child) -> Self:
        """Return the one that a process has."""
        return cls(child, *await _asked(child, "introduce"))

    async def authorize(self, users: list[str]) -> list[Issued]:
        """Have people allow the app; return their tokens."""
        issued: list[Issued] = await _asked(self._child, "authorize", users)
        return issued

    async def chains(self) -> dict[str, tuple[str, int]]:
        """Return of each person the refresh token that is taken, and how many tokens were issued."""
        chains: dict[str, tuple[str, int]] = await _asked(self._child, "chains")
        return chains

    async def refreshes(self) -> dict[str, int]:
        """Return how many refreshes there were, by outcome."""
        refreshes: dict[str, int] = await _asked(self._child, "refreshes")
        return refreshes


async def _asked(child: Child, question: str, details: object = None) -> Any:  # noqa: ANN401 -- each has its answer
    await child.tell((question, details))
    return await child.hears()


# Before the fleet starts


async def settle(setup: Setup, city: City) -> float:
    """Have all people allow the app, and bring their tokens into the store; return how many a second were imported.

    Those that are not used go straight into the table: that is not what is measured.
    """
    engine = make_engine(parsed(setup.record))
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        for users in _batches(setup.keys[: -setup.active]):
            await connection.execute(insert(tokens), [_row(setup, *issued) for issued in await city.authorize(users)])
    await engine.dispose()
    store = LayeredStore(SQLStore(setup.record), front=RedisStore(setup.front))
    took = 0.0
    async with TokenPool(setup.credentials, store=store, base_url=setup.base_url) as pool:
        for users in _batches(setup.keys[-setup.active :]):
            stored = [
                (user, StoredToken(access_token=access_token, refresh_token=refresh_token, expires_at=expires_at))
                for user, access_token, refresh_token, expires_at in await city.authorize(users)
            ]
            begun = time.perf_counter()
            await pool.import_tokens(stored)
            took += time.perf_counter() - begun
    return setup.active / took


def _batches(keys: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(keys), BATCH):
        yield keys[start : start + BATCH]


def _row(setup: Setup, user: str, access_token: str, refresh_token: str, expires_at: float) -> dict[str, Any]:
    token = Token(access_token=access_token, refresh_token=refresh_token, expires_in=setup.lifetime)
    issued_at = expires_at - setup.lifetime
    record = Record(generation=1, token=token, issued_at=issued_at, expires_at=expires_at)
    return {"key": setup.stored_as(user), **row_values(Row(record=record))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What a bare POST costs.

    Attributes:
        client: Processor seconds of a POST in its process.
        sandbox: In the sandbox.
        rate: How many a second there were.
    """

    client: float
    sandbox: float
    rate: float


async def floor_of(city: City) -> Floor:
    """Refresh tokens by aiohttp and nothing else, each on a connection of its own as the library does."""
    issued = await city.authorize([f"floor-{number}" for number in range(FLOOR_CHAINS)])
    basic = b64encode(f"{city.client_id}:{city.client_secret}".encode()).decode()
    ends = time.monotonic() + FLOOR_SECONDS
    posts = 0
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Basic {basic}"}, connector=aiohttp.TCPConnector(force_close=True)
    ) as session:

        async def chain(refresh_token: str) -> None:
            nonlocal posts
            while time.monotonic() < ends:
                form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
                async with session.post(f"{city.base_url}/oauth/token", data=form) as answer:
                    refresh_token = (await answer.json())["refresh_token"]
                posts += 1

        begun, client, sandbox = time.perf_counter(), time.process_time(), spent(city.pid)
        await asyncio.gather(*(chain(refresh_token) for _, _, refresh_token, _ in issued))
        return Floor(
            client=(time.process_time() - client) / posts,
            sandbox=(spent(city.pid) - sandbox) / posts,
            rate=posts / (time.perf_counter() - begun),
        )


def spent(pid: int) -> float:
    """Return the processor seconds of a process, its children, and those of them that have ended."""
    process = psutil.Process(pid)
    seconds = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # its time is its parent's now
            seconds += sum(each.cpu_times()[:4])
    return seconds


# After its end


@dataclass(slots=True)
class Verdict:
    """What became of the identities.

    Attributes:
        doubled: Tokens that Zoom issued and nobody has, without an excuse.
        lost: Identities whose live refresh token is not in the store, without an excuse.
        excused: Those with one: a worker was killed with it in hand. These people have to authorize again.
        unresolved: Of those the ones that are not known to be dead yet.
        buried_alive: Identities that are noted as dead though Zoom takes their refresh token.
    """

    doubled: int = 0
    lost: int = 0
    excused: int = 0
    unresolved: int = 0
    buried_alive: int = 0

    def judge(self, record: Record | None, live: str, issued: int, *, excused: bool) -> None:
        """Compare what is stored of one identity with what Zoom has issued: the live refresh token, and how many."""
        if record is None or record.token is None:
            self.lost += 1
            return
        kept, extra = record.token.refresh_token == live, issued - record.generation
        if kept and extra == 0:
            self.buried_alive += record.cause is not None
        elif extra == 1 and excused:
            self.excused += 1
            self.unresolved += record.cause is None
        else:
            self.lost += not kept
            self.doubled += extra


async def verdict_of(setup: Setup, city: City, excused: set[str]) -> Verdict:
    """Compare all that is stored with what Zoom knows; `excused`: whose refresh token a killed worker had in hand."""
    chains = await city.chains()
    engine = make_engine(parsed(setup.record))
    async with engine.connect() as connection:
        stored = {found["key"]: row_of(found) for found in (await connection.execute(select(tokens))).mappings()}
    await engine.dispose()
    verdict = Verdict()
    for key in setup.keys:
        row = stored.get(setup.stored_as(key))
        verdict.judge(row.record if isinstance(row, Row) else None, *chains[key], excused=key in excused)
    return verdict
