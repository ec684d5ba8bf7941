"""Authlib's client for httpx.

https://docs.authlib.org ("OAuth for HTTPX", "Auto Update Token", "Client Credentials Flow"): `leeway` is an argument,
`ensure_active_token` is what each request awaits. It starts with a token that has expired, as if from a database:
without any, the documentation has the program call `fetch_token` first, and each caller would.
"""

from authlib.integrations.httpx_client import AsyncOAuth2Client

from benchmarks.peers.peer import Login


class Authlib:
    """`AsyncOAuth2Client`."""

    async def open(self, login: Login) -> None:
        expired = {"access_token": login.access_token, "token_type": "bearer", "expires_at": 1}
        if login.grant == "refresh_token":
            expired["refresh_token"] = login.refresh_token
        self._client = AsyncOAuth2Client(
            login.client_id,
            login.client_secret,
            token_endpoint=login.token_url,
            grant_type=login.grant,
            token=expired,
            leeway=login.ahead,
        )

    async def bearer(self) -> str:
        await self._client.ensure_active_token(self._client.token)
        return str(self._client.token["access_token"])

    async def close(self) -> None:
        await self._client.aclose()  # pyright: ignore[reportAttributeAccessIssue] -- its client is httpx's, too
