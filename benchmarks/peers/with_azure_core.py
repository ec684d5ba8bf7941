"""The bearer policy of the Azure SDKs, over a credential of one's own.

https://learn.microsoft.com/python/api/azure-identity/azure.identity.aio ("get_bearer_token_provider"): it runs
`AsyncBearerTokenCredentialPolicy`, which every client of the SDK has; the credential is any `AsyncSupportsTokenInfo`.
`refresh_on` says when to renew, up to 60 s of jitter are added to it but never beyond `expires_on`: both are the same
here, which makes no difference to the policy.
"""

import time
from types import TracebackType
from typing import Self

from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
from azure.identity.aio import get_bearer_token_provider

from benchmarks.peers.peer import Bearer, Login
from benchmarks.peers.post import Post


class _Credential:
    """Fetches, and leaves the keeping to the policy."""

    def __init__(self, fetch: Post) -> None:
        self._fetch = fetch

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        token, lifetime = await self._fetch()
        renew_at = int(time.time() + lifetime)
        return AccessTokenInfo(token, renew_at, refresh_on=renew_at)

    async def close(self) -> None:
        await self._fetch.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


class AzureCore:
    """`AsyncBearerTokenCredentialPolicy`."""

    bearer: Bearer

    async def open(self, login: Login) -> None:
        self._credential = _Credential(Post(login, login.told(0)))
        self.bearer = get_bearer_token_provider(self._credential, "zoom")

    async def close(self) -> None:
        await self._credential.close()
