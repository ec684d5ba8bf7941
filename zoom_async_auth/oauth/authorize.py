"""The way to a person's consent and back: where to send the browser, and what to believe of what it brings.

    request = authorization_request(credentials, redirect_uri=..., randomness=secrets.token_bytes(64))
    keep `request` where only this browser's session finds it, for one use; send the browser to `request.url`
    grant = read_callback(query_string, request)
    await manager.authorize(grant)

The state ties the answer to the browser that asked (RFC 6749, section 10.12), PKCE ties the code to the one who asked
(RFC 7636). Both are always used. Random bytes are arguments: nothing here has randomness, or a clock, of its own.

An app that serves browsers from many processes need not keep the request: `derived_randomness` gives it again, from a
secret that all of them have and what the browser brings back in a cookie.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode

from zoom_async_auth.errors import AuthorizationRequiredError, ConfigurationError, ZoomAuthError
from zoom_async_auth.oauth.credentials import UserOAuth
from zoom_async_auth.oauth.framed import framed
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant
from zoom_async_auth.oauth.origin import ZOOM, require_base_url, safe_origin
from zoom_async_auth.oauth.redact import presentable
from zoom_async_auth.oauth.secretive import require_text, secretive

RANDOMNESS = 64
"""Bytes of randomness for one authorization: half for the state, half for the PKCE verifier."""

_LONGEST_QUERY = 8 * 1024
_MOST_FIELDS = 20


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """One attempt to get a person's consent. It is a secret between us and that person's browser session.

    Attributes:
        url: Where to send the browser.
        state: What the callback must repeat.
        code_verifier: Proves at the token endpoint that the code was asked for by us.
        redirect_uri: Where the callback arrives, to the letter.
        issuer: Who has to answer.
    """

    url: str = field(repr=False)
    state: str = field(repr=False)
    code_verifier: str = field(repr=False)
    redirect_uri: str
    issuer: str


def authorization_request(
    credentials: UserOAuth, *, redirect_uri: str, randomness: bytes, base_url: str = ZOOM
) -> AuthorizationRequest:
    """Return a new attempt to get a person's consent.

    Args:
        credentials: The app.
        redirect_uri: One that is registered with the app, to the letter.
        randomness: 64 bytes that nobody can guess and that are used once: `secrets.token_bytes(64)`.
        base_url: Of the authorize page.

    Raises:
        ConfigurationError: An argument that cannot work.
    """
    if len(randomness) != RANDOMNESS:
        raise ConfigurationError(f"randomness must be {RANDOMNESS} bytes: secrets.token_bytes({RANDOMNESS})")
    require_text("redirect_uri", redirect_uri)
    issuer = require_base_url(base_url)
    state, verifier = _text(randomness[: RANDOMNESS // 2]), _text(randomness[RANDOMNESS // 2 :])
    query = {
        "response_type": "code",
        "client_id": credentials.client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": code_challenge(verifier),
        "code_challenge_method": "S256",  # Zoom's default is "plain", which would show the verifier
    }
    return AuthorizationRequest(
        url=f"{issuer}/oauth/authorize?{urlencode(query)}",
        state=state,
        code_verifier=verifier,
        redirect_uri=redirect_uri,
        issuer=issuer,
    )


def derived_randomness(secret: bytes, parts: Iterable[str]) -> bytes:
    """Return the randomness of a request that is kept nowhere: the same for the same arguments, else unguessable.

    Args:
        secret: 32 bytes or more that nobody else has.
        parts: All that the request is bound to, with a nonce among it; in order.
    """
    message = framed(parts)
    return b"".join(hmac.digest(secret, label + message, "sha256") for label in (b"state:", b"code_verifier:"))


def state_of(query: str) -> str | None:
    """Return the state that a callback's query string has, not checked in any way; None if it cannot be read."""
    fields = _fields(query)
    return None if fields is None else fields.get("state")


def code_challenge(code_verifier: str) -> str:
    """Return the S256 challenge that belongs to a PKCE verifier (RFC 7636, section 4.2)."""
    return _text(sha256(code_verifier.encode()).digest())


def read_callback(query: str, request: AuthorizationRequest) -> AuthorizationCodeGrant | ZoomAuthError:
    """Return the grant that the browser brought to the redirect URI, or why there is none.

    An error is returned, not raised: the frame here holds the code. Whatever comes out, `request` is used up.

    Args:
        query: The query string of the callback, urlencoded as it arrived.
        request: What was kept for the browser session that brings it.

    Returns:
        `AuthorizationRequiredError` if the person said no, or if this is no answer to `request`: start again with a
        new one. `ConfigurationError` if Zoom refuses the app.
    """
    fields = _fields(query)
    if fields is None:
        return AuthorizationRequiredError("the callback is malformed: too long, or a parameter occurs twice")
    if not hmac.compare_digest(fields.get("state", "").encode(errors="replace"), request.state.encode()):
        return AuthorizationRequiredError("the callback does not belong to this browser's authorization: start again")
    if "iss" in fields and safe_origin(fields["iss"]) != request.issuer:  # RFC 9207, section 2.4
        return AuthorizationRequiredError("the callback comes from another issuer than the one that was asked")
    code, error = fields.get("code"), fields.get("error")
    if (code is None) == (error is None):
        return AuthorizationRequiredError("the callback must have either a code or an error")
    if error is not None:
        return _refusal(error, request)
    try:
        return AuthorizationCodeGrant(
            code=code or "", redirect_uri=request.redirect_uri, code_verifier=request.code_verifier
        )
    except ConfigurationError:
        failure = AuthorizationRequiredError("the callback has a code that cannot be one")
    return failure


def _refusal(error: str, request: AuthorizationRequest) -> ZoomAuthError:
    shown = presentable(error, {request.state, request.code_verifier})
    if error == "access_denied":
        return AuthorizationRequiredError("the person declined to authorize the app", error=shown)
    return ConfigurationError("Zoom refused to ask the person: check the app's settings", error=shown)


def _fields(query: str) -> dict[str, str] | None:
    if len(query) > _LONGEST_QUERY:
        return None
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        return None
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else None


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
