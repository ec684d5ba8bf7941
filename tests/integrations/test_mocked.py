"""With aioresponses, as many tests of our users do it: the shape of the request, and what becomes of answers."""

from base64 import b64encode
from collections.abc import Iterator

import pytest
from aioresponses import aioresponses
from yarl import URL

from zoom_async_auth import (
    ClientCredentials,
    ConfigurationError,
    RenewalPolicy,
    ServerToServer,
    TokenManager,
    TokenUnavailableError,
)

TOKEN = {"access_token": "t", "token_type": "bearer", "expires_in": 3599, "scope": "user:read:admin"}
APP = ServerToServer(account_id="account", client_id="id", client_secret="qV9xTqZk3LmN")


@pytest.fixture
def mocked() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked


@pytest.mark.parametrize("base_url", ["https://zoom.us", "https://zoomgov.com"])
async def test_the_request_goes_to_the_token_endpoint_with_basic_and_a_form(
    mocked: aioresponses, base_url: str
) -> None:
    url = f"{base_url}/oauth/token"
    mocked.post(url, payload=TOKEN)
    async with TokenManager(APP, base_url=base_url) as manager:
        assert await manager.bearer() == "t"

    ((key, calls),) = mocked.requests.items()
    assert key == ("POST", URL(url))
    assert len(calls) == 1
    sent = calls[0].kwargs
    assert sent["headers"]["Authorization"] == "Basic " + b64encode(b"id:qV9xTqZk3LmN").decode()
    assert sent["headers"]["Content-Type"] == "application/x-www-form-urlencoded"
    assert sent["data"] == b"grant_type=account_credentials&account_id=account"
    assert sent["allow_redirects"] is False


async def test_client_credentials_have_no_account(mocked: aioresponses) -> None:
    mocked.post("https://zoom.us/oauth/token", payload=TOKEN)
    async with TokenManager(ClientCredentials(client_id="id", client_secret="qV9xTqZk3LmN")) as manager:
        await manager.bearer()

    (calls,) = mocked.requests.values()
    assert calls[0].kwargs["data"] == b"grant_type=client_credentials"


async def test_zooms_refusal_becomes_a_typed_error(mocked: aioresponses) -> None:
    mocked.post(
        "https://zoom.us/oauth/token",
        status=400,
        payload={"reason": "Invalid client_id or client_secret", "error": "invalid_client"},
        headers={"x-zm-trackingid": "v=2.0;rid=WEB_1"},
    )
    async with TokenManager(APP) as manager:
        with pytest.raises(ConfigurationError, match="does not know this client") as caught:
            await manager.bearer()

    assert caught.value.error == "invalid_client"
    assert caught.value.reason == "Invalid client_id or client_secret"
    assert caught.value.status == 400
    assert caught.value.tracking_id == "v=2.0;rid=WEB_1"


async def test_an_exception_of_aiohttp_never_comes_out(mocked: aioresponses) -> None:
    mocked.post("https://zoom.us/oauth/token", exception=OSError("secret"), repeat=True)
    async with TokenManager(APP, policy=RenewalPolicy(timeout=0.1)) as manager:
        with pytest.raises(TokenUnavailableError, match="OSError") as caught:
            await manager.renew()

    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None
