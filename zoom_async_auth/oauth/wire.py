"""What Zoom answers, from bytes to values: the only door through which foreign data enters.

Errors are returned, never raised: the frames here hold secrets, and a traceback shows frames.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NoReturn

from zoom_async_auth.errors import TokenUnavailableError, ZoomAuthError
from zoom_async_auth.oauth.origin import safe_origin
from zoom_async_auth.oauth.redact import presentable
from zoom_async_auth.oauth.refusals import diagnose
from zoom_async_auth.oauth.requests import Request
from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.oauth.token import Token, is_access_token, is_refresh_token

MAX_BODY = 64 * 1024
"""Bytes of an answer that are read; a token's answer has about 1.5 thousand, a longer one is refused."""

_LONGEST_LIFETIME = 24 * 3600.0
_ASSUMED_LIFETIME = 600.0
_LONGEST_RETRY_AFTER = 3600.0
_SHORTEST_INTERVAL = 1.0
_OAUTH_ERROR_CODES = range(4700, 4800)

_ERROR_CODE = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, section 5.2
_SCOPE_NAME = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, section 3.3
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")
_SIGNED_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back from a request.

    Attributes:
        status: The HTTP status.
        headers: The headers, in any case.
        body: The body; a transport stops reading after `MAX_BODY` + 1 bytes.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """Return the first header of this name, in lower case, or None."""
        return next((value for key, value in self.headers.items() if key.lower() == name), None)


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """What a device shows while it waits for a person (RFC 8628, section 3.2). Times are seconds.

    Attributes:
        device_code: What the device asks with.
        user_code: What the person types in.
        verification_uri: Where the person types it in.
        verification_uri_complete: The same with the code in it, for a QR code, or None.
        expires_in: How long both codes live.
        interval: How long to wait between two questions.
    """

    device_code: str = field(repr=False)
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None = None
    expires_in: float = 900.0
    interval: float = 5.0


def read_token(answer: Answer, request: Request, *, now: float) -> Token | ZoomAuthError:
    """Return the token in an answer of the token endpoint, or why there is none.

    Args:
        answer: What came back.
        request: What was sent; nothing of it is repeated in an error.
        now: The wall clock, for a `Retry-After` that is a date in an answer that is not dated.
    """
    payload = _accepted(answer, request, now=now)
    if isinstance(payload, ZoomAuthError):
        return payload
    refresh_token = _or_none(payload.get("refresh_token"))
    lifetime = _seconds(payload.get("expires_in"), default=_ASSUMED_LIFETIME)
    bad = [
        name
        for name, good in (
            ("access_token", is_access_token(payload.get("access_token"))),
            ("refresh_token", refresh_token is None or is_refresh_token(refresh_token)),
            ("token_type", _is_bearer(payload.get("token_type"))),
        )
        if not good
    ]
    if lifetime is None or bad:
        return _unusable(answer, request, [*bad, *([] if lifetime else ["expires_in"])], now=now)
    return Token(
        access_token=payload["access_token"],
        refresh_token=refresh_token,
        expires_in=lifetime,
        scope=_scope(payload.get("scope")),
        api_url=_origin(payload.get("api_url")),
        assumed=frozenset(name for name in ("expires_in", "token_type") if payload.get(name) is None),
    )


def read_device_code(answer: Answer, request: Request, *, now: float) -> DeviceCode | ZoomAuthError:
    """Return the codes in an answer of the device endpoint, or why there are none; arguments as for `read_token`."""
    payload = _accepted(answer, request, now=now)
    if isinstance(payload, ZoomAuthError):
        return payload
    complete = payload.get("verification_uri_complete")
    lifetime = _seconds(payload.get("expires_in"), default=900.0)
    interval = _seconds(payload.get("interval"), default=5.0)
    bad = [
        name
        for name, good in (
            ("device_code", is_refresh_token(payload.get("device_code"))),  # of the same characters
            ("user_code", _is_line(payload.get("user_code"))),
            ("verification_uri", _origin(payload.get("verification_uri"))),
        )
        if not good
    ]
    if lifetime is None or interval is None or bad:
        late = [name for name, value in (("expires_in", lifetime), ("interval", interval)) if value is None]
        return _unusable(answer, request, [*bad, *late], now=now)
    return DeviceCode(
        device_code=payload["device_code"],
        user_code=payload["user_code"],
        verification_uri=payload["verification_uri"],
        verification_uri_complete=complete if _origin(complete) else None,
        expires_in=lifetime,
        interval=max(interval, _SHORTEST_INTERVAL),
    )


def read_revocation(answer: Answer, request: Request, *, now: float) -> ZoomAuthError | None:
    """Return None if the token is dead, or why that is not certain; arguments as for `read_token`."""
    if _is_success(answer) and not answer.body.strip():  # RFC 7009, section 2.2: the status says it all
        return None
    payload = _accepted(answer, request, now=now)
    return payload if isinstance(payload, ZoomAuthError) else None
