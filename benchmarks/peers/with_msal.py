"""MSAL, synchronous, with its own cache.

https://msal-python.readthedocs.io ("ConfidentialClientApplication"): `acquire_token_for_client` looks into the cache
first. The endpoint is Microsoft's; `http_client` is how one brings a transport of one's own, which leads it here. A
token is not taken from the cache in its last five minutes.
"""

from collections.abc import Mapping

import requests
from msal import ConfidentialClientApplication

from benchmarks.peers.peer import Login

_LEEWAY = 300
_SCOPE = "imchat:bot"
"""What the endpoint says: a token of another scope than asked for is not found in the cache."""
_DISCOVERY = """{"issuer": "https://login.microsoftonline.com/tenant/v2.0",
"authorization_endpoint": "https://login.microsoftonline.com/tenant/oauth2/v2.0/authorize",
"token_endpoint": "https://login.microsoftonline.com/tenant/oauth2/v2.0/token"}"""


class _Discovery:
    status_code = 200
    headers: Mapping[str, str] = {}
    text = _DISCOVERY

    def raise_for_status(self) -> None:
        pass


class _ToSandbox:
    """What `msal.oauth2cli.http.HttpClient` describes."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()

    def post(self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str], **_: object) -> requests.Response:
        return self._session.post(self._url, data=data, headers=headers)

    def get(self, url: str, **_: object) -> _Discovery:
        return _Discovery()

    def close(self) -> None:
        self._session.close()


class Msal:
    """`ConfidentialClientApplication.acquire_token_for_client`."""

    async def open(self, login: Login) -> None:
        self._http = _ToSandbox(login.told(_LEEWAY))
        self._app = ConfidentialClientApplication(
            login.client_id,
            client_credential=login.client_secret,
            authority="https://login.microsoftonline.com/tenant",
            instance_discovery=False,
            http_client=self._http,
        )

    async def bearer(self) -> str:
        result = self._app.acquire_token_for_client([_SCOPE])
        if not result or "access_token" not in result:
            raise RuntimeError(result)
        return str(result["access_token"])

    async def close(self) -> None:
        self._http.close()
