"""One key of the store, as a renewal sees it: every call ends in time, every failure is returned as a `StoreError`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import anyio

from zoom_async_auth.cancellation import is_being_cancelled
from zoom_async_auth.errors import ConfigurationError, MisuseError, StoreError
from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.oauth.token import Token
from zoom_async_auth.renewal.held import Held, Moment, found
from zoom_async_auth.renewal.policy import SHORTEST_BACKOFF, RenewalPolicy
from zoom_async_auth.stores.base import NO_GENERATION, SEALED, Begun, Reading, Record, Store

_T = TypeVar("_T")


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A reading, and the moments of our clock between which the store took it.

    Attributes:
        reading: What the store said.
        before: Our clock before the question.
        after: Our clock after the answer.
        begun: Whether the lease is ours.
    """

    reading: Reading
    before: float
    after: float
    begun: bool

    def held(self, policy: RenewalPolicy, luck: float) -> Held | None:
        """Return the token that was found, in our time, if there is one that has not expired."""
        if self.reading.record is None:
            return None
        seen = Moment(local=self.before, store=self.reading.now)
        return found(self.reading.record, seen=seen, policy=policy, luck=luck)

    def is_later_than(self, ours: Held) -> bool:
        """Tell whether what was found was asked for later than ours, by the store's clock."""
        return self.reading.record is not None and self.reading.record.issued_at > ours.issued_at

    def in_store_time(self, local: float) -> float:
        """Return the store's time at a moment of our clock; too early rather than too late."""
        return self.reading.now + (local - self.after)

    def busy(self, seconds: float) -> "Look":
        """Return the same look, as if somebody else had the lease."""
        return replace(self, reading=replace(self.reading, lease_left=seconds), begun=False)

    def record_of(self, token: Token, sent_at: float, *, generation: int) -> Record:
        """Return what is to be stored of a token that was asked for at `sent_at` of our clock."""
        issued_at = self.in_store_time(sent_at)
        return Record(generation=generation, token=token, issued_at=issued_at, expires_at=issued_at + token.expires_in)

    def tombstone(self, local: float) -> Record:
        """Return what is to be stored in the place of what was found, when nobody may have it from now on."""
        now = self.in_store_time(local)
        return Record(generation=self.reading.generation + 1, token=None, issued_at=now, expires_at=now)


class Ledger:
    """Asks the store about one key, on behalf of one holder."""

    __slots__ = ("_holder", "_key", "_now", "_policy", "_store")

    def __init__(self, store: Store, *, key: str, holder: str, policy: RenewalPolicy, now: Callable[[], float]) -> None:
        self._store = store
        self._key = key
        self._holder = holder
        self._policy = policy
        self._now = now

    async def peek(self) -> Look | StoreError:
        """Look; take no lease, write no intent."""
        before = self._now()
        reading = await self._ask(lambda: self._store.peek(self._key))
        return reading if isinstance(reading, StoreError) else await self._look(reading, before)

    async def look(self) -> Look | StoreError:
        """Look without the lag of `peek`, and take nothing: `begin` always refuses a generation that no record has."""
        return await self.begin(NO_GENERATION)

    async def begin(self, generation: int, *, supersede: bool = False) -> Look | StoreError:
        """Take the lease and write the intent, if the record still has `generation`; look, in any case."""
        before = self._now()
        answer = await self._ask(
            lambda: self._store.begin(self._key, generation, self._holder, self._policy.lease, supersede=supersede)
        )
        return answer if isinstance(answer, StoreError) else await self._look(answer, before)

    async def commit(self, sent: int, record: Record) -> bool | StoreError:
        """Keep `record`, if the generation is still `sent`."""
        return await self._ask(lambda: self._store.commit(self._key, sent, record, self._holder))

    async def condemn(self, generation: int, cause: str) -> bool | StoreError:
        """Note that the refresh token of `generation` is dead; tell whether it was still current."""
        return await self._ask(lambda: self._store.condemn(self._key, generation, cause))

    async def forget(self) -> StoreError | None:
        """Leave a tombstone."""
        return await self._ask(lambda: self._store.forget(self._key))

    async def release(self, *, doubt: bool) -> StoreError | None:
        """Give the lease back. If that fails it runs out by itself, or is given back later."""
        return await self._ask(lambda: self._store.release(self._key, self._holder, doubt=doubt))

    async def wait(self, generation: int, timeout: float) -> None:
        """Wait until something may have changed, `timeout` seconds at most."""
        with anyio.move_on_after(timeout):
            try:
                await self._store.wait(self._key, generation, timeout)
                await anyio.sleep(SHORTEST_BACKOFF)  # it may return at any time, and again at once
            except asyncio.CancelledError:
                if is_being_cancelled():
                    raise
                await anyio.sleep(timeout)  # what it waited for was cancelled, not we
            except Exception:  # noqa: BLE001 -- only a hint: what matters is asked for afterwards
                await anyio.sleep(timeout)

    def foreign_doubt(self, look: Look) -> float:
        """Return for how many seconds somebody else's unfinished spending still counts as under way."""
        reading = look.reading
        ends = [
            intent.since + self._policy.doubt - reading.now
            for intent in reading.intents
            if intent.holder != self._holder and intent.generation == reading.generation
        ]
        return max(0.0, *ends) if ends else 0.0

    def has_foreign_intent(self, look: Look) -> bool:
        """Tell whether somebody else ever began to spend this generation without a result."""
        generation = look.reading.generation
        return any(intent.holder != self._holder and intent.generation == generation for intent in look.reading.intents)

    async def _look(self, answer: Begun | Reading, before: float) -> Look | StoreError:
        begun, after = isinstance(answer, Begun), self._now()
        reading = answer.reading if isinstance(answer, Begun) else answer
        if not _is_sealed(reading.record):
            return Look(reading=reading, before=before, after=after, begun=begun)
        if begun:
            await self.release(doubt=True)
        return StoreError(
            "the stored token is encrypted: open the store as EncryptedStore(store, keys=...)", transient=False
        )

    async def _ask(self, ask: Callable[[], Awaitable[_T]]) -> _T | StoreError:
        failure: StoreError | None = None
        with anyio.move_on_after(self._policy.commit_timeout):
            try:
                return await ask()
            except asyncio.CancelledError:
                if is_being_cancelled():
                    raise
                failure = StoreError("the store failed: CancelledError")  # what it waited for was cancelled, not we
            except StoreError as known:
                failure = known.copy()
            except (ConfigurationError, MisuseError) as known:  # one of our stores, on two event loops for example
                failure = StoreError(str(known), transient=False)
            except Exception as foreign:  # noqa: BLE001 -- its text may show what is stored: only its class is told
                late = isinstance(foreign, TimeoutError)
                failure = StoreError(f"the store failed: {type(foreign).__name__}", in_doubt=late)
        return failure or StoreError(
            f"the store gave no answer within {self._policy.commit_timeout:g} s: is it up?", in_doubt=True
        )


def _is_sealed(record: Record | None) -> bool:
    """Tell whether a record is one of an `EncryptedStore`: to Zoom, and to whoever asked, its token is nothing."""
    return record is not None and record.token is not None and record.token.access_token.startswith(SEALED)
