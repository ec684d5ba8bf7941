"""How stores that keep text write a token and its intents down: JSON, the token with the number of its format."""

import json
from collections.abc import Iterable
from typing import Final

from zoom_async_auth.errors import ConfigurationError, StoreError
from zoom_async_auth.oauth.token import Token
from zoom_async_auth.stores.base import Intent

FORMAT: Final = 1
"""What this version writes. A record of any other format is left as it is: a newer version will want it back."""


def token_to_text(token: Token) -> str:
    """Return a token as text, secrets included."""
    return json.dumps(
        {
            "format": FORMAT,
            "access_token": token.access_token,
            "refresh_token": token.refresh_token,
            "token_type": token.token_type,
            "expires_in": token.expires_in,
            "scope": sorted(token.scope),
            "api_url": token.api_url,
        }
    )


def token_from_text(text: str) -> Token | StoreError:
    """Return the token that was written down; the error is returned, because the frames here hold secrets.

    The `StoreError` is not transient: the record is damaged, or of another format. It stays as it is until somebody
    looks after it.
    """
    try:
        fields = json.loads(text)
        if fields["format"] != FORMAT:
            return unknown_format(fields["format"])
        return Token(
            access_token=fields["access_token"],
            refresh_token=fields["refresh_token"],
            token_type=fields["token_type"],
            expires_in=fields["expires_in"],
            scope=frozenset(fields["scope"]),
            api_url=fields["api_url"],
        )
    except (ValueError, TypeError, KeyError, RecursionError, ConfigurationError):
        return damaged()


def intents_to_text(intents: Iterable[Intent]) -> str:
    """Return intents as text."""
    return json.dumps([[intent.holder, intent.generation, intent.since] for intent in intents])


def intents_from_text(text: str) -> tuple[Intent, ...] | StoreError:
    """Return the intents that were written down."""
    try:
        intents = tuple(
            Intent(holder=holder, generation=generation, since=since) for holder, generation, since in json.loads(text)
        )
        if all(_is_intent(intent) for intent in intents):
            return intents
    except (ValueError, TypeError, RecursionError):
        pass
    return StoreError("the stored intents are damaged and were left as they are: restore the row", transient=False)


def _is_intent(intent: Intent) -> bool:
    return (
        isinstance(intent.holder, str) and isinstance(intent.generation, int) and isinstance(intent.since, int | float)
    )


def damaged() -> StoreError:
    """Return what is said of a record that cannot be read."""
    return StoreError(
        "the stored record is damaged and was left as it is: restore it, or forget the key and authorize again",
        transient=False,
    )


def unknown_format(number: object) -> StoreError:
    """Return what is said of a record that another version wrote."""
    named = str(number) if isinstance(number, int) or (isinstance(number, str) and number.isdecimal()) else "unknown"
    return StoreError(
        f"the stored record has format {named}, this version reads {FORMAT}, and left it as it is: upgrade, "
        "or forget the key and authorize again",
        transient=False,
    )
