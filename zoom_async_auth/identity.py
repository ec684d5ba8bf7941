"""Whose token it is: from the environment, and in a store."""

import unicodedata
from collections.abc import Mapping
from hashlib import sha256
from typing import assert_never

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.credentials import ClientCredentials, Credentials, ServerToServer, UserOAuth
from zoom_async_auth.oauth.framed import framed

_LONGEST_KEY = 200


def prefix_of(credentials: Credentials, base_url: str) -> str:
    """Return what the names of all tokens of one app begin with in a store; the key of an identity follows."""
    return f"{namespace_of(credentials, base_url)}/"


def namespace_of(credentials: Credentials, base_url: str) -> str:
    """Return the name under which all tokens of one app are stored: a digest, with nothing readable in it.

    A new client secret keeps it.
    """
    match credentials:
        case ServerToServer():
            parts = ["server-to-server", base_url, credentials.client_id, credentials.account_id]
        case ClientCredentials():
            parts = ["client-credentials", base_url, credentials.client_id, ""]
        case UserOAuth():
            parts = ["user", base_url, credentials.client_id, ""]
        case _:
            assert_never(credentials)
    return sha256(framed(parts)).hexdigest()[:32]


def credentials_from(environ: Mapping[str, str]) -> Credentials | ConfigurationError:
    """Return the app that the environment names; an error is returned, because the frame here holds the secret."""
    names = ("ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET")
    account_id = environ.get("ZOOM_ACCOUNT_ID")
    if missing := [name for name in names if not environ.get(name)]:
        # Without it the app is one of another type, and Zoom would refuse it in words that do not say why.
        account = "" if account_id else ", and ZOOM_ACCOUNT_ID for a server-to-server app"
        return ConfigurationError(f"set {' and '.join(missing)}{account}: see the app's credentials page at Zoom")
    client_id, client_secret = (environ[name] for name in names)
    try:
        if account_id:
            return ServerToServer(account_id=account_id, client_id=client_id, client_secret=client_secret)
        return ClientCredentials(client_id=client_id, client_secret=client_secret)
    except ConfigurationError as known:
        failure = known.copy()
    return failure


DEFAULT_KEY = "default"
"""The key where there is one identity only."""


def require_key(key: str) -> str:
    """Return a key in its normal form, so that it is one identity however it was typed.

    Raises:
        ConfigurationError: It cannot be a key; None, for one: people whose key is not known must not share a token.
    """
    if not isinstance(key, str):
        raise ConfigurationError("key must be a string, another one for each identity")
    key = unicodedata.normalize("NFC", key)
    if not 1 <= len(key) <= _LONGEST_KEY or any(unicodedata.category(sign) in {"Cc", "Cs"} for sign in key):
        raise ConfigurationError("key must have 1 to 200 characters, none of them a control character")
    return key
