"""The asynchronous credentials of the Azure SDKs, of which one asks for each token by itself.

https://learn.microsoft.com/python/api/azure-identity/azure.identity.aio.clientsecretcredential: `get_token` keeps a
token by itself. The endpoint is Microsoft's; a transport of one's own, which every client of azure-core takes as
`transport=`, leads it here. It does not try again within 30 s of a request, a constant that is longer than a token of
a benchmark lives: here it is 1 s.
"""

import azure.identity._internal.utils as azure_internals
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.identity.aio import ClientSecretCredential

from benchmarks.peers.peer import Login

_LEEWAY = 300
_SCOPE = "imchat:bot"
"""What the endpoint says: a token of another scope than asked for is not found in the cache."""

azure_internals.DEFAULT_TOKEN_REFRESH_RETRY_DELAY = 1  # pyright: ignore[reportPrivateImportUsage]


class _ToSandbox(AioHttpTransport):
    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    async def send(self, request: HttpRequest, **config: object) -> AsyncHttpResponse:
        request.url = self._url
        answer: AsyncHttpResponse = await super().send(request, **config)
        return answer


class AzureIdentity:
    """`ClientSecretCredential.get_token`."""

    async def open(self, login: Login) -> None:
        self._credential = ClientSecretCredential(
            "tenant", login.client_id, login.client_secret, transport=_ToSandbox(login.told(_LEEWAY))
        )

    async def bearer(self) -> str:
        return str((await self._credential.get_token(_SCOPE)).token)

    async def close(self) -> None:
        await self._credential.close()
