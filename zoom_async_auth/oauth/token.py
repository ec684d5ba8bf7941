"""What Zoom gives: an access token, and for a person's grant the refresh token that buys the next one."""

import re
import sys
from dataclasses import dataclass, field

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.origin import safe_origin
from zoom_async_auth.oauth.secretive import secretive

MAX_TOKEN_LENGTH = 16 * 1024
"""Longer than any token that Zoom sends (about 600 characters), shorter than what servers take in one header."""

_SURELY_MILLISECONDS = 1e11
"""As seconds it is the year 5138, as milliseconds 1973."""

NO_ACCESS_TOKEN = "none"  # noqa: S105 -- that there is none
"""Stands where nothing but a refresh token is known."""

_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_VSCHAR = re.compile(r"[\x20-\x7e]+")


def is_access_token(text: object) -> bool:
    """Tell whether `text` can stand behind "Bearer " in a header (b64token: RFC 6750, section 2.1)."""
    return isinstance(text, str) and len(text) <= MAX_TOKEN_LENGTH and _B64TOKEN.fullmatch(text) is not None


def is_refresh_token(text: object) -> bool:
    """Tell whether `text` is a refresh token by its characters (VSCHAR: RFC 6749, appendix A.17)."""
    return (
        isinstance(text, str)
        and not text.isspace()
        and len(text) <= MAX_TOKEN_LENGTH
        and _VSCHAR.fullmatch(text) is not None
    )


def _is_number(value: object) -> bool:
    """Tell whether a clock can reckon with `value`."""
    return not isinstance(value, bool) and isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _require_tokens(access_token: object, refresh_token: object) -> None:
    if not is_access_token(access_token):
        raise ConfigurationError("access_token is not a bearer token (RFC 6750, section 2.1)")
    if refresh_token is not None and not is_refresh_token(refresh_token):
        raise ConfigurationError("refresh_token is not a refresh token (RFC 6749, appendix A.17)")


def _require_details(scope: object, api_url: object) -> None:
    if not isinstance(scope, frozenset) or not all(isinstance(name, str) for name in scope):
        raise ConfigurationError("scope must be a frozenset of names: frozenset(text.split())")
    if api_url is not None and (not isinstance(api_url, str) or safe_origin(api_url) is None):
        raise ConfigurationError("api_url must be https://host, or None")


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One answer of the token endpoint (RFC 6749, section 5.1).

    Attributes:
        access_token: What goes behind "Bearer ". Opaque: claims inside it are never looked at.
        refresh_token: Buys the next token, once. None for an app's own grants.
        token_type: Always "bearer".
        expires_in: Its lifetime in seconds when it was issued, counted from before the request was
            sent; 0 for one that was imported after its expiry.
        scope: What it may do; empty if Zoom did not say.
        api_url: The origin of the API for this account, without a path, or None.
        assumed: Names of the fields that Zoom left out and that got their default.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    token_type: str = "bearer"  # noqa: S105 -- a type, not a token
    expires_in: float
    scope: frozenset[str] = frozenset()
    api_url: str | None = None
    assumed: frozenset[str] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        _require_tokens(self.access_token, self.refresh_token)
        _require_details(self.scope, self.api_url)
        if not (_is_number(self.expires_in) and self.expires_in >= 0):
            raise ConfigurationError("expires_in must be a number of seconds, 0 or more")


def revocable(token: Token) -> str:
    """Return what is revoked at Zoom: the access token, or the refresh token if that alone is known (RFC 7009)."""
    if token.access_token == NO_ACCESS_TOKEN and token.refresh_token is not None:
        return token.refresh_token
    return token.access_token


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """A pair of tokens that another program got, to go on with: `await manager.authorize(StoredToken(...))`.

    Attributes:
        access_token: The access token; may be left out with the refresh token of a person: then the next one is got
            at first use.
        refresh_token: The refresh token that belongs to it, for a person's grant.
        expires_at: When the access token expires, in seconds since 1970-01-01 UTC; in the past is fine. None if
            that was left out.
        scope: What it may do, if known.
        api_url: The `api_url` that came with it, if any.
    """

    access_token: str = field(default=NO_ACCESS_TOKEN, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    scope: frozenset[str] = frozenset()
    api_url: str | None = None

    def __post_init__(self) -> None:
        _require_tokens(self.access_token, self.refresh_token)
        _require_details(self.scope, self.api_url)
        if self.access_token == NO_ACCESS_TOKEN and self.expires_at is None and self.refresh_token is not None:
            return
        if self.access_token == NO_ACCESS_TOKEN or self.expires_at is None:
            raise ConfigurationError("give access_token and expires_at, or refresh_token, or all of them")
        if not _is_number(self.expires_at) or abs(self.expires_at) >= _SURELY_MILLISECONDS:
            raise ConfigurationError("expires_at must be a number: seconds since 1970-01-01 UTC, not milliseconds")
