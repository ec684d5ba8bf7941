"""What is said to Zoom: requests as values, ready to be sent. All are POSTs of a form."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from zoom_async_auth.oauth.credentials import Credentials, ServerToServer, UserOAuth
from zoom_async_auth.oauth.grants import (
    AuthorizationCodeGrant,
    DeviceCodeGrant,
    Grant,
    RefreshTokenGrant,
)
from zoom_async_auth.oauth.secretive import secretive

# Any other field of a form counts as a secret, also one that is added later.
_OPEN_FIELDS = frozenset({"grant_type", "redirect_uri"})


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One POST to Zoom.

    Attributes:
        path: Where to, below the base URL.
        headers: What goes along, `Authorization` included.
        body: The urlencoded form.
        secrets: Every value in it that must never be shown, base64 of Basic included.
        personal: Whether a person's consent is at stake: if it is refused, that person has to be asked again.
    """

    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    secrets: frozenset[str] = field(repr=False)
    personal: bool


def token_request(credentials: Credentials, grant: Grant) -> Request:
    """Return the request that exchanges `grant` for a token (RFC 6749, section 3.2)."""
    return _post(
        "/oauth/token",
        credentials,
        grant.form(),
        personal=isinstance(grant, AuthorizationCodeGrant | RefreshTokenGrant | DeviceCodeGrant),
    )


def revoke_request(credentials: Credentials, token: str) -> Request:
    """Return the request that kills `token` at Zoom (RFC 7009)."""
    return _post("/oauth/revoke", credentials, {"token": token}, personal=isinstance(credentials, UserOAuth))


def device_request(credentials: UserOAuth) -> Request:
    """Return the request for a device code and a user code (RFC 8628, section 3.1)."""
    # Zoom wants the client id in the form from a client with a secret too.
    return _post("/oauth/devicecode", credentials, {"client_id": credentials.client_id})


def _post(path: str, credentials: Credentials, form: Mapping[str, str], *, personal: bool = False) -> Request:
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    secrets = {credentials.client_id, *(value for name, value in form.items() if name not in _OPEN_FIELDS)}
    if isinstance(credentials, ServerToServer):
        secrets.add(credentials.account_id)
    if credentials.client_secret is None:  # a public client names itself (RFC 6749, section 3.2.1)
        form = {**form, "client_id": credentials.client_id}
    else:
        # Zoom wants plain base64, without the urlencoding of RFC 6749, section 2.3.1.
        basic = b64encode(f"{credentials.client_id}:{credentials.client_secret}".encode()).decode()
        headers["Authorization"] = f"Basic {basic}"
        secrets |= {credentials.client_secret, basic}
    return Request(
        path=path,
        headers=headers,
        body=urlencode(form).encode(),
        secrets=frozenset(secrets),
        personal=personal,
    )
