"""What keeps the tokens of one client: a store, an endpoint, one background task.

Managers and pools are thin layers over it. Its life goes one way: new, open, closed. It belongs to the event loop and
the process that opened it.
"""

import asyncio
import itertools
import logging
import math
import os
import secrets
import warnings
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, TypeVar

from zoom_async_auth import events
from zoom_async_auth.clock import Clock, SystemClock
from zoom_async_auth.endpoint import AiohttpTransport, Endpoint, Transport
from zoom_async_auth.errors import (
    ConfigurationError,
    ManagerClosedError,
    MisuseError,
    TokenUnavailableError,
    ZoomAuthError,
)
from zoom_async_auth.identity import prefix_of
from zoom_async_auth.oauth.credentials import Credentials, UserOAuth, own_grant
from zoom_async_auth.oauth.grants import Grant, PersonalGrant
from zoom_async_auth.oauth.origin import require_base_url
from zoom_async_auth.oauth.token import NO_ACCESS_TOKEN, StoredToken, Token
from zoom_async_auth.renewal.client import Client
from zoom_async_auth.renewal.crew import Crew
from zoom_async_auth.renewal.device import DeviceFlow, Show
from zoom_async_auth.renewal.gate import Gate
from zoom_async_auth.renewal.health import Health, health_of
from zoom_async_auth.renewal.held import Held
from zoom_async_auth.renewal.means import Means
from zoom_async_auth.renewal.policy import RenewalPolicy
from zoom_async_auth.renewal.scheduler import Scheduler
from zoom_async_auth.renewal.slot import Slot
from zoom_async_auth.stores.base import Store
from zoom_async_auth.stores.memory import MemoryStore

_log = logging.getLogger("zoom_async_auth")

_RESCUED_AT_ONCE = 20
"""How many tokens are stored at once while closing: thousands would only time out together."""
_T = TypeVar("_T")
OnUncommitted = Callable[[str, Token], None]
"""Called with the key and the token that could not be stored."""


class Engine:
    """Renews the tokens of its slots until it is closed.

    Args:
        face: What the user made, for the texts of errors: "TokenManager".
        name: The key in events that belong to no single identity.
        credentials: What the app is registered with.
        store: Where tokens are kept and shared; None: in the memory of this engine.
        policy: When to renew, and how long to wait.
        base_url: Of the OAuth endpoints.
        transport: Sends the requests; None: aiohttp with a private session.
        observers: Called with each event.
        on_uncommitted: Called while closing with each key and token that could not be stored.
        clock: Where time comes from.
        random: Returns a number in [0, 1).
        rate: How many renewals a second are started at most.
        retire: Asked whether the renewal that is due for a slot is left out, because nobody uses the token.

    Attributes:
        slots: Its identities, by key.
        prefix: What their names in the store begin with.
        holder: Names this engine in the store, as the owner of leases and intents.
    """

    def __init__(
        self,
        face: str,
        name: str,
        credentials: Credentials,
        *,
        store: Store | None,
        policy: RenewalPolicy | None,
        base_url: str,
        transport: Transport | None,
        observers: Iterable[events.Observer],
        on_uncommitted: OnUncommitted | None,
        clock: Clock | None,
        random: Callable[[], float],
        rate: float = math.inf,
        retire: Callable[[Slot], bool] = lambda _: False,
    ) -> None:
        if policy is not None and not isinstance(policy, RenewalPolicy):
            raise ConfigurationError("policy must be a RenewalPolicy")
        if store is not None and not hasattr(store, "peek"):
            raise ConfigurationError("store must be an object such as SQLStore(url)")
        if on_uncommitted is not None and (problem := events.unfit(on_uncommitted)) is not None:
            raise ConfigurationError(f"on_uncommitted {problem}: it is a plain callable")
        clock = clock or SystemClock()
        self.slots: dict[str, Slot] = {}
        self.policy: RenewalPolicy = policy or RenewalPolicy()
        self.base_url: str = require_base_url(base_url)
        self.store: Store = MemoryStore(clock=clock) if store is None else store
        self.is_person: bool = isinstance(credentials, UserOAuth)
        self.now: Callable[[], float] = clock.monotonic
        self.announce: events.Announcer = events.Announcer(observers)
        self.crew: Crew = Crew()
        self._closing = asyncio.Event()
        self.scheduler: Scheduler = Scheduler(
            self.now, restart_after=self.policy.min_interval, report=self._report_crash
        )
        self._face = face
        self._name = name
        self.prefix: str = prefix_of(credentials, self.base_url)
        self.holder: str = secrets.token_hex(16)
        self._on_uncommitted = on_uncommitted
        self._endpoint = Endpoint(
            credentials,
            base_url=self.base_url,
            transport=AiohttpTransport() if transport is None else transport,
            clock=clock,
            attempt_timeout=self.policy.attempt_timeout,
        )
        self.gate: Gate = Gate(rate, now=self.now, random=random, spawn=self.crew.spawn)
        self.client: Client = Client(self._endpoint, self.now, gate=self.gate)
        self._means = Means(
            app_grant=own_grant(credentials),
            client=self.client,
            store=self.store,
            prefix=self.prefix,
            holder=self.holder,
            policy=self.policy,
            now=self.now,
            wall=clock.time,
            random=random,
            announce=self.announce,
            spawn=self.crew.spawn,
            plan=self.scheduler.plan,
            retire=retire,
            closing=self._closing,
        )
        self._supervisor: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0

    def slot(self, key: str) -> Slot:
        """Return the slot of an identity, a new one if need be."""
        slot = self.slots.get(key)
        if slot is None:
            slot = self.slots[key] = self.new_slot(key)
        return slot

    def new_slot(self, key: str) -> Slot:
        """Return a slot that is not among `slots`."""
        return Slot(key, self._means)

    @property
    def started(self) -> bool:
        """Whether it was ever opened."""
        return self._supervisor is not None

    @property
    def is_open(self) -> bool:
        """Whether it runs in this process: the same from any thread."""
        return self.started and not self._closing.is_set() and os.getpid() == self._process

    async def start(self) -> None:
        """Open it: the background task runs, nothing was sent.

        Raises:
            MisuseError: It was started, or closed, before.
            ConfigurationError: A person's refresh token would be lost in this store.

        Cancellation: it is closed, and cannot be started again.
        """
        if self._supervisor is not None or self._closing.is_set():
            raise MisuseError(f"a {self._face} can be opened only once: make a new one")
        if self.is_person and (risk := getattr(self.store, "rotating_risk", None)) is not None:
            raise ConfigurationError(risk)
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        context = copy_context()
        self.announce.bind(self._loop, context)
        self.crew.bind(self._loop, context)
        opened = asyncio.Event()
        self._supervisor = self._loop.create_task(self._supervise(opened), name="zoom-async-auth", context=context)
        self._supervisor.add_done_callback(lambda _: opened.set())  # never wait for a dead task
        try:
            await opened.wait()
        except BaseException:  # cancelled half-way: leave nothing behind
            self._closing.set()
            self._supervisor.cancel()
            raise
        if self._supervisor.done():
            failed, self._supervisor = self._supervisor, None
            self._close()
            failed.result()
        if self.is_person and not self.store.durable:
            self.announce(events.StoreNotDurable(key=self._name))

    async def aclose(self) -> None:
        """Close it: let requests on the wire and their commits end. Idempotent; a closer may be cancelled."""
        if self._supervisor is None:
            self._close()
            return
        if (problem := self._wrong_place()) is not None:
            raise problem
        self._close()
        await asyncio.wait({self._supervisor})
        if not self._supervisor.cancelled():
            self._supervisor.result()

    # What managers and pools do with a slot. Cancelling any of it disturbs nobody: what was begun goes on.

    async def obtain(self, slot: Slot) -> Held:
        """Return a token that may be handed out."""
        self.require_open()
        slot.users += 1  # by hand: ten thousand wait here at once, and a context manager for each is a tenth of it
        try:
            return slot.served() or await slot.obtain()
        finally:
            slot.users -= 1

    async def token(self, slot: Slot, *, valid_for: float) -> Token:
        """Return a token that is valid for so many seconds more; renew it if it is not."""
        self.require_open()
        if not 0 <= valid_for < math.inf:
            raise ConfigurationError("valid_for must be a finite number of seconds, 0 or more")
        asked_at = self.now()
        with _in_use(slot):
            held = slot.served() or await slot.obtain()
            for _ in range(2):  # the first may bring what another process has, which is not new either
                is_new = held.arrived_at >= asked_at and held.token.expires_in >= valid_for
                lasts = held.expires_at - self.now() >= valid_for
                if is_new or lasts or valid_for > slot.lifetime:  # no other one would last longer
                    break
                held = await slot.board().wait()
        if held.expires_at - self.now() < valid_for:
            raise TokenUnavailableError(f"tokens do not live for {valid_for:g} s: ask for less", transient=False)
        return held.token

    async def renew(self, slot: Slot) -> Token:
        """Return a new token, though the held one is good."""
        self.require_open()
        with _in_use(slot):
            held = await slot.board(forced=True).wait()
            if self.now() >= held.withheld_at:  # the host slept while it was on its way
                held = await slot.obtain()
            return held.token

    def rejected(self, token: str | Token) -> str | ZoomAuthError:
        """Return the access token that is to be invalidated.

        An error is returned: every frame up to the caller's holds the token.
        """
        if (problem := self.problem()) is not None:
            return problem
        if not isinstance(token, str | Token):
            return ConfigurationError("what is invalidated is an access token: a str, or a Token")
        access_token = token if isinstance(token, str) else token.access_token
        return access_token.removeprefix("Bearer ")

    async def authorize(self, slot: Slot, grant: Grant | StoredToken) -> Token:
        """Start a new chain of tokens."""
        self.require_open()
        if isinstance(grant, ZoomAuthError):  # what `read_callback` returned in the place of a grant
            raise grant.copy()
        if not isinstance(grant, StoredToken | PersonalGrant if self.is_person else StoredToken):
            raise ConfigurationError(
                "a person's authorization is a code, a device code, a refresh token or a StoredToken"
                if self.is_person
                else "an app gets tokens in its own name: a person's grant needs UserOAuth credentials"
            )
        held = await self._see_through(slot, lambda: slot.authorize(grant))
        if isinstance(held, ZoomAuthError):
            raise held.copy()
        if held.token.access_token == NO_ACCESS_TOKEN:
            held = await self.obtain(slot)
        return held.token

    async def authorize_device(self, slot: Slot, show: Show) -> Token:
        """Start a new chain of tokens by a code that a person types in elsewhere."""
        self.require_open()
        flow = DeviceFlow(
            self._means.ledger(slot.key),
            self.now,
            self._closing,
            ask=self.client.device_code,
            authorize=lambda grant: self._see_through(slot, lambda: slot.authorize(grant)),
        )
        with _in_use(slot):
            held = await flow.run(show)
        if isinstance(held, ZoomAuthError):
            raise held.copy()
        return held.token

    async def revoke(self, slot: Slot) -> None:
        """Have Zoom kill the token, and forget it."""
        self.require_open()
        failure = await self._see_through(slot, slot.revoke)
        if failure is not None:
            raise failure.copy()

    async def forget(self, slot: Slot) -> None:
        """Forget the token, here and in the store."""
        self.require_open()
        failure = await self._see_through(slot, slot.forget)
        if failure is not None:
            raise failure.copy()

    async def take_over(self, slot: Slot, token: StoredToken) -> bool | ZoomAuthError:
        """Keep a token of another program, unless there is one already; tell whether it was kept, or why not."""
        return await self._see_through(slot, lambda: slot.take_over(token))

    def health(self, slot: Slot) -> Health:
        """Return how an identity is."""
        return health_of(slot, started=self.started, durable=self.store.durable, now=self.now())

    # What the above is made of.

    def problem(self) -> MisuseError | ManagerClosedError | None:
        """Return why nothing can be done here and now, if so."""
        if self._closing.is_set():
            return ManagerClosedError(f"the {self._face} is closed: make a new one")
        if self._supervisor is None:
            return MisuseError(f"the {self._face} is not open: use async with, or await start()")
        return self._wrong_place()

    def require_open(self) -> None:
        """Raise if nothing can be done here and now."""
        if (problem := self.problem()) is not None:
            raise problem

    def _wrong_place(self) -> MisuseError | None:
        if os.getpid() != self._process:
            return MisuseError(f"the {self._face} was opened before a fork: make one in each process")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is not self._loop:
            return MisuseError(f"the {self._face} belongs to another event loop, or thread: make one on each loop")
        return None

    async def _see_through(self, slot: Slot, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        async def on_slot() -> _T:
            try:
                return await work()
            finally:
                slot.users -= 1

        slot.users += 1  # from now on: its task has yet to begin
        return await self.crew.see_through(on_slot())

    async def _supervise(self, opened: asyncio.Event) -> None:
        async with self.store, self._endpoint:  # entering does no I/O: an app starts while they are down
            scheduler = asyncio.create_task(self.scheduler.run_for_ever(), name="zoom-async-auth")
            opened.set()
            try:
                await self._closing.wait()
            finally:  # also when somebody cancels every task of the loop, as asyncio.run does at its end
                abandoned = not self._closing.is_set()
                self._close()
                scheduler.cancel()
                try:
                    await self._finish()
                except asyncio.CancelledError:  # the loop is about to end, and cancelled what was storing tokens, too
                    await self._finish()
                    raise
                finally:
                    self._hand_over()
                await asyncio.wait({scheduler})
                if abandoned:
                    warnings.warn(
                        f"a {self._face} was not closed: use async with, or aclose()",
                        ResourceWarning,
                        stacklevel=1,
                        source=self,
                    )

    def _close(self) -> None:
        self._closing.set()
        for slot in self.slots.values():
            slot.close()

    async def _finish(self) -> None:
        """Let tasks that are between `begin` and `commit` finish, and cancel the others; then store what is pending."""
        await self.crew.dismiss(all_but=self._means.writers.__contains__, within=self.policy.lease)
        await self._store_pending()

    async def _store_pending(self) -> None:
        """Try once more to store what could not be stored before."""
        unstored = iter([slot for slot in self.slots.values() if slot.pending is not None])
        until = self.now() + self.policy.lease
        while some := tuple(itertools.islice(unstored, _RESCUED_AT_ONCE)):
            if self.now() >= until:
                return
            await asyncio.gather(*(slot.settle() for slot in some), return_exceptions=True)

    def _hand_over(self) -> None:
        """Give what could not be stored to whoever wants to save it."""
        if self._on_uncommitted is None:
            return
        for slot in self.slots.values():
            if slot.pending is not None:
                try:
                    self._on_uncommitted(slot.key, slot.pending.token)
                except Exception as error:  # noqa: BLE001 -- closing goes on, with the tokens of the others
                    _log.error("on_uncommitted failed with %s", type(error).__name__)

    def _report_crash(self, kind: str) -> None:
        self.announce(events.SchedulerRestarted(key=self._name, kind=kind))


@contextmanager
def _in_use(slot: Slot) -> Iterator[None]:
    """Keep a slot from being forgotten: of one identity there must never be two."""
    slot.users += 1
    try:
        yield
    finally:
        slot.users -= 1
