"""One identity's current token, and the flight that brings the next one.

    serving      what callers read: a string and a deadline, swapped whole
    held         the token that it came from; stays when it is rejected, so that it is not adopted again
    flight       a renewal in progress, or None
    restraint    what holds the next request back; outlives flights
    exchange     while there is something under way, or something that only this process knows: a token that is not
                 stored yet, a refresh token in doubt

Whether a token is fresh, whether anybody has authorized the app, whether a grant is dead: that follows from these.
"""

import asyncio
import hmac
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import anyio

from zoom_async_auth import events
from zoom_async_auth.bugs import told_of
from zoom_async_auth.errors import (
    AuthorizationRequiredError,
    ManagerClosedError,
    StoreError,
    TokenUnavailableError,
    ZoomAuthError,
)
from zoom_async_auth.oauth.grants import Grant
from zoom_async_auth.oauth.token import StoredToken
from zoom_async_auth.renewal.exchange import Exchange
from zoom_async_auth.renewal.flight import Flight
from zoom_async_auth.renewal.gate import AnyTime, Turn
from zoom_async_auth.renewal.held import NOTHING, Held, Serving, rejected
from zoom_async_auth.renewal.keeper import Pending
from zoom_async_auth.renewal.means import Means
from zoom_async_auth.renewal.policy import MOST_INTERVALS, NO_RESTRAINT, STORE_POLL, Restraint
from zoom_async_auth.renewal.wanted import Wanted

_UNTIL_THE_NEXT_LOOK = 0.05
"""Seconds between two looks for an authorization: people come back from Zoom at once, perhaps to another process."""
# Bounds a loop that ends by its deadline long before, unless a clock is broken.
_ATTEMPTS = 1000


class Slot:
    """One identity.

    Args:
        key: Names it.
        means: What all identities of the client share.

    Attributes:
        key: As above.
        serving, held, flight, restraint: As at the top of this module.
        lifetime: How long the latest token lives that was got here, in seconds; infinite as long as there was none.
        due: When `tend` is to be called.
        noted: When the scheduler is going to call it.
        used_at: When it was last used; only a pool keeps it.
        users: How many calls are using it; above 0 it is not let go.
    """

    __slots__ = (
        "_edition",
        "_exchange",
        "_looked_at",
        "_means",
        "_rejections",
        "due",
        "flight",
        "held",
        "key",
        "lifetime",
        "noted",
        "restraint",
        "serving",
        "used_at",
        "users",
    )

    def __init__(self, key: str, means: Means) -> None:
        self._means = means
        self._exchange: Exchange | None = None  # there is one while there is something to do, or to remember
        self._edition = 0  # grows with each change of what is held: answers to earlier questions are void
        self._looked_at = -math.inf
        self._rejections = 0
        self.key: str = key
        self.lifetime: float = math.inf
        self.due: float = -math.inf
        self.noted: float = math.inf
        self.used_at: float = -math.inf
        self.users: int = 0
        self.serving: Serving = NOTHING
        self.held: Held | None = None
        self.flight: Flight[Held] | None = None
        self.restraint: Restraint = NO_RESTRAINT

    @property
    def closed(self) -> bool:
        """Whether nothing new is handed out or sent."""
        return self._means.closing.is_set()

    @property
    def pending(self) -> Pending | None:
        """What could not be stored yet."""
        return None if self._exchange is None else self._exchange.pending

    @property
    def is_at_rest(self) -> bool:
        """Whether it may be forgotten: what it knows is in the store, and nobody is about to do anything with it."""
        idle = self.flight is None and self.users == 0 and not self._is_rejected
        return idle and (self._exchange is None or self._exchange.is_at_rest)

    @property
    def _awaits_person(self) -> bool:
        """Whether nobody has authorized the app, or the authorization is dead."""
        return isinstance(self.restraint.last_error, AuthorizationRequiredError)

    @property
    def _is_vacant(self) -> bool:
        """Whether an app's token was revoked, or forgotten, and nobody has asked for another one since."""
        return self._means.is_app and self.held is None and self.restraint.last_error is None

    @property
    def _is_rejected(self) -> bool:
        """Whether the store has a token that Zoom's API rejected, and the next one is on its way."""
        return self.held is not None and self.serving is NOTHING and not self._awaits_person

    # What callers do.

    async def obtain(self) -> Held:
        """Wait for a token that may be handed out.

        Raises:
            ZoomAuthError: Why there is none.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._means.policy.timeout
        landed = await self.board().wait()
        if (served := self.served()) is not None:
            return served
        # The loop may have stalled, or somebody rejected the token, before this task had its turn.
        while not self.closed:
            try:
                async with asyncio.timeout_at(give_up_at):  # what the first flight left of the patience
                    landed = await self.board().wait()
            except TimeoutError:
                break
            if (served := self.served()) is not None:
                return served
        if self._means.now() < landed.withheld_at and self.closed:
            return landed
        raise TokenUnavailableError("no token stayed valid until it could be handed out: is the event loop overloaded?")

    def board(self, *, forced: bool = False) -> Flight[Held]:
        """Return the flight that is in progress, or start one."""
        flight = self.flight
        if flight is None:
            flight = Flight(timeout=self._means.policy.timeout, excuse=self._excuse, forced=forced)
            self.flight = flight  # before the task: with eager tasks it runs at once
            task = self._means.spawn(self._fly(flight, self.held))
            # A task that is cancelled before its first step runs no line of its own.
            task.add_done_callback(lambda _: self._land(flight, None))
        elif forced and not flight.forced:
            flight.forced = True
            self._nudge()
        return flight

    def served(self) -> Held | None:
        """Return the token that may be handed out now, if there is one."""
        return self.held if self._means.now() < self.serving.until else None

    def next_try(self) -> float:
        """Return when something is to be sent, or stored, again; infinite if it takes a person first."""
        if self._awaits_person:
            return math.inf
        if self.pending is not None or (served := self.served()) is None:
            return self._may_try_at()
        return max(served.stale_at, self._may_try_at())

    def invalidate(self, access_token: str) -> bool:
        """Stop serving `access_token`, if it is the one that is served; tell whether it was."""
        held = self.held
        if held is None or self.serving is NOTHING:
            return False
        if not hmac.compare_digest(access_token.encode(errors="replace"), self.serving.access_token.encode()):
            return False
        self._forgive()
        self._rejections += 1
        self.serving = NOTHING
        self._means.announce(events.TokenRejected(key=self.key, generation=held.generation))
        self._replan()
        return True

    def mistrust(self, access_token: str) -> None:
        """Note that a token was rejected which is not known here: from the store it is not taken then."""
        self.held = rejected(access_token)
        self._edition += 1
        self._replan()

    async def authorize(self, grant: Grant | StoredToken) -> Held | ZoomAuthError:
        """Start a new chain of tokens."""
        with self._visit() as exchange:
            held = await exchange.authorize(grant)
        if isinstance(held, Held):
            if held.withheld_at <= self._means.now():
                held = replace(held, arrived_at=-math.inf)  # imported after its expiry: no pause before the next one
            self._publish(held)
        return held

    async def revoke(self) -> ZoomAuthError | None:
        """Have Zoom kill the token, and forget it."""
        with self._visit() as exchange:  # what was only reported may be anybody's
            failure = await exchange.revoke(self.held if self.held is not None and self.held.generation > 0 else None)
        if failure is None:
            self._vacate("revoked")
        return failure

    async def forget(self) -> ZoomAuthError | None:
        """Forget the token, without telling Zoom."""
        with self._visit() as exchange:
            failure = await exchange.forget()
        if failure is None:
            self._vacate("forgotten")
        return failure

    async def take_over(self, token: StoredToken) -> bool | ZoomAuthError:
        """Keep a token of another program in the store, unless there is one; tell whether it was kept."""
        with self._visit() as exchange:
            kept = await exchange.take_over(token)
        if kept is True:
            self.restraint = NO_RESTRAINT  # nobody is told any more that there is no authorization
        return kept

    async def settle(self) -> bool | StoreError:
        """Store the pending token, if there is one; tell whether it may go on to be served."""
        with self._visit() as exchange:
            return await exchange.settle()

    async def give_back_lease(self) -> None:
        """Give back a lease that was claimed for a renewal which does not come."""
        with self._visit() as exchange:
            await exchange.give_back_lease()

    def close(self) -> None:
        """Hand out nothing more, now that the client is closing; what sleeps wakes up."""
        self.serving = NOTHING
        self._nudge()

    # What the scheduler does.

    def tend(self) -> None:
        """Do what is due, in tasks of its own; plans the next time by itself."""
        if self.flight is not None or self._means.retire(self):
            return
        if self.pending is not None and self.serving is not NOTHING and not self._is_stale():
            self.users += 1
            self._means.spawn(self._store_in_background()).add_done_callback(lambda _: self._after_storing())
        else:
            self.board()

    # The flight.

    async def _fly(self, flight: Flight[Held], before: Held | None) -> None:
        since = self._means.now()
        try:
            await asyncio.sleep(0)  # whoever started this begins to wait now, and patience counts from then
            outcome = await self._renew(flight, before)
        except Exception as bug:  # noqa: BLE001 -- those who wait must hear of our own bugs
            outcome = self._note_failure(TokenUnavailableError(f"the renewal failed: {told_of(bug)}"), since)
        self._land(flight, outcome)

    def _land(self, flight: Flight[Held], outcome: Held | ZoomAuthError | None) -> None:
        if self.flight is flight:
            self.flight = None
            if outcome is None and not self.closed:  # somebody cancelled the task
                outcome = self._note_failure(TokenUnavailableError("the renewal was cancelled"), self._means.now())
            flight.land(outcome)
            self._replan()

    async def _renew(self, flight: Flight[Held], before: Held | None) -> Held | ZoomAuthError | None:
        """Try until there is a token, an error that waiting cannot cure, or nobody left who waits."""
        for _ in range(_ATTEMPTS):
            if self.closed:
                return None
            if self.held is not before and (served := self.served()) is not None:
                return served  # somebody authorized the app meanwhile
            if self._is_vacant and before is not None and flight.patience_left() == 0:
                return self._excuse()  # it was revoked meanwhile, and nobody wants another one
            pause = self._held_back_for(flight)
            outcome = await (self._wait_out(flight, pause) if pause > 0 else self._try_in_turn(flight))
            if outcome is not None:
                return outcome
        return self._excuse()

    async def _try_in_turn(self, flight: Flight[Held]) -> Held | ZoomAuthError | None:
        """Make one attempt when it is its turn; None: there has to be another one."""
        client = self._means.client
        if not client.gate.limits:
            return await self._try_once(flight, AnyTime())
        if (found := await self._look_for_token(flight)) is not None:
            return found  # in the store, or there is nothing to send: that needs no turn
        ends = math.inf if self.held is None else self.held.withheld_at
        asked_at = self._means.now()
        async with client.gate.turn(flight, ends=ends, last=self.key in client.breaker.doubted) as turn:
            if self._means.now() > asked_at and (found := await self._look_for_token(flight)) is not None:
                client.gate.skip_turn()
                return found  # another process was faster
            if self._held_back_for(flight) > 0:
                client.gate.skip_turn()
                return None  # others heard meanwhile that there is a pause
            outcome = await self._try_once(flight, turn)
            if client.pause.until(forced=True) > self._means.now():
                client.gate.skip_turn()  # who comes next sends nothing either, and is to hear of it
            return outcome

    async def _try_once(self, flight: Flight[Held], turn: Turn | AnyTime) -> Held | ZoomAuthError | None:
        forced, flight.forced = flight.forced, False  # this is the attempt that is wanted now; the next ones pause
        outcome = await self._renew_through_store(turn, forced=forced)
        if isinstance(outcome, ZoomAuthError) and not self.closed:
            somebody_waits = outcome.transient and flight.patience_left() > 0
            return None if somebody_waits or flight.forced else outcome
        return outcome

    async def _wait_out(self, flight: Flight[Held], pause: float) -> Held | ZoomAuthError | None:
        """Wait until something may be sent, if that is of any use; else return what there is to say."""
        if self._awaits_person and not flight.forced:
            known = self.restraint.last_error
            return await self._look_for_token(flight) or known
        if pause > flight.patience_left():
            found = await self._look_for_token(flight)
            if found is not None or self._held_back_for(flight) > flight.patience_left():
                return found or self._excuse()
            return None  # somebody began to wait meanwhile
        await _sleep(flight, pause)
        return None

    async def _look_for_token(self, flight: Flight[Held]) -> Held | ZoomAuthError | None:
        """Look for a token that another process got; a process that may not send anything has no other source.

        Also finds out that there is nothing to send.
        """
        now = self._means.now()
        known = self.restraint.last_error if self._awaits_person and not flight.forced else None
        if now < self._looked_at + (self._means.policy.min_interval if known is None else _UNTIL_THE_NEXT_LOOK):
            return known
        self._looked_at = now
        edition, forced = self._edition, flight.forced
        with self._visit() as exchange:
            found = await exchange.find(self._wanted(forced=forced))
        if self._edition != edition:
            return self.served()
        if isinstance(found, ZoomAuthError):
            insisted = flight.forced and not forced  # meanwhile: a dead refresh token is to be tried once more
            return None if insisted or self.closed else self._note_failure(found, now)
        if found is not None and not self.closed:
            self._publish(found)
        return found

    async def _renew_through_store(self, turn: Turn | AnyTime, *, forced: bool) -> Held | ZoomAuthError | None:
        failure = await self._store_pending()
        if failure is not None and not self._means.is_app:
            return failure  # the refresh token that would be spent is known to this process alone
        edition, since = self._edition, self._means.now()
        self._looked_at = since
        with self._visit() as exchange:
            outcome = await exchange.renew(self._wanted(forced=forced), turn)
        if self._edition != edition:  # authorized, revoked or forgotten while this one was on its way
            return self.served()
        if isinstance(outcome, ZoomAuthError):
            return self._note_failure(outcome, since)
        if outcome.arrived_at >= since:
            self.lifetime = outcome.token.expires_in
        if not self.closed:
            self._publish(outcome)
        return outcome

    def _wanted(self, *, forced: bool) -> Wanted:
        trusted = self.serving is not NOTHING
        return Wanted(ours=self.held, is_app=self._means.is_app, trusted=trusted, forced=forced)

    async def _store_in_background(self) -> None:
        await self._store_pending()

    def _after_storing(self) -> None:
        self.users -= 1
        self._replan()

    async def _store_pending(self) -> StoreError | None:
        """Store what could not be stored before, if there is anything."""
        if self.pending is None:
            return None
        since = self._means.now()
        outcome = await self.settle()
        if isinstance(outcome, StoreError):
            self._note_failure(outcome, since)
            return outcome
        self.restraint = self.restraint.relieved()
        if not outcome:
            self.serving = NOTHING  # a later authorization or revocation has killed it
        return None

    def _nudge(self) -> None:
        if self.flight is not None and self.flight.nudged is not None:
            self.flight.nudged.set()

    @contextmanager
    def _visit(self) -> Iterator[Exchange]:
        exchange = self._exchange
        if exchange is None:
            exchange = self._exchange = Exchange(self._means, key=self.key)
        exchange.visitors += 1
        try:
            yield exchange
        finally:
            exchange.visitors -= 1
            if exchange.is_at_rest:
                self._exchange = None  # a hundred thousand identities at rest have none

    # What follows from what.

    def _publish(self, held: Held) -> None:
        if self.serving is not NOTHING:
            self._forgive()
        before, self.held = self.held, held
        self._edition += 1
        self.serving = NOTHING if self.closed else Serving(held.token.access_token, held.withheld_at)
        self.restraint = NO_RESTRAINT
        if before is not None and held.token.scope and (lost := before.token.scope - held.token.scope):
            self._means.announce(events.ScopeShrunk(key=self.key, lost=lost))
        self._nudge()
        self._replan()

    def _vacate(self, why: str) -> None:
        floor = self._floor()
        self.held, self.serving = None, NOTHING
        self._edition += 1
        if self._means.is_app:
            self.restraint = Restraint(floor=floor)
        else:
            self._await_person(AuthorizationRequiredError(f"{why}: the person has to authorize the app again"))
        self._replan()
        self._nudge()

    def _note_failure(self, error: ZoomAuthError, since: float) -> ZoomAuthError:
        now, served = self._means.now(), self.served()
        news = type(self.restraint.last_error) is not type(error) or not isinstance(error, AuthorizationRequiredError)
        if isinstance(error, AuthorizationRequiredError):
            self._await_person(error)
        elif not isinstance(error, ManagerClosedError):
            # Several tries still fit into what a token has left; in its last seconds not ever more of them.
            left = 0.0 if served is None else max(served.withheld_at - now, 4 * self._means.policy.min_interval)
            self.restraint = self.restraint.after_failure(error, now=now, luck=self._means.random(), left=left)
        if news:  # an app that nobody authorized yet is told of once, not twice a minute
            awaited = error.transient and self.flight is not None and self.flight.patience_left() > 0
            next_try = self._may_try_at() if awaited else self.next_try()
            self._means.announce(
                events.RenewalFailed(
                    key=self.key,
                    error=error,
                    took=now - since,
                    seconds_left=0.0 if served is None else served.withheld_at - now,
                    next_attempt=None if self.closed or math.isinf(next_try) else max(0.0, next_try - now),
                )
            )
        return error

    def _await_person(self, error: AuthorizationRequiredError) -> None:
        look_at = self._means.now() + self._means.policy.min_interval
        self.restraint = Restraint.for_a_person(error, look_at=look_at)

    def _excuse(self) -> ZoomAuthError:
        """Say why there is no token yet, and when the next try is."""
        pause = self._may_try_at() - self._means.now()
        known = self.restraint.last_error or self._means.client.pause.reason_at(self._means.now())
        if known is not None:
            return known.copy(retry_after=pause) if pause > 0 else known
        if pause > 0:
            return TokenUnavailableError(
                "fresh tokens are rejected again and again: is the app active?", retry_after=pause
            )
        return TokenUnavailableError(f"no token within {self._means.policy.timeout:g} s: the renewal goes on")

    def _held_back_for(self, flight: Flight[Held]) -> float:
        """Return for how many seconds nothing may be sent; less than 0 if something may."""
        return self._may_try_at(forced=flight.forced) - self._means.now()

    def _may_try_at(self, *, forced: bool = False) -> float:
        """Return the moment from which something may be sent."""
        own = -math.inf if self._exchange is None else self._exchange.held_back_until
        pause = self._means.client.pause.until(forced=forced)
        return max(self._floor(), self.restraint.until(forced=forced), own, pause)

    def _floor(self) -> float:
        """Return the end of the pause after the arrival of the token, which is longer if it was rejected."""
        return -math.inf if self.held is None else self.held.arrived_at + self._means.policy.floor(self._rejections)

    def _forgive(self) -> None:
        """Forget earlier rejections once a token was good for long: the next one is not the same trouble."""
        if self.held is not None:
            age = self._means.now() - self.held.arrived_at
            if age >= MOST_INTERVALS * self._means.policy.min_interval:
                self._rejections = 0

    def _is_stale(self) -> bool:
        return self.held is None or self.serving is NOTHING or self._means.now() >= self.held.stale_at

    def _replan(self) -> None:
        if self.closed:
            return
        if self._is_vacant and self.flight is None:
            self.due = math.inf  # there could be another one, but nobody wants it now
            return
        self.due = self.next_try()
        if self.due == math.inf or (
            self.served() is None and self._means.client.pause.until(forced=False) > self._means.now()
        ):
            # Another process may get the person's authorization, or may have got a token before the pause.
            self.due = min(self.due, self._means.now() + STORE_POLL)
        self._means.plan(self)


async def _sleep(flight: Flight[Held], seconds: float) -> None:
    """Sleep, in slices: the loop's timers stop while the host is suspended. A nudge ends it."""
    flight.nudged = asyncio.Event()
    with anyio.move_on_after(min(seconds, STORE_POLL)):
        await flight.nudged.wait()
    flight.nudged = None
