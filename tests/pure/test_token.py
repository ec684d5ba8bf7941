"""Tokens as values: which texts can be one, and what a token refuses to be."""

from typing import Any

import pytest

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.token import NO_ACCESS_TOKEN, StoredToken, Token, is_access_token, is_refresh_token


def a_token(**changes: Any) -> Token:
    return Token(**{"access_token": "an-access-token", "expires_in": 3599.0, **changes})


def a_stored_token(**changes: Any) -> StoredToken:
    return StoredToken(**{"access_token": "an-access-token", "expires_at": 1_700_000_000.0, **changes})


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "eyJhbGciOiJIUzUxMiJ9.e30.c2ln",
        "AZaz09-._~+/",
        "padded==",
        pytest.param("a" * 16_384, id="16 kB"),
    ],
)
def test_what_a_header_can_carry_is_an_access_token(text: str) -> None:
    """RFC 6750, section 2.1: letters, digits, six signs, and padding at the end."""
    assert is_access_token(text)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "=",
        "a=b",
        "a b",
        "a\r\nX: y",
        "a\n",
        "a,b",
        "é",
        None,
        7,
        [],
        b"a",
        pytest.param("a" * 16_385, id="more than 16 kB"),
    ],
)
def test_what_a_header_cannot_carry_is_no_access_token(value: object) -> None:
    """It would break the caller's requests, or write headers of its own into them (S15)."""
    assert not is_access_token(value)


@pytest.mark.parametrize("text", ["a", "a b", "~!\"\\'", pytest.param("a" * 16_384, id="16 kB")])
def test_printable_ascii_is_a_refresh_token(text: str) -> None:
    """RFC 6749, appendix A.17, allows more than an access token may have."""
    assert is_refresh_token(text)


@pytest.mark.parametrize(
    "value",
    ["", "   ", "a\n", "a\x00b", "é", None, 7, [], pytest.param("a" * 16_385, id="more than 16 kB")],
)
def test_anything_else_is_no_refresh_token(value: object) -> None:
    """What was stored could not be sent back."""
    assert not is_refresh_token(value)


def test_a_token_has_what_its_answer_said_and_defaults_for_the_rest() -> None:
    """Only the access token and its lifetime are always there."""
    token = Token(access_token="an-access-token", expires_in=3599.0)

    assert token.refresh_token is None
    assert token.token_type == "bearer"
    assert token.scope == frozenset()
    assert token.api_url is None
    assert token.assumed == frozenset()


def test_what_was_assumed_does_not_make_it_another_token() -> None:
    """Equality is about what the token is, not about how completely Zoom described it."""
    assert a_token(assumed=frozenset({"expires_in"})) == a_token()


@pytest.mark.parametrize("make", [a_token, a_stored_token])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"access_token": "a b"}, "access_token is not a bearer token (RFC 6750, section 2.1)"),
        ({"access_token": None}, "access_token is not a bearer token (RFC 6750, section 2.1)"),
        ({"refresh_token": ""}, "refresh_token is not a refresh token (RFC 6749, appendix A.17)"),
        ({"refresh_token": "a\n"}, "refresh_token is not a refresh token (RFC 6749, appendix A.17)"),
    ],
)
def test_a_token_that_cannot_be_sent_is_refused_when_it_is_made(
    make: type[Token] | type[StoredToken], changes: dict[str, Any], message: str
) -> None:
    """An imported pair is checked like one from Zoom, and the message does not repeat it (S15)."""
    with pytest.raises(ConfigurationError) as refused:
        make(**changes)

    assert str(refused.value) == message


@pytest.mark.parametrize("expires_in", [-0.1, float("nan"), float("inf"), pytest.param(10**400, id="10**400")])
def test_a_lifetime_that_is_no_number_of_seconds_is_refused(expires_in: float) -> None:
    """Arithmetic with it would make a token that never expires, or raise far away from here."""
    with pytest.raises(ConfigurationError) as refused:
        a_token(expires_in=expires_in)

    assert str(refused.value) == "expires_in must be a number of seconds, 0 or more"


def test_a_lifetime_may_be_over() -> None:
    """An imported token may have expired: its refresh token is what matters then."""
    assert a_token(expires_in=0.0).expires_in == 0.0


@pytest.mark.parametrize("expires_at", [float("nan"), float("inf"), -float("inf"), pytest.param(10**400, id="10**400")])
def test_an_expiry_that_is_no_moment_is_refused(expires_at: float) -> None:
    """A pair without a sensible expiry would be believed for ever."""
    with pytest.raises(ConfigurationError) as refused:
        a_stored_token(expires_at=expires_at)

    assert str(refused.value) == "expires_at must be a number: seconds since 1970-01-01 UTC, not milliseconds"


def test_an_expiry_may_be_in_the_past() -> None:
    """Whoever moves to this library brings old tokens."""
    assert a_stored_token(expires_at=-1.0).expires_at == -1.0


@pytest.mark.parametrize("expires_at", [1.79e12, 1e18, -1e18])
def test_a_date_in_milliseconds_is_refused(expires_at: float) -> None:
    """It would be a token that lives for ever."""
    with pytest.raises(ConfigurationError, match="not milliseconds"):
        StoredToken(access_token="access", expires_at=expires_at)


def test_a_refresh_token_alone_is_something_to_go_on_with() -> None:
    stored = StoredToken(refresh_token="refresh")
    assert (stored.access_token, stored.refresh_token, stored.expires_at) == (NO_ACCESS_TOKEN, "refresh", None)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"expires_at": 1.7e9},
        {"refresh_token": "refresh", "expires_at": 1.7e9},
        {"access_token": "access"},
        {"access_token": "access", "refresh_token": "refresh"},
    ],
)
def test_an_expiry_of_nothing_and_nothing_at_all_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="give access_token and expires_at, or refresh_token, or all"):
        StoredToken(**given)
