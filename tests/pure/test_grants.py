"""Grants: the form that each sends (RFC 6749), and what is refused before it is sent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.grants import (
    AccountCredentialsGrant,
    AuthorizationCodeGrant,
    ClientCredentialsGrant,
    DeviceCodeGrant,
    Grant,
    RefreshTokenGrant,
)
from zoom_async_auth.oauth.token import is_refresh_token

REDIRECT = "https://app.example/callback"
PRINTABLE_ASCII = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


def named(value: object) -> str | None:
    return value.__name__ if isinstance(value, type) else None


@pytest.mark.parametrize(
    ("grant", "form"),
    [
        (
            AccountCredentialsGrant(account_id="an-account"),
            {"grant_type": "account_credentials", "account_id": "an-account"},
        ),
        (ClientCredentialsGrant(), {"grant_type": "client_credentials"}),
        (
            AuthorizationCodeGrant(code="a-code", redirect_uri=REDIRECT),
            {"grant_type": "authorization_code", "code": "a-code", "redirect_uri": REDIRECT},
        ),
        (
            AuthorizationCodeGrant(code="a-code", redirect_uri=REDIRECT, code_verifier="v" * 43),
            {"grant_type": "authorization_code", "code": "a-code", "redirect_uri": REDIRECT, "code_verifier": "v" * 43},
        ),
        (RefreshTokenGrant(refresh_token="a-token"), {"grant_type": "refresh_token", "refresh_token": "a-token"}),
        (
            DeviceCodeGrant(device_code="a-code"),
            {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "a-code"},
        ),
    ],
    ids=["account", "client", "code", "code with PKCE", "refresh", "device"],
)
def test_a_grant_sends_its_own_fields_and_no_others(grant: Grant, form: dict[str, str]) -> None:
    """`scope` and `token_index`, which other libraries send, are no parameters of Zoom's token request."""
    assert grant.form() == form


@pytest.mark.parametrize(
    ("grant", "fields", "name"),
    [
        (AccountCredentialsGrant, {"account_id": "a\r\nX: y"}, "account_id"),
        (AccountCredentialsGrant, {"account_id": "é"}, "account_id"),
        (AuthorizationCodeGrant, {"code": "", "redirect_uri": REDIRECT}, "code"),
        (AuthorizationCodeGrant, {"code": "a\x00", "redirect_uri": REDIRECT}, "code"),
        (AuthorizationCodeGrant, {"code": "a-code", "redirect_uri": ""}, "redirect_uri"),
        (AuthorizationCodeGrant, {"code": "a-code", "redirect_uri": f"{REDIRECT} "}, "redirect_uri"),
        (RefreshTokenGrant, {"refresh_token": ""}, "refresh_token"),
        (RefreshTokenGrant, {"refresh_token": "é"}, "refresh_token"),
        (RefreshTokenGrant, {"refresh_token": None}, "refresh_token"),
        (DeviceCodeGrant, {"device_code": "a\nb"}, "device_code"),
    ],
    ids=named,
)
def test_a_grant_that_cannot_work_is_refused_when_it_is_made(
    grant: type[Grant], fields: dict[str, Any], name: str
) -> None:
    """Zoom would only say "Bad Request" (S14)."""
    with pytest.raises(ConfigurationError) as refused:
        grant(**fields)

    assert str(refused.value).startswith(f"{name} ")


@pytest.mark.parametrize("verifier", ["v" * 43, "v" * 128, "AZaz09-._~" * 5], ids=["shortest", "longest", "all signs"])
def test_a_verifier_has_the_length_and_the_characters_of_the_rfc(verifier: str) -> None:
    """RFC 7636, section 4.1 (S23)."""
    grant = AuthorizationCodeGrant(code="a-code", redirect_uri=REDIRECT, code_verifier=verifier)

    assert grant.code_verifier == verifier


@pytest.mark.parametrize(
    "verifier",
    ["", "v" * 42, "v" * 129, "v" * 43 + "\n", "v" * 42 + "+", "v" * 42 + "é"],
    ids=["empty", "too short", "too long", "line break", "plus", "not ASCII"],
)
def test_any_other_verifier_is_refused(verifier: str) -> None:
    """A short one can be guessed by whoever has seen its hash in the authorize URL (S23)."""
    with pytest.raises(ConfigurationError) as refused:
        AuthorizationCodeGrant(code="a-code", redirect_uri=REDIRECT, code_verifier=verifier)

    assert str(refused.value) == "code_verifier must be 43 to 128 unreserved characters (RFC 7636, section 4.1)"


@given(st.text(PRINTABLE_ASCII).filter(is_refresh_token))
def test_a_refresh_token_that_is_accepted_can_be_spent(text: str) -> None:
    """Else it would be stored, and the renewal an hour later would fail for ever (F21)."""
    assert RefreshTokenGrant(refresh_token=text).form()["refresh_token"] == text
