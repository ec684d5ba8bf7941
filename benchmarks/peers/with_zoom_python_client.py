"""zoom-python-client, synchronous, which keeps an app's token in the environment of its process.

https://github.com/cern-vc/zoom-python-client ("Usage"): `build_zoom_authorization_headers` runs before each call
of the API. The endpoint cannot be chosen: the attribute that holds it is set here. It renews five minutes ahead.
"""

import os

from zoom_python_client.zoom_api_client import ZoomApiClient

from benchmarks.peers.peer import Login

_LEEWAY = 300


class ZoomPythonClient:
    """`ZoomApiClient`."""

    async def open(self, login: Login) -> None:
        os.environ.pop("ZOOM_ACCESS_TOKEN", None)
        self._client = ZoomApiClient(login.account_id, login.client_id, login.client_secret)
        http = self._client.authentication_client.authentication_client
        http.api_base_url = login.told(_LEEWAY).removesuffix("/token")

    async def bearer(self) -> str:
        return str(self._client.build_zoom_authorization_headers()["Authorization"]).removeprefix("Bearer ")

    async def close(self) -> None:
        pass
