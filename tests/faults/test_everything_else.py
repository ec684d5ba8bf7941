"""S41, S43 to S45: where a bearer goes, how secrets are compared, what is believed of an answer."""

import hmac
import json
from base64 import urlsafe_b64encode

import pytest
from yarl import URL

from tests.engine.world import World
from tests.faults.steps import APP, PATIENT, in_doubt, person
from tests.integrations.raw import answers, raw_server
from zoom_async_auth import StoredToken, TokenManager
from zoom_async_auth.bearer import may_carry_bearer
from zoom_async_auth.oauth.authorize import RANDOMNESS, authorization_request, read_callback
from zoom_async_auth.oauth.wire import Answer


@pytest.mark.parametrize(
    "url",
    [
        "https://zoom.us@evil.example/",
        "https://evil.example/\\@zoom.us",
        "https://zoom.us:444/",
        "//evil.example",
        "http://zoom.us/",
    ],
)
def test_s41_a_bearer_goes_to_the_allowed_hosts_on_443_and_nowhere_else(url: str) -> None:
    assert not may_carry_bearer(URL(url))
    assert may_carry_bearer(URL("https://api.zoom.us/v2/users/me"))


async def test_s41_an_api_url_and_a_path_that_lead_elsewhere_do_not_get_the_bearer() -> None:
    """The first comes from the server, the second from whoever calls."""
    async with raw_server(answers(b"{}")) as elsewhere, raw_server(answers(b"{}")) as server:
        manager = TokenManager(APP, base_url=server.url, policy=PATIENT)
        pair = StoredToken(access_token="t", refresh_token="r", expires_at=9e9, api_url=elsewhere.url)
        async with manager:
            await manager.authorize(pair)
            async with manager.session() as session:
                for path in ("/v2/users/me", f"//{URL(elsewhere.url).authority}/v2"):
                    await (await session.get(path)).read()
        assert [b"Authorization: Bearer t" in request for request in server.requests] == [True]
        assert [b"Authorization" in request for request in elsewhere.requests] == [False]


async def test_s43_a_state_and_a_token_are_compared_in_constant_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[object, object]] = []
    original = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return original(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    request = authorization_request(APP, redirect_uri="http://127.0.0.1/", randomness=bytes(RANDOMNESS))
    read_callback("code=a&state=guess", request)
    assert compared.pop() == (b"guess", request.state.encode())
    async with person(world) as manager:
        token = await manager.bearer()
        compared.clear()
        assert not manager.invalidate("guess")
        assert compared == [(b"guess", token.encode())]


async def test_s44_claims_of_an_access_token_are_never_trusted(world: World) -> None:
    """No signature, and valid for three centuries: `expires_in` rules."""
    header, claims = (
        urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none", "crit": ["exp"]}, {"exp": 9e9, "nbf": 8e9})
    )
    body = {"access_token": f"{header}.{claims}.", "token_type": "bearer", "expires_in": 60}
    world.zoom.faults.add(f"any:answer=200 {json.dumps(body)}")
    async with world.manager() as manager:
        token = await manager.bearer()
        assert token == body["access_token"]
        world.clock.advance(60.0)
        assert await manager.bearer() != token

    assert world.zoom.stats == {"account_credentials": {"fault": 1, "ok": 1}}


GOOD = '{"access_token":"trap","token_type":"bearer","expires_in":3600}'


@pytest.mark.parametrize(
    "body",
    [
        GOOD.replace("}", ',"access_token":"b"}').encode(),
        GOOD.replace("3600", "NaN").encode(),
        GOOD.replace("}", ',"x":' + "[" * 100_000 + "}").encode(),
        GOOD.replace("}", ',"x":' + "[" * 60_000 + "]" * 5_000 + "}").encode(),
        GOOD.replace("3600", "1" * 5000).encode(),
        GOOD.encode("utf-8-sig"),
        GOOD.encode("utf-16"),
    ],
    ids=["duplicate keys", "NaN", "depth 100k", "depth within the cap", "5000 digits", "BOM", "UTF-16"],
)
async def test_s45_odd_json_is_a_malformed_response(world: World, body: bytes) -> None:
    world.wire.instead.append(Answer(status=200, headers={}, body=body))
    async with world.manager() as manager:
        assert world.is_good(await manager.bearer())

    assert in_doubt(world) == [True]
    assert world.wire.posts == 2


async def test_s45_no_infinity_becomes_a_deadline(world: World) -> None:
    """1e999 is JSON, and infinite for Python: it is cut to a day, as any other century (F19)."""
    body = GOOD.replace("3600", "1e999").encode()
    world.wire.instead.append(Answer(status=200, headers={}, body=body))
    async with world.manager() as manager:
        assert (await manager.token()).expires_in == 24 * 3600.0
        assert manager.health().seconds_left < 24 * 3600.0
