"""S22 to S31: a person's consent, from the authorize page to its revocation.

What a browser's session, a loopback receiver and a polling device add comes with the log-ins: rows.py.
"""

import asyncio
import json
import secrets
from dataclasses import replace
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
import pytest

from tests.engine.world import World, turns
from tests.faults.steps import APP, PATIENT, failure_of, key_of, person
from tests.integrations.raw import answers, raw_server
from zoom_async_auth import (
    AuthorizationCodeGrant,
    AuthorizationRequiredError,
    ConfigurationError,
    StoredToken,
    TokenManager,
    TokenUnavailableError,
    ZoomAuthError,
)
from zoom_async_auth.events import LateTokenDropped
from zoom_async_auth.oauth.authorize import (
    RANDOMNESS,
    AuthorizationRequest,
    authorization_request,
    code_challenge,
    read_callback,
)
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.testing import MemoryTransport

REDIRECT = "http://127.0.0.1/callback"


def _asked() -> AuthorizationRequest:
    return authorization_request(APP, redirect_uri=REDIRECT, randomness=secrets.token_bytes(RANDOMNESS))


@pytest.mark.parametrize("state", [None, "", "wrong", "another person's"])
def test_s22_a_callback_without_the_state_of_this_browser_is_refused(state: str | None) -> None:
    """One that is reused, or has expired, is kept by nobody any more: whoever keeps requests for one use does that."""
    request = _asked()
    shown = _asked().state if state == "another person's" else state
    query = "code=a-code" if shown is None else f"code=a-code&state={shown}"

    assert type(read_callback(query, request)) is AuthorizationRequiredError
    assert isinstance(read_callback(f"code=a-code&state={request.state}", request), AuthorizationCodeGrant)


def test_s23_pkce_is_s256_with_a_fresh_verifier_of_43_characters_each_time() -> None:
    first, second = _asked(), _asked()
    query = parse_qs(urlsplit(first.url).query)

    assert query["code_challenge_method"] == ["S256"]
    assert query["code_challenge"] == [code_challenge(first.code_verifier)]
    assert len(first.code_verifier) == len(second.code_verifier) == 43
    assert len({first.code_verifier, second.code_verifier, first.state, second.state}) == 4
    assert first.code_verifier not in first.url


@pytest.mark.parametrize("verifier", [None, "w" * 43], ids=["none", "another"])
async def test_s23_a_code_without_its_verifier_buys_nothing(world: World, verifier: str | None) -> None:
    """No downgrade: who has stolen the code cannot spend it."""
    async with world.personal() as manager:
        with pytest.raises(AuthorizationRequiredError) as refused:
            await manager.authorize(replace(world.consent(), code_verifier=verifier))

    assert refused.value.error == "invalid_grant"
    assert world.zoom.stats == {"authorization_code": {"invalid_grant": 1}}


@pytest.mark.parametrize(
    "query",
    [
        "state={0}&code=a&error=access_denied",
        "state={0}&code=a&code=b",
        "state={0}&state={0}&code=a",
        "code={1}&state={0}",
    ],
    ids=["code and error", "code twice", "state twice", "1 MB"],
)
def test_s25_a_callback_that_can_be_read_in_two_ways_or_is_too_long_is_refused(query: str) -> None:
    request = _asked()

    assert type(read_callback(query.format(request.state, "a" * 1_000_000), request)) is AuthorizationRequiredError


@pytest.mark.parametrize("issuer", ["https://evil.example", "http://zoom.us", "https://zoom.us.evil.example", ""])
def test_s26_a_callback_of_another_issuer_is_refused(issuer: str) -> None:
    """RFC 9207. With two issuers configured each request names its own."""
    request = _asked()
    other = authorization_request(
        APP, redirect_uri=REDIRECT, randomness=secrets.token_bytes(RANDOMNESS), base_url="https://zoomgov.com"
    )

    outcome = read_callback(f"code=a&state={request.state}&iss={quote(issuer)}", request)
    assert isinstance(outcome, ZoomAuthError)
    assert "another issuer" in str(outcome)
    assert isinstance(read_callback(f"code=a&state={other.state}&iss=https://zoom.us", other), ZoomAuthError)
    assert (request.issuer, other.issuer) == ("https://zoom.us", "https://zoomgov.com")


@pytest.mark.parametrize(
    "redirect_uri", ["http://127.0.0.1/Callback", "http://127.0.0.1/callback/", "HTTP://127.0.0.1/callback"]
)
async def test_s27_a_redirect_uri_that_differs_in_case_or_slash_is_refused(
    zoom_sandbox: Zoom, redirect_uri: str
) -> None:
    """We send it to the letter, Zoom compares it to the letter: on the page, and when the code is spent."""
    asked = authorization_request(
        zoom_sandbox.user_app, redirect_uri=redirect_uri, randomness=bytes(RANDOMNESS), base_url=zoom_sandbox.url
    )
    assert parse_qs(urlsplit(asked.url).query)["redirect_uri"] == [redirect_uri]
    async with aiohttp.ClientSession() as browser, browser.get(asked.url, allow_redirects=False) as page:
        assert page.status == 400
    grant = AuthorizationCodeGrant(code=zoom_sandbox.authorize(), redirect_uri=redirect_uri)
    async with TokenManager(zoom_sandbox.user_app, base_url=zoom_sandbox.url) as manager:
        with pytest.raises(ConfigurationError, match="redirect URI"):
            await manager.authorize(grant)

    assert zoom_sandbox.stats == {"authorization_code": {"invalid_request": 1}}


async def test_s30_a_revocation_that_fails_changes_nothing_and_may_be_tried_again() -> None:
    """503: still valid, still served. 200 counts, also for a token that nobody knows (RFC 7009, section 2.2)."""
    async with (
        raw_server(answers(b"", status="503 Oops"), answers(b"{}")) as server,
        TokenManager(APP, base_url=server.url, policy=PATIENT) as manager,
    ):
        await manager.authorize(StoredToken(access_token="alive", refresh_token="r", expires_at=9e9))
        with pytest.raises(TokenUnavailableError):
            await manager.revoke()
        assert await manager.bearer() == "alive"
        await manager.revoke()
        assert type(await failure_of(manager)) is AuthorizationRequiredError
        assert [request.split()[1] for request in server.requests] == [b"/oauth/revoke"] * 2


async def test_s31_a_revocation_during_a_renewal_leaves_no_token_alive(world: World) -> None:
    """Interleaving: another process revokes while the answer with the next pair is on its way."""
    store = world.store()
    async with (
        person(world, store=store) as manager,
        world.personal(store=store, transport=MemoryTransport(world.zoom)) as other,
    ):
        await other.bearer()
        held_back: list[Answer] = []

        def note(answer: Answer) -> Answer:
            held_back.append(answer)
            return answer

        world.wire.held_after = asyncio.Event()
        world.wire.replies.append(note)
        late = asyncio.create_task(manager.renew())
        await asyncio.sleep(1.5)
        assert world.zoom.stats["refresh_token"] == {"ok": 1}
        await other.revoke()
        world.wire.held_after.set()
        with pytest.raises(AuthorizationRequiredError):
            await late
        await turns()
        reading = await store.peek(key_of(world.zoom))
        assert reading.record is not None
        assert reading.record.token is None
        assert not world.is_good(json.loads(held_back[0].body)["access_token"])

    assert [event.revoked for event in world.seen(LateTokenDropped)] == [True]
