"""What one process tells another about a store and an app: plain values, which can be pickled."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from zoom_async_auth import RenewalPolicy, ServerToServer, TokenManager, UserOAuth, ZoomAuthError
from zoom_async_auth.identity import namespace_of
from zoom_async_auth.oauth.credentials import Credentials
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.stores.base import Store
from zoom_async_auth.stores.layered import LayeredStore
from zoom_async_auth.stores.look import look
from zoom_async_auth.stores.urls import store_at

_T = TypeVar("_T")

QUICK = RenewalPolicy(min_interval=0.1, attempt_timeout=2.0, commit_timeout=3.0, timeout=15.0, doubt=6.0)
"""For tokens that live for seconds: a lease takes 10 s."""


@dataclass(frozen=True)
class Place:
    """Where tokens are kept: a store, perhaps with another one in front, perhaps encrypted."""

    url: str
    front: str | None = None
    keys: tuple[str, ...] = ()

    def store(self) -> Store:
        """Return a store of one's own at this place."""
        options = {} if self.url.startswith(("sqlite", "postgresql")) else {"allow_rotating": True}
        record = store_at(self.url, keys=self.keys, **options)
        return record if self.front is None else LayeredStore(record, front=store_at(self.front, keys=self.keys))


@dataclass(frozen=True)
class App:
    """An app of a sandbox, a person's or a server-to-server one."""

    base_url: str
    names: tuple[str, ...]
    policy: RenewalPolicy

    @classmethod
    def of(cls, zoom: Zoom, *, personal: bool, policy: RenewalPolicy = QUICK) -> "App":
        """Return the app that the sandbox has."""
        person, server = zoom.user_app, zoom.credentials
        if personal:
            return cls(zoom.url, (person.client_id, person.client_secret or ""), policy)
        return cls(zoom.url, (server.account_id, server.client_id, server.client_secret), policy)

    def credentials(self) -> Credentials:
        """Return its credentials."""
        match self.names:
            case (client_id, client_secret):
                return UserOAuth(client_id=client_id, client_secret=client_secret)
            case (account_id, client_id, client_secret):
                return ServerToServer(account_id=account_id, client_id=client_id, client_secret=client_secret)
            case _:
                raise AssertionError

    def store_key(self, key: str = "default") -> str:
        """Return the name of that identity in a store."""
        return f"{namespace_of(self.credentials(), self.base_url)}/{key}"

    async def authorize(self, store: Store, zoom: Zoom, user: str = "default") -> None:
        """Have that user allow the app; its name is the key."""

        async def authorize() -> None:
            code = zoom.authorize(user)
            await manager.authorize(AuthorizationCodeGrant(code=code, redirect_uri=zoom.redirect_uri))

        async with self.manager(store, key=user) as manager:
            await patiently(authorize)

    async def refresh_token(self, store: Store, key: str = "default") -> str | None:
        """Return the refresh token that is in the store, by a look that never lags."""
        async with store:
            record = (await patiently(lambda: look(store, self.store_key(key)))).record
        return None if record is None or record.token is None else record.token.refresh_token

    def manager(self, store: Store, **options: Any) -> TokenManager:
        """Return a manager of it that is not open yet."""
        known: dict[str, Any] = {"policy": self.policy}
        return TokenManager(self.credentials(), store=store, base_url=self.base_url, **{**known, **options})


def live(zoom: Zoom, user: str) -> str | None:
    """Return the refresh token of that user that Zoom would take."""
    return next((chain.refresh_token for chain in zoom.model._chains.values() if chain.user == user), None)


async def patiently(work: Callable[[], Awaitable[_T]]) -> _T:
    """Return what `work` returns. Host and store are shared by so many that they may be busy: ask again."""
    for _ in range(5):
        try:
            return await work()
        except ZoomAuthError as error:
            if not error.transient:
                raise
    return await work()
