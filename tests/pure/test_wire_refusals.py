"""What an error keeps of Zoom's refusal: what helps, nothing of what was sent; and when to come back."""

import json
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoom_async_auth.errors import AuthorizationRequiredError, ZoomAuthError
from zoom_async_auth.oauth.credentials import UserOAuth
from zoom_async_auth.oauth.grants import RefreshTokenGrant
from zoom_async_auth.oauth.requests import token_request
from zoom_async_auth.oauth.wire import Answer, read_token

APP = UserOAuth(client_id="the-client-id", client_secret="the-client-secret")
REFRESH = token_request(APP, RefreshTokenGrant(refresh_token="the-refresh-token"))
BASIC = REFRESH.headers["Authorization"].removeprefix("Basic ")

MIDNIGHT = 1_737_331_200.0  # 2025-01-20T00:00:00Z
A_MINUTE_BEFORE = "Sun, 19 Jan 2025 23:59:00 GMT"


def refused(status: int, payload: dict[str, Any], headers: dict[str, str] | None = None) -> ZoomAuthError:
    answer = Answer(status=status, headers=headers or {}, body=json.dumps(payload).encode())
    error = read_token(answer, REFRESH, now=MIDNIGHT)
    assert isinstance(error, ZoomAuthError)
    return error


def wish(text: str, date: str | None = None) -> float | None:
    return refused(429, {}, {"Retry-After": text} | ({} if date is None else {"Date": date})).retry_after


def test_a_refusal_keeps_what_zooms_support_asks_for() -> None:
    """`error`, `reason`, status, and the tracking id in whatever case its header has (S9)."""
    error = refused(
        400,
        {"reason": "Invalid Token!", "error": "invalid_grant", "error_description": "not shown", "token": "not shown"},
        {"X-Zm-TrackingID": "WEB_1234"},
    )

    assert str(error) == (
        "the authorization is spent, revoked or expired: ask the person to authorize the app again "
        "[status=400, error='invalid_grant', reason='Invalid Token!', x-zm-trackingid='WEB_1234']"
    )


@pytest.mark.parametrize(
    "echo",
    [
        "the-refresh-token",
        "the-client-secret",
        "the-client-id",
        "the-refr",
        quote_plus("the-refresh-token"),
        REFRESH.body.decode(),
        BASIC,
        f"Basic {BASIC}",
        "dGhlLXJlZnJlc2gtdG9rZW4=",
        "x" * 100 + "the-refresh-token",
    ],
)
def test_what_we_sent_is_not_repeated(echo: str) -> None:
    """In no field, raw, urlencoded or in base64, not even eight characters of it (S5, S9)."""
    error = refused(400, {"error": echo, "reason": f"bad: {echo}"}, {"x-zm-trackingid": echo})

    assert (error.error, error.reason, error.tracking_id) == (None, None, None)


def test_an_echo_in_one_field_hides_that_field_only() -> None:
    """And does not change what the refusal means (S9)."""
    error = refused(400, {"error": "invalid_grant", "reason": "no such token: the-refresh-token"})

    assert type(error) is AuthorizationRequiredError
    assert (error.error, error.reason) == ("invalid_grant", None)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("invalid_grant", "invalid_grant"),
        ("with blank!#[]~", "with blank!#[]~"),
        ("e" * 65, "e" * 64),
        ("line\nbreak", "linebreak"),
        ('a "quote"', None),
        ("back\\slash", None),
        ("é", None),
        ("", None),
        (7, None),
        (None, None),
        (["invalid_grant"], None),
    ],
)
def test_an_error_code_has_the_characters_of_the_rfc(sent: object, shown: str | None) -> None:
    """RFC 6749, section 5.2 (S9)."""
    assert refused(400, {"error": sent}).error == shown


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("é \x1b[31m\r\nred", "é [31mred"),
        ("r" * 65, "r" * 64),
        ("<html>" * 3000, ("<html>" * 11)[:64]),
        ("\n", None),
        (7, None),
        ({"text": "r"}, None),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_reason_is_short_and_printable(sent: object, shown: str | None) -> None:
    """One log line at most, without escape sequences (S9, S42)."""
    error = refused(400, {"error": "whatever", "reason": sent})

    assert error.reason == shown
    assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0.5", 0.5),
        ("0", 0.0),
        ("-1", 0.0),
        ("3601", 3600.0),
        ("1000000000", 3600.0),
        ("Mon, 20 Jan 2025 00:00:30 GMT", 30.0),
        ("Mon, 20 Jan 2025 01:00:30 +0100", 30.0),
        ("2025-01-20T00:00:30Z", 30.0),
        ("2025-01-20T00:00:30.5+00:00", 30.5),
        ("2025-01-20T00:00:30", 30.0),
        (A_MINUTE_BEFORE, 0.0),
        ("2025-01-21T00:00:00Z", 3600.0),
        ("9999-12-31T23:59:59Z", 3600.0),
        ("soon", None),
        ("1e9", None),
        ("NaN", None),
        ("inf", None),
        ("7 seconds", None),
        ("\u0667", None),
        ("Mon, 99 Jan 2025 00:00:00 GMT", None),
        ("2025-13-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_zooms_wish_is_understood_in_all_its_forms(text: str, seconds: float | None) -> None:
    """Seconds, an HTTP date or ISO 8601; never the past, an hour at most, else ignored (F2, F3, F5)."""
    assert wish(text) == seconds


@pytest.mark.parametrize("text", ["Mon, 20 Jan 2025 00:00:30 GMT", "2025-01-20T00:00:30Z"], ids=["HTTP", "ISO 8601"])
@pytest.mark.parametrize(
    ("date", "seconds"),
    [(A_MINUTE_BEFORE, 90.0), ("2025-01-19T23:59:00Z", 90.0), ("no date", 30.0), ("", 30.0)],
)
def test_a_date_is_compared_with_the_clock_that_wrote_it(text: str, date: str, seconds: float) -> None:
    """Ours may be an hour off; it serves only where the answer has no date (F3, F35)."""
    assert wish(text, date) == seconds


def test_seconds_need_no_clock() -> None:
    """The date of the answer is for dates only (F2)."""
    assert wish("7", A_MINUTE_BEFORE) == 7.0


@pytest.mark.parametrize(
    ("status", "payload"),
    [(400, {"error": "invalid_client"}), (503, {}), (200, {}), (200, {"error": "whatever"})],
)
def test_zooms_wish_goes_with_every_failure(status: int, payload: dict[str, Any]) -> None:
    """It is about the client, not about one answer (F2)."""
    assert refused(status, payload, {"RETRY-AFTER": "7"}).retry_after == 7.0


def test_without_a_wish_nothing_is_known() -> None:
    """The backoff decides (F4)."""
    assert refused(429, {}).retry_after is None


@given(st.text(st.characters()), st.none() | st.text(st.characters()))
def test_no_wish_is_longer_than_an_hour(text: str, date: str | None) -> None:
    """A hostile or broken server cannot put a client to sleep, nor crash it (F5)."""
    seconds = wish(text, date)

    assert seconds is None or 0.0 <= seconds <= 3600.0
