"""The refreshable credentials of aiobotocore, with a source of one's own.

https://github.com/aio-libs/aiobotocore; its credentials are botocore's, made asynchronous: `refresh_using` is awaited
for a dict. Fifteen minutes before expiry one caller refreshes, in the last ten all wait.
"""

from datetime import UTC, datetime, timedelta

from aiobotocore.credentials import AioDeferredRefreshableCredentials

from benchmarks.peers.peer import Login
from benchmarks.peers.post import Post

_ADVISORY = 900


class Aiobotocore:
    """`AioDeferredRefreshableCredentials.get_frozen_credentials`."""

    async def open(self, login: Login) -> None:
        self._fetch = Post(login, login.told(_ADVISORY))
        self._credentials = AioDeferredRefreshableCredentials(refresh_using=self._refresh, method="zoom")

    async def _refresh(self) -> dict[str, str]:
        token, lifetime = await self._fetch()
        until = datetime.now(UTC) + timedelta(seconds=lifetime)
        return {"access_key": "", "secret_key": "", "token": token, "expiry_time": until.isoformat()}

    async def bearer(self) -> str:
        return str((await self._credentials.get_frozen_credentials()).token)

    async def close(self) -> None:
        await self._fetch.close()
