"""The way of every renewal through a store: peek, begin, exchange, commit.

    look        a newer token is there                        adopt it, send nothing
                an older one than ours is there               a person's: ours is put back, theirs is spent
    begin       somebody else has the lease, or was faster    wait, look again
                the store is down                             an app's token: get one for this process alone
                                                              a person's: fail, spend nothing
    exchange    Zoom refuses the refresh token                believed only if nobody else may be spending it
                no answer                                     the intent stays: the same refresh token is tried again
    commit      the generation that was sent is still there   done; only now does anybody see the token
                it is not                                     a new authorization outranks ours: drop it
                the store fails                               the token is served, and kept as `pending` until stored

Errors are returned, never raised: the frames here hold secrets, and a traceback shows frames.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from zoom_async_auth import events
from zoom_async_auth.errors import (
    AuthorizationRequiredError,
    ManagerClosedError,
    StoreError,
    TokenUnavailableError,
    ZoomAuthError,
    recast,
)
from zoom_async_auth.oauth.grants import AppGrant, Grant, RefreshTokenGrant
from zoom_async_auth.oauth.token import StoredToken, Token, revocable
from zoom_async_auth.renewal.gate import AnyTime, Turn
from zoom_async_auth.renewal.held import Held, arrived
from zoom_async_auth.renewal.keeper import ROUNDS, UNSTEADY, Keeper, Pending
from zoom_async_auth.renewal.ledger import Look
from zoom_async_auth.renewal.means import Means
from zoom_async_auth.renewal.wanted import Wanted

_LONGEST_WAIT = 2.0
"""Seconds after which a lease is looked at again: that it was given back may have come before the waiting began."""
_CAME_LATER = "another authorization, or a revocation, came after this one, and counts"
_NOTHING_SENT = "the manager was closed before anything was sent"
_OUTDATED = "the token was revoked, or forgotten, while it was to be renewed"
_NOT_STORED_YET = "the token that arrived before is not stored yet: its refresh token is not spent"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """Zoom refused the refresh token of this generation: it is not sent again."""

    generation: int
    error: AuthorizationRequiredError


class Exchange:
    """One identity's renewals, one at a time.

    Attributes:
        key: Names the identity in events.
        visitors: How many use it now.
    """

    __slots__ = (
        "_doubtful",
        "_is_outdated",
        "_keeper",
        "_ledger",
        "_lock",
        "_means",
        "_outranked_until",
        "_policy",
        "_refused",
        "_since",
        "_unreleased_until",
        "key",
        "visitors",
    )

    def __init__(self, means: Means, *, key: str) -> None:
        self._means = means
        self._policy = means.policy
        self._ledger = means.ledger(key)
        self._keeper = Keeper(self._ledger, means.client, key=key, is_app=means.is_app, announce=means.announce)
        self._lock = asyncio.Lock()
        self._doubtful: int | None = None  # the generation whose refresh token we sent without hearing back
        self._refused: _Refused | None = None
        # Until then we may keep a lease only for its former holder, who may be on the wire.
        self._outranked_until = -math.inf
        self._unreleased_until = -math.inf  # until then a release may be carried out that was not answered
        self._is_outdated = False  # whether what is being renewed was revoked, or forgotten, meanwhile
        self.key: str = key
        self._since = -math.inf  # when the renewal that is under way began
        self.visitors: int = 0

    @property
    def pending(self) -> Pending | None:
        """What could not be stored yet."""
        return self._keeper.pending

    @property
    def held_back_until(self) -> float:
        """The moment from which a refresh token may be sent, as far as our own releases of the lease are concerned."""
        return -math.inf if self._means.is_app else self._unreleased_until

    @property
    def is_at_rest(self) -> bool:
        """Whether there is nothing that only this process knows, and nothing under way."""
        return (
            self.visitors == 0
            and self.pending is None
            and self._doubtful is None
            and self._refused is None
            and max(self._outranked_until, self._unreleased_until) <= self._means.now()
        )

    async def renew(self, wanted: Wanted, turn: Turn | AnyTime) -> Held | ZoomAuthError:
        """Return a token other than ours: the store's if it has one, else a new one from Zoom.

        Args:
            wanted: What it is for.
            turn: Taken before anything is sent; left while somebody else's lease is waited for.
        """
        ours, self._is_outdated = wanted.ours, False
        self._since = self._means.now()
        give_up_at = self._since + (self._policy.attempt_timeout if self._means.is_app else self._policy.lease)
        outcome: Held | ZoomAuthError | Look = await self._ledger.peek()
        authoritative = False
        for _ in range(ROUNDS):
            if isinstance(outcome, StoreError):
                return await self._without_store(ours, outcome, turn)
            if not isinstance(outcome, Look):
                return outcome
            seen = outcome
            generation = seen.reading.generation
            if ours is not None and generation < ours.generation and not authoritative:
                generation = ours.generation  # a peek may lag: ask with authority, for what we have
            elif ours is not None and wanted.is_outrun_by_ours(seen):
                if (failure := await self._put_back(seen, ours)) is not None:
                    return failure
                generation = ours.generation
            elif (known := self._known(seen, wanted)) is not None:
                return self._adopt(known) if isinstance(known, Held) else known
            elif authoritative and (busy := seen.reading.lease_left) > 0:  # in a peek it could be our own
                if (left := give_up_at - self._means.now()) <= 0:
                    return await self._without_lease(ours, busy, turn)
                turn.step_aside()
                await self._ledger.wait(generation, min(busy, left, _LONGEST_WAIT))
                outcome = await self._ledger.look()
                continue
            await turn.take()
            outcome = await self._attempt(generation, wanted)
            authoritative = True
        return UNSTEADY.copy()

    async def find(self, wanted: Wanted) -> Held | AuthorizationRequiredError | None:
        """Return what `renew` would without a request: a better token than ours, or that only a person can help.

        Takes no lease.
        """
        self._since = self._means.now()
        seen = await self._ledger.peek()
        if isinstance(seen, StoreError):
            return None
        if (better := self._better(seen, wanted)) is not None:
            return self._adopt(better)
        if self.pending is not None or (wanted.ours is not None and seen.reading.generation < wanted.ours.generation):
            return None  # what we have may outrank what was found
        return wanted.problem(seen)

    async def settle(self) -> bool | StoreError:
        """Store the pending token, if there is one; tell whether it may go on to be served."""
        async with self._writing():
            return await self._keeper.settle()

    async def give_back_lease(self) -> None:
        """Give back a lease that was claimed for a renewal which does not come; one that is under way keeps it."""
        if not self._lock.locked():
            async with self._writing():
                await self._give_back(doubt=True)

    async def authorize(self, grant: Grant | StoredToken) -> Held | ZoomAuthError:
        """Start a new chain of tokens from a grant, or from tokens that another program got.

        Outranks a renewal of another process. If Zoom refuses the grant all stays as it was.
        """
        async with self._writing():
            self._since = self._means.now()
            if self._means.closing.is_set():
                return ManagerClosedError(_NOTHING_SENT)
            seen = await self._begin_anew()
            if isinstance(seen, ZoomAuthError):
                return seen
            if self._means.closing.is_set():  # meanwhile
                await self._step_back(seen)
                return ManagerClosedError(_NOTHING_SENT)
            sent_at = self._means.now()
            if isinstance(grant, StoredToken):
                token: Token | ZoomAuthError = _imported(grant, wall=self._means.wall())
            else:
                token = await self._means.client.exchange(grant, key=self.key)
            if isinstance(token, ZoomAuthError):
                await self._step_back(seen)
                return token
            return await self._keep_authorized(seen, token, sent_at)

    async def revoke(self, ours: Held | None) -> ZoomAuthError | None:
        """Have Zoom kill what is stored and what we have, then forget it. After a failure it may be tried again."""
        async with self._writing():
            if self._means.closing.is_set():
                return ManagerClosedError(_NOTHING_SENT)
            for _ in range(ROUNDS):
                seen = await self._begin_anew()
                if isinstance(seen, ZoomAuthError):
                    return seen
                failure = await self._kill(seen, ours)
                if failure is not None:
                    await self._step_back(seen)
                    return failure
                stored = await self._ledger.commit(seen.reading.generation, seen.tombstone(self._means.now()))
                if isinstance(stored, StoreError):
                    return stored
                if stored:
                    self._keeper.pending = None
                    self._is_outdated = True
                    self._forget_trouble()
                    self._announce(events.TokenRevoked(key=self.key))
                    return None
            return UNSTEADY.copy()  # each time a renewal came in between, and its token has to die as well

    async def forget(self) -> ZoomAuthError | None:
        """Forget what is stored, without telling Zoom. On failure all stays as it was."""
        async with self._writing():
            failure = await self._ledger.forget()
            if failure is None:
                self._keeper.pending = None
                self._is_outdated = True
                self._forget_trouble()
            return failure

    async def take_over(self, stored: StoredToken) -> bool | ZoomAuthError:
        """Keep a token of another program, unless there is, or was, one already; tell whether it was kept."""
        async with self._writing():
            if self._means.closing.is_set():
                return ManagerClosedError(_NOTHING_SENT)
            seen = await self._ledger.begin(0)
            if isinstance(seen, StoreError):
                return seen
            if not seen.begun and seen.reading.generation == 0:  # nothing is there, but somebody has the lease
                return TokenUnavailableError(
                    "another process is about to store the first token of this identity: import it again later",
                    retry_after=seen.reading.lease_left,
                )
            if not seen.begun:
                return False
            token = _imported(stored, wall=self._means.wall())
            kept = await self._ledger.commit(0, seen.record_of(token, self._means.now(), generation=1))
            if isinstance(kept, StoreError):
                await self._release(seen)
                return StoreError("the token is not known to be stored: import it again")
            if kept:
                self._announce(events.Authorized(key=self.key, generation=1))
            return kept

    # From begin to commit: nobody cancels this.

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        async with self._lock:
            task = asyncio.current_task()
            self._means.writers.add(task)
            try:
                yield
            finally:
                self._means.writers.discard(task)

    async def _attempt(self, generation: int, wanted: Wanted) -> Held | ZoomAuthError | Look:
        async with self._writing():
            if self._means.closing.is_set():
                return ManagerClosedError(_NOTHING_SENT)
            if self.pending is not None and not self._means.is_app:
                # An authorization came first. What the store has is dead; what we have lives in this process alone.
                return StoreError(_NOT_STORED_YET)
            if (pause := self.held_back_until - self._means.now()) > 0:
                return TokenUnavailableError(
                    "the store has not answered yet that the last attempt is over", retry_after=pause
                )
            seen = await self._ledger.begin(generation)
            if isinstance(seen, StoreError) or not seen.begun:
                return seen
            if (busy := self._outranked_until - self._means.now()) > 0 and self._ledger.has_foreign_intent(seen):
                return seen.busy(busy)
            grant = self._ready(seen, wanted)
            if isinstance(grant, Look | ZoomAuthError):
                await self._release(seen)
                return grant
            if self._refused is not None and self._refused.generation == generation and not wanted.forced:
                return await self._bury(seen, self._refused.error)
            sent_at = self._means.now()
            answer = await self._means.client.exchange(grant, key=self.key, forced=wanted.forced)
            if isinstance(answer, Token):
                return await self._keep_renewed(seen, answer, sent_at)
            return await self._failed(seen, answer)

    async def _put_back(self, seen: Look, ours: Held) -> StoreError | None:
        async with self._writing():
            if self.pending is not None:  # an authorization came first, which must not be replaced by what it outranks
                return StoreError(_NOT_STORED_YET)
            return await self._keeper.put_back(seen, ours)

    def _ready(self, seen: Look, wanted: Wanted) -> Grant | Look | ZoomAuthError:
        """Return what is to be sent; the look, if the lease does not cover a request any more; or why nothing is."""
        grant = self._grant(seen, wanted)
        if isinstance(grant, ZoomAuthError):
            return grant
        if self._means.closing.is_set():  # meanwhile
            return ManagerClosedError(_NOTHING_SENT)
        if seen.before + self._policy.lease - self._means.now() < self._policy.attempt_timeout:
            return seen  # the host slept, or the store was slow
        return grant

    def _grant(self, seen: Look, wanted: Wanted) -> Grant | ZoomAuthError:
        if self._means.app_grant is not None:
            return self._means.app_grant
        if (failure := wanted.problem(seen)) is not None:
            return failure
        record = seen.reading.record
        if record is None or record.token is None or record.token.refresh_token is None:
            return AuthorizationRequiredError("the stored token cannot be renewed: the person has to authorize again")
        # Whoever wrote that intent may be about to store the next token. While ours is served there is time to wait.
        doubt = self._ledger.foreign_doubt(seen)
        left = wanted.ours.withheld_at - self._means.now() if wanted.ours is not None and wanted.trusted else 0.0
        if (pause := min(doubt, left)) > 0:
            return TokenUnavailableError(
                "another process sent this refresh token, and its answer is not known yet", retry_after=pause
            )
        return RefreshTokenGrant(refresh_token=record.token.refresh_token)

    async def _failed(self, seen: Look, error: ZoomAuthError) -> ZoomAuthError | Look:
        generation = seen.reading.generation
        if error.in_doubt and not self._means.is_app:
            self._doubtful = generation
        if not isinstance(error, AuthorizationRequiredError) or self._means.is_app:
            await self._release(seen)
            return error
        self._refused = _Refused(generation=generation, error=error)
        again = await self._ledger.begin(generation)
        if isinstance(again, StoreError) or not again.begun:
            return again  # somebody else moved on: that token is the one to have
        return await self._bury(again, error)

    async def _bury(self, seen: Look, error: AuthorizationRequiredError) -> ZoomAuthError | Look:
        """Declare the refresh token dead, unless somebody else may have spent it and be about to store the next."""
        if (doubt := self._ledger.foreign_doubt(seen)) > 0:
            await self._release(seen)
            return recast(
                error,
                TokenUnavailableError,
                "the refresh token is spent, perhaps by another process that has yet to store the next one",
                retry_after=doubt,
            )
        generation = seen.reading.generation
        condemned = await self._ledger.condemn(generation, error.error or "invalid_grant")
        if isinstance(condemned, StoreError):
            return condemned
        if not condemned:
            return await self._ledger.look()  # somebody else had the next token, and was late with it
        lost = self._doubtful == generation or self._ledger.has_foreign_intent(seen)
        self._forget_trouble()  # the store remembers it now
        self._announce(events.GrantDied(key=self.key, error=error, answer_was_lost=lost))
        return error

    async def _keep_renewed(self, seen: Look, token: Token, sent_at: float) -> Held | ZoomAuthError | Look:
        old = seen.reading.record
        if token.refresh_token is None and not self._means.is_app and old is not None and old.token is not None:
            token = replace(token, refresh_token=old.token.refresh_token)  # omitted: the old one goes on
        record = seen.record_of(token, sent_at, generation=seen.reading.generation + 1)
        held = self._arrived(token, sent_at, generation=record.generation, issued_at=record.issued_at)
        stored, _ = await self._keeper.keep(token, record, sent_at=sent_at)
        if stored is False:
            await self._keeper.drop(token)
            return await self._ledger.look()
        self._took_effect(held)
        self._announce_renewed(held)
        return held

    async def _keep_authorized(self, seen: Look, token: Token, sent_at: float) -> Held | ZoomAuthError:
        record = seen.record_of(token, sent_at, generation=seen.reading.generation + 1)
        stored, record = await self._keeper.keep(token, record, sent_at=sent_at, authorized=True)
        if stored is False:
            await self._keeper.drop(token)
            later = await self._ledger.look()
            held = None if isinstance(later, StoreError) else later.held(self._policy, self._means.random())
            return AuthorizationRequiredError(_CAME_LATER) if held is None else self._adopt(held)
        held = self._arrived(token, sent_at, generation=record.generation, issued_at=record.issued_at)
        self._took_effect(held)
        self._announce(events.Authorized(key=self.key, generation=held.generation))
        return held

    async def _kill(self, seen: Look, ours: Held | None) -> ZoomAuthError | None:
        """Have Zoom kill every token known here: stored, pending and ours. Mostly they are one."""
        record = seen.reading.record
        known = (
            None if record is None else record.token,
            None if self.pending is None else self.pending.token,
            None if ours is None else ours.token,
        )
        for secret in dict.fromkeys(revocable(token) for token in known if token is not None):
            failure = await self._means.client.revoke(secret)
            if failure is not None:
                return failure
        return None

    async def _without_store(self, ours: Held | None, why: StoreError, turn: Turn | AnyTime) -> Held | ZoomAuthError:
        if self._means.app_grant is None:
            return why
        await turn.take()
        return await self._mint_alone(ours, self._means.app_grant, why)

    async def _without_lease(self, ours: Held | None, busy: float, turn: Turn | AnyTime) -> Held | ZoomAuthError:
        if self._means.app_grant is not None:
            await turn.take()
            return await self._mint_alone(ours, self._means.app_grant, None)
        return TokenUnavailableError("another process has been renewing for too long", retry_after=busy)

    async def _mint_alone(self, ours: Held | None, grant: AppGrant, why: StoreError | None) -> Held | ZoomAuthError:
        """Get an app's token for this process, past the store: nothing is spent by it. It is offered to the store."""
        async with self._writing():
            if self._means.closing.is_set():
                return ManagerClosedError(_NOTHING_SENT)
            if self._is_outdated:
                return TokenUnavailableError(_OUTDATED)
            sent_at = self._means.now()
            token = await self._means.client.exchange(grant, key=self.key)
            if isinstance(token, ZoomAuthError):
                return token
            sent = 0 if ours is None else ours.generation
            held = self._arrived(token, sent_at, generation=sent + 1)
            if why is not None:
                self._keeper.pending = Pending(sent=sent, token=token, sent_at=sent_at, record=None, why=why)
            self._announce(events.StoreBypassed(key=self.key, error=why))
            self._announce_renewed(held)
            return held

    # What the steps above are made of.

    def _known(self, seen: Look, wanted: Wanted) -> Held | ZoomAuthError | None:
        """Return what follows from the record alone, without a request, if anything does."""
        if self._means.closing.is_set():
            return ManagerClosedError(_NOTHING_SENT)
        if (better := self._better(seen, wanted)) is not None:
            return better
        if self._is_outdated:
            return TokenUnavailableError(_OUTDATED)
        return wanted.problem(seen)

    def _better(self, seen: Look, wanted: Wanted) -> Held | None:
        """Return the token that was found, if it can be served in the place of ours."""
        held = seen.held(self._policy, self._means.random())
        if held is None or held.withheld_at <= self._means.now() or not wanted.is_met_by(held, seen):
            return None
        return held

    def _adopt(self, held: Held) -> Held:
        self._forget_trouble()
        now = self._means.now()
        left, took = held.expires_at - now, now - self._since
        self._announce(events.TokenAdopted(key=self.key, generation=held.generation, expires_in=left, took=took))
        return held

    async def _begin_anew(self) -> Look | ZoomAuthError:
        """Take the lease whoever has it, on whatever generation there is."""
        seen = await self._ledger.peek()
        for _ in range(ROUNDS):
            if isinstance(seen, StoreError) or seen.begun:
                return seen
            seen = await self._ledger.begin(seen.reading.generation, supersede=True)
            if isinstance(seen, StoreError):  # it may have been done, and only its answer was lost
                self._outranked_until = self._means.now() + self._policy.lease
        return UNSTEADY.copy()

    async def _step_back(self, seen: Look) -> None:
        """Give back the lease that `_begin_anew` took; if it was another's, let it run out: they may be on the wire."""
        if (busy := seen.reading.lease_left) > 0:
            self._outranked_until = seen.after + busy
        else:
            await self._release(seen)

    async def _release(self, seen: Look) -> None:
        await self._give_back(doubt=self._doubtful is not None and self._doubtful == seen.reading.generation)

    async def _give_back(self, *, doubt: bool) -> None:
        failure = await self._ledger.release(doubt=doubt)
        if failure is not None and failure.in_doubt:
            # It may be on its way still, and would end the lease of the next attempt while that is on the wire.
            self._unreleased_until = self._means.now() + self._policy.lease

    def _forget_trouble(self) -> None:
        self._refused, self._doubtful = None, None  # they were about an earlier token

    def _took_effect(self, held: Held) -> None:
        self._forget_trouble()
        if held.token.assumed:
            self._announce(events.FieldsAssumed(key=self.key, fields=held.token.assumed))

    def _arrived(self, token: Token, sent_at: float, *, generation: int, issued_at: float = -math.inf) -> Held:
        return arrived(
            token,
            generation=generation,
            issued_at=issued_at,
            sent_at=sent_at,
            now=self._means.now(),
            policy=self._policy,
            luck=self._means.random(),
        )

    def _announce_renewed(self, held: Held) -> None:
        took = self._means.now() - self._since
        self._announce(
            events.TokenRenewed(key=self.key, generation=held.generation, expires_in=held.token.expires_in, took=took)
        )

    def _announce(self, event: events.Event) -> None:
        self._means.announce(event)


def _imported(stored: StoredToken, *, wall: float) -> Token:
    """Return tokens of another program as if Zoom had just sent them."""
    return Token(
        access_token=stored.access_token,
        refresh_token=stored.refresh_token,
        expires_in=0.0 if stored.expires_at is None else max(0.0, stored.expires_at - wall),
        scope=stored.scope,
        api_url=stored.api_url,
    )
