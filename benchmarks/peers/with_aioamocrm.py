"""The authorization of aioamocrm, which refreshes a person's token, and nothing else.

https://github.com/sinnercode228/aioamocrm ("OAuth2"): `refresh_margin` is an argument; a `JsonFileTokenStorage` is
what several processes share, and is read again before each refresh.
"""

import httpx
from aioamocrm import JsonFileTokenStorage, MemoryTokenStorage, OAuth2, TokenEndpoint, TokenSet

from benchmarks.peers.peer import Login


def _expired(login: Login) -> TokenSet:
    return TokenSet(access_token=login.access_token, refresh_token=login.refresh_token, expires_at=1.0)


def _file(login: Login) -> JsonFileTokenStorage:
    if login.folder is None:
        raise AssertionError
    return JsonFileTokenStorage(login.folder / "tokens.json")


class Aioamocrm:
    """`OAuth2.get_token`."""

    async def open(self, login: Login) -> None:
        self._endpoint = TokenEndpoint(http=httpx.AsyncClient(), url=login.token_url)
        self._auth = OAuth2(
            login.client_id,
            login.client_secret,
            "https://example.com/callback",
            MemoryTokenStorage(_expired(login)) if login.folder is None else _file(login),
            refresh_margin=login.ahead,
        )

    async def share(self, login: Login) -> None:
        """Put the person's tokens into the file, once for all processes."""
        await _file(login).save(_expired(login))

    async def bearer(self) -> str:
        return str(await self._auth.get_token(self._endpoint))

    async def close(self) -> None:
        await self._endpoint.http.aclose()
