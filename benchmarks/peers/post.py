"""One plain POST by aiohttp, for libraries that leave the request to their user and bring the rest."""

import aiohttp

from benchmarks.peers.peer import Login


class Post:
    """Gets tokens, one for each call; nothing is kept but the refresh token that the next call needs.

    Args:
        login: As what.
        url: Of the endpoint.
    """

    def __init__(self, login: Login, url: str) -> None:
        self._url = url
        self._form: dict[str, str] = {"grant_type": login.grant}
        if login.grant == "refresh_token":
            self._form["refresh_token"] = login.refresh_token
        basic = aiohttp.encode_basic_auth(login.client_id, login.client_secret)
        self._session = aiohttp.ClientSession(headers={"Authorization": basic})

    async def __call__(self) -> tuple[str, int]:
        """Return an access token and what the endpoint says of its life, in seconds."""
        async with self._session.post(self._url, data=self._form, raise_for_status=True) as response:
            answer = await response.json()
        if "refresh_token" in answer:
            self._form["refresh_token"] = answer["refresh_token"]
        return answer["access_token"], answer["expires_in"]

    async def close(self) -> None:
        await self._session.close()
