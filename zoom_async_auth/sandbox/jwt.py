"""Tokens in the shape of Zoom's: HS512, with its claims in its order. The key is random: nobody can verify them."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass

REFRESH_LIFETIME = 473_040_000
"""15 years: what the claims of a refresh token say, whatever becomes of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who a token is for: the claims that stay the same from one to the next."""

    client_id: str
    code: str
    authentication_id: str
    user_id: str
    account_id: str


def mint(
    subject: Subject, *, token_type: str, issued_at: int, lifetime: int, token_id: str, key: bytes, key_id: str
) -> str:
    """Return a token.

    Args:
        subject: Who it is for.
        token_type: "access_token" or "refresh_token".
        issued_at: Seconds since 1970-01-01 UTC.
        lifetime: Seconds.
        token_id: The `jti` claim, which makes it unique.
        key: Signs it.
        key_id: The `kid` of the header.
    """
    header = {"alg": "HS512", "v": "2.0", "kid": key_id}
    claims = {
        "ver": "6",
        "clientId": subject.client_id,
        "code": subject.code,
        "iss": f"urn:zoom:connect:clientid:{subject.client_id}",
        "authenticationId": subject.authentication_id,
        "userId": subject.user_id,
        "groupNumber": 0,
        "aud": "https://oauth.zoom.us",
        "accountId": subject.account_id,
        "nbf": issued_at,
        "exp": issued_at + lifetime,
        "tokenType": token_type,
        "iat": issued_at,
        "jti": token_id,
        "toleranceId": 25,
    }
    signed = f"{_encoded(header)}.{_encoded(claims)}"
    return f"{signed}.{_base64(hmac.digest(key, signed.encode(), 'sha512'))}"


def _encoded(part: Mapping[str, object]) -> str:
    return _base64(json.dumps(part, separators=(",", ":")).encode())


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
