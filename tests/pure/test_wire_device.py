"""The answers to a device, and to a revocation."""

import json
from typing import Any

import pytest

from zoom_async_auth.errors import (
    AuthorizationRequiredError,
    ConfigurationError,
    TokenUnavailableError,
    ZoomAuthError,
)
from zoom_async_auth.oauth.credentials import UserOAuth
from zoom_async_auth.oauth.grants import DeviceCodeGrant
from zoom_async_auth.oauth.requests import device_request, revoke_request, token_request
from zoom_async_auth.oauth.wire import Answer, DeviceCode, read_device_code, read_revocation, read_token

APP = UserOAuth(client_id="an-id", client_secret="a-secret")

DEVICE = {
    "device_code": "a-device-code",
    "user_code": "ABCD-1234",
    "verification_uri": "https://zoom.us/oauth_device",
    "verification_uri_complete": "https://zoom.us/oauth_device?user_code=ABCD-1234",
    "expires_in": 900,
    "interval": 5,
}


def answer(status: int, body: bytes) -> Answer:
    return Answer(status=status, headers={}, body=body)


def device(status: int, payload: dict[str, Any]) -> DeviceCode | ZoomAuthError:
    return read_device_code(answer(status, json.dumps(payload).encode()), device_request(APP), now=0.0)


def test_a_device_code_is_read() -> None:
    """RFC 8628, section 3.2 (S29)."""
    assert device(200, DEVICE) == DeviceCode(
        device_code="a-device-code",
        user_code="ABCD-1234",
        verification_uri="https://zoom.us/oauth_device",
        verification_uri_complete="https://zoom.us/oauth_device?user_code=ABCD-1234",
        expires_in=900.0,
        interval=5.0,
    )


def test_a_device_code_without_times_lives_a_quarter_of_an_hour() -> None:
    """And is asked for every five seconds (RFC 8628, section 3.2; S29)."""
    code = device(200, {name: DEVICE[name] for name in ("device_code", "user_code", "verification_uri")})

    assert isinstance(code, DeviceCode)
    assert (code.expires_in, code.interval, code.verification_uri_complete) == (900.0, 5.0, None)


@pytest.mark.parametrize(("interval", "seconds"), [(0.001, 1.0), ("10", 10.0), (1e9, 86_400.0)])
def test_a_device_asks_once_a_second_at_most(interval: object, seconds: float) -> None:
    """Whatever the server says (S29)."""
    code = device(200, DEVICE | {"interval": interval})

    assert isinstance(code, DeviceCode)
    assert code.interval == seconds


@pytest.mark.parametrize("complete", ["http://zoom.us/d", "javascript:alert(1)", 7, None])
def test_a_link_that_is_not_safe_is_left_out(complete: object) -> None:
    """It would be opened, or shown as a QR code; the plain one is enough (S41)."""
    code = device(200, DEVICE | {"verification_uri_complete": complete})

    assert isinstance(code, DeviceCode)
    assert code.verification_uri_complete is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("device_code", None),
        ("device_code", ""),
        ("device_code", "a\nb"),
        ("user_code", None),
        ("user_code", ""),
        ("user_code", "a\x1b[31m"),
        ("user_code", "a" * 65),
        ("user_code", 1234),
        ("verification_uri", None),
        ("verification_uri", "http://zoom.us/d"),
        ("verification_uri", "javascript:alert(1)"),
        ("expires_in", 0),
        ("expires_in", "soon"),
        ("interval", 0),
        ("interval", -1),
        ("interval", True),
    ],
)
def test_a_device_code_that_cannot_be_shown_or_asked_with_is_refused(name: str, value: object) -> None:
    """The message names the field, never its value (S48)."""
    error = device(200, DEVICE | {name: value})

    assert type(error) is TokenUnavailableError
    assert str(error) == f"the answer lacks what it must have, in {name} [status=200]"


def test_a_user_code_may_have_64_characters() -> None:
    """RFC 8628, section 6.1, recommends far fewer."""
    assert isinstance(device(200, DEVICE | {"user_code": "a" * 64}), DeviceCode)


def test_a_client_that_may_not_ask_for_a_device_code_is_misconfigured() -> None:
    """The app needs "Use App on Device"."""
    assert type(device(400, {"error": "unauthorized_client", "reason": "?"})) is ConfigurationError


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("authorization_pending", TokenUnavailableError),
        ("slow_down", TokenUnavailableError),
        ("expired_token", AuthorizationRequiredError),
        ("access_denied", AuthorizationRequiredError),
    ],
)
def test_a_device_that_asks_is_told_whether_to_go_on(status: int, error: str, kind: type[ZoomAuthError]) -> None:
    """Zoom's statuses for it are not known; the code is kept, because the interval depends on it (S29)."""
    request = token_request(APP, DeviceCodeGrant(device_code="a-device-code"))

    outcome = read_token(answer(status, json.dumps({"error": error}).encode()), request, now=0.0)

    assert isinstance(outcome, ZoomAuthError)
    assert type(outcome) is kind
    assert outcome.error == error


def revoked(status: int, body: bytes) -> ZoomAuthError | None:
    return read_revocation(answer(status, body), revoke_request(APP, "an-access-token"), now=0.0)


@pytest.mark.parametrize(
    "body", [b'{"status":"success"}', b"", b"OK", b"{}"], ids=["Zoom's", "empty", "text", "no field"]
)
def test_a_200_is_a_revocation(body: bytes) -> None:
    """RFC 7009, section 2.2: also for a token that is not known (S30)."""
    assert revoked(200, body) is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (503, b"", TokenUnavailableError),
        (429, b"", TokenUnavailableError),
        (204, b"", TokenUnavailableError),
        (200, b'{"error": "server_error"}', TokenUnavailableError),
        (400, b'{"error": "unsupported_token_type"}', TokenUnavailableError),
        (401, b'{"error": "invalid_client"}', ConfigurationError),
        (400, b'{"error": "invalid_request", "reason": "Invalid Token!"}', AuthorizationRequiredError),
    ],
)
def test_anything_else_leaves_the_token_alive(status: int, body: bytes, kind: type[ZoomAuthError]) -> None:
    """It may still be used by who has stolen it: the caller is told, and tries again (S30)."""
    assert type(revoked(status, body)) is kind
