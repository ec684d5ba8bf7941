"""From the bytes of an answer to a token, or to an error that repeats nothing of what was sent."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoom_async_auth.errors import (
    AuthorizationRequiredError,
    ConfigurationError,
    TokenUnavailableError,
    ZoomAuthError,
)
from zoom_async_auth.oauth.credentials import ServerToServer, UserOAuth
from zoom_async_auth.oauth.grants import AccountCredentialsGrant, RefreshTokenGrant
from zoom_async_auth.oauth.requests import token_request
from zoom_async_auth.oauth.token import Token
from zoom_async_auth.oauth.wire import Answer, read_token

SAMPLE = Path(__file__).parent.parent / "data" / "token_response.json"

PERSONS = UserOAuth(client_id="the-client-id", client_secret="the-client-secret")
REFRESH = token_request(PERSONS, RefreshTokenGrant(refresh_token="the-refresh-token"))

MIDNIGHT = 1_737_331_200.0  # 2025-01-20T00:00:00Z
GRANTED = {"access_token": "new-access-token", "token_type": "bearer", "expires_in": 3599}

NO_OBJECT = "the answer is no JSON object: is a proxy or a log-in page in the way?"
UNREADABLE = {
    "empty": b"",
    "HTML": b"<!doctype html><title>Sign in</title>",
    "XML": b'<?xml version="1.0"?><response/>',
    "text": b"OK",
    "truncated": json.dumps(GRANTED).encode()[:-1],
    "list": b'["access_token"]',
    "string": b'"access_token"',
    "null": b"null",
    "two objects": b"{}{}",
    "duplicate keys": b'{"access_token": "a", "expires_in": 1, "access_token": "b"}',
    "duplicate keys inside": b'{"access_token": "a", "x": {"y": 1, "y": 2}}',
    "NaN": b'{"access_token": "a", "expires_in": NaN}',
    "Infinity": b'{"access_token": "a", "expires_in": Infinity}',
    "-Infinity": b'{"access_token": "a", "expires_in": -Infinity}',
    "depth": b'{"x": ' + b"[" * 60_000,
    "5000 digits": b'{"access_token": "a", "expires_in": ' + b"1" * 5000 + b"}",
    "BOM": b"\xef\xbb\xbf" + json.dumps(GRANTED).encode(),
    "UTF-16": json.dumps(GRANTED).encode("utf-16"),
    "Latin-1": '{"access_token": "a", "x": "é"}'.encode("latin-1"),
    "too long": json.dumps(GRANTED).encode().ljust(65_537),
}
unreadable = pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)


def answer(status: int, body: bytes | dict[str, Any], headers: dict[str, str] | None = None) -> Answer:
    return Answer(
        status=status, headers=headers or {}, body=body if isinstance(body, bytes) else json.dumps(body).encode()
    )


def granted(**changes: object) -> Token:
    token = read_token(answer(200, GRANTED | changes), REFRESH, now=MIDNIGHT)
    assert isinstance(token, Token)
    return token


def refused(status: int, body: bytes | dict[str, Any], headers: dict[str, str] | None = None) -> ZoomAuthError:
    error = read_token(answer(status, body, headers), REFRESH, now=MIDNIGHT)
    assert isinstance(error, ZoomAuthError)
    return error


@pytest.mark.parametrize("compact", [False, True], ids=["as documented", "compact"])
def test_zooms_sample_is_read_to_the_letter(*, compact: bool) -> None:
    """Five fields, two JWTs, 3599 seconds where the claims say 3600: the claims are not looked at (S44)."""
    sample = json.loads(SAMPLE.read_bytes())
    body = json.dumps(sample, separators=(",", ":")).encode() if compact else SAMPLE.read_bytes()

    token = read_token(answer(200, body), REFRESH, now=MIDNIGHT)

    assert list(sample) == ["access_token", "token_type", "refresh_token", "expires_in", "scope"]
    assert (len(sample["access_token"]), len(sample["refresh_token"])) == (596, 598)
    assert isinstance(token, Token)
    assert token == Token(
        access_token=sample["access_token"],
        refresh_token=sample["refresh_token"],
        token_type="bearer",
        expires_in=3599.0,
        scope=frozenset({"user:read:admin"}),
        api_url=None,
    )
    assert token.assumed == frozenset()


def test_fields_that_are_not_known_do_no_harm() -> None:
    """Zoom adds some without notice, as it did with `api_url`."""
    assert granted(api_url="https://api-eu.zoom.us", new={"x": [1, None]}, message="welcome", code=0) == granted(
        api_url="https://api-eu.zoom.us"
    )


def test_the_content_type_is_not_asked_for() -> None:
    """Valid JSON is valid JSON (F10)."""
    token = read_token(answer(201, GRANTED, {"Content-Type": "text/html"}), REFRESH, now=MIDNIGHT)

    assert token == granted()


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        ("3599", 3599.0),
        ("3600.0", 3600.0),
        ('"3600"', 3600.0),
        ('"3599.5"', 3599.5),
        ("0.5", 0.5),
        ("86400", 86_400.0),
        ("86401", 86_400.0),
        ("1e18", 86_400.0),
        ("1e999", 86_400.0),
        ("1" * 400, 86_400.0),
        ('"99999999999999999999"', 86_400.0),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_lifetime_is_read_in_every_form_and_cut_to_a_day(raw: str, seconds: float) -> None:
    """No infinity, and no century, ever becomes a deadline (F18, F19, S45)."""
    body = f'{{"access_token": "a", "token_type": "bearer", "expires_in": {raw}}}'.encode()

    token = read_token(answer(200, body), REFRESH, now=MIDNIGHT)

    assert isinstance(token, Token)
    assert token.expires_in == seconds
    assert type(token.expires_in) is float


@pytest.mark.parametrize(
    "value",
    [0, -5, 0.0, -0.1, "0", "-5", "", "soon", "1e3", " 3600", "3600s", "٣٦٠٠", "1" * 21, True, False, [3600], {}],
    ids=repr,
)
def test_a_lifetime_that_is_none_is_refused(value: object) -> None:
    """A token that expired before it came would be renewed in a loop (F19)."""
    error = refused(200, GRANTED | {"expires_in": value})

    assert type(error) is TokenUnavailableError
    assert str(error) == "the answer lacks what it must have, in expires_in [status=200]"
    assert error.in_doubt


@pytest.mark.parametrize(
    "payload", [{"access_token": "a"}, {"access_token": "a", "expires_in": None, "token_type": None}]
)
def test_what_zoom_leaves_out_is_assumed_and_said_so(payload: dict[str, object]) -> None:
    """Ten minutes, and "bearer"; an event tells the operator (F17, S16)."""
    token = read_token(answer(200, payload), REFRESH, now=MIDNIGHT)

    assert isinstance(token, Token)
    assert token.expires_in == 600.0
    assert token.token_type == "bearer"
    assert token.assumed == {"expires_in", "token_type"}


@pytest.mark.parametrize("name", ["expires_in", "token_type"])
def test_only_what_was_left_out_is_assumed(name: str) -> None:
    """The event must not say more than is true (F17, S16)."""
    assert granted(**{name: None}).assumed == {name}


@pytest.mark.parametrize("token_type", ["bearer", "Bearer", "BEARER"])
def test_a_bearer_token_is_one_in_any_case(token_type: str) -> None:
    """RFC 6749, section 5.1 (S16)."""
    assert granted(token_type=token_type).token_type == "bearer"


@pytest.mark.parametrize("token_type", ["mac", "", "bearer ", "DPoP", 7, ["bearer"]], ids=repr)
def test_a_token_of_another_type_is_refused(token_type: object) -> None:
    """RFC 6749, section 7.1: it must not be used as a bearer token (S16)."""
    assert refused(200, GRANTED | {"token_type": token_type}).args == (
        "the answer lacks what it must have, in token_type",
    )


@pytest.mark.parametrize(
    "access_token",
    ["", None, 7, [], "a b", "a\r\nX: y", "é", "a" * 16_385],
    ids=lambda value: repr(value)[:12],
)
def test_an_access_token_that_no_header_can_carry_is_refused(access_token: object) -> None:
    """Not cached, not handed out (S15)."""
    error = refused(200, GRANTED | {"access_token": access_token})

    assert type(error) is TokenUnavailableError
    assert str(error) == "the answer lacks what it must have, in access_token [status=200]"
    assert error.in_doubt


def test_an_access_token_of_a_megabyte_is_refused() -> None:
    """S15: the body is over the cap."""
    assert refused(200, GRANTED | {"access_token": "a" * 1_000_000}).args == (NO_OBJECT,)


def test_a_body_may_be_as_long_as_the_cap() -> None:
    """The cap itself is still read (S10)."""
    body = json.dumps(GRANTED).encode().ljust(65_536)

    assert read_token(answer(200, body), REFRESH, now=MIDNIGHT) == granted()


@pytest.mark.parametrize(
    "changes", [{}, {"refresh_token": None}, {"refresh_token": ""}], ids=["absent", "null", "empty"]
)
def test_an_answer_may_be_without_a_refresh_token(changes: dict[str, object]) -> None:
    """Apps get none; a person's old one is kept by who has it (F21)."""
    assert granted(**changes).refresh_token is None


@pytest.mark.parametrize(
    "refresh_token", [7, ["a"], "a\nb", "é", "  ", "a" * 16_385], ids=lambda value: repr(value)[:12]
)
def test_a_refresh_token_that_cannot_be_sent_back_is_refused(refresh_token: object) -> None:
    """It would be found out an hour later."""
    error = refused(200, GRANTED | {"refresh_token": refresh_token})

    assert error.args == ("the answer lacks what it must have, in refresh_token",)


def test_a_refusal_names_the_fields_never_their_values() -> None:
    """S48: what came may be a secret in the wrong place."""
    error = refused(
        200, {"access_token": "a secret", "refresh_token": 12_345_678, "token_type": "s3cr3t", "expires_in": -1}
    )

    assert type(error) is TokenUnavailableError
    assert str(error) == (
        "the answer lacks what it must have, in access_token, refresh_token, token_type, expires_in [status=200]"
    )


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("user:read:admin", {"user:read:admin"}),
        ("meeting:read user:read", {"meeting:read", "user:read"}),
        ("  a  b a ", {"a", "b"}),
        ('a "quoted" back\\slash line\nbreak é', {"a"}),
        ("", set()),
        (None, set()),
        (["a"], set()),
        (7, set()),
    ],
)
def test_a_scope_is_what_can_be_read_of_it(scope: object, names: set[str]) -> None:
    """Zoom leaves it out, or cuts it short, for seconds after an app was made: no reason to refuse a token (F22)."""
    assert granted(scope=scope).scope == names


@pytest.mark.parametrize(
    ("api_url", "origin"),
    [
        ("https://api-eu.zoom.us", "https://api-eu.zoom.us"),
        ("https://eu01api.zoom.us/", "https://eu01api.zoom.us"),
        ("https://api.zoom.us/v2", "https://api.zoom.us"),
        ("http://api.zoom.us", None),
        ("https://api.zoom.us@evil.com", None),
        ("api.zoom.us", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_an_api_url_is_an_origin_or_nothing(api_url: object, origin: str | None) -> None:
    """`https://api.zoom.us` always works: no reason to refuse a token (S41)."""
    assert granted(api_url=api_url).api_url == origin


@unreadable
@pytest.mark.parametrize("status", [200, 204])
def test_a_success_that_cannot_be_read_is_in_doubt(status: int, body: bytes) -> None:
    """Zoom may have rotated: the same refresh token is tried again, nothing is cached (F7, F9, F11, S45)."""
    error = refused(status, body)

    assert type(error) is TokenUnavailableError
    assert str(error) == f"{NO_OBJECT} [status={status}]"
    assert error.in_doubt


@unreadable
@pytest.mark.parametrize(("status", "in_doubt"), [(400, False), (401, False), (503, True)])
def test_a_refusal_that_cannot_be_read_says_nothing_about_a_grant(status: int, body: bytes, *, in_doubt: bool) -> None:
    """A gateway wrote it (F1, F15)."""
    error = refused(status, body)

    assert type(error) is TokenUnavailableError
    assert error.in_doubt is in_doubt


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"reason": "Invalid Token!", "error": "invalid_request"}, AuthorizationRequiredError),
        ({"reason": "Invalid client_id or client_secret", "error": "invalid_client"}, ConfigurationError),
        ({"error": "server_error"}, TokenUnavailableError),
        (GRANTED | {"error": "invalid_grant"}, AuthorizationRequiredError),
        ({"error": 7}, TokenUnavailableError),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_an_error_is_an_error_under_any_status(status: int, payload: dict[str, Any], kind: type[ZoomAuthError]) -> None:
    """Zoom's statuses vary; a 200 with an error is none (F8, F13)."""
    assert type(refused(status, payload)) is kind


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_what_a_redirect_says_is_not_read(status: int) -> None:
    """It is not Zoom's token endpoint that speaks: a grant must not die of it (S1, S2)."""
    error = refused(status, {"error": "invalid_grant", "reason": "Invalid Token!"})

    assert type(error) is TokenUnavailableError
    assert str(error) == f"the answer was a redirect, which is never followed: check base_url [status={status}]"


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"code": 4711, "message": "expired"}, AuthorizationRequiredError),
        ({"code": "4711"}, AuthorizationRequiredError),
        ({"error": "4711"}, AuthorizationRequiredError),
        ({"error": 4711}, AuthorizationRequiredError),
        ({"code": 124, "error": "4711"}, AuthorizationRequiredError),
        ({"status": False, "errorCode": 4709, "errorMessage": "Invalid redirect", "result": None}, ConfigurationError),
        ({"status": False, "errorCode": 4700, "errorMessage": "?", "result": None}, TokenUnavailableError),
        ({"code": 124}, TokenUnavailableError),
        ({"code": 47110}, TokenUnavailableError),
        ({"code": 4711.0}, TokenUnavailableError),
        ({"code": True}, TokenUnavailableError),
        ({"code": [4711]}, TokenUnavailableError),
        ({"code": "٤٧١١"}, TokenUnavailableError),
    ],
    ids=str,
)
def test_zooms_numbers_are_understood_wherever_they_stand(payload: dict[str, Any], kind: type[ZoomAuthError]) -> None:
    """Documented without the field that they come in; numbers of its API, like 124, mean other things (F14)."""
    assert type(refused(400, payload)) is kind


def test_the_same_refusal_means_something_else_to_an_app_of_its_own_right() -> None:
    """Nobody can authorize it again: the account id is wrong."""
    app = ServerToServer(account_id="an-account", client_id="an-id", client_secret="a-secret")
    request = token_request(app, AccountCredentialsGrant(account_id="an-account"))

    error = read_token(answer(400, {"error": "invalid_grant"}), request, now=MIDNIGHT)

    assert type(error) is ConfigurationError


NAMES = st.sampled_from([*GRANTED, "refresh_token", "scope", "api_url", "error", "reason", "code", "errorCode"])
ECHOES = st.builds("{}{}{}".format, st.text(), st.sampled_from(sorted(REFRESH.secrets)), st.text())
TEXTS = st.text(st.characters()) | ECHOES
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ANSWERS = st.builds(
    Answer,
    status=st.integers(100, 999),
    headers=st.dictionaries(st.sampled_from(["Retry-After", "Date", "x-zm-trackingid"]), TEXTS),
    body=st.binary() | st.dictionaries(NAMES | st.text(), JSON).map(lambda payload: json.dumps(payload).encode()),
)


@given(ANSWERS)
def test_no_answer_raises_and_no_error_repeats_a_secret(received: Answer) -> None:
    """The frame of an exception would hold the secrets that the error must not (S5, S6, S9, S45, F52)."""
    outcome = read_token(received, REFRESH, now=MIDNIGHT)

    if isinstance(outcome, ZoomAuthError):
        shown = f"{outcome} {outcome!r} {vars(outcome)}"
        assert [secret for secret in REFRESH.secrets if secret in shown] == []
    else:
        assert isinstance(outcome, Token)
        assert 0.0 < outcome.expires_in <= 86_400.0
