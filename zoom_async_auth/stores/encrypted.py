"""A store around another one, which then sees no secret: tokens are sealed on their way in, opened on their way out.

What stays readable in the store within: generations, times, causes, scopes, the origin of the API, leases and intents,
and whether there is a refresh token.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from types import TracebackType
from typing import Final, Self, TypeVar

from zoom_async_auth.errors import ConfigurationError, MisuseError, StoreError
from zoom_async_auth.extras import extra
from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.oauth.token import Token
from zoom_async_auth.stores.base import Begun, Browsable, Claimable, Reading, Record, Store, can_claim
from zoom_async_auth.stores.facts import Checkable, Fact, answers
from zoom_async_auth.stores.look import look
from zoom_async_auth.stores.survey import Survey, Surveyable, can_survey

with extra("crypto"):
    from zoom_async_auth.stores.seal import Keyring, is_sealed

_T = TypeVar("_T")

_FORMAT: Final = "zoom_async_auth sealed.1"
_LEASE: Final = 10.0  # seconds; a rewrap is one commit
_LOOKED_AT: Final = 20
"""Identities that a check looks at."""
_READABLE: Final = "can be read"


class Rewrapped(StrEnum):
    """What `EncryptedStore.rewrap` did.

    Attributes:
        DONE: The record is sealed with the first key now.
        CURRENT: It was sealed with it already, or there is no token.
        BUSY: Somebody may be renewing it, and it was left alone: come again.
    """

    DONE = "done"
    CURRENT = "current"
    BUSY = "busy"


@secretive
class EncryptedStore:
    """Keeps tokens in another store, sealed with AES-256-GCM.

    A sealed token opens only where it was put: for its identity, its generation, its scope and its API, and as what it
    is. A row that was copied to another identity, or changed, is a `StoreError`; so is one whose key is not there, and
    one that is not encrypted. None of them is ever taken for a dead authorization, and none is overwritten: `forget`
    removes it. A whole older row that is put back opens, as it did before. Times, causes, leases and intents are not
    sealed: whoever can write to the inner store can end a token, prolong it or call it dead, but can read none, move
    none and put in none of their own.

    Keys are changed in three steps, each in every process before the next: add the new key at the end, so that all can
    open what it seals; put it first; and when `rewrap` has been through the store, drop the old one. What was kept in
    the clear is encrypted by `rewrap` as well: it believes what it finds.

    Args:
        inner: Where sealed tokens are kept. An access token may have 12,000 characters there.
        keys: What `Fernet.generate_key()` makes, text or bytes; the first seals, each opens.

    Raises:
        ConfigurationError: A key is something else; the message says how to make one, and does not show it.
    """

    def __init__(self, inner: Store, *, keys: Iterable[str | bytes]) -> None:
        self._inner = inner
        self._keyring = Keyring(keys)

    @property
    def durable(self) -> bool:
        """Whether the store within is."""
        return self._inner.durable

    @property
    def rotating_risk(self) -> str | None:
        """Why the store within must not be the only home of a person's refresh token, if so."""
        risk: str | None = getattr(self._inner, "rotating_risk", None)
        return risk

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the store within."""
        await self._inner.__aexit__(kind, error, traceback)

    async def peek(self, key: str) -> Reading:
        """Look; take no lease, write no intent.

        Raises:
            StoreError: What is kept does not open.
        """
        return _or_raise(self._opened(key, await self._inner.peek(key)))

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        """Take the lease and write the intent, if the record still has `generation`.

        Raises:
            StoreError: What is kept does not open; no lease is kept.
        """
        answer = await self._inner.begin(key, generation, holder, lease, supersede=supersede)
        if not isinstance(answer, Begun):
            return _or_raise(self._opened(key, answer))
        opened = self._opened(key, answer.reading)
        if isinstance(opened, StoreError):
            await self._step_back(key, answer.reading, holder)
            raise opened
        return Begun(reading=opened)

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:
        """Seal `record` and keep it, if the generation is still `sent`.

        What does not open is not overwritten, as long as callers commit on generations that they have read.

        Raises:
            StoreError: An access token is too long to be sealed.
        """
        sealed = _or_raise(self._sealed(key, record))
        return await self._inner.commit(key, sent, sealed, holder)

    async def condemn(self, key: str, generation: int, cause: str) -> bool:
        """Note that the refresh token of `generation` is dead. It stays as it is, sealed."""
        return await self._inner.condemn(key, generation, cause)

    async def release(self, key: str, holder: str, *, doubt: bool) -> None:
        """Give the lease back; drop the intent unless the outcome is in doubt."""
        await self._inner.release(key, holder, doubt=doubt)

    async def wait(self, key: str, generation: int, timeout: float) -> None:
        """Wait as the store within does."""
        await self._inner.wait(key, generation, timeout)

    async def forget(self, key: str) -> None:
        """Leave a tombstone of the next generation, also of what does not open."""
        await self._inner.forget(key)

    async def keys(self, *, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return the next keys, in order, `limit` at most.

        Raises:
            MisuseError: The store within cannot list its keys.
        """
        if not isinstance(self._inner, Browsable):
            raise MisuseError(f"{type(self._inner).__name__} cannot list its keys")
        return await self._inner.keys(after=after, limit=limit)

    @property
    def can_claim(self) -> bool:
        """Whether the store within can find keys whose token is old."""
        return can_claim(self._inner)

    async def claim(self, prefix: str, holder: str, *, older_than: float, lease: float, limit: int) -> tuple[str, ...]:
        """Take the lease of keys whose token is old.

        Raises:
            MisuseError: The store within cannot find them.
        """
        if not isinstance(self._inner, Claimable):
            raise MisuseError(f"{type(self._inner).__name__} cannot find keys whose token is old")
        return await self._inner.claim(prefix, holder, older_than=older_than, lease=lease, limit=limit)

    @property
    def can_survey(self) -> bool:
        """Whether the store within can count its identities."""
        return can_survey(self._inner)

    async def survey(self, prefix: str = "") -> tuple[Survey, ...]:
        """Count the identities whose keys begin with `prefix`, for each app.

        Raises:
            MisuseError: The store within cannot count them.
        """
        if not isinstance(self._inner, Surveyable):
            raise MisuseError(f"{type(self._inner).__name__} cannot count its identities")
        return await self._inner.survey(prefix)

    async def check(self) -> tuple[Fact, ...]:
        """Tell what the store within finds out, if it can; and whether the first of its tokens open with these keys."""
        found = await self._inner.check() if isinstance(self._inner, Checkable) else ()
        if not answers(found) or not isinstance(self._inner, Browsable):
            return found
        try:
            tried = [await self._tried(key) for key in await self._inner.keys(limit=_LOOKED_AT)]
        except StoreError as known:
            return (*found, Fact(what=_READABLE, ok=False, told=str(known)))
        return (*found, _readable([outcome for outcome in tried if outcome is not None]))

    async def rewrap(self, key: str) -> Rewrapped:
        """Seal the record of `key` with the first key, unless somebody may be renewing it. Its generation stays.

        A record that is not encrypted is encrypted: whoever can write to the store within could have put it there, so
        this is for stores that nobody else wrote to.

        Raises:
            StoreError: What is kept does not open.
        """
        seen = await look(self._inner, key)
        if all(map(self._keyring.is_newest, _parts(seen.record))):
            _or_raise(self._opened(key, seen))
            return Rewrapped.CURRENT
        holder = f"rewrap-{secrets.token_hex(8)}"
        begun = await self._inner.begin(key, seen.generation, holder, _LEASE)
        if not isinstance(begun, Begun):
            return Rewrapped.BUSY
        done = False
        try:
            if not begun.reading.intents:  # a commit would clear those, and others have to know of them
                done = await self._seal_again(key, begun.reading, holder)
        finally:
            if not done:
                await self._inner.release(key, holder, doubt=False)
        return Rewrapped.DONE if done else Rewrapped.BUSY

    async def _tried(self, key: str) -> str | None:
        """Return why a token does not open: nothing if it does; None if there is none.

        Raises:
            StoreError: Nobody knows: the store within gave no answer.
        """
        try:
            reading = await self.peek(key)
        except StoreError as known:
            if known.transient:
                raise
            return str(known)
        return "" if _parts(reading.record) else None

    async def _seal_again(self, key: str, reading: Reading, holder: str) -> bool:
        in_the_clear = not any(map(is_sealed, _parts(reading.record)))
        opened = reading if in_the_clear else _or_raise(self._opened(key, reading))
        if opened.record is None:
            return True
        sealed = _or_raise(self._sealed(key, opened.record))
        return await self._inner.commit(key, reading.generation, sealed, holder)

    async def _step_back(self, key: str, reading: Reading, holder: str) -> None:
        """Give back the lease that was taken before the record was known not to open."""
        doubt = any(intent.holder == holder and intent.generation == reading.generation for intent in reading.intents)
        with suppress(Exception):  # the lease runs out by itself; what is told is why the record does not open
            await self._inner.release(key, holder, doubt=doubt)

    # Errors are returned: the frames below hold secrets, and a traceback shows frames.

    def _sealed(self, key: str, record: Record) -> Record | StoreError:
        token = record.token
        if token is None:
            return record
        bound = _bound(key, record.generation, token)
        access = self._keyring.seal(token.access_token, bound("access_token"))
        refresh = token.refresh_token
        sealed = None if refresh is None else self._keyring.seal(refresh, bound("refresh_token"))
        try:
            return replace(record, token=replace(token, access_token=access, refresh_token=sealed))
        except ConfigurationError:
            pass
        return StoreError("the token is too long to be sealed, so it is not stored", transient=False)

    def _opened(self, key: str, reading: Reading) -> Reading | StoreError:
        record = reading.record
        if record is None or record.token is None:
            return reading
        token = record.token
        bound = _bound(key, record.generation, token)
        access = self._keyring.open(token.access_token, bound("access_token"))
        sealed = token.refresh_token
        refresh = None if sealed is None else self._keyring.open(sealed, bound("refresh_token"))
        if isinstance(access, StoreError):
            return access
        if isinstance(refresh, StoreError):
            return refresh
        return replace(
            reading, record=replace(record, token=replace(token, access_token=access, refresh_token=refresh))
        )


def _parts(record: Record | None) -> tuple[str, ...]:
    """Return what of a record is sealed, each by itself: whoever leaves the refresh token out can go on to do so."""
    if record is None or record.token is None:
        return ()
    return tuple(text for text in (record.token.access_token, record.token.refresh_token) if text is not None)


def _readable(tried: Sequence[str]) -> Fact:
    """Return what it means why tokens do not open."""
    reasons = [reason for reason in tried if reason]
    told = f"{len(tried) - len(reasons)} of {len(tried)} tokens looked at open with these keys"
    if reasons:
        told += f": are they complete? The first that does not: {reasons[0]}"
    elif not tried:
        told = "there is no token yet that these keys would have to open"
    return Fact(what=_READABLE, ok=not reasons, told=told)


def _bound(key: str, generation: int, token: Token) -> Callable[[str], bytes]:
    """Return what the parts of a token are bound to, by their names, as bytes that belong to nothing else."""
    place = [_FORMAT, key, generation, token.token_type, sorted(token.scope), token.api_url]
    return lambda name: json.dumps([*place, name]).encode()


def _or_raise(outcome: _T | StoreError) -> _T:
    if isinstance(outcome, StoreError):
        raise outcome
    return outcome
