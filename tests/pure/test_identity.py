"""Whose token it is: names in a store, keys, and what the environment says."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.identity import credentials_from, namespace_of, require_key
from zoom_async_auth.oauth.credentials import ClientCredentials, Credentials, ServerToServer, UserOAuth

ZOOM = "https://zoom.us"
IDS = st.text("ab1", min_size=1, max_size=3)
ACCOUNTS = st.text("ab1:", min_size=1, max_size=3)
APPS: st.SearchStrategy[Credentials] = st.one_of(
    st.builds(ServerToServer, account_id=ACCOUNTS, client_id=IDS, client_secret=st.just("a-secret")),
    st.builds(ClientCredentials, client_id=IDS, client_secret=st.just("a-secret")),
    st.builds(UserOAuth, client_id=IDS, client_secret=st.just("a-secret")),
)
SERVERS = st.sampled_from([ZOOM, "https://zoomgov.com", "https://zoom.us:1", "https://zoom.us:11"])


@pytest.mark.parametrize(
    ("credentials", "namespace"),
    [
        (
            ServerToServer(account_id="an-account", client_id="an-id", client_secret="a-secret"),
            "74da601070d42bd652a5fe50e0eeb286",
        ),
        (ClientCredentials(client_id="an-id", client_secret="a-secret"), "aef6e0bcea6cfdbf43658b643d79a222"),
        (UserOAuth(client_id="an-id", client_secret="a-secret"), "accc75b1ed0047cc9c698de2b97717e0"),
    ],
    ids=["server to server", "client credentials", "user"],
)
def test_a_namespace_is_the_same_in_every_release(credentials: Credentials, namespace: str) -> None:
    """It names what is stored: another digest would orphan every refresh token. Nothing in it is readable."""
    assert namespace_of(credentials, ZOOM) == namespace


@given(APPS, SERVERS, APPS, SERVERS)
def test_two_apps_never_share_a_namespace(one: Credentials, here: str, other: Credentials, there: str) -> None:
    """One would be handed the other's token (S38)."""
    same = (one, here) == (other, there)

    assert (namespace_of(one, here) == namespace_of(other, there)) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (UserOAuth(client_id="an-id", client_secret="old"), UserOAuth(client_id="an-id", client_secret="new")),
        (UserOAuth(client_id="an-id", client_secret="old"), UserOAuth(client_id="an-id")),
    ],
    ids=["changed", "given up"],
)
def test_a_new_client_secret_keeps_the_namespace(one: UserOAuth, other: UserOAuth) -> None:
    """Rotating the secret must not lock everybody out."""
    assert namespace_of(one, ZOOM) == namespace_of(other, ZOOM)


@pytest.mark.parametrize("key", [None, 7, b"alice"])
def test_who_has_no_key_is_nobody(key: Any) -> None:
    """A column that is not set, say: all who have none must not share one person's token."""
    with pytest.raises(ConfigurationError, match="key must be a string"):
        require_key(key)


@pytest.mark.parametrize(
    "key", ["a", "jane@example.com", "../", "a:b", "a/b", "Zoë", "x" * 200, "🙂" * 200, "a b", "\u2028"]
)
def test_a_key_is_any_short_text(key: str) -> None:
    """Stores quote it; it is never a path (S38)."""
    assert require_key(key) == key


def test_a_key_that_is_typed_in_two_ways_is_one_identity() -> None:
    """NFC and NFD look the same to who types them (S38)."""
    assert require_key("Zoe\u0308") == require_key("Zo\u00eb") == "Zo\u00eb"


@pytest.mark.parametrize(
    "key",
    ["", "x" * 201, "a\nb", "a\x00", "\x7f", "\x85", "\ud800", "\ufb2c" * 67],
    ids=["empty", "too long", "line break", "NUL", "DEL", "NEL", "surrogate", "too long once it is normal"],
)
def test_a_key_that_some_store_cannot_keep_is_refused(key: str) -> None:
    """S14, S38: a NUL ends a text in PostgreSQL, 10 kB end a row's index."""
    with pytest.raises(ConfigurationError) as refused:
        require_key(key)

    assert str(refused.value) == "key must have 1 to 200 characters, none of them a control character"


def test_a_key_that_is_no_text_is_refused() -> None:
    """A database's integer and its decimal string would be two identities in one store, and one in another."""
    with pytest.raises(ConfigurationError) as refused:
        require_key(7)  # type: ignore[arg-type]

    assert str(refused.value) == "key must be a string, another one for each identity"


@given(st.text(min_size=1, max_size=60))
def test_a_key_is_normal_once_and_for_all(key: str) -> None:
    """What was read from the store names the same identity again (S38)."""
    if not any(unicodedata.category(sign) == "Cc" for sign in key):
        assert require_key(require_key(key)) == require_key(key) == unicodedata.normalize("NFC", key)


ENVIRONMENT = {"ZOOM_ACCOUNT_ID": "an-account", "ZOOM_CLIENT_ID": "an-id", "ZOOM_CLIENT_SECRET": "a-secret"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ServerToServer(account_id="an-account", client_id="an-id", client_secret="a-secret")),
        ({"ZOOM_ACCOUNT_ID": ""}, ClientCredentials(client_id="an-id", client_secret="a-secret")),
    ],
    ids=["with an account", "without"],
)
def test_the_environment_names_an_app(changes: dict[str, str], expected: Credentials) -> None:
    """An account makes it a server-to-server app; a variable that is empty is not set."""
    assert credentials_from({**ENVIRONMENT, **changes}) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ZOOM_CLIENT_ID": ""}, "set ZOOM_CLIENT_ID: see the app's credentials page at Zoom"),
        ({"ZOOM_CLIENT_SECRET": ""}, "set ZOOM_CLIENT_SECRET: see the app's credentials page at Zoom"),
        (
            {"ZOOM_CLIENT_ID": "", "ZOOM_CLIENT_SECRET": ""},
            "set ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET: see the app's credentials page at Zoom",
        ),
        (
            {"ZOOM_CLIENT_ID": "", "ZOOM_ACCOUNT_ID": ""},
            (
                "set ZOOM_CLIENT_ID, and ZOOM_ACCOUNT_ID for a server-to-server app: see the app's credentials page at "
                "Zoom"
            ),
        ),
        (
            {"ZOOM_CLIENT_SECRET": "a\nb"},
            "client_secret has a control character in it (a line break, a NUL): paste it without",
        ),
        ({"ZOOM_CLIENT_SECRET": '"a-secret"'}, "client_secret is in quotes: give it without them"),
        ({"ZOOM_ACCOUNT_ID": "\t"}, "account_id is empty: is the environment variable set, was the value pasted?"),
    ],
)
def test_an_environment_that_cannot_work_is_an_error_without_history(changes: dict[str, str], message: str) -> None:
    """Returned, not raised: the frames that it went through had the secret (S6, S14)."""
    error = credentials_from({**ENVIRONMENT, **changes})

    assert isinstance(error, ConfigurationError)
    assert str(error) == message
    assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


def test_an_empty_environment_names_what_to_set() -> None:
    """The first thing that a newcomer sees. Without the account it would be an app of another type, silently."""
    assert str(credentials_from({})) == (
        "set ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET, and ZOOM_ACCOUNT_ID for a server-to-server app: see the app's "
        "credentials page at Zoom"
    )
