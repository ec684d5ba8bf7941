"""`TokenManager`: a valid token for one identity, from `start()` to `aclose()`.

Read this first, then `renewal/slot.py` (one token and its successor), then `renewal/exchange.py` (the way through the
store). The life of a manager goes one way: new, open, closed.
"""

import os
import random as random_
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from zoom_async_auth import events
from zoom_async_auth.clock import Clock
from zoom_async_auth.endpoint import Transport
from zoom_async_auth.errors import ConfigurationError, ZoomAuthError
from zoom_async_auth.identity import DEFAULT_KEY, credentials_from, require_key
from zoom_async_auth.oauth.credentials import Credentials, misfit_of
from zoom_async_auth.oauth.grants import Grant
from zoom_async_auth.oauth.origin import ZOOM
from zoom_async_auth.oauth.token import StoredToken, Token
from zoom_async_auth.renewal.device import Show
from zoom_async_auth.renewal.engine import Engine, OnUncommitted
from zoom_async_auth.renewal.health import Health
from zoom_async_auth.renewal.policy import RenewalPolicy
from zoom_async_auth.session import session_of
from zoom_async_auth.stores.base import Store


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
        if (misfit := misfit_of(credentials)) is not None:
            del credentials
            raise misfit
        self._key = require_key(DEFAULT_KEY if key is None else key)
        self._engine = Engine(
            "TokenManager",
            self._key,
            credentials,
            store=store,
            policy=policy,
            base_url=base_url,
            transport=transport,
            observers=observers,
            on_uncommitted=on_uncommitted,
            clock=clock,
            random=random,
        )
        self._slot = self._engine.slot(self._key)
        self._now = self._engine.now

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:  # noqa: ANN401 -- of __init__
        """Return a manager for the app that `ZOOM_ACCOUNT_ID`, `ZOOM_CLIENT_ID` and `ZOOM_CLIENT_SECRET` name.

        Without `ZOOM_ACCOUNT_ID` it is a `ClientCredentials` app. `ZOOM_BASE_URL` is optional.

        Raises:
            ConfigurationError: A variable is missing, or its value cannot be right.
        """
        environ = os.environ if environ is None else environ  # a default would be shown by help(), secrets and all
        credentials = credentials_from(environ)
        if base_url := environ.get("ZOOM_BASE_URL"):
            options.setdefault("base_url", base_url)
        del environ  # a traceback shows what a frame holds
        if isinstance(credentials, ConfigurationError):
            raise credentials
        return cls(credentials, **options)

    # Life: new, open, closed.

    async def start(self) -> None:
        """Start to renew in the background. Returns at once; `bearer()` waits for the first token.

        Raises:
            MisuseError: It was started, or closed, before.
            ConfigurationError: A person's refresh token would be lost in this store.

        Cancellation: it is closed, and cannot be started again.
        """
        await self._engine.start()
        self._slot.board()

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

    # Verbs.

    async def bearer(self) -> str:
        """Return an access token that may be sent now. While one is held this costs one look at the clock.

        Otherwise it waits for the renewal in progress, `policy.timeout` seconds at most. Callers who wait together time
        out together, counted from the first: those who join late wait less.

        Raises:
            ZoomAuthError: Why there is none; `transient` says whether waiting longer may help.

        Cancellation: disturbs nobody; the renewal goes on.
        """
        serving = self._slot.serving
        if self._now() < serving.until:
            return serving.access_token
        return (await self._engine.obtain(self._slot)).token.access_token

    async def token(self, *, valid_for: float = 0.0) -> Token:
        """Return the token with all that Zoom said about it.

        Its `expires_in` counts from when it was issued; how long it may be used from now on is told by
        `health().seconds_left`.

        Args:
            valid_for: Seconds for which it has to be valid from now on; renewed if it is not.

        Raises:
            TokenUnavailableError: Even a new token does not live that long (`transient` is False).
            ConfigurationError: `valid_for` is not a finite number, 0 or more.
            ZoomAuthError: As for `bearer()`.

        Cancellation: disturbs nobody; a renewal goes on.
        """
        return await self._engine.token(self._slot, valid_for=valid_for)

    async def headers(self) -> dict[str, str]:
        """Return `{"Authorization": "Bearer ..."}`; see `bearer()`. Send it to Zoom and to nobody else."""
        return {"Authorization": f"Bearer {await self.bearer()}"}

    async def renew(self) -> Token:
        """Get a new token now, though the held one is good; joins a renewal that is in progress.

        If the store has one that this process does not hold yet, it is that one, and nothing is sent.
        Ignores the pause that earlier failures left, and tries a grant that is noted as dead once more. Respects
        `min_interval` and what Zoom asked for by `Retry-After`.

        Raises:
            ZoomAuthError: As for `bearer()`. A held token stays.

        Cancellation: disturbs nobody; the renewal goes on.
        """
        return await self._engine.renew(self._slot)

    def invalidate(self, token: str | Token, /) -> bool:
        """Stop handing out `token`, because Zoom's API rejected it; a renewal starts in the background.

        Returns:
            Whether it was the current one. If it was not, somebody has renewed already, and nothing happens.

        Raises:
            MisuseError, ManagerClosedError: It is not open, or belongs to another loop or process.
        """
        rejected = self._engine.rejected(token)
        del token
        if isinstance(rejected, ZoomAuthError):
            raise rejected
        return self._slot.invalidate(rejected)

    async def authorize(self, grant: Grant | StoredToken) -> Token:
        """Start from a person's authorization, or go on with tokens that another program got.

        Args:
            grant: What the consent page sent (`AuthorizationCodeGrant`), a device code, or a `StoredToken`; of one
                that is a refresh token alone the first access token is got at once.

        Raises:
            ZoomAuthError: Zoom refused it, or the store is down (then the code is not spent). All stays as it was.

        Cancellation: the exchange goes on, its token is kept.
        """
        return await self._engine.authorize(self._slot, grant)

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
        return await self._engine.authorize_device(self._slot, show)

    async def revoke(self) -> None:
        """Have Zoom kill the token, then forget it.

        Raises:
            ZoomAuthError: Zoom or the store failed. Nothing is forgotten here, and it may be tried again; if it was the
                store, Zoom may have killed the token already.

        Cancellation: the revocation goes on.
        """
        await self._engine.revoke(self._slot)

    async def forget(self) -> None:
        """Forget the token, here and in the store, without telling Zoom: for one that Zoom has reported dead.

        Raises:
            StoreError: It is not known to be forgotten.

        Cancellation: the forgetting goes on.
        """
        await self._engine.forget(self._slot)

    def health(self) -> Health:
        """Return how the manager is, without secrets; callable at any time, from anywhere."""
        return self._engine.health(self._slot)

    def session(self, **options: Any) -> aiohttp.ClientSession:  # noqa: ANN401 -- of ClientSession
        """Return an aiohttp session on Zoom's API with the bearer attached: `session.get("/v2/users/me")`.

        A 401 for a rejected token renews it and sends the request once more, see `bearer.BearerMiddleware`. The token
        tells where the account's API is; a session made before the token arrived follows it, too. The caller closes the
        session.

        Args:
            options: Further arguments of `aiohttp.ClientSession`.

        Raises:
            ConfigurationError: A `base_url` is among them.
            MisuseError, ManagerClosedError: It is not open, or belongs to another loop or process.
        """
        return session_of(self, self._engine, self._key, **options)
