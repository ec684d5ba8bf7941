"""`zoom-async-auth inspect`: times, scopes and ids of a token, and never the token."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from tests.cli.conftest import Call, LogIn
from zoom_async_auth.cli.claims import claims_of
from zoom_async_auth.sandbox import Zoom

NOW = 1_790_000_000


def jwt(claims: object) -> str:
    """Return a token with these claims, in the shape of Zoom's."""
    text = claims if isinstance(claims, str) else json.dumps(claims)
    return f"aGVhZGVy.{urlsafe_b64encode(text.encode()).decode().rstrip('=')}.c2lnbmF0dXJl"


@pytest.mark.asyncio(loop_factories=["plain"])
async def test_the_kept_token_is_looked_at_without_a_request(
    called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn
) -> None:
    token = await log_in()
    code, shown, errors = await called(person, "inspect", "--as-user", "--json")
    known = json.loads(shown)

    assert (code, errors, shown.count("\n")) == (0, "", 1)
    assert token.access_token not in shown
    assert (token.refresh_token or "") not in shown
    assert (known["app"], known["key"], known["state"], known["generation"]) == ("user", "default", "valid", 1)
    assert (known["scope"], known["api_url"], known["refresh_token"]) == (["user:read:admin"], zoom.url, True)
    assert known["length"] == len(token.access_token)
    assert 3500 < known["seconds_left"] <= 3600
    claims = known["claims"]
    assert list(claims) == [
        *("issued_at", "not_before", "expires_at", "expires_in", "lifetime"),
        *("account_id", "user_id", "kind", "version"),
    ]
    assert (claims["user_id"], claims["kind"], claims["version"]) == ("alice", "access_token", "6")
    assert (claims["lifetime"], claims["expires_at"][-1]) == (3600, "Z")
    assert zoom.stats == {"authorization_code": {"ok": 1}}


@pytest.mark.asyncio(loop_factories=["plain"])
async def test_why_a_log_in_is_dead_is_told(called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn) -> None:
    token = await log_in()
    known = zoom.model.app(zoom.user_app.client_id)
    assert known is not None
    zoom.model.revoke(known, token.access_token)
    assert (await called(person, "exec", "--as-user", "--valid-for", "3600", "--", "true"))[0] == 5
    code, shown, _ = await called(person, "inspect", "--as-user")
    lines = dict(line.strip().split("  ", 1) for line in shown.splitlines())

    assert (code, lines["state"], lines["cause"]) == (0, "dead", "invalid_grant")


@pytest.mark.asyncio(loop_factories=["plain"])
async def test_the_apps_own_token_is_got_and_not_shown(called: Call, zoom: Zoom, at_home: dict[str, str]) -> None:
    own = zoom.client_credentials
    environment = {"ZOOM_BASE_URL": zoom.url, "ZOOM_CLIENT_ID": own.client_id, "ZOOM_CLIENT_SECRET": own.client_secret}
    code, shown, errors = await called(at_home | environment, "inspect")
    lines = dict(line.strip().split("  ", 1) for line in shown.splitlines())

    assert (code, errors) == (0, "")
    assert "eyJhbGciOi" not in shown
    assert (lines["app"], lines["scope"], lines["user id"]) == ("client credentials", "imchat:bot", "account-owner")
    assert own.client_id not in shown
    assert zoom.stats == {"client_credentials": {"ok": 1}}


def test_both_versions_of_zooms_claims_are_read() -> None:
    old = {"ver": "6", "accountId": "a", "userId": "u", "tokenType": "access_token", "iat": NOW, "exp": NOW + 3600}
    new = {"ver": 7, "aid": "a", "uid": "u", "type": 3, "iat": NOW, "exp": NOW + 3600, "code": "c", "auid": "x"}

    assert claims_of(jwt(old), now=NOW + 600.0) == {
        "issued_at": "2026-09-21T14:13:20Z",
        "expires_at": "2026-09-21T15:13:20Z",
        "expires_in": 3000,
        "lifetime": 3600,
        "account_id": "a",
        "user_id": "u",
        "kind": "access_token",
        "version": "6",
    }
    assert claims_of(jwt(new), now=NOW + 600.0) == claims_of(jwt(old), now=NOW + 600.0) | {"kind": 3, "version": 7}  # type: ignore[operator] # pyright: ignore[reportOptionalOperand]


@pytest.mark.parametrize(
    "token",
    ["opaque", "a.b", "a.b.c", "a.b.c.d", jwt("[1]"), jwt("nonsense"), jwt("[" * 100_000), f"a.{'é'}.c"],
)
def test_what_is_no_jwt_is_opaque(token: str) -> None:
    assert claims_of(token, now=NOW) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": "soon", "iat": True, "nbf": None},
        {"exp": -1, "iat": 10**400, "nbf": 1e300},
        '{"exp": NaN, "iat": Infinity, "nbf": -Infinity}',
        {"uid": "\x1b[31m", "aid": "x" * 101, "ver": [6], "type": {}},
    ],
)
def test_claims_that_make_no_sense_are_left_out(claims: Any) -> None:
    """S44, S42: they are foreign text; none is trusted, and none reaches the terminal as it is."""
    assert claims_of(jwt(claims), now=NOW) == {}
