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
_LONGEST_NUMBER = 20
_LONGEST_USER_CODE = 64

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
    expires_in: float
    interval: float


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
    refresh_token = payload.get("refresh_token") or None
    lifetime = _seconds(payload.get("expires_in"), default=_ASSUMED_LIFETIME)
    bad = [
        name
        for name, good in (
            ("access_token", is_access_token(payload.get("access_token"))),
            ("refresh_token", refresh_token is None or is_refresh_token(refresh_token)),
            ("token_type", _is_bearer(payload.get("token_type"))),
            ("expires_in", lifetime is not None),
        )
        if not good
    ]
    if lifetime is None or bad:
        return _unusable(answer, request, bad, now=now)
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
            ("expires_in", lifetime is not None),
            ("interval", interval is not None),
        )
        if not good
    ]
    if lifetime is None or interval is None or bad:
        return _unusable(answer, request, bad, now=now)
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
    if answer.status == HTTPStatus.OK and _parse(answer.body) is None:
        return None  # RFC 7009, section 2.2: the status says it all
    payload = _accepted(answer, request, now=now)
    return payload if isinstance(payload, ZoomAuthError) else None


def _accepted(answer: Answer, request: Request, *, now: float) -> dict[str, Any] | ZoomAuthError:
    """Return the fields of an answer that grants what was asked for, or the error that it is."""
    redirected = HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST
    payload = None if redirected else _parse(answer.body)  # of a redirect, whoever answers
    success = HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES
    if success and payload is not None and "error" not in payload:
        return payload
    if success and payload is None:
        failure: ZoomAuthError = TokenUnavailableError(
            "the answer is no JSON object: is a proxy or a log-in page in the way?", in_doubt=True
        )
        return _detailed(failure, answer, request, {}, now=now)
    fields = payload or {}
    error, reason, code = fields.get("error"), fields.get("reason"), fields.get("code", fields.get("errorCode"))
    failure = diagnose(
        answer.status,
        error=error if isinstance(error, str) else None,
        reason=reason if isinstance(reason, str) else None,
        code=_error_code(code) or _error_code(error),
        personal=request.personal,
    )
    return _detailed(failure, answer, request, fields, now=now)


def _unusable(answer: Answer, request: Request, fields: list[str], *, now: float) -> ZoomAuthError:
    failure = TokenUnavailableError(f"the answer lacks what it must have, in {', '.join(fields)}", in_doubt=True)
    return _detailed(failure, answer, request, {}, now=now)


def _detailed(
    failure: ZoomAuthError, answer: Answer, request: Request, fields: Mapping[str, Any], *, now: float
) -> ZoomAuthError:
    """Return the error with what helps to understand it, free of what was sent."""

    def shown(text: object) -> str | None:
        return presentable(text, request.secrets) if isinstance(text, str) else None

    error = shown(fields.get("error"))
    return failure.copy(
        status=answer.status,
        error=error if error is not None and _ERROR_CODE.fullmatch(error) else None,
        reason=shown(fields.get("reason")),
        tracking_id=shown(answer.header("x-zm-trackingid")),
        retry_after=_retry_after(answer, now=now),
    )


def _parse(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object that `body` is; None if it is anything else, or can be read in two ways."""
    if len(body) > MAX_BODY:
        return None
    try:
        payload = json.loads(
            body.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError):  # also a BOM, a number of ten thousand digits, nesting without end
        return None
    return payload if isinstance(payload, dict) else None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field occurs twice")
    return fields


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _error_code(value: object) -> int | None:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    code = int(text) if re.fullmatch(r"[0-9]{4}", text, re.ASCII) else 0
    return code if code in _OAUTH_ERROR_CODES else None


def _seconds(value: object, *, default: float, longest: float = _LONGEST_LIFETIME) -> float | None:
    """Return a positive duration, `default` if there is none, None if it is nonsense. Zoom sends strings, too."""
    if value is None:
        return default
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and _DECIMAL.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return None
    return float(min(value, longest))


def _retry_after(answer: Answer, *, now: float) -> float | None:
    """Return the seconds that `Retry-After` asks for: as seconds, an HTTP date or ISO 8601 (Zoom sends that)."""
    text = (answer.header("retry-after") or "").strip()
    if len(text) <= _LONGEST_NUMBER and _SIGNED_DECIMAL.fullmatch(text):
        wanted = float(text)
    else:
        moment = _date(text)
        if moment is None:
            return None
        asked = _date((answer.header("date") or "").strip())  # of the same clock as `text`
        wanted = moment - (now if asked is None else asked)
    return min(max(0.0, wanted), _LONGEST_RETRY_AFTER)


def _date(text: str) -> float | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _scope(value: object) -> frozenset[str]:
    names = value.split(" ") if isinstance(value, str) else []
    return frozenset(name for name in names if _SCOPE_NAME.fullmatch(name))


def _origin(value: object) -> str | None:
    return safe_origin(value) if isinstance(value, str) else None


def _is_bearer(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.lower() == "bearer")


def _is_line(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_USER_CODE and value.isprintable()
