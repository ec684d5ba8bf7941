"""httpx-auth, of which a token is asked for by the auth flow of httpx.

https://colin-b.github.io/httpx_auth/ ("Client Credentials flow"): `early_expiry` is an argument. In an
`httpx.AsyncClient` the flow is the same, and fetches by a synchronous client.
"""

import httpx
from httpx_auth import OAuth2ClientCredentials

from benchmarks.peers.peer import Login


class HttpxAuth:
    """`OAuth2ClientCredentials`."""

    async def open(self, login: Login) -> None:
        self._auth = OAuth2ClientCredentials(
            login.token_url, login.client_id, login.client_secret, early_expiry=login.ahead
        )
        self._request = httpx.Request("GET", "https://api.zoom.us/v2/users/me")

    async def bearer(self) -> str:
        flow = self._auth.async_auth_flow(self._request)
        try:
            request = await anext(flow)
        finally:
            await flow.aclose()
        return str(request.headers["Authorization"]).removeprefix("Bearer ")

    async def close(self) -> None:
        pass
