"""`TokenPool`: valid tokens for very many identities of one app, from `start()` to `aclose()`.

Each identity is what it is in a `TokenManager`: a slot and its exchange. A pool adds what many of them need:

    a first call          loads the identity from the store; nothing is sent if its token is valid
    somebody uses it      it is renewed ahead of expiry, in the background
    nobody does           it is not renewed and leaves memory; its token stays in the store
    nor did for a month   one process of a fleet renews it; refusals are believed when they come again (`sweep.py`)
    the rate              renewals start one after the other: callers who wait go first, then what ends soonest
    many are refused      few of them are declared dead: the trouble is the app's (`renewal/breaker.py`)

At rest there is one task and one heap of deadlines for all.
"""

import asyncio
import heapq
import itertools
import math
import random as random_
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, overload

import aiohttp
import anyio

from zoom_async_auth import events
from zoom_async_auth.clock import Clock
from zoom_async_auth.endpoint import Transport
from zoom_async_auth.errors import ConfigurationError, ZoomAuthError
from zoom_async_auth.identity import require_key
from zoom_async_auth.oauth.credentials import Credentials, misfit_of
from zoom_async_auth.oauth.grants import Grant
from zoom_async_auth.oauth.origin import ZOOM
from zoom_async_auth.oauth.token import StoredToken, Token, is_access_token
from zoom_async_auth.renewal.device import Show
from zoom_async_auth.renewal.engine import Engine, OnUncommitted
from zoom_async_auth.renewal.health import Health
from zoom_async_auth.renewal.policy import STORE_POLL, RenewalPolicy
from zoom_async_auth.renewal.slot import Slot
from zoom_async_auth.renewal.sweep import Sweep
from zoom_async_auth.session import session_of
from zoom_async_auth.stores.base import Claimable, Store, can_claim

_NAME = "pool"
"""The key in events about the whole of it."""
_MOST_DEAD = 1000
"""How many dead identities are named; the others are only counted."""
_IMPORTS_AT_ONCE = 20
_LARGEST_BATCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolHealth:
    """How a pool is, without secrets.

    Attributes:
        ready: Whether it is open, and Zoom takes its renewals as far as is known.
        identities: How many are in memory.
        waiting: How many renewals wait for their turn.
        rate: How many renewals a second may start now.
        suspended: Whether so many refresh tokens were refused that no refusal is believed now.
        dead: How many authorizations were found dead by this process, and neither renewed nor forgotten since.
        dead_keys: Their keys, each with the cause; the newest 1000, newest first.
        last_error: Why nobody's token is renewed now, though it is open: the app is held back, or Zoom answers nothing
            but failures. None as long as that is not known.
    """

    ready: bool
    identities: int
    waiting: int
    rate: float
    suspended: bool
    dead: int
    dead_keys: dict[str, str] = field(repr=False)
    last_error: ZoomAuthError | None


class TokenPool:
    """Keeps the tokens of many identities valid: those that are used.

    Args:
        credentials: What the app is registered with: mostly `UserOAuth`.
        store: Where tokens are kept and shared; identities that are not in use are only there.
        policy: When to renew, and how long to wait.
        rate: How many renewals a second this process starts at most.
        capacity: How many identities stay in memory; busy ones always do. The least recently used leave first.
        idle_after: Seconds without use after which a stale token is no longer renewed.
        keep_alive: Age in seconds at which the token of an unused identity is renewed all the same, by one process of a
            fleet: unused refresh tokens die (after 90 days, say Zoom's documents). None: never.
        base_url: Zoom's, or that of another server with `/oauth/token`; https, loopback excepted.
        transport: Sends the requests; None: aiohttp with a private session.
        observers: Called with each event, see `events`.
        on_uncommitted: Called while closing with each key and token that could not be stored.
        clock: Where time comes from.
        random: Returns a number in [0, 1), to spread the renewals.

    Raises:
        ConfigurationError: An argument that cannot work; the message says what to do.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        store: Store,
        policy: RenewalPolicy | None = None,
        rate: float = 10.0,
        capacity: int = 100_000,
        idle_after: float = 1800.0,
        keep_alive: float | None = 30 * 86400.0,
        base_url: str = ZOOM,
        transport: Transport | None = None,
        observers: Iterable[events.Observer] = (),
        on_uncommitted: OnUncommitted | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] = random_.random,
    ) -> None:
        if (misfit := misfit_of(credentials)) is not None:
            del credentials
            raise misfit
        if not all(map(_is_positive, (rate, capacity, idle_after, 1 if keep_alive is None else keep_alive))):
            raise ConfigurationError("rate, capacity, idle_after and keep_alive must be numbers, more than 0")
        if not isinstance(capacity, int):
            raise ConfigurationError("capacity must be a whole number, more than 0")
        self._capacity = capacity
        self._crowded_at = capacity
        self._rate = rate
        self._idle_after = idle_after
        self._dead: dict[str, str] = {}  # and why; the latest comes last
        self._engine = Engine(
            "TokenPool",
            _NAME,
            credentials,
            store=store,
            policy=policy,
            base_url=base_url,
            transport=transport,
            observers=(*observers, self._note),
            on_uncommitted=on_uncommitted,
            clock=clock,
            random=random,
            rate=rate,
            retire=self._retire_if_idle,
        )
        self._slots = self._engine.slots
        self._now = self._engine.now
        self._luck = random
        self._sweep = None if keep_alive is None or not self._engine.is_person else self._sweep_of(store, keep_alive)

    # Life: new, open, closed.

    async def start(self) -> None:
        """Open it. Nothing is loaded and nothing is sent.

        Raises:
            MisuseError: It was started, or closed, before.
            ConfigurationError: A person's refresh token would be lost in this store.

        Cancellation: it is closed, and cannot be started again.
        """
        await self._engine.start()
        if self._sweep is not None:
            self._sweep.begin(self._luck())

    async def aclose(self) -> None:
        """Stop renewing, let requests on the wire and their commits end, close everything. Idempotent.

        Takes up to `policy.lease` seconds (20 by default) for what is on the wire, and about as long again for tokens
        that are not stored yet.

        Raises:
            MisuseError: It was opened on another event loop, or before a fork.

        Cancellation: the caller stops waiting; the closing goes on.
        """
        await self._engine.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # Verbs. Each is that of a `TokenManager`, for one key.

    async def bearer(self, key: str) -> str:
        """Return an access token of `key` that may be sent now; while one is held that costs a look at the clock.

        Otherwise it waits for the renewal in progress, `policy.timeout` seconds at most. Callers who wait together for
        one key time out together, counted from the first: those who join late wait less.

        Raises:
            ZoomAuthError: Why there is none; `transient` says whether waiting longer may help.

        Cancellation: disturbs nobody; a renewal goes on.
        """
        try:
            slot = self._slots.get(key)
        except TypeError:  # a list, say, is no key of anything
            slot = None
        if slot is not None:
            now = self._now()
            serving = slot.serving
            if now < serving.until:
                slot.used_at = now
                return serving.access_token
        return (await self._engine.obtain(self._use(key))).token.access_token

    async def token(self, key: str, *, valid_for: float = 0.0) -> Token:
        """Return the token of `key`, valid for `valid_for` seconds more; see `TokenManager.token`.

        Its `expires_in` counts from when it was issued; how long it may be used from now on is told by
        `health(key).seconds_left`.
        """
        return await self._engine.token(self._use(key), valid_for=valid_for)

    async def headers(self, key: str) -> dict[str, str]:
        """Return `{"Authorization": "Bearer ..."}`; see `bearer()`. Send it to Zoom and to nobody else."""
        return {"Authorization": f"Bearer {await self.bearer(key)}"}

    async def renew(self, key: str) -> Token:
        """Get a new token of `key` now; see `TokenManager.renew`. What Zoom says of it is believed in any case."""
        return await self._engine.renew(self._use(key))

    def invalidate(self, key: str, token: str | Token, /) -> bool:
        """Stop handing out `token`, because Zoom's API rejected it; see `TokenManager.invalidate`.

        Returns:
            Whether it was the current one of `key`; or may be, if that identity is not in memory.

        Raises:
            MisuseError, ManagerClosedError: The pool is not open, or belongs to another loop or process.
            ConfigurationError: A key that cannot be one.
        """
        outcome = self._invalidate(key, token)
        del token
        if isinstance(outcome, ZoomAuthError):
            raise outcome
        return outcome

    async def authorize(self, key: str, grant: Grant | StoredToken) -> Token:
        """Start from a person's authorization, or go on with tokens of another program; see `TokenManager.authorize`.

        Also revives an identity whose authorization was dead.
        """
        return await self._engine.authorize(self._use(key), grant)

    async def authorize_device(self, key: str, show: Show) -> Token:
        """Have a person authorize the app by a code that is shown; see `TokenManager.authorize_device`."""
        return await self._engine.authorize_device(self._use(key), show)

    async def revoke(self, key: str) -> None:
        """Have Zoom kill the token of `key`, then forget it; see `TokenManager.revoke`."""
        await self._engine.revoke(self._use(key))

    async def forget(self, key: str) -> None:
        """Forget the token of `key`, here and in the store, without telling Zoom: for one that Zoom has reported dead.

        Raises:
            StoreError: It is not known to be forgotten.
        """
        slot = self._use(key)
        await self._engine.forget(slot)
        self._dead.pop(slot.key, None)

    @overload
    def health(self) -> PoolHealth: ...

    @overload
    def health(self, key: str) -> Health: ...

    def health(self, key: str | None = None) -> PoolHealth | Health:
        """Return how the pool is, or one identity, as far as this process knows it; without secrets.

        One that is not in memory is "starting", though nothing is under way.
        """
        if key is not None:
            return self._engine.health(self._slot_of(require_key(key)))
        gate, pause, is_open = self._engine.gate, self._engine.client.pause, self._engine.is_open
        held_back = pause.until(forced=False) > self._now()
        why = (pause.reason_at(self._now()) or gate.trouble) if is_open else None
        return PoolHealth(
            ready=is_open and not held_back,
            identities=len(self._slots),
            waiting=gate.waiting,
            rate=gate.rate,
            suspended=self._engine.client.breaker.open,
            dead=len(self._dead),
            dead_keys=dict(itertools.islice(reversed(self._dead.items()), _MOST_DEAD)),
            last_error=None if why is None else why.copy(),
        )

    async def import_tokens(self, tokens: Iterable[tuple[str, StoredToken]]) -> int:
        """Take over tokens of another program, without a request; return how many were not here yet.

        An identity that has a token stays as it is, so an import that was broken off can be done again.

        Raises:
            StoreError: The store failed; what was imported before stays.
            TokenUnavailableError: Another process is about to store one of them; try again after `retry_after`.
            ConfigurationError: Something else than a key and a `StoredToken`; those before it may be imported.
            ManagerClosedError: The pool was closed meanwhile.

        Cancellation: what was under way is imported, the rest is not.
        """
        self._engine.require_open()
        left = iter(tokens)
        imported = 0
        while some := tuple(map(_importable, itertools.islice(left, _IMPORTS_AT_ONCE))):
            outcomes = await asyncio.gather(*itertools.starmap(self._take_over, some))
            for outcome in outcomes:
                if isinstance(outcome, ZoomAuthError):
                    raise outcome.copy()
                imported += outcome
        return imported

    def manager(self, key: str) -> "PooledIdentity":
        """Return one identity of the pool, with a manager's verbs: what adapters take, and what makes a `session()`.

        Raises:
            ConfigurationError: A key that cannot be one.
        """
        return PooledIdentity(self, self._engine, require_key(key))

    # What the above is made of.

    def _invalidate(self, key: str, token: str | Token) -> bool | ZoomAuthError:
        try:
            key = require_key(key)
        except ConfigurationError as known:
            return known.copy()  # the frame that raises it must not hold the token
        rejected = self._engine.rejected(token)
        if isinstance(rejected, ZoomAuthError):
            return rejected
        slot = self._slots.get(key)
        if slot is not None and (slot.held is not None or slot.flight is None):
            return slot.invalidate(rejected)
        if not is_access_token(rejected):
            return False
        self._use(key).mistrust(rejected)  # it is in the store, perhaps, or on its way from there
        return True

    def _slot_of(self, key: str) -> Slot:
        """Return the slot of a key, if need be one that is not kept."""
        return self._slots.get(key) or self._engine.new_slot(key)

    def _use(self, key: str) -> Slot:
        self._engine.require_open()
        key = require_key(key)
        if len(self._slots) >= self._crowded_at and key not in self._slots:
            self._make_room()
        slot = self._engine.slot(key)
        slot.used_at = self._now()
        return slot

    async def _take_over(self, key: str, token: StoredToken) -> bool | ZoomAuthError:
        slot = self._engine.slot(key)  # the one that an authorization uses: both begin under one lock
        try:
            return await self._engine.take_over(slot, token)
        except ZoomAuthError as closed:  # returned, so that the others of its batch end before it is raised
            return closed
        finally:
            self._let_sleep(slot)

    def _sweep_of(self, store: Store, age: float) -> Sweep:
        if not isinstance(store, Claimable) or not can_claim(store):
            raise ConfigurationError(
                f"{type(store).__name__} cannot find identities that nobody uses: take SQLStore, alone or as the "
                "record of a LayeredStore, or say keep_alive=None and see to it that they do not die"
            )
        engine = self._engine
        return Sweep(
            store,
            prefix=engine.prefix,
            holder=engine.holder,
            age=age,
            lease=engine.policy.lease,
            batch=max(1, int(min(_LARGEST_BATCH, self._rate * engine.policy.lease / 2))),
            now=engine.now,
            plan=engine.scheduler.plan,
            spawn=engine.crew.spawn,
            renew=self._keep_alive,
            give_back=self._give_back_leases,
            sleepers=engine.client.sleepers,
            paused=lambda: engine.client.pause.until(forced=False) - engine.now(),
            report=lambda error, took, pause: engine.announce(
                events.RenewalFailed(key=_NAME, error=error, took=took, next_attempt=pause)
            ),
        )

    async def _keep_alive(self, keys: list[str]) -> list[str]:
        """Renew identities that nobody uses, which do not stay in memory; return those that have no token yet."""
        slots = [self._engine.slot(key) for key in keys]
        asked = self._engine.client.sleepers.asked
        asked.update(keys)
        try:
            await asyncio.gather(*(slot.board().landed() for slot in slots))
        finally:
            asked.difference_update(keys)
        for slot in slots:
            self._let_sleep(slot)
        return [slot.key for slot in slots if slot.served() is None]

    async def _give_back_leases(self, keys: list[str]) -> None:
        """Let other processes renew what is not renewed here. What is not given back in time runs out by itself."""
        with anyio.move_on_after(self._engine.policy.lease):
            for key in keys:
                slot = self._engine.slot(key)
                await slot.give_back_lease()
                self._let_sleep(slot)

    def _let_sleep(self, slot: Slot) -> None:
        """Let an identity go that was not in memory for anybody: now, or once its store has had the time of a lease."""
        if slot.used_at > -math.inf:
            return
        if slot.is_at_rest:
            self._let_go(slot)
        elif slot.noted == math.inf:
            slot.due = self._now() + self._engine.policy.lease
            self._engine.scheduler.plan(slot)

    def _make_room(self) -> None:
        """Forget a twentieth of those in memory; look at all again only after as many came, not for each of them."""
        few = 1 + self._capacity // 20
        at_rest = (slot for slot in self._slots.values() if slot.is_at_rest)
        too_many = len(self._slots) - self._capacity + few
        for slot in heapq.nsmallest(too_many, at_rest, key=lambda slot: slot.used_at):
            self._let_go(slot)
        self._crowded_at = max(self._capacity, len(self._slots) + few)

    def _retire_if_idle(self, slot: Slot) -> bool:
        """Let an identity go that nobody uses; asked when its token turns stale, or the store is to be looked at."""
        patience = self._idle_after if slot.held is not None else STORE_POLL
        if self._now() - slot.used_at < patience or not slot.is_at_rest:
            return False
        self._let_go(slot)
        return True

    def _let_go(self, slot: Slot) -> None:
        if self._slots.get(slot.key) is slot:  # and not one that took its place
            del self._slots[slot.key]
        slot.due = math.inf  # so that its notes are void

    def _note(self, event: events.Event) -> None:
        match event:
            case events.GrantDied():
                self._dead[event.key] = event.error.error or "invalid_grant"
            case events.Authorized() | events.TokenRevoked() | events.TokenRenewed() | events.TokenAdopted():
                self._dead.pop(event.key, None)
            case _:
                pass


def _is_positive(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and number > 0


def _importable(entry: object) -> tuple[str, StoredToken]:
    match entry:
        case (str() as key, StoredToken() as token):
            return require_key(key), token
        case _:
            del entry  # a traceback shows what a frame holds
            raise ConfigurationError("import_tokens takes pairs of a key and a StoredToken: dict.items(), for example")


class PooledIdentity:
    """One identity of a pool: a `BearerSource`, and what else programs do with a token; see `TokenPool`.

    It is a view that holds nothing: make one whenever it is needed.

    Attributes:
        key: Whose.
    """

    __slots__ = ("_engine", "_pool", "key")

    def __init__(self, pool: TokenPool, engine: Engine, key: str) -> None:
        self._pool = pool
        self._engine = engine
        self.key: str = key

    async def bearer(self) -> str:
        """Return an access token that may be sent now; see `TokenPool.bearer`."""
        return await self._pool.bearer(self.key)

    async def token(self, *, valid_for: float = 0.0) -> Token:
        """Return the token; see `TokenPool.token`."""
        return await self._pool.token(self.key, valid_for=valid_for)

    async def headers(self) -> dict[str, str]:
        """Return `{"Authorization": "Bearer ..."}`; see `TokenPool.headers`."""
        return await self._pool.headers(self.key)

    async def renew(self) -> Token:
        """Get a new token now; see `TokenPool.renew`."""
        return await self._pool.renew(self.key)

    def invalidate(self, token: str | Token, /) -> bool:
        """Stop handing out `token`; see `TokenPool.invalidate`."""
        try:
            return self._pool.invalidate(self.key, token)
        except ZoomAuthError as known:
            failure = known.copy()
        del token
        raise failure

    async def authorize(self, grant: Grant | StoredToken) -> Token:
        """Start from a person's authorization, or go on with tokens of another program; see `TokenPool.authorize`."""
        return await self._pool.authorize(self.key, grant)

    async def authorize_device(self, show: Show) -> Token:
        """Have a person authorize the app by a code that is shown; see `TokenPool.authorize_device`."""
        return await self._pool.authorize_device(self.key, show)

    async def revoke(self) -> None:
        """Have Zoom kill the token, then forget it; see `TokenPool.revoke`."""
        await self._pool.revoke(self.key)

    async def forget(self) -> None:
        """Forget the token without telling Zoom; see `TokenPool.forget`."""
        await self._pool.forget(self.key)

    def health(self) -> Health:
        """Return how the identity is; see `TokenPool.health`."""
        return self._pool.health(self.key)

    def session(self, **options: Any) -> aiohttp.ClientSession:  # noqa: ANN401 -- of ClientSession
        """Return an aiohttp session on Zoom's API with the bearer of this identity; see `TokenManager.session`.

        Its requests go where the API of this account is, also when the identity left memory meanwhile and is loaded
        again. The caller closes the session.

        Args:
            options: Further arguments of `aiohttp.ClientSession`; `connector` and `connector_owner=False` have the
                sessions of many identities share connections.

        Raises:
            ConfigurationError: A `base_url` is among them.
            MisuseError, ManagerClosedError: The pool is not open, or belongs to another loop or process.
        """
        return session_of(self, self._engine, self.key, **options)
