"""What a token says of itself. Nobody but Zoom can verify it: this is for people, nothing is decided by it."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_TIMES: dict[str, tuple[str, ...]] = {"issued_at": ("iat",), "not_before": ("nbf",), "expires_at": ("exp",)}
_NAMES: dict[str, tuple[str, ...]] = {
    "account_id": ("aid", "accountId"),
    "user_id": ("uid", "userId"),
    "kind": ("tokenType", "type"),
    "version": ("ver",),
}
"""By what we call them: names of both known versions of Zoom's tokens. None of these is a secret."""
_PARTS = 3
_LONGEST = 100
_LAST_MOMENT = 253402300799
"""The end of the year 9999."""


def claims_of(access_token: str, *, now: float) -> dict[str, Any] | None:
    """Return what may be shown of the claims of a JWT, None if the token is none.

    Args:
        access_token: The token.
        now: The wall clock, in seconds since 1970-01-01 UTC.
    """
    claims = _decoded(access_token)
    if claims is None:
        return None
    shown: dict[str, Any] = {}
    for name, aliases in _TIMES.items():
        moment = _number(_first(claims, aliases))
        if moment is not None:
            shown[name] = _iso(moment)
            if name == "expires_at":
                shown["expires_in"] = round(moment - now)
    issued_at, expires_at = (_number(_first(claims, _TIMES[name])) for name in ("issued_at", "expires_at"))
    if issued_at is not None and expires_at is not None:
        shown["lifetime"] = expires_at - issued_at
    for name, aliases in _NAMES.items():
        value = _first(claims, aliases)
        if isinstance(value, int | str) and not isinstance(value, bool) and _is_short(str(value)):
            shown[name] = value
    return shown


def _decoded(access_token: str) -> Mapping[str, Any] | None:
    parts = access_token.split(".")
    if len(parts) != _PARTS:
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def _first(claims: Mapping[str, Any], names: tuple[str, ...]) -> object:
    return next((claims[name] for name in names if name in claims), None)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_MOMENT:
        return None
    return value


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def _is_short(text: str) -> bool:
    return len(text) <= _LONGEST and text.isprintable()
