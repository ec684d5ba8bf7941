"""aiohttp-oauth2-client, whose grants are a middleware of aiohttp.

https://github.com/VITObelgium/aiohttp-oauth2-client: `OAuth2Middleware` awaits `prepare_headers` before each request.
It renews 30 s ahead. What the endpoint needs beside the refresh token is an extra argument of the grant.
"""

from aiohttp_oauth2_client.grant.client_credentials import ClientCredentialsGrant
from aiohttp_oauth2_client.grant.common import OAuth2Grant

from benchmarks.peers.peer import Login

_LEEWAY = 30


class AiohttpOAuth2Client:
    """`OAuth2Grant.prepare_headers`."""

    async def open(self, login: Login) -> None:
        url, app = login.told(_LEEWAY), {"client_id": login.client_id, "client_secret": login.client_secret}
        self._grant: OAuth2Grant
        if login.grant == "refresh_token":
            tokens = {"access_token": login.access_token, "refresh_token": login.refresh_token}
            self._grant = OAuth2Grant(url, {**tokens, "token_type": "bearer", "expires_at": 1}, **app)
        else:
            self._grant = ClientCredentialsGrant(url, login.client_id, login.client_secret)

    async def bearer(self) -> str:
        headers = await self._grant.prepare_headers()
        return str(headers["Authorization"]).removeprefix("Bearer ")

    async def close(self) -> None:
        await self._grant.close()
