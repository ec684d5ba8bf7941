"""`zoom-async-auth doctor --probe`: refused on a sandbox, so its questions are asked there one storey below."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.cli.conftest import Call
from tests.cli.terminal import terminal
from zoom_async_auth import AuthorizationCodeGrant, RenewalPolicy, TokenManager
from zoom_async_auth.cli.probe import Answer, probe
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.sandbox.faults import Reply

pytestmark = pytest.mark.asyncio(loop_factories=["plain"])

Found = dict[str, str]
Hook = Callable[[Answer], None]
HASTY = RenewalPolicy(min_interval=0.01)


def noting(found: Found, also: Hook = lambda _: None) -> Hook:
    def note(answer: Answer) -> None:
        found[answer.question] = answer.answer
        also(answer)

    return note


async def of_a_person(zoom: Zoom, also: Hook = lambda _: None) -> Found:
    found: Found = {}
    async with TokenManager(zoom.user_app, base_url=zoom.url, policy=HASTY) as manager:
        await manager.authorize(AuthorizationCodeGrant(code=zoom.authorize(), redirect_uri=zoom.redirect_uri))
        await probe(manager, zoom.user_app, zoom.url, noting(found, also))
    assert not any("eyJhbGciOi" in answer for answer in found.values())
    return found


async def test_what_becomes_of_a_persons_tokens_is_found_out(zoom: Zoom) -> None:
    """The sandbox keeps the access token before a refresh, and takes no refresh token twice."""
    found = await of_a_person(zoom)

    assert all(int(found.pop(f"characters of the {name} token")) > 500 for name in ("access", "refresh"))
    assert found == {
        "version of the access token": "6",
        "life of the access token by its claims": "3600 s",
        "version of the refresh token": "6",
        "life of the refresh token by its claims": "473040000 s",
        "life of the access token by the answer": "3600 s",
        "a device code": "lives 900 s, to be asked about every 5 s",
        "asking before the person": (
            "refused, status 400, error authorization_pending, reason The user has not decided yet"
        ),
        "asking again at once": "refused, status 400, error slow_down, reason Asked too often",
        "the access token before a refresh": "lives",
        "a refresh token that is spent": "refused, status 400, error invalid_grant, reason Invalid Token!",
        "the log-in after that": "lives",
        "the access token after revoking it": "is dead",
        "its refresh token": "refused, status 400, error invalid_grant, reason Invalid Token!",
    }


async def test_a_zoom_that_takes_a_refresh_token_twice_is_found_out(zoom: Zoom) -> None:
    """The pair that came of it is kept: it is the only one that is good from then on."""
    zoom.model.reuse_grace = 60.0

    def forget_the_grace(answer: Answer) -> None:
        if answer.question == "a refresh token that is spent":
            zoom.model.reuse_grace = 0.0

    found = await of_a_person(zoom, forget_the_grace)

    assert found["a refresh token that is spent"] == "accepted"
    assert found["the log-in after that"] == "lives"
    assert found["the access token after revoking it"] == "is dead"


async def test_a_zoom_that_kills_the_log_in_for_it_is_found_out(zoom: Zoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """As RFC 9700 (section 4.14.2) wants it from servers; then there is nothing left to revoke."""
    post = zoom.post

    def strict(path: str, headers: Mapping[str, str], body: bytes, *rest: Any) -> Reply:
        reply = post(path, headers, body, *rest)
        if reply.status == 400 and b"refresh_token" in body:
            zoom.model.take_off("alice")
        return reply

    monkeypatch.setattr(zoom, "post", strict)
    found = await of_a_person(zoom)

    assert found["the log-in after that"] == "refused, status 400, error invalid_grant, reason Invalid Token!"
    assert list(found)[-1] == "the log-in after that"


async def test_how_tokens_of_an_app_live_side_by_side_is_found_out(zoom: Zoom) -> None:
    found: Found = {}
    async with TokenManager(zoom.credentials, base_url=zoom.url) as manager:
        await probe(manager, zoom.credentials, zoom.url, noting(found))
        own = await manager.bearer()

    assert {question: found[question] for question in list(found)[-4:]} == {
        "the earlier of two tokens": "lives",
        "revoking it": "accepted",
        "the revoked token": "is dead",
        "the other one after that": "lives",
    }
    assert list(zoom.model._access) == [own]  # the two that were got for it are revoked
    assert zoom.stats == {"account_credentials": {"ok": 3}}


async def test_a_token_that_was_got_in_vain_is_revoked_too(zoom: Zoom) -> None:
    zoom.faults.add("account_credentials#3:answer=503")
    found: Found = {}
    async with TokenManager(zoom.credentials, base_url=zoom.url) as manager:
        await probe(manager, zoom.credentials, zoom.url, noting(found))

    assert found["two tokens of the app"] == "were not to be had"
    assert len(zoom.model._access) == 1


async def test_a_zoom_that_fails_is_an_answer_too(zoom: Zoom) -> None:
    found: Found = {}
    async with TokenManager(zoom.credentials, base_url=zoom.url) as manager:
        await manager.bearer()
        zoom.outage = 503
        await probe(manager, zoom.credentials, zoom.url, noting(found))

    assert found["two tokens of the app"] == "were not to be had"


async def test_a_sandbox_is_no_real_account(called: Call, zoom: Zoom, person: dict[str, str]) -> None:
    code, shown, errors = await called(person, "doctor", "--as-user", "--probe")

    assert (code, shown) == (3, "")
    assert errors == (
        "zoom-async-auth: --probe is about Zoom itself, and a server on this host is not: unset ZOOM_BASE_URL\n"
    )
    real = person | {"ZOOM_BASE_URL": "https://zoom.example"}
    code, shown, errors = await called(real, "doctor", "--as-user", "--probe")
    assert (code, shown) == (3, "")
    assert errors == "zoom-async-auth: --probe spends tokens, so it asks first: run it in a terminal\n"
    assert zoom.token_requests == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.timeout(60)
async def test_without_a_yes_nothing_is_done(person: dict[str, str]) -> None:
    real = person | {"ZOOM_BASE_URL": "https://zoom.example"}
    async with terminal(real, sys.executable, "-m", "zoom_async_auth", "doctor", "--as-user", "--probe") as screen:
        asked = await screen.until("Type yes to go on: ")
        screen.type("y\n")
        code, shown = await screen.end()

    assert "This uses up the log-in of 'default', at https://zoom.example." in asked
    assert (code, shown.splitlines()[-1]) == (0, "nothing was done")
