"""`TokenManager`: a valid token for one identity, from `start()` to `aclose()`.

Read this first, then `renewal/slot.py` (one token and its successor), then `renewal/exchange.py` (the way through the
store). The life of a manager goes one way: new, open, closed.
"""

import asyncio
import functools
import logging
import os
import random as random_
import secrets
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from zoom_async_auth import events
from zoom_async_auth.bearer import BearerMiddleware, may_carry_bearer, origin_of
from zoom_async_auth.clock import Clock, SystemClock
from zoom_async_auth.endpoint import AiohttpTransport, Endpoint, Transport
from zoom_async_auth.errors import (
    ConfigurationError,
    ManagerClosedError,
    MisuseError,
    StoreError,
    TokenUnavailableError,
    ZoomAuthError,
)
from zoom_async_auth.identity import credentials_from, namespace_of, require_key
from zoom_async_auth.oauth.credentials import ClientCredentials, Credentials, ServerToServer, UserOAuth
from zoom_async_auth.oauth.grants import Grant, PersonalGrant
from zoom_async_auth.oauth.origin import require_base_url
from zoom_async_auth.oauth.token import StoredToken, Token
from zoom_async_auth.renewal.client import Client
from zoom_async_auth.renewal.crew import Crew
from zoom_async_auth.renewal.device import DeviceFlow, Show
from zoom_async_auth.renewal.exchange import Exchange, Means
from zoom_async_auth.renewal.health import Health, health_of
from zoom_async_auth.renewal.held import Held
from zoom_async_auth.renewal.ledger import Ledger
from zoom_async_auth.renewal.policy import RenewalPolicy
from zoom_async_auth.renewal.scheduler import Scheduler
from zoom_async_auth.renewal.slot import Slot
from zoom_async_auth.stores.base import Store
from zoom_async_auth.stores.memory import MemoryStore

ZOOM = "https://zoom.us"
_API_OF = {ZOOM: "https://api.zoom.us", "https://zoomgov.com": "https://api.zoomgov.com"}

_ABANDONED = "a TokenManager was not closed: use async with, or aclose()"

_log = logging.getLogger("zoom_async_auth")

OnUncommitted = Callable[[str, Token], None]


class TokenManager:
    """Keeps one identity supplied with a valid access token.

    Opening sends nothing and waits for nothing: the first token is fetched in the background. A manager belongs to the
    event loop and the process that opened it.

    Args:
        credentials: What the app is registered with.
        store: Where tokens are kept and shared; None: in the memory of this manager.
        key: Whose token it is, if a store has several of one app: 1 to 200 characters, no secret. None: "default".
        policy: When to renew, and how long to wait.
        base_url: Zoom's, or that of another server with `/oauth/token`; https, loopback excepted.
        transport: Sends the requests; None: aiohttp with a private session.
        observers: Called with each event, see `events`.
        on_uncommitted: Called while closing with the key and a token that could not be stored, for a last rescue.
        clock: Where time comes from.
        random: Returns a number in [0, 1), to spread the renewals of many processes.

    Raises:
        ConfigurationError: An argument that cannot work; the message says what to do.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        store: Store | None = None,
        key: str | None = None,
        policy: RenewalPolicy | None = None,
        base_url: str = ZOOM,
        transport: Transport | None = None,
        observers: Iterable[events.Observer] = (),
        on_uncommitted: OnUncommitted | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] = random_.random,
    ) -> None:
        if not isinstance(credentials, ServerToServer | ClientCredentials | UserOAuth):
            kind = type(credentials).__name__
            del credentials
            raise ConfigurationError(f"credentials must be ServerToServer, ClientCredentials or UserOAuth, not {kind}")
        clock = clock or SystemClock()
        policy = policy or RenewalPolicy()
        self._base_url = require_base_url(base_url)
        self._policy = policy
        self._now = clock.monotonic
        self._store = MemoryStore(clock=clock) if store is None else store
        self._is_person = isinstance(credentials, UserOAuth)
        self._on_uncommitted = on_uncommitted
        self._key = require_key(key)
        self._endpoint = Endpoint(
            credentials,
            base_url=self._base_url,
            transport=AiohttpTransport() if transport is None else transport,
            clock=clock,
            attempt_timeout=policy.attempt_timeout,
        )
        self._announce = events.Announcer(observers)
        self._crew = Crew()
        self._scheduler = Scheduler(self._now, restart_after=policy.min_interval, report=self._report_crash)
        means = Means(
            credentials=credentials,
            client=Client(self._endpoint, clock.monotonic),
            store=self._store,
            holder=secrets.token_hex(16),
            policy=policy,
            now=self._now,
            wall=clock.time,
            random=random,
            announce=self._announce,
            spawn=self._crew.spawn,
        )
        store_key = f"{namespace_of(credentials, self._base_url)}/{self._key}"
        exchange = Exchange(means, key=self._key, store_key=store_key)
        self._slot = Slot(exchange, means, self._scheduler.plan)
        self._supervisor: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._device = DeviceFlow(
            means.client,
            Ledger(self._store, key=store_key, holder=means.holder, policy=policy, now=self._now),
            self._now,
            self._closing,
            ask=self._endpoint.device_code,
            authorize=self._authorized,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:  # noqa: ANN401 -- of __init__
        """Return a manager for the server-to-server app that `ZOOM_ACCOUNT_ID`, `ZOOM_CLIENT_ID` and so on name.

        Without `ZOOM_ACCOUNT_ID` it is a `ClientCredentials` app. `ZOOM_BASE_URL` is optional.

        Raises:
            ConfigurationError: A variable is missing, or its value cannot be right.
        """
        environ = os.environ if environ is None else environ  # a default would be shown by help(), secrets and all
        credentials = credentials_from(environ)
        if isinstance(credentials, ConfigurationError):
            raise credentials
        if base_url := environ.get("ZOOM_BASE_URL"):
            options.setdefault("base_url", base_url)
        return cls(credentials, **options)

    # Life: new, open, closed.

    async def start(self) -> None:
        """Start to renew in the background. Returns at once; `bearer()` waits for the first token.

        Raises:
            MisuseError: It was started before.
            ConfigurationError: A person's refresh token would be lost in this store.
        """
        if self._supervisor is not None or self._closing.is_set():
            raise MisuseError("a TokenManager can be opened only once: make a new one")
        if self._is_person and (risk := getattr(self._store, "rotating_risk", None)) is not None:
            raise ConfigurationError(risk)
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        context = copy_context()
        self._announce.bind(self._loop, context)
        self._crew.bind(self._loop, context)
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
            self._supervisor.result()

    async def aclose(self) -> None:
        """Stop renewing, let a request on the wire and its commit end, close everything.

        Idempotent, and safe from any task of the loop. A cancelled closer stops waiting; the closing goes on.
        """
        if self._supervisor is None:
            self._closing.set()
            self._slot.close()
            return
        self._require_home()
        self._slot.close()
        self._closing.set()
        await asyncio.wait({self._supervisor})
        if not self._supervisor.cancelled():
            self._supervisor.result()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # Verbs.

    async def bearer(self) -> str:
        """Return an access token that may be sent now. While one is held this costs one look at the clock.

        Else it waits for the renewal that is in progress, `policy.timeout` seconds at most.

        Raises:
            ZoomAuthError: Why there is none; `transient` says whether waiting longer may help.

        Cancellation: disturbs nobody; the renewal goes on.
        """
        serving = self._slot.serving
        if self._now() < serving.until:
            return serving.access_token
        self._require_open()
        return (await self._slot.obtain()).token.access_token

    async def token(self, *, valid_for: float = 0.0) -> Token:
        """Return the token with all that Zoom said about it; its `expires_in` counts from when it was issued.

        Args:
            valid_for: Seconds for which it has to be valid from now on; renewed once if it is not.

        Raises:
            TokenUnavailableError: A new token lives shorter than that.
            ZoomAuthError: As for `bearer()`.
        """
        self._require_open()
        serving = self._slot.serving
        held = self._slot.held
        if held is None or self._now() >= serving.until:
            held = await self._slot.obtain()
        elif held.expires_at - self._now() < valid_for:
            held = await self._slot.board().wait()
        if held.expires_at - self._now() < valid_for:
            raise TokenUnavailableError(f"tokens do not live for {valid_for:g} s: ask for less", transient=False)
        return held.token

    async def headers(self) -> dict[str, str]:
        """Return `{"Authorization": "Bearer ..."}`; see `bearer()`. Send it to Zoom and to nobody else."""
        return {"Authorization": f"Bearer {await self.bearer()}"}

    async def renew(self) -> Token:
        """Get a new token now, though the held one is good; joins a renewal that is in progress.

        Ignores the pause that earlier failures left, and tries a grant that is noted as dead once more. Respects
        `min_interval` and what Zoom asked for by `Retry-After`.

        Raises:
            ZoomAuthError: As for `bearer()`. A held token stays.

        Cancellation: disturbs nobody; the renewal goes on.
        """
        self._require_open()
        held = await self._slot.board(forced=True).wait()
        if self._now() >= held.withheld_at:  # the host slept while it was on its way
            held = await self._slot.obtain()
        return held.token

    def invalidate(self, token: str | Token, /) -> bool:
        """Stop handing out `token`, because Zoom's API rejected it; a renewal starts in the background.

        Returns:
            Whether it was the current one. If it was not, somebody has renewed already, and nothing happens.
        """
        if (problem := self._problem()) is not None:
            del token
            raise problem
        return self._slot.invalidate(token if isinstance(token, str) else token.access_token)

    async def authorize(self, grant: Grant | StoredToken) -> Token:
        """Start from a person's authorization, or go on with tokens that another program got.

        Args:
            grant: What the consent page sent (`AuthorizationCodeGrant`), a device code, or a `StoredToken`.

        Raises:
            ZoomAuthError: Zoom refused it, or the store is down (then the code is not spent). All stays as it was.

        Cancellation: the exchange goes on, its token is kept.
        """
        self._require_open()
        if not isinstance(grant, StoredToken | PersonalGrant if self._is_person else StoredToken):
            raise ConfigurationError(
                "a person's authorization is a code, a device code, a refresh token or a StoredToken"
                if self._is_person
                else "an app gets tokens in its own name: a person's grant needs UserOAuth credentials"
            )
        held = await self._authorized(grant)
        if isinstance(held, ZoomAuthError):
            raise held.copy()
        return held.token

    async def authorize_device(self, show: Show) -> Token:
        """Have a person authorize this program from any browser, by a code that it shows (RFC 8628).

        Args:
            show: Called once with the `DeviceCode`: `user_code` is to be typed in at `verification_uri`, within
                `expires_in` seconds; awaited if it can be.

        Raises:
            AuthorizationRequiredError: The person declined, or did not answer in time.
            ZoomAuthError: There is no code, or no way to go on; while Zoom or the store is down it goes on asking.

        Cancellation: nothing more is asked. A token that is on its way then is kept.
        """
        self._require_open()
        held = await self._device.run(show)
        if isinstance(held, ZoomAuthError):
            raise held.copy()
        return held.token

    async def revoke(self) -> None:
        """Have Zoom kill the token, then forget it.

        Raises:
            ZoomAuthError: Zoom or the store failed; all stays as it was, and it may be tried again.

        Cancellation: the revocation goes on.
        """
        self._require_open()
        failure = await self._crew.see_through(self._slot.revoke())
        if failure is not None:
            raise failure.copy()

    def health(self) -> Health:
        """Return how the manager is, without secrets; callable at any time, from anywhere."""
        return health_of(self._slot, started=self._supervisor is not None, durable=self._store.durable, now=self._now())

    def session(self, **options: Any) -> aiohttp.ClientSession:  # noqa: ANN401 -- of ClientSession
        """Return an aiohttp session on Zoom's API with the bearer attached: `session.get("/v2/users/me")`.

        A 401 for a rejected token renews it and sends the request once more, see `bearer.BearerMiddleware`. Where the
        account's API is comes with the token: a session that was made before has its requests sent there as well. The
        caller closes the session.

        Args:
            options: Further arguments of `aiohttp.ClientSession`.

        Raises:
            ConfigurationError: A `base_url` is among them.
        """
        self._require_open()
        if "base_url" in options:
            raise ConfigurationError(
                "a session's base_url is the token's api_url; for another one make an aiohttp.ClientSession(base_url, "
                "middlewares=[BearerMiddleware(manager)])"
            )
        base = self._api_url()
        bearer = BearerMiddleware(self, allowed=(self._own_origin(),), route=functools.partial(self._route, base))
        return aiohttp.ClientSession(base, middlewares=(*options.pop("middlewares", ()), bearer), **options)

    # What the above is made of.

    def _own_origin(self) -> str:
        return origin_of(URL(self._base_url))

    def _api_url(self) -> URL:
        held = self._slot.held
        told = None if held is None or held.token.api_url is None else URL(held.token.api_url).origin()
        if told is not None and may_carry_bearer(told, (self._own_origin(),)):
            return told
        return URL(_API_OF.get(self._base_url, self._base_url))

    def _route(self, base: URL, url: URL) -> URL:
        """Return where a session's request to its `base` goes: the token may have told another `api_url` meanwhile."""
        api_url = self._api_url()
        return url if api_url == base or url.origin() != base else api_url.join(url.relative())

    async def _authorized(self, grant: Grant | StoredToken) -> Held | ZoomAuthError:
        return await self._crew.see_through(self._slot.authorize(grant))

    def _problem(self) -> MisuseError | ManagerClosedError | None:
        """Return why nothing can be done here and now, if so."""
        if self._slot.exchange.closed or self._closing.is_set():
            return ManagerClosedError("the manager is closed: make a new one")
        if self._supervisor is None:
            return MisuseError("the manager is not open: use async with, or await start()")
        return self._homelessness()

    def _homelessness(self) -> MisuseError | None:
        if os.getpid() != self._process:
            return MisuseError("the manager was opened before a fork: make one in each process")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is not self._loop:
            return MisuseError("the manager belongs to another event loop, or thread: make one on each loop")
        return None

    def _require_open(self) -> None:
        if (problem := self._problem()) is not None:
            raise problem

    def _require_home(self) -> None:
        if (problem := self._homelessness()) is not None:
            raise problem

    async def _supervise(self, opened: asyncio.Event) -> None:
        async with self._store, self._endpoint:  # entering does no I/O: an app starts while they are down
            scheduler = asyncio.create_task(self._scheduler.run_for_ever(), name="zoom-async-auth")
            if self._is_person and not self._store.durable:
                self._announce(events.StoreNotDurable(key=self._key))
            self._slot.board()
            opened.set()
            try:
                await self._closing.wait()
            finally:  # also when somebody cancels every task of the loop, as asyncio.run does at its end
                abandoned = not self._closing.is_set()
                self._slot.close()
                self._closing.set()
                scheduler.cancel()
                await self._land()
                await asyncio.wait({scheduler})
                if abandoned:
                    warnings.warn(_ABANDONED, ResourceWarning, stacklevel=1, source=self)

    async def _land(self) -> None:
        """Let the task that is between `begin` and `commit` finish; cancel what waits for anything else."""
        await self._crew.dismiss(all_but=lambda: self._slot.exchange.writer, within=self._policy.lease)
        await self._rescue()

    async def _rescue(self) -> None:
        """Store the last token, or give it to whoever wants to save it."""
        exchange = self._slot.exchange
        if not isinstance(await exchange.settle(), StoreError) or exchange.pending is None:
            return
        if self._on_uncommitted is None:
            return
        try:
            self._on_uncommitted(self._key, exchange.pending.token)
        except Exception as error:  # noqa: BLE001 -- closing goes on
            _log.error("on_uncommitted failed with %s", type(error).__name__)

    def _report_crash(self, kind: str) -> None:
        self._announce(events.SchedulerRestarted(key=self._key, kind=kind))
