"""A store in the memory of this process: for one manager, or for several on one event loop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import anyio

from zoom_async_auth.clock import Clock, SystemClock
from zoom_async_auth.stores.base import Begun, Intent, Reading, Record


@dataclass(slots=True)
class _Entry:
    record: Record | None = None
    holder: str = ""
    leased_until: float = 0.0
    intents: dict[str, Intent] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryStore:
    """Keeps tokens until the process ends. Its time is the suspend-aware clock of this host.

    A person's refresh token that is kept only here is lost with the process: the person must authorize again.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._now: Callable[[], float] = (clock or SystemClock()).monotonic
        self._entries: dict[str, _Entry] = {}

    @property
    def durable(self) -> bool:
        """Always False."""
        return False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Keep everything: the store may be entered again."""

    async def peek(self, key: str) -> Reading:
        """Look, without taking part."""
        return self._read(self._entry(key), reader="")

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        """Take the lease and write the intent, if the record still has `generation`."""
        entry = self._entry(key)
        reading = self._read(entry, reader=holder)
        if reading.generation != generation or (reading.lease_left > 0 and not supersede):
            return reading
        entry.holder, entry.leased_until = holder, reading.now + lease
        earlier = entry.intents.get(holder)
        if earlier is None or earlier.generation != generation:
            entry.intents[holder] = Intent(holder=holder, generation=generation, since=reading.now)
        return Begun(reading=reading)

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:  # noqa: ARG002 -- the protocol's
        """Keep `record` if the generation is still `sent`."""
        entry = self._entry(key)
        if _generation(entry) != sent:
            return False
        self._settle(entry, record)
        return True

    async def condemn(self, key: str, generation: int, cause: str) -> None:
        """Note that the refresh token of `generation` is dead."""
        entry = self._entry(key)
        if entry.record is not None and entry.record.generation == generation:
            self._settle(entry, replace(entry.record, cause=cause))

    async def release(self, key: str, holder: str, *, doubt: bool) -> None:
        """Give the lease back; drop the intent unless the outcome is in doubt."""
        entry = self._entry(key)
        if entry.holder == holder:
            entry.holder, entry.leased_until = "", 0.0
        if not doubt:
            entry.intents.pop(holder, None)
        _announce(entry)

    async def wait(self, key: str, generation: int, timeout: float) -> None:
        """Return at the next change of `key`, after `timeout` seconds at the latest."""
        entry = self._entry(key)
        if _generation(entry) == generation:
            with anyio.move_on_after(timeout):
                await entry.changed.wait()

    async def forget(self, key: str) -> None:
        """Leave a tombstone of the next generation."""
        entry = self._entry(key)
        now = self._now()
        self._settle(entry, Record(generation=_generation(entry) + 1, token=None, issued_at=now, expires_at=now))

    def _entry(self, key: str) -> _Entry:
        return self._entries.setdefault(key, _Entry())

    def _read(self, entry: _Entry, *, reader: str) -> Reading:
        now = self._now()
        foreign = entry.holder not in {"", reader}
        return Reading(
            record=entry.record,
            now=now,
            lease_left=max(0.0, entry.leased_until - now) if foreign else 0.0,
            intents=tuple(entry.intents.values()),
        )

    def _settle(self, entry: _Entry, record: Record) -> None:
        entry.record = record
        entry.holder, entry.leased_until = "", 0.0
        entry.intents.clear()
        _announce(entry)


def _generation(entry: _Entry) -> int:
    return 0 if entry.record is None else entry.record.generation


def _announce(entry: _Entry) -> None:
    entry.changed.set()
    entry.changed = asyncio.Event()
