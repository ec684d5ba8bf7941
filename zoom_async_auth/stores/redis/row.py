"""How a record is given to the scripts, and how what they answer is read. The frames here hold secrets: none raises."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from zoom_async_auth.errors import StoreError
from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.stores import row as rows
from zoom_async_auth.stores.base import Intent, Record
from zoom_async_auth.stores.records import damaged, token_from_text, token_to_text, unknown_format
from zoom_async_auth.stores.row import Row

MICROSECONDS: Final = 1_000_000

_INTENT: Final = b"intent:"
_LATEST: Final = 1e11
"""Seconds since 1970 that no server's clock will see; a server takes no later moment for a key's end."""


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a script said.

    Attributes:
        done: Whether it did what it was asked for.
        now: The server's time, in seconds.
        row: What there was before; empty if the script does not tell.
    """

    done: bool
    now: float
    row: Row


def begin_arguments(generation: int, holder: str, lease: float, *, supersede: bool) -> tuple[str | int, ...]:
    """Return what `BEGIN` gets."""
    durations = (round(seconds * MICROSECONDS) for seconds in (lease, rows.longest(lease)))
    return (generation, holder, *durations, int(supersede))


def commit_arguments(sent: int, record: Record) -> tuple[str | int, ...]:
    """Return what `COMMIT` gets: a token that can be had again is to vanish when it expires."""
    payload, vanishes_at = "", ""
    if record.token is not None:
        payload = token_to_text(record.token)
        if record.token.refresh_token is None:
            vanishes_at = str(int(min(record.expires_at, _LATEST) * 1000))
    cause = () if record.cause is None else (record.cause,)
    return (sent, record.generation, repr(record.issued_at), repr(record.expires_at), payload, vanishes_at, *cause)


def answer_of(verdict: bytes, now: bytes, found: list[Any]) -> Answer | StoreError:
    """Return what a script said; the error is returned, because the frames here hold secrets.

    Args:
        verdict: "done", "refused", or why the record cannot be used.
        now: Microseconds.
        found: Nothing; or the fields of the hash, and the token; or the format that is unknown.
    """
    if verdict == b"format":
        return unknown_format(found[0].decode(errors="replace"))
    if verdict == b"foreign":
        return StoreError(
            "the stored record belongs to another key, and was left as it is: restore it, or forget the key",
            transient=False,
        )
    if verdict == b"uncountable":
        return StoreError(
            "the generation of the stored record is damaged: restore it, or delete the key on the server",
            transient=False,
        )
    if verdict == b"damaged":
        return damaged()
    row = _row_of(_pairs(found[0]), found[1]) if found else Row()
    if isinstance(row, StoreError):
        return row
    return Answer(done=verdict == b"done", now=int(now) / MICROSECONDS, row=row)


def _row_of(fields: Mapping[bytes, bytes], payload: bytes | None) -> Row | StoreError:
    try:
        record = _record_of(fields, payload)
        if isinstance(record, StoreError):
            return record
        return Row(
            record=record,
            holder=fields.get(b"holder", b"").decode(),
            leased_until=int(fields.get(b"leased_until", b"0")) / MICROSECONDS,
            intents=_intents_of(fields),
        )
    except (ValueError, KeyError):
        return damaged()


def _record_of(fields: Mapping[bytes, bytes], payload: bytes | None) -> Record | StoreError | None:
    if b"issued_at" not in fields:
        return None
    token = None if payload is None else token_from_text(payload.decode())
    if isinstance(token, StoreError):
        return token
    cause = fields.get(b"cause")
    return Record(
        generation=int(fields[b"generation"]),
        token=token,
        issued_at=float(fields[b"issued_at"]),
        expires_at=float(fields[b"expires_at"]),
        cause=None if cause is None else cause.decode(),
    )


def _intents_of(fields: Mapping[bytes, bytes]) -> tuple[Intent, ...]:
    """Return the intents, the oldest first."""
    intents = []
    for name, value in fields.items():
        if name.startswith(_INTENT):
            generation, since = map(int, value.split())
            holder = name.removeprefix(_INTENT).decode()
            intents.append(Intent(holder=holder, generation=generation, since=since / MICROSECONDS))
    return tuple(sorted(intents, key=lambda intent: intent.since))


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
