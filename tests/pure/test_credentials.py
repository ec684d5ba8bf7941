"""Credentials: checked where they are made, so that a bad paste is not found by Zoom an hour later."""

from typing import Any

import pytest

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.credentials import ClientCredentials, Credentials, ServerToServer, UserOAuth, own_grant
from zoom_async_auth.oauth.grants import AccountCredentialsGrant, AppGrant, ClientCredentialsGrant

APPS = [ServerToServer, ClientCredentials, UserOAuth]
FIELDS = [
    (ServerToServer, "account_id"),
    (ServerToServer, "client_id"),
    (ServerToServer, "client_secret"),
    (ClientCredentials, "client_id"),
    (ClientCredentials, "client_secret"),
    (UserOAuth, "client_id"),
    (UserOAuth, "client_secret"),
]
IDS = [(app, name) for app, name in FIELDS if name != "client_secret"]


def make(app: type[Credentials], **changes: object) -> Credentials:
    fields: dict[str, Any] = {"client_id": "an-id", "client_secret": "a-secret", **changes}
    return app(**({"account_id": "an-account", **fields} if app is ServerToServer else fields))


def named(value: object) -> str | None:
    return value.__name__ if isinstance(value, type) else None


@pytest.mark.parametrize(("app", "name"), FIELDS, ids=named)
@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("", "is empty"),
        (" \t", "is empty"),
        ("pasted ", "has white space"),
        ("\tpasted", "has white space"),
        ("pasted\r\n", "has white space"),
        ('"pasted"', "is in quotes: give it without them"),
        ("'pasted'", "is in quotes: give it without them"),
        ('""', "is in quotes: give it without them"),
        ("a\r\nX: y", "has a control character"),
        ("a\x00b", "has a control character"),
        ("a\x7fb", "has a control character"),
        ("a\ud800b", "has a control character"),
        (b"bytes", "must be a string, not bytes"),
        (7, "must be a string, not int"),
    ],
)
def test_what_nobody_can_have_pasted_is_refused(
    app: type[Credentials], name: str, value: object, complaint: str
) -> None:
    """A line break could write headers; a blank costs its owner a day of "Invalid client_id or client_secret" (S14).

    Quotes around a value are kept by what reads it as a line of its own, such as `docker run --env-file`.
    """
    with pytest.raises(ConfigurationError) as refused:
        make(app, **{name: value})

    assert str(refused.value).startswith(f"{name} {complaint}")


@pytest.mark.parametrize(("app", "name"), IDS, ids=named)
def test_an_id_beyond_ascii_is_refused(app: type[Credentials], name: str) -> None:
    """Zoom's ids have no such characters: it is a look-alike from a document (S14)."""
    with pytest.raises(ConfigurationError) as refused:
        make(app, **{name: "аccount"})  # noqa: RUF001 -- the Cyrillic letter is the test

    assert str(refused.value) == f"{name} has a character beyond ASCII in it: copy it anew from the app's page"


@pytest.mark.parametrize("app", APPS, ids=named)
def test_a_colon_in_the_client_id_is_refused(app: type[Credentials]) -> None:
    """Basic ends the id at the first colon: the rest would be taken for the secret (S19)."""
    with pytest.raises(ConfigurationError) as refused:
        make(app, client_id="an:id")

    assert str(refused.value) == "client_id must not have any of ':' in it: copy it anew from the app's page"


@pytest.mark.parametrize("app", APPS, ids=named)
def test_a_secret_may_have_any_visible_character(app: type[Credentials]) -> None:
    """What Zoom will hand out as a secret is Zoom's affair (S19)."""
    for secret in ("+:%& é", '"', "\"one'", 'o"n"e'):
        assert make(app, client_secret=secret).client_secret == secret


@pytest.mark.parametrize("app", [ServerToServer, ClientCredentials], ids=named)
def test_an_app_that_acts_for_itself_needs_a_secret(app: type[Credentials]) -> None:
    """Only a person's consent can stand in for it."""
    with pytest.raises(ConfigurationError) as refused:
        make(app, client_secret=None)

    assert str(refused.value) == "client_secret must be a string, not NoneType"


def test_a_public_client_has_no_secret() -> None:
    """It proves itself by PKCE alone."""
    assert UserOAuth(client_id="an-id").client_secret is None


@pytest.mark.parametrize(
    ("app", "grant"),
    [
        (ServerToServer, AccountCredentialsGrant(account_id="an-account")),
        (ClientCredentials, ClientCredentialsGrant()),
        (UserOAuth, None),
    ],
    ids=named,
)
def test_only_an_app_of_its_own_right_has_a_grant_of_its_own(app: type[Credentials], grant: AppGrant | None) -> None:
    """A person's app cannot start by itself: somebody has to authorize it."""
    assert own_grant(make(app)) == grant
