"""What a refusal means: decided by Zoom's words, then by the status, never to the harm of a grant."""

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoom_async_auth.errors import (
    AuthorizationRequiredError,
    ConfigurationError,
    TokenUnavailableError,
    ZoomAuthError,
)
from zoom_async_auth.oauth.refusals import diagnose

KNOWN = {
    "invalid_grant",
    "expired_token",
    "access_denied",
    "invalid_client",
    "app_disabled",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_request",
    "redirect_mismatch",
}


def refused(
    status: int,
    error: str | None = None,
    *,
    reason: str | None = None,
    code: int | None = None,
    personal: bool = True,
) -> ZoomAuthError:
    return diagnose(status, error=error, reason=reason, code=code, personal=personal)


@pytest.mark.parametrize(
    ("status", "error", "reason", "kind"),
    [
        (400, "invalid_client", "Invalid client_id or client_secret", ConfigurationError),
        (401, "invalid_client", "Invalid client_id or client_secret", ConfigurationError),
        (404, "invalid_client", "The application is disabled", ConfigurationError),
        (400, "invalid_request", "Bad Request", ConfigurationError),
        (400, "unsupported_grant_type", "unsupported grant type", ConfigurationError),
        (400, "invalid_request", "Account does not exist", ConfigurationError),
        (400, "invalid_request", "Account does not enabled the OAuth app type", ConfigurationError),
        (400, "unauthorized_client", None, ConfigurationError),
        (403, "unauthorized_client", None, ConfigurationError),
        (400, "invalid_grant", "Invalid Token!", AuthorizationRequiredError),
        (400, "invalid_request", "Invalid Token!", AuthorizationRequiredError),
        (401, "invalid_request", "Invalid Token!", AuthorizationRequiredError),
        (400, "invalid_grant", None, AuthorizationRequiredError),
        (429, None, None, TokenUnavailableError),
        (500, None, None, TokenUnavailableError),
        (502, None, None, TokenUnavailableError),
        (503, None, None, TokenUnavailableError),
        (504, None, None, TokenUnavailableError),
    ],
)
def test_what_zoom_is_known_to_say_is_understood(
    status: int, error: str | None, reason: str | None, kind: type[ZoomAuthError]
) -> None:
    """All that was seen of Zoom's token endpoint (F1, F12, F14)."""
    assert type(refused(status, error, reason=reason)) is kind


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (4702, "invalid_client"),
        (4704, "invalid_client"),
        (4705, "unsupported_grant_type"),
        (4706, "invalid_request"),
        (4709, "redirect_mismatch"),
        (4711, "invalid_grant"),
        (4717, "app_disabled"),
        (4724, "invalid_request"),
        (4732, "server_error"),
        (4733, "invalid_grant"),
        (4734, "invalid_grant"),
        (4735, "invalid_grant"),
        (4737, "invalid_grant"),
        (4738, "app_disabled"),
        (4740, "invalid_grant"),
        (4741, "invalid_grant"),
    ],
)
def test_a_number_is_a_further_name(code: int, error: str) -> None:
    """It says more than the word beside it ("OAuth error messages" in Zoom's documentation; F14)."""
    by_number, by_name = refused(400, "whatever", code=code), refused(400, error)

    assert (type(by_number), by_number.args) == (type(by_name), by_name.args)


@pytest.mark.parametrize("code", [4700, 4799])
def test_a_number_that_says_nothing_leaves_the_word_to_zoom(code: int) -> None:
    """4700 stands for any exception."""
    assert type(refused(400, "invalid_client", code=code)) is ConfigurationError
    assert type(refused(400, code=code)) is TokenUnavailableError


@pytest.mark.parametrize(
    ("error", "to_mend"),
    [
        ("invalid_client", "check client id and secret"),
        ("app_disabled", "activate it"),
        ("unauthorized_client", "check its type"),
        ("unsupported_grant_type", "check that its type is that of the credentials"),
        ("invalid_scope", "check them on its page"),
        ("redirect_mismatch", "it must be the same to the letter"),
    ],
)
def test_a_misconfiguration_says_what_to_mend(error: str, to_mend: str) -> None:
    """Zoom's own words send people into forums. Nobody is asked to authorize again for it (F14)."""
    failure = refused(400, error)

    assert type(failure) is ConfigurationError
    assert to_mend in str(failure)


def test_a_request_that_zoom_does_not_accept_is_mended_by_what_was_in_it() -> None:
    """An app's request has an account id and no redirect URI, a person's the other way round (F14)."""
    persons, apps = refused(400, "invalid_request"), refused(400, "invalid_request", personal=False)

    assert type(persons) is type(apps) is ConfigurationError
    assert str(persons) == (
        "Zoom does not accept the request: check that the redirect URI is the registered one, to the letter, and the "
        "type of the app"
    )
    assert (
        str(apps) == "Zoom does not accept the request: check the account id (ZOOM_ACCOUNT_ID) and the type of the app"
    )


@pytest.mark.parametrize(
    ("error", "what"),
    [
        ("invalid_grant", "the authorization is spent, revoked or expired"),
        ("expired_token", "the device code has expired"),
        ("access_denied", "the authorization was denied"),
    ],
)
def test_a_dead_grant_is_for_whoever_can_give_another(error: str, what: str) -> None:
    """A person is asked again; an app that acts for itself has nobody to ask (F12, S29)."""
    persons, apps = refused(400, error), refused(400, error, personal=False)

    assert type(persons) is AuthorizationRequiredError
    assert str(persons) == f"{what}: ask the person to authorize the app again"
    assert type(apps) is ConfigurationError
    assert str(apps) == f"{what}: check the account id, and that the app is activated"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("authorization_pending", "the person has not decided yet: ask again after the interval"),
        ("slow_down", "the device code is asked for too often: lengthen the interval by five seconds"),
    ],
)
def test_a_device_that_must_wait_is_told_so(error: str, message: str) -> None:
    """RFC 8628, section 3.5 (S29)."""
    failure = refused(400, error)

    assert type(failure) is TokenUnavailableError
    assert str(failure) == message
    assert not failure.in_doubt


@pytest.mark.parametrize("reason", ["Invalid Token!", "invalid token", " INVALID TOKEN! "])
@pytest.mark.parametrize("error", ["invalid_request", None])
def test_invalid_token_is_a_dead_grant_however_it_is_written(error: str | None, reason: str) -> None:
    """Zoom's older form has `invalid_request`, which is also a misconfiguration: the reason alone tells (F12)."""
    assert type(refused(400, error, reason=reason)) is AuthorizationRequiredError


@pytest.mark.parametrize("reason", ["Invalid Token! Or not", "Invalid access token", "Invalid client_id", "", None])
def test_any_other_reason_of_an_invalid_request_is_none(reason: str | None) -> None:
    """A grant must not die of a typing error in the account id."""
    assert type(refused(400, "invalid_request", reason=reason)) is ConfigurationError


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_a_dead_grant_is_known_by_its_code_not_by_its_status(status: int) -> None:
    """Zoom's statuses vary for one and the same error (F13)."""
    assert type(refused(status, "invalid_grant")) is AuthorizationRequiredError


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_an_invalid_request_does_not_outweigh_a_status_that_says_come_back(status: int) -> None:
    """It is what a gateway in trouble says, too: half an hour of probing would follow (F1, F6)."""
    assert type(refused(status, "invalid_request", reason="Bad Request")) is TokenUnavailableError


@given(
    status=st.integers(400, 499).filter(lambda status: status != HTTPStatus.PROXY_AUTHENTICATION_REQUIRED),
    error=st.text().filter(lambda text: text not in KNOWN),
    reason=st.none() | st.text(),
    code=st.sampled_from([None, 4700, 4701, 4799]),
    personal=st.booleans(),
)
def test_an_unknown_4xx_is_never_taken_for_a_dead_grant(
    status: int, error: str, reason: str | None, code: int | None, *, personal: bool
) -> None:
    """Nor for a misconfiguration: it is tried again, and the refresh token is kept (F15)."""
    failure = refused(status, error, reason=reason, code=code, personal=personal)

    assert type(failure) is TokenUnavailableError


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (200, TokenUnavailableError, "Zoom failed to answer: try again later"),
        (300, TokenUnavailableError, "the answer was a redirect, which is never followed: check base_url"),
        (307, TokenUnavailableError, "the answer was a redirect, which is never followed: check base_url"),
        (399, TokenUnavailableError, "the answer was a redirect, which is never followed: check base_url"),
        (400, TokenUnavailableError, "Zoom refused, for a reason that this version does not know: try again later"),
        (403, TokenUnavailableError, "Zoom refused, for a reason that this version does not know: try again later"),
        (404, ConfigurationError, "there is no such endpoint: check base_url"),
        (405, ConfigurationError, "there is no such endpoint: check base_url"),
        (407, ConfigurationError, "the proxy wants credentials: check its URL"),
        (408, TokenUnavailableError, "Zoom refused, for a reason that this version does not know: try again later"),
        (425, TokenUnavailableError, "Zoom refused, for a reason that this version does not know: try again later"),
        (429, TokenUnavailableError, "Zoom asks for fewer requests: try again later"),
        (499, TokenUnavailableError, "Zoom refused, for a reason that this version does not know: try again later"),
        (500, TokenUnavailableError, "Zoom failed to answer: try again later"),
        (599, TokenUnavailableError, "Zoom failed to answer: try again later"),
    ],
)
def test_without_a_word_the_status_decides(status: int, kind: type[ZoomAuthError], message: str) -> None:
    """HTML of a gateway says nothing about a grant (F1, F2, F6, F15, F16, F26, S1)."""
    failure = refused(status)

    assert type(failure) is kind
    assert str(failure) == message


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize(("error", "code"), [("whatever", None), (None, 4700)], ids=["a word", "a number"])
def test_an_endpoint_that_talks_exists(status: int, error: str | None, code: int | None) -> None:
    """Zoom answers 404 for a disabled app: what it says is not yet known, but it is not a wrong URL (F16)."""
    assert type(refused(status, error, code=code)) is TokenUnavailableError


@pytest.mark.parametrize(
    ("status", "in_doubt"),
    [
        (200, True),
        (299, True),
        (300, False),
        (400, False),
        (429, False),
        (499, False),
        (500, True),
        (503, True),
        (599, True),
    ],
)
@pytest.mark.parametrize("error", [None, "whatever", "server_error", "temporarily_unavailable"])
def test_only_a_redirect_and_a_4xx_say_that_nothing_was_done(status: int, error: str | None, *, in_doubt: bool) -> None:
    """Behind any other status Zoom may have rotated the refresh token (F1)."""
    failure = refused(status, error)

    assert type(failure) is TokenUnavailableError
    assert failure.in_doubt is in_doubt


@pytest.mark.parametrize("error", ["server_error", "temporarily_unavailable"])
def test_trouble_at_zoom_is_transient(error: str) -> None:
    """Whatever status it has (RFC 6749, section 4.1.2.1)."""
    failure = refused(404, error)

    assert type(failure) is TokenUnavailableError
    assert str(failure) == "Zoom is in trouble: try again later"
