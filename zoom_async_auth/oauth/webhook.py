"""What Zoom tells by webhook: whether it is from Zoom, and what it says.

    x-zm-signature    "v0=" and the HMAC-SHA256, in hex, of "v0:{x-zm-request-timestamp}:{body}" with the secret token
                      of the app's event subscriptions as its key
    x-zm-request-timestamp
                      when it was sent, in seconds since 1970-01-01 UTC

Source: Zoom, "Using webhooks". A notification that is not answered by 200 or 204 within three seconds comes again: 5
minutes later, 20 after that, and 60 after that. So one may come twice, and late.
"""

import hmac
import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

TOLERANCE: Final = 300.0
"""Seconds by which a notification may be older than now, or younger: whoever has recorded one cannot use it later."""
MAX_WEBHOOK: Final = 64 * 1024
"""Bytes of a body that are read; a notification has about one thousand."""

_TIMESTAMP = re.compile(r"[0-9]{1,12}")
# No colon: else anyone who can have a text of their choice "encrypted" here could have notifications signed.
_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/=]{1,256}")
_IDENTIFIER = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRefused:
    """A notification that is not acted upon. `forged`: it is not from Zoom, or not from now."""

    forged: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlValidation:
    """Zoom asks whether the address is ours: at its registration, and every 72 hours."""

    plain_token: str

    def answer(self, secret_token: str) -> dict[str, str]:
        """Return what proves that we have the secret token; sent as JSON."""
        return {"plainToken": self.plain_token, "encryptedToken": _signed(secret_token, self.plain_token.encode())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deauthorized:
    """A person, or an administrator, has removed the app at Zoom: its tokens are dead.

    Attributes:
        user_id: Zoom's name for the person.
        account_id: Zoom's name for the account.
        deauthorized_at: When, in seconds since 1970-01-01 UTC; None if Zoom did not say.
        keeps_data: Whether the person lets the app keep other data of theirs; None if Zoom did not say. If not, the app
            has to delete it.
    """

    user_id: str
    account_id: str
    deauthorized_at: float | None = None
    keeps_data: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherEvent:
    """Something that is no concern of ours."""


Notification = UrlValidation | Deauthorized | OtherEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBody:
    """A notification as it arrived.

    Attributes:
        body: The body, to the byte.
        signature: The header `x-zm-signature`, if there is one.
        timestamp: The header `x-zm-request-timestamp`, if there is one.
    """

    body: bytes = field(repr=False)
    signature: str | None = field(repr=False)
    timestamp: str | None


def read_webhook(signed: SignedBody, *, secret_token: str, client_id: str, now: float) -> Notification | WebhookRefused:
    """Return what Zoom says, or why nothing is believed. Nothing is raised: the frame here holds a secret.

    Args:
        signed: What arrived.
        secret_token: "Secret token" on the app's page of event subscriptions.
        client_id: Of the app; one that another app was removed from is an `OtherEvent`.
        now: Seconds since 1970-01-01 UTC.
    """
    timestamp = signed.timestamp or ""
    if _TIMESTAMP.fullmatch(timestamp) is None:
        return WebhookRefused(forged=True, why="x-zm-request-timestamp is missing, or no number of seconds")
    # First the signature: whoever cannot sign learns nothing about our clock.
    expected = f"v0={_signed(secret_token, b'v0:' + timestamp.encode() + b':' + signed.body)}"
    if not hmac.compare_digest((signed.signature or "").encode(errors="replace"), expected.encode()):
        return WebhookRefused(forged=True, why="x-zm-signature does not fit: is it the secret token of this app?")
    if abs(now - int(timestamp)) > TOLERANCE:
        return WebhookRefused(forged=True, why="it was not sent now: a replay, or one of the clocks is wrong")
    content = _json(signed.body)
    if content is None:
        return WebhookRefused(forged=False, why="the body is no JSON object")
    return _read(content, client_id)


def signature_of(body: bytes, *, secret_token: str, timestamp: int) -> str:
    """Return the `x-zm-signature` of a notification, as Zoom makes it: for tests of a receiver."""
    return f"v0={_signed(secret_token, b'v0:%d:' % timestamp + body)}"


def _read(content: dict[str, object], client_id: str) -> Notification | WebhookRefused:
    payload = content.get("payload")
    fields = payload if isinstance(payload, dict) else {}
    match content.get("event"):
        case "endpoint.url_validation":
            plain_token = fields.get("plainToken")
            if not isinstance(plain_token, str) or _PLAIN_TOKEN.fullmatch(plain_token) is None:
                return WebhookRefused(forged=False, why="plainToken is missing, or cannot be one")
            return UrlValidation(plain_token=plain_token)
        case "app_deauthorized":
            if fields.get("client_id") != client_id:
                return OtherEvent()
            return _deauthorized(fields)
        case str():
            return OtherEvent()
        case _:
            return WebhookRefused(forged=False, why="event is missing")


def _deauthorized(fields: dict[str, object]) -> Deauthorized | WebhookRefused:
    user_id, account_id = fields.get("user_id"), fields.get("account_id")
    if not _is_identifier(user_id) or not _is_identifier(account_id):
        return WebhookRefused(forged=False, why="user_id or account_id is missing, or cannot be one")
    return Deauthorized(
        user_id=str(user_id),
        account_id=str(account_id),
        deauthorized_at=_moment(fields.get("deauthorization_time")),
        keeps_data={"true": True, "false": False}.get(str(fields.get("user_data_retention")).lower()),
    )


def _is_identifier(value: object) -> bool:
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def _moment(value: object) -> float | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if moment is None or moment.tzinfo is None else moment.timestamp()


def _json(body: bytes) -> dict[str, object] | None:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _signed(secret_token: str, message: bytes) -> str:
    return hmac.new(secret_token.encode(), message, "sha256").hexdigest()
