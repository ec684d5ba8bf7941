"""What a worker of `benchmarks.fleet` does: it serves callers, and counts into a file, which outlives a kill."""

import asyncio
import base64
import json
import mmap
import os
import random
import signal
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, get_args

from zoom_async_auth import RenewalPolicy, TokenPool, UserOAuth, ZoomAuthError, events
from zoom_async_auth.cli.demo import _watched
from zoom_async_auth.errors import (
    AuthorizationRequiredError,
    ConfigurationError,
    ManagerClosedError,
    MisuseError,
    StoreError,
    TokenUnavailableError,
)
from zoom_async_auth.identity import namespace_of
from zoom_async_auth.stores.base import Begun, Reading, Record
from zoom_async_auth.stores.layered import LayeredStore
from zoom_async_auth.stores.redis import RedisStore
from zoom_async_auth.stores.sql import SQLStore

CALLERS = 10
PAUSE = 0.1
"""Seconds between two calls of one caller."""
LOADED_AT_ONCE = 5

ERRORS: Final = tuple(
    kind.__name__
    for kind in (
        AuthorizationRequiredError,
        ConfigurationError,
        ManagerClosedError,
        MisuseError,
        StoreError,
        TokenUnavailableError,
    )
)
EVENTS: Final = tuple(kind.__name__ for kind in get_args(events.Event))
_NAMES: Final = ("pid", "loaded", "waited", "expired", "answers lost", *ERRORS, *EVENTS)
_STEPS = 16
"""A duration is known to so many steps between a power of 2 and the next."""
_BUCKETS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a worker has to know: plain values, which can be pickled.

    Attributes:
        record: URL of the database that keeps the tokens.
        front: URL of the Redis in front of it.
        base_url: The sandbox.
        client_id: Of its app.
        client_secret: Of its app.
        identities: How many there are.
        active: How many of them are used, the last ones.
        lifetime: Seconds that a token lives.
        rate: How many renewals a second one process starts at most.
    """

    record: str
    front: str
    base_url: str
    client_id: str
    client_secret: str
    identities: int
    active: int
    lifetime: float
    rate: float

    @property
    def credentials(self) -> UserOAuth:
        """The app."""
        return UserOAuth(client_id=self.client_id, client_secret=self.client_secret)

    @property
    def policy(self) -> RenewalPolicy:
        """The usual one; a doubt is in the same proportion to the life of a token as it is at Zoom."""
        return RenewalPolicy(doubt=self.lifetime)

    @property
    def keys(self) -> list[str]:
        """All identities; the active ones are the last."""
        return [key_of(number) for number in range(self.identities)]

    def stored_as(self, key: str) -> str:
        """Return the name of an identity in the store."""
        return f"{namespace_of(self.credentials, self.base_url)}/{key}"


def key_of(number: int) -> str:
    """Return the name of an identity."""
    return f"user-{number}"


class Tally:
    """What one process counts, in a file: a kill loses nothing of it.

    Args:
        path: The file; it is made if there is none.
        identities: How many there are.

    Attributes:
        open: A byte for each identity, 1 while the process is between `begin` and `commit` with its refresh token.
    """

    def __init__(self, path: Path, identities: int) -> None:
        numbers = 8 * (len(_NAMES) + 2 * _BUCKETS)
        with path.open("a+b") as file:
            file.truncate(numbers + identities + 1)
            self._bytes = memoryview(mmap.mmap(file.fileno(), 0))
        self._numbers = self._bytes[:numbers].cast("Q")
        self._place = {name: place for place, name in enumerate(_NAMES)}
        self.open = self._bytes[numbers:-1]

    @property
    def timing(self) -> bool:
        """Whether the time that calls take is noted; the benchmark says so."""
        return bool(self._bytes[-1])

    @timing.setter
    def timing(self, wanted: bool) -> None:
        self._bytes[-1] = wanted

    @property
    def counts(self) -> dict[str, int]:
        """All that was counted, by name."""
        return {name: self.count(name) for name in _NAMES}

    def add(self, name: str, number: int = 1) -> None:
        """Count."""
        self._numbers[self._place[name]] += number

    def count(self, name: str) -> int:
        """Return what was counted."""
        return self._numbers[self._place[name]]

    def took(self, nanoseconds: int, *, waited: bool, first: bool) -> None:
        """Note how long a call took, if that is asked for.

        Args:
            nanoseconds: So long.
            waited: Whether the event loop had its turn meanwhile.
            first: Whether it was the first one of its identity in this process.
        """
        if not self.timing:
            return
        finer = max(0, nanoseconds.bit_length() - _STEPS.bit_length())
        bucket = min(finer * _STEPS + (nanoseconds >> finer), _BUCKETS - 1)
        self._numbers[len(_NAMES) + first * _BUCKETS + bucket] += 1
        self.add("waited", waited and not first)

    def times(self, *, first: bool) -> list[int]:
        """Return how many calls there were in each bucket."""
        start = len(_NAMES) + first * _BUCKETS
        return list(self._numbers[start : start + _BUCKETS])

    def note(self, event: events.Event) -> None:
        """Count an event."""
        self.add(type(event).__name__)
        if isinstance(event, events.GrantDied) and event.answer_was_lost:
            self.add("answers lost")


def longest_of(bucket: int) -> int:
    """Return the longest time that falls into a bucket, in nanoseconds."""
    finer = max(0, bucket // _STEPS - 1)
    return ((bucket - finer * _STEPS + 1) << finer) - 1


class NotingStore(LayeredStore):
    """Notes in a tally whose refresh token is between `begin` and `commit`: there a kill may lose it."""

    def __init__(self, setup: Setup, tally: Tally) -> None:
        super().__init__(SQLStore(setup.record), front=RedisStore(setup.front))
        self._open = tally.open

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        answer = await super().begin(key, generation, holder, lease, supersede=supersede)
        if isinstance(answer, Begun):
            self._open[_number_of(key)] = 1
        return answer

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:
        stored = await super().commit(key, sent, record, holder)
        self._open[_number_of(key)] = 0
        return stored

    async def release(self, key: str, holder: str, *, doubt: bool) -> None:
        await super().release(key, holder, doubt=doubt)
        if not doubt:
            self._open[_number_of(key)] = 0


def _number_of(key: str) -> int:
    return int(key.rpartition("-")[2])


def worker(setup: Setup, path: Path, pipe: Connection) -> None:
    """Hand out tokens of the active identities to callers, until told to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the benchmark ends it
    asyncio.run(_work(setup, Tally(path, setup.identities), pipe))


async def _work(setup: Setup, tally: Tally, pipe: Connection) -> None:
    tally.add("pid", os.getpid())
    async with TokenPool(
        setup.credentials,
        store=NotingStore(setup, tally),
        policy=setup.policy,
        rate=setup.rate,
        base_url=setup.base_url,
        observers=[tally.note],
    ) as pool:
        desk = Desk(pool, tally)
        keys = setup.keys[-setup.active :]
        order = iter(random.sample(keys, len(keys)))
        tasks = [asyncio.create_task(work) for work in _work_of(desk, keys, order)]
        told = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), told.set)  # also at the end of the one who would tell
        await told.wait()
        asyncio.get_running_loop().remove_reader(pipe.fileno())
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _work_of(desk: "Desk", keys: list[str], order: Iterator[str]) -> Iterator[Coroutine[Any, Any, None]]:
    for _ in range(CALLERS):
        yield desk.serve(keys)
    for _ in range(LOADED_AT_ONCE):
        yield desk.load(order)


class Desk:
    """Where callers ask for tokens, and each token is looked at."""

    def __init__(self, pool: TokenPool, tally: Tally) -> None:
        self._pool = pool
        self._tally = tally
        self._seen: dict[str, tuple[str, float]] = {}  # the latest token of each identity, and when it expires

    async def load(self, keys: Iterator[str]) -> None:
        """Ask once for each: so all processes have all identities, and compete for each renewal."""
        for key in keys:
            await self._ask(key)
            self._tally.add("loaded")

    async def serve(self, keys: list[str]) -> None:
        """Be one caller."""
        while True:
            await asyncio.sleep(PAUSE)
            await self._ask(random.choice(keys))  # noqa: S311 -- no secret

    async def _ask(self, key: str) -> None:
        asked = time.perf_counter_ns()
        try:
            token, waited = await _watched(self._pool.bearer(key))
        except ZoomAuthError as error:
            self._tally.add(type(error).__name__)
            return
        took = time.perf_counter_ns() - asked
        now = time.time()
        known, expires_at = self._seen.get(key, ("", 0.0))
        if known != token:
            expires_at = _expiry_of(token)
            self._seen[key] = token, expires_at
        self._tally.took(took, waited=waited, first=not known)
        self._tally.add("expired", now >= expires_at)


def _expiry_of(token: str) -> float:
    """Return when a token of the sandbox expires, as it says itself: the library does not look there."""
    return float(json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["exp"])
