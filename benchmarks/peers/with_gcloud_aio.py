"""gcloud-aio-auth, with a kind of token of one's own.

https://github.com/talkiq/gcloud-aio/tree/master/auth: `BaseToken` is what all kinds derive from, by writing `refresh`
(its own hold to Google's endpoints). It renews in the background at half of a token's life: `Login.ahead` is not its
way.
"""

from typing import cast
from urllib.parse import urlencode

from aiohttp import encode_basic_auth
from gcloud.aio.auth.token import BaseToken, TokenResponse

from benchmarks.peers.peer import Bearer, Login


class _ZoomToken(BaseToken):
    def __init__(self, login: Login) -> None:
        super().__init__()
        self._login = login
        self._refresh_token = login.refresh_token

    async def refresh(self, *, timeout: int) -> TokenResponse:
        form: dict[str, str] = {"grant_type": self._login.grant}
        if self._login.grant == "refresh_token":
            form["refresh_token"] = self._refresh_token
        headers = {
            "Authorization": encode_basic_auth(self._login.client_id, self._login.client_secret),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        answer = await self.session.post(self._login.token_url, headers=headers, data=urlencode(form), timeout=timeout)
        content = await answer.json()
        self._refresh_token = content.get("refresh_token", self._refresh_token)
        return TokenResponse(value=content["access_token"], expires_in=int(content["expires_in"]))


class GcloudAio:
    """`BaseToken.get`."""

    bearer: Bearer

    async def open(self, login: Login) -> None:
        self._token = _ZoomToken(login)
        self.bearer = cast("Bearer", self._token.get)

    async def close(self) -> None:
        await self._token.close()
