"""How fast one client id asks for tokens, and who asks next.

Turns are given one after another, at a rate that varies, and only so many run at once: a slow store would be given more
and more to do, and finish nothing in time. Callers who wait go first, then those whose token ends soonest. No task at
rest: one hands out turns while somebody waits for them.

    Zoom answers 429          the rate is halved; an eighth of the full rate comes back every 30 seconds
    nothing but failures      a tenth of that: a client that is in trouble, or whose Zoom is, does not add to it
    a success                 that tenth is over at once; what a 429 took away comes back as above, and no sooner
"""

import asyncio
import heapq
import itertools
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import anyio

from zoom_async_auth.errors import AuthorizationRequiredError, ZoomAuthError

STEP = 30.0
"""Seconds after which an eighth of the rate comes back."""
_EIGHTHS = 8
_MANY_FAILURES = 5
"""This many failures in a row are no longer one identity's."""
_NEWS = 120.0
"""Seconds for which a failure says how Zoom is: those who need a token try again within half of it."""
_TRICKLE = 0.1
_LONGEST_SLICE = 1.0
_AT_ONCE = 50
_SECONDS_AT_ONCE = 0.25
"""Or as many as start within that time: about what a renewal takes."""
_ABOUT = 30.0
"""Tokens that end within these seconds are renewed in any order: else all processes of a fleet want the same one."""
_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """What share of the rate may be used.

    Attributes:
        share: What was left of it at `since`.
        since: When it was last halved.
        failures: How many requests failed in a row, for reasons that may pass.
    """

    share: float = 1.0
    since: float = -math.inf
    failures: int = 0

    def at(self, now: float) -> float:
        """Return the share at a moment, in (0, 1]; it changes in steps."""
        steps = 0.0 if self.share == 1 else (now - self.since) // STEP
        share = min(1.0, self.share + steps / _EIGHTHS)
        return share * _TRICKLE if self.failures >= _MANY_FAILURES else share

    def after(self, error: ZoomAuthError | None, *, now: float) -> "Throttle":
        """Return what holds after an answer; None if it was a token."""
        if error is None or isinstance(error, AuthorizationRequiredError):  # Zoom is well: it has looked at the token
            return replace(self, failures=0)
        failures = self.failures + 1 if error.transient else self.failures
        if error.status != _TOO_MANY_REQUESTS or now - self.since < 1:  # many at once are one warning
            return replace(self, failures=failures)
        share = replace(self, failures=0).at(now)
        return Throttle(share=max(share / 2, 1 / 64), since=now, failures=failures)


class Waits(Protocol):
    """Whose turn it may be: the flight of a renewal."""

    @property
    def hurry(self) -> Callable[[], None] | None:
        """Called when the first caller begins to wait for it."""
        ...

    @hurry.setter
    def hurry(self, call: Callable[[], None] | None) -> None: ...

    def patience_left(self) -> float:
        """Return for how long somebody waits for it; 0 if nobody does."""
        ...


class _Place(NamedTuple):
    """A place in the queue; what is compared first counts most."""

    last: bool
    unhurried: bool
    ends: float
    luck: float
    order: int  # of their coming: what follows cannot be compared
    granted: asyncio.Future[None]
    flight: Waits

    @property
    def was_left(self) -> bool:
        """Whether those for whose sake it is in front have lost patience meanwhile."""
        return not self.unhurried and self.flight.patience_left() == 0


class Gate:
    """Hands out turns.

    Args:
        rate: How many a second, at most; infinite: nobody waits.
        now: The clock, in seconds.
        random: Returns a number in [0, 1).
        spawn: Starts a task that only closing cancels.
    """

    def __init__(
        self,
        rate: float,
        *,
        now: Callable[[], float],
        random: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
    ) -> None:
        self._rate = rate
        self._now = now
        self._spawn = spawn
        self._throttle = Throttle()
        self._trouble: ZoomAuthError | None = None
        self._trouble_at = -math.inf
        self._random = random
        self._queue: list[_Place] = []
        self._count = itertools.count()
        self._busy: asyncio.Task[None] | None = None
        self._last_at = -math.inf
        self._on_turn = 0
        self._changed = asyncio.Event()

    @property
    def rate(self) -> float:
        """How many turns a second there are now."""
        return self._rate * self._throttle.at(self._now())

    @property
    def trouble(self) -> ZoomAuthError | None:
        """What Zoom answers while it answers nothing but failures; None if it does not, or was not asked lately."""
        is_lasting = self._throttle.failures >= _MANY_FAILURES and self._now() - self._trouble_at < _NEWS
        return self._trouble if is_lasting else None

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len({id(place.granted) for place in self._queue if not place.granted.done()})

    @property
    def limits(self) -> bool:
        """Whether anybody ever waits."""
        return self._rate < math.inf

    @asynccontextmanager
    async def turn(self, flight: Waits, *, ends: float, last: bool) -> "AsyncIterator[Turn]":
        """Have a turn: it begins when the renewal may start.

        Args:
            flight: Of the renewal.
            ends: When the token that it replaces is no longer handed out; infinite without one.
            last: Whether it comes after all others.
        """
        turn = Turn(self, flight, ends=ends, last=last)
        await turn.take()
        try:
            yield turn
        finally:
            turn.end()

    async def admit(self, flight: Waits, *, ends: float, last: bool) -> None:
        """Wait until one more may start; it counts as under way until `leave`."""
        granted = asyncio.get_running_loop().create_future()
        now, luck = self._now(), self._random()

        def enter(*, urgent: bool) -> None:
            lacking = ends <= now or (urgent and math.isinf(ends))  # callers of both wait for a token alike
            about = -math.inf if lacking else ends // _ABOUT if math.isfinite(ends) else ends
            place = _Place(last, not urgent, about, luck, next(self._count), granted, flight)
            heapq.heappush(self._queue, place)

        enter(urgent=flight.patience_left() > 0)
        flight.hurry = lambda: enter(urgent=True)
        if self._busy is None or self._busy.done():
            self._busy = self._spawn(self._hand_out())
        try:
            await granted
        except BaseException:
            granted.cancel()
            if not granted.cancelled():  # it was granted to a task that was cancelled in the same moment
                self.leave()
            raise
        finally:
            flight.hurry = None

    def leave(self) -> None:
        """Let another one start."""
        self._on_turn -= 1
        self._changed.set()

    def skip_turn(self) -> None:
        """Let the next one have the turn: there was nothing to be sent."""
        self._last_at = -math.inf
        self._changed.set()

    def note(self, error: ZoomAuthError | None) -> None:
        """Take an answer of Zoom into account; None: a token."""
        self._throttle = self._throttle.after(error, now=self._now())
        if error is not None and error.transient:
            self._trouble, self._trouble_at = error, self._now()

    async def _hand_out(self) -> None:
        while self._queue:
            self._changed.clear()
            full = self._on_turn >= max(_AT_ONCE, self._rate * _SECONDS_AT_ONCE)
            pause = math.inf if full else self._last_at + 1 / self.rate - self._now()
            if pause > 0:
                with anyio.move_on_after(min(pause, _LONGEST_SLICE)):  # the rate may rise meanwhile
                    await self._changed.wait()
                continue
            place = heapq.heappop(self._queue)
            if place.granted.done():  # by a place further in front; or it was given up
                continue
            if place.was_left:
                heapq.heappush(self._queue, place._replace(unhurried=True))
                continue
            place.granted.set_result(None)
            self._on_turn += 1
            self._last_at = self._now()


class Turn:
    """Leave to renew one identity."""

    def __init__(self, gate: Gate, flight: Waits, *, ends: float, last: bool) -> None:
        self._gate = gate
        self._flight = flight
        self._ends = ends
        self._last = last
        self._is_held = False

    async def take(self) -> None:
        """Wait until it begins, unless it has."""
        if not self._is_held:
            await self._gate.admit(self._flight, ends=self._ends, last=self._last)
            self._is_held = True

    def step_aside(self) -> None:
        """Let others have it: what is waited for now is not Zoom. To send anything, take another one."""
        if self._is_held:
            self.end()
            self._gate.skip_turn()

    def end(self) -> None:
        """End it, unless it has ended."""
        if self._is_held:
            self._is_held = False
            self._gate.leave()


class AnyTime:
    """A turn that nobody has to wait for."""

    async def take(self) -> None:
        """Begin at once."""

    def step_aside(self) -> None:
        """Hold nobody up."""
