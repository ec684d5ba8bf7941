"""To the consent page and back: what the URL says, and what is believed of the callback."""

from urllib.parse import parse_qsl, quote_plus, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoom_async_auth.errors import AuthorizationRequiredError, ConfigurationError, ZoomAuthError
from zoom_async_auth.oauth.authorize import (
    AuthorizationRequest,
    authorization_request,
    code_challenge,
    read_callback,
)
from zoom_async_auth.oauth.credentials import UserOAuth
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant

# RFC 7636, appendix B.
OCTETS = bytes.fromhex("7418dfb49799e0254ffa607dd8adbbba16d4254d69d6bff05b58055853848d79")
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

STATE = "A" * 43  # 32 bytes of zero
REDIRECT = "https://app.example/callback"
APP = UserOAuth(client_id="an-id")


def ask(
    *, redirect_uri: str = REDIRECT, randomness: bytes = bytes(32) + OCTETS, base_url: str = "https://zoom.us"
) -> AuthorizationRequest:
    return authorization_request(APP, redirect_uri=redirect_uri, randomness=randomness, base_url=base_url)


def refusal(query: str) -> ZoomAuthError:
    outcome = read_callback(query, ask())
    assert isinstance(outcome, ZoomAuthError)
    return outcome


def test_the_challenge_is_that_of_the_rfc() -> None:
    """RFC 7636, appendix B (S23)."""
    assert code_challenge(VERIFIER) == CHALLENGE


def test_the_browser_is_sent_to_this_url() -> None:
    """The challenge method is named: Zoom's default would be "plain", which shows the verifier to everybody (S23)."""
    request = authorization_request(APP, redirect_uri=REDIRECT, randomness=bytes(32) + OCTETS)

    assert request.url == (
        "https://zoom.us/oauth/authorize?response_type=code&client_id=an-id"
        f"&redirect_uri=https%3A%2F%2Fapp.example%2Fcallback&state={STATE}"
        f"&code_challenge={CHALLENGE}&code_challenge_method=S256"
    )
    assert (request.state, request.code_verifier) == (STATE, VERIFIER)
    assert (request.redirect_uri, request.issuer) == (REDIRECT, "https://zoom.us")


@given(st.binary(min_size=64, max_size=64))
def test_state_and_verifier_come_from_different_halves_of_the_randomness(randomness: bytes) -> None:
    """Who sees the state, in the URL, must learn nothing about the verifier (S22, S23)."""
    request = ask(randomness=randomness)

    assert request.state == ask(randomness=randomness[:32] + bytes(32)).state
    assert request.code_verifier == ask(randomness=bytes(32) + randomness[32:]).code_verifier
    assert len(request.state) == len(request.code_verifier) == 43


@pytest.mark.parametrize("size", [0, 63, 65])
def test_too_little_randomness_is_refused(size: int) -> None:
    """A state that can be guessed ties nothing to anybody (S22)."""
    with pytest.raises(ConfigurationError) as refused:
        ask(randomness=bytes(size))

    assert str(refused.value) == "randomness must be 64 bytes: secrets.token_bytes(64)"


@pytest.mark.parametrize("base_url", ["http://zoom.us", "https://zoom.us/oauth/authorize", "https://zoom.us@evil.com"])
def test_consent_is_asked_for_over_https_at_an_origin(base_url: str) -> None:
    """A page that is not Zoom's would be given the state, and could ask for the password (S17, S41)."""
    with pytest.raises(ConfigurationError):
        ask(base_url=base_url)


def test_another_server_is_another_issuer() -> None:
    """Zoom for Government answers for itself."""
    request = ask(base_url="https://ZoomGov.com:443/")

    assert request.url.startswith("https://zoomgov.com/oauth/authorize?")
    assert request.issuer == "https://zoomgov.com"


@pytest.mark.parametrize(
    "redirect_uri", ["", " https://app.example/", "https://app.example/\r\nX: y", "https://app\x00"]
)
def test_a_redirect_uri_that_cannot_be_registered_is_refused(redirect_uri: str) -> None:
    """Zoom would show the person an error page that only the app's owner understands (S14)."""
    with pytest.raises(ConfigurationError) as refused:
        ask(redirect_uri=redirect_uri)

    assert str(refused.value).startswith("redirect_uri ")


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://app.example",
        "https://app.example/",
        "https://App.Example/CB",
        "https://app.example:443/a/../b?x=%7e&y=+#z",
    ],
)
def test_the_redirect_uri_is_the_same_to_the_letter_on_all_its_way(redirect_uri: str) -> None:
    """Zoom compares strings, first with what is registered, then with what the code was asked for (S27)."""
    request = ask(redirect_uri=redirect_uri)
    grant = read_callback(f"code=a-code&state={STATE}", request)

    assert dict(parse_qsl(urlsplit(request.url).query))["redirect_uri"] == redirect_uri
    assert isinstance(grant, AuthorizationCodeGrant)
    assert grant.redirect_uri == redirect_uri


@pytest.mark.parametrize(
    "query",
    [
        f"code=a%2Bcode&state={STATE}",
        f"state={STATE}&code=a%2Bcode&iss=https%3A%2F%2Fzoom.us",
        f"state={STATE}&code=a%2Bcode&iss=https://ZOOM.us/&unknown=",
    ],
    ids=["plain", "with its issuer", "with more than is known"],
)
def test_a_callback_that_answers_the_request_brings_a_grant(query: str) -> None:
    """With the verifier, so that only who asked can spend the code (S23)."""
    grant = read_callback(query, ask())

    assert grant == AuthorizationCodeGrant(code="a+code", redirect_uri=REDIRECT, code_verifier=VERIFIER)


@pytest.mark.parametrize(
    "query",
    [
        "code=a-code",
        "code=a-code&state=",
        f"code=a-code&state={STATE[:-1]}",
        f"code=a-code&state={STATE}A",
        f"code=a-code&state={STATE.lower()}",
        f"code=a-code&state={VERIFIER}",
        "code=a-code&state=%C3%A9",
        "code=a-code&state=\ud800",
        "error=access_denied",
        "",
    ],
    ids=[
        "missing",
        "empty",
        "too short",
        "too long",
        "other case",
        "another's",
        "é",
        "surrogate",
        "of an error",
        "nothing",
    ],
)
def test_a_callback_without_this_browsers_state_is_refused(query: str) -> None:
    """Else a person could be logged in to an attacker's account (S22)."""
    error = refusal(query)

    assert type(error) is AuthorizationRequiredError
    assert str(error) == "the callback does not belong to this browser's authorization: start again"


@pytest.mark.parametrize(
    "iss",
    [
        "https://evil.example",
        "https://zoom.us.evil.example",
        "http://zoom.us",
        "https://us06web.zoom.us",
        "zoom.us",
        "",
    ],
)
def test_a_callback_of_another_issuer_is_refused(iss: str) -> None:
    """RFC 9207: a code that another server gave must not be taken to Zoom, nor Zoom's elsewhere (S26)."""
    error = refusal(f"code=a-code&state={STATE}&iss={quote_plus(iss)}")

    assert type(error) is AuthorizationRequiredError
    assert str(error) == "the callback comes from another issuer than the one that was asked"


@pytest.mark.parametrize(
    "query",
    [
        f"state={STATE}&state={STATE}&code=a-code",
        f"state={STATE}&code=a-code&code=another",
        f"state={STATE}&code=a-code&x=&x=",
        f"state={STATE}&code=a-code&x=%ff",
        f"state={STATE}&code=a-code&x=".ljust(8 * 1024 + 1, "a"),
        f"state={STATE}&code=" + "a" * 1_000_000,
        f"state={STATE}&code=a-code&" + "&".join(f"x{number}=" for number in range(19)),
    ],
    ids=["state twice", "code twice", "anything twice", "no UTF-8", "8 kB and a byte", "1 MB", "21 parameters"],
)
def test_a_malformed_callback_is_refused(query: str) -> None:
    """What can be read in two ways is read in two ways (S25)."""
    error = refusal(query)

    assert type(error) is AuthorizationRequiredError
    assert str(error) == "the callback is malformed: too long, or a parameter occurs twice"


@pytest.mark.parametrize(
    "query",
    [
        f"state={STATE}&code=a-code&x=".ljust(8 * 1024, "a"),
        f"state={STATE}&code=a-code&" + "&".join(f"x{number}=" for number in range(18)),
    ],
    ids=["8 kB", "20 parameters"],
)
def test_a_callback_at_the_limits_is_still_read(query: str) -> None:
    """They are far beyond what Zoom sends (S25)."""
    assert isinstance(read_callback(query, ask()), AuthorizationCodeGrant)


@pytest.mark.parametrize("query", [f"state={STATE}", f"state={STATE}&code=a-code&error=access_denied"])
def test_a_callback_has_either_a_code_or_an_error(query: str) -> None:
    """With both, one of the two was added by somebody else (S25)."""
    error = refusal(query)

    assert type(error) is AuthorizationRequiredError
    assert str(error) == "the callback must have either a code or an error"


@pytest.mark.parametrize("code", ["", "%20", "a%0Ab", "%00", "+a"])
def test_a_code_that_cannot_be_one_is_refused(code: str) -> None:
    """It is not even sent to Zoom (S14)."""
    error = refusal(f"state={STATE}&code={code}")

    assert type(error) is AuthorizationRequiredError
    assert str(error) == "the callback has a code that cannot be one"


def test_a_person_who_declines_can_be_asked_again() -> None:
    """It is their decision, not a fault of the program."""
    error = refusal(f"state={STATE}&error=access_denied&error_description=No%0Athanks")

    assert type(error) is AuthorizationRequiredError
    assert str(error) == "the person declined to authorize the app [error='access_denied']"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("invalid_scope", "invalid_scope"),
        ("in%0Avalid%1B[31m", "invalid[31m"),
        (STATE, None),
        (VERIFIER, None),
        ("", None),
    ],
    ids=["known", "unprintable", "the state", "the verifier", "empty"],
)
def test_an_app_that_zoom_refuses_is_for_its_owner_to_correct(sent: str, shown: str | None) -> None:
    """The error is shown cleaned, and never with what we keep (S42, S5)."""
    error = refusal(f"state={STATE}&error={sent}")

    assert type(error) is ConfigurationError
    assert error.args == ("Zoom refused to ask the person: check the app's settings",)
    assert error.error == shown


@given(st.text())
def test_a_forged_callback_never_raises_and_never_brings_a_grant(query: str) -> None:
    """Without the state there is no way to one (S22)."""
    assert isinstance(read_callback(query, ask()), AuthorizationRequiredError)


@given(st.sampled_from(["code", "error", "iss", "code=a&error"]), st.text())
def test_a_callback_with_the_right_state_never_raises(name: str, value: str) -> None:
    """The frame of an exception would show the code (S6)."""
    outcome = read_callback(f"state={STATE}&{name}={value}", ask())

    assert isinstance(outcome, AuthorizationCodeGrant | AuthorizationRequiredError | ConfigurationError)
