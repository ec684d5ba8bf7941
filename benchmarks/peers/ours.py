"""zoom_async_auth itself, as its README says."""

import time

from benchmarks.peers.peer import Bearer, Login
from zoom_async_auth import ClientCredentials, TokenManager, UserOAuth
from zoom_async_auth.oauth.token import StoredToken
from zoom_async_auth.stores.base import Store
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.stores.sql import SQLStore


class Ours:
    """Renews in the background at 60 % of a short life: `Login.ahead` is not its way."""

    bearer: Bearer

    async def open(self, login: Login) -> None:
        store: Store = MemoryStore(allow_rotating=True)  # a benchmark's worker looks like one of several
        if login.folder is not None:
            store = SQLStore(f"sqlite:///{login.folder / 'tokens.sqlite3'}")
        app = (UserOAuth if login.grant == "refresh_token" else ClientCredentials)(
            client_id=login.client_id, client_secret=login.client_secret
        )
        self._manager = TokenManager(app, base_url=login.url, store=store)
        await self._manager.start()
        if login.grant == "refresh_token" and not self._manager.health().durable:
            await self._take_over(login)
        self.bearer = self._manager.bearer

    async def share(self, login: Login) -> None:
        """Put the person's tokens into the store, once for all processes."""
        await self.open(login)
        await self._take_over(login)
        await self.close()

    async def _take_over(self, login: Login) -> None:
        pair = StoredToken(
            access_token=login.access_token, refresh_token=login.refresh_token, expires_at=time.time() - 1.0
        )
        await self._manager.authorize(pair)

    async def close(self) -> None:
        await self._manager.aclose()
