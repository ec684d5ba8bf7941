"""A store in the memory of this process: for one manager, or for several on one event loop."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from multiprocessing import parent_process
from types import TracebackType
from typing import Self

import anyio

from zoom_async_auth.clock import Clock, SystemClock
from zoom_async_auth.stores import row as rows
from zoom_async_auth.stores.base import Begun, Reading, Record
from zoom_async_auth.stores.row import Row
from zoom_async_auth.stores.survey import Survey, surveyed

_RISK = (
    "worker processes do not see each other's memory: a person's refresh token would be missing there, or spent twice: "
    "use SQLStore, or MemoryStore(allow_rotating=True)"
)


@dataclass(slots=True)
class _Entry:
    row: Row = field(default_factory=Row)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def keep(self, row: Row) -> None:
        self.row = row
        self.changed.set()
        self.changed = asyncio.Event()


class MemoryStore:
    """Keeps tokens until the process ends. Its time is the suspend-aware clock of this host.

    A person's refresh token that is kept only here is lost with the process: the person must authorize again. In one
    of several worker processes that would happen with certainty, so a manager refuses it there.

    Args:
        allow_rotating: Whether a person's refresh token may be kept here in a worker process all the same.
        clock: Where time comes from.
    """

    def __init__(self, *, allow_rotating: bool = False, clock: Clock | None = None) -> None:
        self._allow_rotating = allow_rotating
        self._now: Callable[[], float] = (clock or SystemClock()).monotonic
        self._entries: dict[str, _Entry] = {}

    @property
    def durable(self) -> bool:
        """Always False."""
        return False

    @property
    def rotating_risk(self) -> str | None:
        """Why a person's refresh token must not be kept here: this is one of several processes, each with its own."""
        return None if self._allow_rotating or not _is_worker(os.environ) else _RISK

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Keep everything: the store may be entered again."""

    async def peek(self, key: str) -> Reading:
        """Look; take no lease, write no intent."""
        entry = self._entries.get(key)  # to look at a key leaves nothing behind
        return rows.read(Row() if entry is None else entry.row, self._now())

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        """Take the lease and write the intent, if the record still has `generation`."""
        entry, now = self._entry(key), self._now()
        timely = rows.timely(entry.row, now, generation=generation, lease=lease)
        reading = rows.read(timely, now, reader=holder)
        begun = rows.begun(timely, now, generation=generation, holder=holder, lease=lease, supersede=supersede)
        entry.row = begun or timely  # nothing that anybody waits for: no announcement
        return reading if begun is None else Begun(reading=reading)

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:  # noqa: ARG002 -- the protocol's
        """Keep `record` if the generation is still `sent`."""
        entry = self._entry(key)
        committed = rows.committed(entry.row, record, sent=sent)
        if committed is None:
            return False
        entry.keep(committed)
        return True

    async def condemn(self, key: str, generation: int, cause: str) -> bool:
        """Note that the refresh token of `generation` is dead."""
        entry = self._entry(key)
        condemned = rows.condemned(entry.row, generation=generation, cause=cause)
        if condemned is None:
            return False
        entry.keep(condemned)
        return True

    async def release(self, key: str, holder: str, *, doubt: bool) -> None:
        """Give the lease back; drop the intent unless the outcome is in doubt."""
        entry = self._entry(key)
        entry.keep(rows.released(entry.row, holder=holder, doubt=doubt))

    async def wait(self, key: str, generation: int, timeout: float) -> None:
        """Return at the next change of `key`, after `timeout` seconds at the latest."""
        entry = self._entry(key)
        if entry.row.generation == generation:
            with anyio.move_on_after(timeout):
                await entry.changed.wait()

    async def forget(self, key: str) -> None:
        """Leave a tombstone of the next generation."""
        entry = self._entry(key)
        entry.keep(rows.forgotten(entry.row, self._now()))

    async def keys(self, *, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return the next keys, in order, `limit` at most."""
        kept = sorted(key for key, entry in self._entries.items() if key > after and entry.row != Row())
        return tuple(kept[:limit])

    async def claim(self, prefix: str, holder: str, *, older_than: float, lease: float, limit: int) -> tuple[str, ...]:
        """Take the lease of keys whose token is old."""
        now = self._now()
        found = [
            (entry.row.record.issued_at, key)
            for key, entry in self._entries.items()
            if key.startswith(prefix) and rows.is_claimable(entry.row, now, older_than=older_than, lease=lease)
            if entry.row.record is not None
        ]
        keys = tuple(key for _, key in nsmallest(limit, found))
        for key in keys:
            entry = self._entries[key]
            entry.keep(rows.claimed(entry.row, now, holder=holder, lease=lease))
        return tuple(key for key in keys if self._entries[key].row.holder == holder)

    async def survey(self, prefix: str = "") -> tuple[Survey, ...]:
        """Count the identities whose keys begin with `prefix`, for each app."""
        entries = [(key, entry.row) for key, entry in self._entries.items() if key.startswith(prefix)]
        return surveyed(((key, row) for key, row in entries if row != Row()), self._now())

    def _entry(self, key: str) -> _Entry:
        return self._entries.setdefault(key, _Entry())


def _is_worker(environ: Mapping[str, str]) -> bool:
    """Tell whether this is one of several processes: a child of multiprocessing, or what WEB_CONCURRENCY announces.

    uvicorn and gunicorn read that variable (and Heroku sets it) for the number of their workers.
    """
    announced = environ.get("WEB_CONCURRENCY", "")
    return parent_process() is not None or (announced.isdecimal() and int(announced) > 1)
