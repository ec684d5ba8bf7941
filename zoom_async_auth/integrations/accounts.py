"""Whose tokens a web app keeps, and what its log-in pages do with them: connect, disconnect, forget.

    OneAccount       the app acts for one person: a manager that is open as long as the app is
    StoredAccounts   the app acts for many: a manager is opened for the length of one operation, on a store they share

Anything with the three methods of `Accounts` will do.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import anyio

from zoom_async_auth.errors import ConfigurationError, MisuseError, StoreError
from zoom_async_auth.identity import DEFAULT_KEY, prefix_of, require_key
from zoom_async_auth.manager import TokenManager
from zoom_async_auth.oauth.credentials import UserOAuth
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant
from zoom_async_auth.oauth.origin import ZOOM, require_base_url
from zoom_async_auth.renewal.engine import OnUncommitted
from zoom_async_auth.renewal.policy import RenewalPolicy
from zoom_async_auth.stores.base import Store
from zoom_async_auth.stores.memory import MemoryStore

_PATIENCE: Final = RenewalPolicy().commit_timeout


class Accounts(Protocol):
    """What the log-in pages do. `key` says whose account it is. Each method raises a `ZoomAuthError` if it fails.

    A caller may be cancelled at any time; what has been sent is seen through.
    """

    async def authorize(self, key: str, grant: AuthorizationCodeGrant, /) -> object:
        """Spend a code, and keep what it buys."""
        ...

    async def revoke(self, key: str, /) -> None:
        """Have Zoom kill the token, then forget it."""
        ...

    async def forget(self, key: str, /) -> None:
        """Forget the token, and tell Zoom nothing: it knows."""
        ...


class OneAccount:
    """The account of the one person that an app acts for.

    Args:
        credentials: What the app is registered with.
        store: Where tokens are kept; None: in the memory of this process.
        key: The only key that is taken; None: "default".
        base_url: As for `TokenManager`.
        options: Further arguments of `TokenManager`.

    Raises:
        ConfigurationError: An argument that cannot work.
    """

    def __init__(
        self,
        credentials: UserOAuth,
        *,
        store: Store | None = None,
        key: str | None = None,
        base_url: str = ZOOM,
        **options: Any,  # noqa: ANN401 -- of TokenManager
    ) -> None:
        self._key = require_key(DEFAULT_KEY if key is None else key)
        self._kept = _Kept(credentials, MemoryStore(clock=options.get("clock")) if store is None else store, base_url)
        self._options = options
        self._manager: TokenManager | None = None
        self._kept.manager(self._key, **options)  # what is wrong with an option is told now

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[TokenManager]:
        """Open a manager for as long as the app runs; once at a time.

        Raises:
            MisuseError: It is open.
            ConfigurationError: As for `TokenManager.start()`.
        """
        if self._manager is not None:
            raise MisuseError("the account is open: open it once in each process")
        self._manager = self._kept.manager(self._key, **self._options)
        try:
            async with self._manager as manager:
                yield manager
        finally:
            self._manager = None

    async def authorize(self, key: str, grant: AuthorizationCodeGrant, /) -> None:
        """Spend a code, and keep what it buys.

        Raises:
            MisuseError: It is not open.
            ConfigurationError: `key` is another one than that of the account.
            ZoomAuthError: As for `TokenManager.authorize()`.
        """
        await self._opened(key).authorize(grant)

    async def revoke(self, key: str, /) -> None:
        """Have Zoom kill the token, then forget it.

        Raises:
            MisuseError: It is not open.
            ConfigurationError: `key` is another one than that of the account.
            ZoomAuthError: As for `TokenManager.revoke()`.
        """
        await self._opened(key).revoke()

    async def forget(self, key: str, /) -> None:
        """Forget the token, in the store and here. Other processes notice when they renew, or the API says 401.

        Raises:
            MisuseError: It is not open.
            ConfigurationError: `key` is another one than that of the account.
            ZoomAuthError: As for `TokenManager.forget()`.
        """
        await self._opened(key).forget()

    def _opened(self, key: str) -> TokenManager:
        if require_key(key) != self._key:
            raise ConfigurationError("this app acts for one account, and another one was asked for: see `identify`")
        if self._manager is None:
            raise MisuseError("the account is not open: enter opened() while the app runs")
        return self._manager


class StoredAccounts:
    """The accounts of all the people that an app acts for, in one store.

    Whoever wants the token of one of them opens a manager: `async with accounts.opened(key) as manager`.

    Args:
        credentials: What the app is registered with.
        store: Where tokens are kept.
        base_url: As for `TokenManager`.
        options: Further arguments of `TokenManager`, for each of them.

    Raises:
        ConfigurationError: An argument that cannot work.
    """

    def __init__(
        self,
        credentials: UserOAuth,
        *,
        store: Store,
        base_url: str = ZOOM,
        **options: Any,  # noqa: ANN401 -- of TokenManager
    ) -> None:
        self._kept = _Kept(credentials, store, base_url)
        self._options = options
        self._kept.manager(None, **options)  # what is wrong with an option is told now

    def opened(self, key: str) -> TokenManager:
        """Return a manager for one account, to be entered.

        Raises:
            ConfigurationError: `key` cannot be one.
        """
        return self._kept.manager(require_key(key), **self._options)

    async def authorize(self, key: str, grant: AuthorizationCodeGrant, /) -> None:
        """Spend a code, and keep what it buys. Closing waits for what is on the wire, whoever is cancelled.

        Raises:
            StoreError: The code is spent, and what it bought could not be stored: connect again.
            ZoomAuthError: As for `TokenManager.authorize()`.
        """
        lost: list[str] = []
        rescue: OnUncommitted = self._options.get("on_uncommitted") or (lambda key, _: lost.append(key))
        async with self._kept.manager(require_key(key), **{**self._options, "on_uncommitted": rescue}) as manager:
            await manager.authorize(grant)
        if lost:
            raise StoreError("Zoom gave a token, and the store did not take it: connect again", transient=False)

    async def revoke(self, key: str, /) -> None:
        """Have Zoom kill the token, then forget it.

        Raises:
            ZoomAuthError: As for `TokenManager.revoke()`.
        """
        async with self.opened(key) as manager:
            await manager.revoke()

    async def forget(self, key: str, /) -> None:
        """Forget the token in the store. Managers that are open notice when they renew, or the API says 401.

        Raises:
            ConfigurationError: `key` cannot be one.
            StoreError: The store failed, or gave no answer in time.
        """
        await self._kept.forget(key)


class _Kept:
    """What the accounts of one app have in common."""

    def __init__(self, credentials: UserOAuth, store: Store, base_url: str) -> None:
        if not isinstance(credentials, UserOAuth):
            kind = type(credentials).__name__
            del credentials
            raise ConfigurationError(f"people authorize a UserOAuth app, not {kind}")
        self._credentials = credentials
        self._store = store
        self._base_url = require_base_url(base_url)

    def manager(self, key: str | None, **options: Any) -> TokenManager:  # noqa: ANN401 -- of TokenManager
        return TokenManager(self._credentials, store=self._store, key=key, base_url=self._base_url, **options)

    async def forget(self, key: str) -> None:
        failure = await self._forgotten(prefix_of(self._credentials, self._base_url) + require_key(key))
        if failure is not None:
            raise failure

    async def _forgotten(self, store_key: str) -> StoreError | None:
        failure = StoreError(f"the store gave no answer within {_PATIENCE:g} s: is it up?")
        with anyio.move_on_after(_PATIENCE):  # the end of the app waits for it
            try:
                async with self._store:
                    await self._store.forget(store_key)
            except StoreError as known:
                failure = known.copy()
            except Exception as foreign:  # noqa: BLE001 -- its text may show what is stored: only its class is told
                failure = StoreError(f"the store failed: {type(foreign).__name__}")
            else:
                return None
        return failure
