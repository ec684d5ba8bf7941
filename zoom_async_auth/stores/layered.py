"""Two stores as one: the record, which counts, and a faster one in front of it, which may be lost at any time.

                      the front                               the record
peek                  first                                   if the front has no valid token, or no answer
begin, release        never asked                             always
commit, condemn,      told afterwards what the record has,    always
forget                without the refresh token; later, if
                      it does not answer now
wait                  first                                   if the front lags, or has no answer

The two stores have different clocks. So a record in the front has `issued_at` by the record's clock and `expires_at` by
the front's: `expires_at - issued_at - token.expires_in` is how far the front's clock is ahead. With that, all that is
read here is in the record's time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Final, Self, TypeVar

import anyio

from zoom_async_auth.cancellation import is_being_cancelled
from zoom_async_auth.errors import MisuseError, StoreError
from zoom_async_auth.stores.base import Begun, Browsable, Claimable, Reading, Record, Store, can_claim
from zoom_async_auth.stores.look import look
from zoom_async_auth.stores.survey import Survey, Surveyable, can_survey

_T = TypeVar("_T")

PATIENCE: Final = 0.25
"""Seconds after which the front counts as absent."""
PAUSE: Final = 5.0
"""Seconds for which an absent front is left alone: calls do not wait for it one after the other."""

_LONGEST_HINT: Final = 1.0  # seconds: that a lease was given back can be seen in the record only
_CLOSING: Final = 2.0  # seconds
_ROUNDS: Final = 3
_HOLDER: Final = "layered"


class LayeredStore:
    """Keeps tokens in `record`, and shows access tokens in `front`: what is asked often is asked there.

    The front has no refresh token, no lease and no intent. It may lag, be slow, be down or be emptied: then the record
    is asked. Its content follows the record, also when that went back; an older generation never replaces a newer one
    that the record still has.

    Args:
        record: Where tokens are kept.
        front: Where they are looked up; nothing else may write to it under the same keys.
    """

    def __init__(self, record: Store, front: Store) -> None:
        self._record = record
        self._front = front
        self._absent_until = 0.0
        self._users = 0
        # Keys whose front may be out of date, each with a mark of the latest change.
        self._behind: dict[str, object] = {}
        self._mending: asyncio.Task[None] | None = None

    @property
    def durable(self) -> bool:
        """Whether the record is."""
        return self._record.durable

    @property
    def rotating_risk(self) -> str | None:
        """Why the record must not be the only home of a person's refresh token, if so."""
        risk: str | None = getattr(self._record, "rotating_risk", None)
        return risk

    async def __aenter__(self) -> Self:
        await self._record.__aenter__()
        await self._front.__aenter__()
        self._users += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave both. What the front was still to be told, it will not be told by this process."""
        self._users -= 1
        if self._users == 0 and self._mending is not None:
            self._mending.cancel()
            await asyncio.wait({self._mending})
            self._mending = None
        try:
            with anyio.move_on_after(_CLOSING), suppress(Exception):  # it may be down: nothing depends on it
                await self._front.__aexit__(kind, error, traceback)
        finally:
            await self._record.__aexit__(kind, error, traceback)

    async def peek(self, key: str) -> Reading:
        """Look; take no lease, write no intent. A record from the front has no refresh token."""
        seen = None if key in self._behind else await self._ask(lambda: self._front.peek(key))
        if not isinstance(seen, Reading):
            return await self._record.peek(key)
        if (served := _served(seen)) is not None:
            return served
        current = await self._record.peek(key)
        evicted = current.generation == seen.generation and seen.record is not None and seen.record.token is None
        if current.generation > seen.generation or (evicted and _is_live(current)):
            await self._write_to_front(key, seen, current)
        return current

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        """Take the lease of the record and write the intent, if it still has `generation`."""
        answer = await self._record.begin(key, generation, holder, lease, supersede=supersede)
        if isinstance(answer, Reading) and answer.generation != generation:  # which the front may have said
            await self._follow(key)
        return answer

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:
        """Keep `record` if the generation is still `sent`."""
        stored = await self._record.commit(key, sent, record, holder)
        await self._follow(key)
        return stored

    async def condemn(self, key: str, generation: int, cause: str) -> bool:
        """Note that the refresh token of `generation` is dead."""
        condemned = await self._record.condemn(key, generation, cause)
        await self._follow(key)
        return condemned

    async def release(self, key: str, holder: str, *, doubt: bool) -> None:
        """Give the lease back; drop the intent unless the outcome is in doubt."""
        await self._record.release(key, holder, doubt=doubt)

    async def wait(self, key: str, generation: int, timeout: float) -> None:
        """Return at a change of the front, after a second at the latest; wait at the record if it is absent or lags."""
        ends = anyio.current_time() + timeout
        within = min(timeout, _LONGEST_HINT)
        seen = await self._ask(lambda: self._front.peek(key))
        if isinstance(seen, Reading) and seen.generation == generation:

            async def hint() -> bool:
                await self._front.wait(key, generation, within)
                return True

            if await self._ask(hint, patience=within + PATIENCE) is True:
                return
        await self._record.wait(key, generation, max(0.0, ends - anyio.current_time()))

    async def forget(self, key: str) -> None:
        """Leave a tombstone of the next generation."""
        await self._record.forget(key)
        await self._follow(key)

    async def keys(self, *, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return the next keys of the record, in order, `limit` at most.

        Raises:
            MisuseError: The record cannot list its keys.
        """
        if not isinstance(self._record, Browsable):
            raise MisuseError(f"{type(self._record).__name__} cannot list its keys")
        return await self._record.keys(after=after, limit=limit)

    @property
    def can_claim(self) -> bool:
        """Whether the record can find keys whose token is old."""
        return can_claim(self._record)

    async def claim(self, prefix: str, holder: str, *, older_than: float, lease: float, limit: int) -> tuple[str, ...]:
        """Take the lease of keys whose token is old.

        Raises:
            MisuseError: The record cannot find them.
        """
        if not isinstance(self._record, Claimable):
            raise MisuseError(f"{type(self._record).__name__} cannot find keys whose token is old")
        return await self._record.claim(prefix, holder, older_than=older_than, lease=lease, limit=limit)

    @property
    def can_survey(self) -> bool:
        """Whether the record can count its identities."""
        return can_survey(self._record)

    async def survey(self, prefix: str = "") -> tuple[Survey, ...]:
        """Count the identities whose keys begin with `prefix`, for each app of the record.

        Raises:
            MisuseError: The record cannot count them.
        """
        if not isinstance(self._record, Surveyable):
            raise MisuseError(f"{type(self._record).__name__} cannot count its identities")
        return await self._record.survey(prefix)

    async def _follow(self, key: str) -> None:
        """Have the front show what the record has; if it cannot now, it is told later: others may read there."""
        self._behind[key] = object()
        if not await self._caught_up(key) and self._users and (self._mending is None or self._mending.done()):
            self._mending = asyncio.get_running_loop().create_task(self._mend(), name="zoom-async-auth")

    async def _mend(self) -> None:
        while self._behind:
            await asyncio.sleep(PAUSE)
            for key in tuple(self._behind):
                await self._caught_up(key)

    async def _caught_up(self, key: str) -> bool:
        """Have the front show what the record has, and note it; tell whether it does."""
        mark = self._behind.get(key)
        if not await self._bring_up_to_date(key):
            return False
        if self._behind.get(key) is mark:  # else the record has changed since: whoever changed it goes on
            self._behind.pop(key, None)
        return True

    async def _bring_up_to_date(self, key: str) -> bool:
        """Have the front show what the record has; tell whether it does.

        The front is read first: what it showed then, the record had before. So an older record went back, and a newer
        one may be written to the front, unless somebody was faster.
        """
        with anyio.move_on_after(2 * PATIENCE), suppress(Exception):  # what matters is done, in the record
            for _ in range(_ROUNDS):
                seen = await self._ask(lambda: self._front.peek(key))
                if seen is None:
                    return False
                if isinstance(seen, StoreError):  # sealed with a key that is gone, damaged: nobody needs it back
                    await self._ask(lambda: self._front.forget(key))
                    continue
                current = await look(self._record, key)
                if _agree(seen.record, current.record) or await self._write_to_front(key, seen, current):
                    return True
        return False

    async def _write_to_front(self, key: str, seen: Reading, current: Reading) -> bool:
        """Put the record into the front, in the place of what was seen there; tell whether that was done."""
        record = current.record
        if record is None:
            return True
        # The front was read first: rather too little lies between the clocks than too much, and it expires early.
        ahead = seen.now - current.now
        token = None if record.token is None else replace(record.token, refresh_token=None)
        issued_at = record.issued_at if token is None else record.expires_at - token.expires_in
        shown = replace(record, token=token, issued_at=issued_at, expires_at=record.expires_at + ahead)
        return await self._ask(lambda: self._front.commit(key, seen.generation, shown, _HOLDER)) is True

    async def _ask(self, ask: Callable[[], Awaitable[_T]], *, patience: float = PATIENCE) -> _T | StoreError | None:
        """Ask the front; None if it is absent, the error if it has something that nobody can read."""
        if anyio.current_time() < self._absent_until:
            return None
        with anyio.move_on_after(patience):
            try:
                return await ask()
            except asyncio.CancelledError:
                if is_being_cancelled():
                    raise  # else what it waited for was cancelled, not we
            except StoreError as error:
                if not error.transient:
                    return error.copy()
            except Exception:  # noqa: BLE001, S110 -- whatever it was, the record has the answer
                pass
        self._absent_until = anyio.current_time() + PAUSE
        return None


def _served(seen: Reading) -> Reading | None:
    """Return what the front has, in the record's time, if it is a token that has not expired."""
    record = seen.record
    if record is None or record.token is None or not _is_live(seen):
        return None
    expires_at = record.issued_at + record.token.expires_in
    ahead = record.expires_at - expires_at
    return Reading(record=replace(record, expires_at=expires_at), now=seen.now - ahead)


def _is_live(reading: Reading) -> bool:
    record = reading.record
    return record is not None and record.token is not None and record.cause is None and record.expires_at > reading.now


def _agree(shown: Record | None, record: Record | None) -> bool:
    if shown is None or record is None:
        return record is None
    same = (shown.generation, shown.cause) == (record.generation, record.cause)
    return same and _access_token(shown) == _access_token(record)


def _access_token(record: Record) -> str | None:
    return None if record.token is None else record.token.access_token
