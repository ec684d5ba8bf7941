"""What becomes of a token that has arrived: it is stored, or kept in memory until it can be, or dropped.

the generation that was sent is still there       stored
an older one is there                             stored: a backup was restored, or a write was lost
the same token is there already                   stored: only the store's answer was lost
another one is there, and ours is a renewal       dropped: an authorization, or a revocation, outranks it
another one is there, and ours is authorized      stored over it, unless the other one was asked for later
the store fails                                   pending: served, and tried again until it is one of the above

And later, of a token that was stored:

the store has an older one                        put back
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from zoom_async_auth import events
from zoom_async_auth.errors import StoreError
from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.oauth.token import Token, revocable
from zoom_async_auth.renewal.client import Client
from zoom_async_auth.renewal.held import Held
from zoom_async_auth.renewal.ledger import Ledger, Look
from zoom_async_auth.stores.base import Record

ROUNDS = 1000
"""Bounds loops that end long before, unless a store or a clock is broken."""
UNSTEADY = StoreError("the stored token changes all the time: who else writes this key?")
_WENT_BACK = StoreError(
    "the store went back to an older token, which is spent: authorize again, or restore the newer record"
)


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A token that arrived and is not stored yet: its refresh token lives in this process alone.

    Attributes:
        sent: The generation that it replaces.
        token: What Zoom sent.
        sent_at: When it was asked for, by our clock.
        record: What is to be stored; None if the store's time was not known when it arrived.
        authorized: Whether it came of a person's authorization, which outranks what was sent before it.
        why: What the store failed with, as far as that is known.
    """

    sent: int
    token: Token
    sent_at: float
    record: Record | None
    authorized: bool = False
    why: StoreError | None = None


class Keeper:
    """Keeps one identity's tokens.

    Args:
        ledger: The identity's key of the store.
        client: Told to revoke what nobody may have.
        key: Names the identity in events.
        is_app: Whether tokens are an app's own: one that the store does not take goes on to be served.
        announce: Told what happens.

    Attributes:
        pending: What could not be stored yet.
    """

    __slots__ = ("_announce", "_client", "_is_app", "_key", "_ledger", "pending")

    def __init__(
        self, ledger: Ledger, client: Client, *, key: str, is_app: bool, announce: Callable[[events.Event], None]
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._key = key
        self._is_app = is_app
        self._announce = announce
        self.pending: Pending | None = None

    async def keep(
        self, token: Token, record: Record, *, sent_at: float, authorized: bool = False
    ) -> tuple[bool | StoreError, Record]:
        """Store what has arrived; if the store fails, or the program ends meanwhile, it is pending.

        Args:
            token: What Zoom sent.
            record: What is to be stored of it.
            sent_at: When it was asked for, by our clock.
            authorized: Whether it came of a person's authorization.

        Returns:
            Whether it is stored (False: something outranks it; an error: it is pending), and the record as it was
                stored.
        """

        def pending(record: Record, why: StoreError | None) -> Pending:
            sent = record.generation - 1
            return Pending(sent=sent, token=token, sent_at=sent_at, record=record, authorized=authorized, why=why)

        try:
            stored, record = await self._place(record, authorized=authorized)
        except asyncio.CancelledError:
            self.pending = pending(record, None)
            raise
        self.pending = None
        if isinstance(stored, StoreError):
            self.pending = pending(record, stored)
            self._announce(events.CommitFailed(key=self._key, generation=record.generation, error=stored))
        return stored, record

    async def settle(self) -> bool | StoreError:
        """Store the pending token, if there is one; tell whether it may go on to be served."""
        pending = self.pending
        if pending is None:
            return True
        record = pending.record
        if record is None:
            seen = await self._ledger.peek()
            if isinstance(seen, StoreError):
                return seen
            record = seen.record_of(pending.token, pending.sent_at, generation=pending.sent + 1)
        stored, record = await self._place(record, authorized=pending.authorized)
        if isinstance(stored, StoreError):
            return stored
        self.pending = None
        if stored:
            self._announce(events.CommitRecovered(key=self._key, generation=record.generation))
        elif not self._is_app:
            await self.drop(pending.token)
            return False
        return True

    async def put_back(self, seen: Look, ours: Held) -> StoreError | None:
        """Store again what the store had and has lost: `seen` is older, and its refresh token is spent."""
        generation = seen.reading.generation
        self._announce(events.StoreWentBack(key=self._key, generation=generation, newest=ours.generation))
        if ours.token.refresh_token is None:
            return _WENT_BACK.copy()
        record = Record(
            generation=ours.generation,
            token=ours.token,
            issued_at=ours.issued_at,
            expires_at=ours.issued_at + ours.token.expires_in,
        )
        # Until it is stored it lives in this process alone, as one that has just arrived.
        self.pending = Pending(sent=ours.generation - 1, token=ours.token, sent_at=-math.inf, record=record)
        stored = await self._ledger.commit(generation, record)
        if isinstance(stored, StoreError):
            return stored
        self.pending = None  # also if somebody was faster
        return None

    async def drop(self, token: Token) -> None:
        """Let go of a token that a new authorization, `revoke()` or `forget()` outran.

        After `revoke()` or `forget()` have Zoom revoke it.
        """
        seen = await self._ledger.look()
        forgotten = isinstance(seen, Look) and seen.reading.record is not None and seen.reading.record.token is None
        revoked = False
        if forgotten:
            revoked = await self._client.revoke(revocable(token)) is None
        self._announce(events.LateTokenDropped(key=self._key, revoked=revoked))

    async def _place(self, record: Record, *, authorized: bool) -> tuple[bool | StoreError, Record]:
        """Commit `record`; tell whether it is stored, and with which generation.

        A new authorization kills all earlier tokens at Zoom, so it outranks what was sent before it, also if that was
        stored in between.
        """
        sent = record.generation - 1
        for _ in range(ROUNDS):
            stored = await self._ledger.commit(sent, record)
            if stored is not False:
                return stored, record
            seen = await self._ledger.look()
            if isinstance(seen, StoreError):
                return seen, record
            kept = seen.reading.record
            if kept is not None and kept.token == record.token:
                return True, kept  # it had worked before, and its answer was lost
            if kept is not None and kept.issued_at > record.issued_at:
                return False, record
            if authorized:
                record = replace(record, generation=max(seen.reading.generation, sent) + 1)
            elif seen.reading.generation >= sent:
                return False, record
            sent = seen.reading.generation  # for a renewal: the store went back while it was on its way
        return UNSTEADY.copy(), record
