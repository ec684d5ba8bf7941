"""google-auth, as it is and in its asynchronous session.

https://googleapis.dev/python/google-auth/latest/reference/google.oauth2.credentials.html: `token_uri`, `client_id`,
`client_secret` and `refresh_token` for a person; `refresh_handler` for any other token. It renews 3 min 45 s ahead.
`AsyncAuthorizedSession` takes such credentials too, and refreshes them in a thread; `auth_request` is how it sends, and
here sends nothing: it answers with the headers that it was given.
"""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from google.auth.aio.transport import Request, Response
from google.auth.aio.transport.sessions import AsyncAuthorizedSession
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request as RequestsRequest
from google.oauth2.credentials import Credentials

from benchmarks.peers.peer import Login

_LEEWAY = 225
_API = "https://api.zoom.us/v2/users/me"
_OK = 200


def _credentials(login: Login) -> Credentials:
    url = login.told(_LEEWAY)
    if login.grant == "refresh_token":
        return Credentials(
            None,
            refresh_token=login.refresh_token,
            token_uri=url,
            client_id=login.client_id,
            client_secret=login.client_secret,
        )

    def fetch(request: RequestsRequest, scopes: Sequence[str]) -> tuple[str, datetime]:  # noqa: ARG001 -- its name is theirs
        form = {"grant_type": login.grant, "client_id": login.client_id, "client_secret": login.client_secret}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = request(url=url, method="POST", body=urlencode(form), headers=headers)
        if answer.status != _OK:
            raise RefreshError(answer.data)
        content = json.loads(answer.data)
        lasts = timedelta(seconds=content["expires_in"])
        return content["access_token"], datetime.now(UTC).replace(tzinfo=None) + lasts

    return Credentials(None, refresh_handler=fetch)


class _Echo(Response):
    """Has the headers of its request."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    @property
    def status_code(self) -> int:
        return _OK

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    async def content(self, chunk_size: int) -> AsyncGenerator[bytes, None]:
        yield b""

    async def read(self) -> bytes:
        return b""

    async def close(self) -> None:
        pass


class _Mirror(Request):
    async def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 0.0,
        **kwargs: object,
    ) -> Response:
        return _Echo(headers or {})

    async def close(self) -> None:
        pass


class GoogleAuth:
    """`Credentials.before_request`, which blocks."""

    async def open(self, login: Login) -> None:
        self._credentials = _credentials(login)
        self._request = RequestsRequest()

    async def bearer(self) -> str:
        headers: dict[str, str] = {}
        self._credentials.before_request(self._request, "GET", _API, headers)
        return headers["authorization"].removeprefix("Bearer ")

    async def close(self) -> None:
        self._request.session.close()


class GoogleAuthAio:
    """`AsyncAuthorizedSession.request`."""

    async def open(self, login: Login) -> None:
        self._session = AsyncAuthorizedSession(_credentials(login), auth_request=_Mirror())

    async def bearer(self) -> str:
        answer = await self._session.request("GET", _API)
        return str(answer.headers["authorization"]).removeprefix("Bearer ")

    async def close(self) -> None:
        await self._session.close()
