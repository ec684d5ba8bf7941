"""Requests: to the byte what goes to Zoom, and what of it counts as a secret."""

from base64 import b64decode
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoom_async_auth.oauth.credentials import ClientCredentials, Credentials, ServerToServer, UserOAuth
from zoom_async_auth.oauth.grants import (
    AccountCredentialsGrant,
    AuthorizationCodeGrant,
    ClientCredentialsGrant,
    DeviceCodeGrant,
    Grant,
    RefreshTokenGrant,
)
from zoom_async_auth.oauth.requests import device_request, revoke_request, token_request

APP = ServerToServer(account_id="an-account", client_id="an-id", client_secret="a-secret")
BOT = ClientCredentials(client_id="an-id", client_secret="a-secret")
PERSONS = UserOAuth(client_id="an-id", client_secret="a-secret")
PUBLIC = UserOAuth(client_id="an-id")

BASIC = "YW4taWQ6YS1zZWNyZXQ="  # an-id:a-secret
OWN = AccountCredentialsGrant(account_id="an-account")
BOTS = ClientCredentialsGrant()
CODE = AuthorizationCodeGrant(code="a-code", redirect_uri="https://app.example/cb", code_verifier="v" * 43)
REFRESH = RefreshTokenGrant(refresh_token="a+b/c=d e")
DEVICE = DeviceCodeGrant(device_code="a-device-code")
FORM = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("credentials", "grant", "body"),
    [
        (APP, OWN, b"grant_type=account_credentials&account_id=an-account"),
        (BOT, BOTS, b"grant_type=client_credentials"),
        (
            PERSONS,
            CODE,
            b"grant_type=authorization_code&code=a-code&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&code_verifier="
            + b"v" * 43,
        ),
        (PERSONS, REFRESH, b"grant_type=refresh_token&refresh_token=a%2Bb%2Fc%3Dd+e"),
        (
            PERSONS,
            DEVICE,
            b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=a-device-code",
        ),
    ],
    ids=["account", "client", "code", "refresh", "device"],
)
def test_a_grant_is_sent_as_a_form_with_basic(credentials: Credentials, grant: Grant, body: bytes) -> None:
    """Zoom's documentation shows secrets in the query, which ends in the logs of everybody in between (S20)."""
    request = token_request(credentials, grant)

    assert request.path == "/oauth/token"
    assert request.headers == {**FORM, "Authorization": f"Basic {BASIC}"}
    assert request.body == body


@pytest.mark.parametrize("grant", [CODE, REFRESH, DEVICE], ids=["code", "refresh", "device"])
def test_a_public_client_names_itself_in_the_form(grant: Grant) -> None:
    """It has no secret for Basic; Zoom wants its id with every exchange and every refresh (RFC 6749, section 3.2.1)."""
    request = token_request(PUBLIC, grant)

    assert request.headers == FORM
    assert dict(parse_qsl(request.body.decode())) == {**grant.form(), "client_id": "an-id"}


def test_basic_takes_the_secret_as_it_is() -> None:
    """Zoom wants `base64(id:secret)` in UTF-8 without the urlencoding of RFC 6749, section 2.3.1 (S19)."""
    app = ClientCredentials(client_id="an-id", client_secret="+:%&é")

    assert token_request(app, BOTS).headers["Authorization"] == "Basic YW4taWQ6KzolJsOp"


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1))
def test_the_secret_arrives_whole(secret: str) -> None:
    """Whatever characters it has, behind the first colon there is the secret and nothing else (S19)."""
    authorization = token_request(ClientCredentials(client_id="an-id", client_secret=secret), BOTS).headers[
        "Authorization"
    ]

    scheme, _, value = authorization.partition(" ")
    assert (scheme, b64decode(value).decode()) == ("Basic", f"an-id:{secret}")


def test_a_revocation_names_the_token() -> None:
    """RFC 7009, section 2.1."""
    request = revoke_request(PERSONS, "an-access+token")

    assert request.path == "/oauth/revoke"
    assert request.headers == {**FORM, "Authorization": f"Basic {BASIC}"}
    assert request.body == b"token=an-access%2Btoken"
    assert request.personal


@pytest.mark.parametrize(
    ("credentials", "headers"),
    [(PERSONS, {**FORM, "Authorization": f"Basic {BASIC}"}), (PUBLIC, FORM)],
    ids=["with a secret", "public"],
)
def test_a_device_asks_with_its_client_id_in_the_form(credentials: UserOAuth, headers: dict[str, str]) -> None:
    """Zoom wants it there from a client with a secret, too."""
    request = device_request(credentials)

    assert request.path == "/oauth/devicecode"
    assert request.headers == headers
    assert request.body == b"client_id=an-id"
    assert not request.personal


@pytest.mark.parametrize(
    ("credentials", "grant", "personal"),
    [
        pytest.param(APP, OWN, False, id="account"),
        pytest.param(BOT, BOTS, False, id="client"),
        pytest.param(PERSONS, CODE, True, id="code"),
        pytest.param(PERSONS, REFRESH, True, id="refresh"),
        pytest.param(PERSONS, DEVICE, True, id="device"),
    ],
)
def test_a_request_says_what_is_at_stake(credentials: Credentials, grant: Grant, *, personal: bool) -> None:
    """A refused consent needs the person again."""
    assert token_request(credentials, grant).personal is personal


def test_revoking_an_apps_own_token_asks_nobody() -> None:
    """There is no person who could authorize it again."""
    assert not revoke_request(APP, "an-access-token").personal


@pytest.mark.parametrize(
    ("credentials", "grant", "secrets"),
    [
        (APP, OWN, {"an-account", "an-id", "a-secret", BASIC}),
        (BOT, BOTS, {"an-id", "a-secret", BASIC}),
        (PERSONS, CODE, {"a-code", "v" * 43, "an-id", "a-secret", BASIC}),
        (PERSONS, REFRESH, {"a+b/c=d e", "an-id", "a-secret", BASIC}),
        (PUBLIC, DEVICE, {"a-device-code", "an-id"}),
    ],
    ids=["account", "client", "code", "refresh", "device"],
)
def test_all_that_was_sent_is_a_secret_but_names_and_addresses(
    credentials: Credentials, grant: Grant, secrets: set[str]
) -> None:
    """What Zoom repeats of it must not reach a log; the redirect URI is what its owner has to compare (S9)."""
    assert token_request(credentials, grant).secrets == secrets


def test_the_account_is_a_secret_in_a_request_that_does_not_name_it() -> None:
    """Zoom knows the account of the client, and may tell it in a refusal (S9)."""
    assert revoke_request(APP, "a-token").secrets == {"an-account", "an-id", "a-secret", BASIC, "a-token"}
