"""What a store can tell of very many identities at once, as counts: no key and no token is among them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from zoom_async_auth.stores.row import Row

DUE: Final = 0.8
"""The share of its life after which a token is due. Whoever uses it has the next one before it expires."""
RECENTLY: Final = 60.0
"""Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """How the identities of one app are, by the store's time. Each is counted as valid, expired, dead or empty.

    Attributes:
        prefix: What the keys of the app begin with: up to the first slash, which is its last character.
        valid: Have a token that has not expired.
        expired: Have one that has: mostly, nobody uses them.
        dead: Have a refresh token that Zoom has refused.
        empty: Have none: revoked, forgotten, or not authorized yet.
        due: Of the valid ones, those whose token is in the last fifth of its life.
        renewed: Got their token within the last minute.
        leased: Are being renewed, or are about to be.
        intents: Have an intent without a result.
        in_doubt: Of those, the ones whose lease has ended: nobody knows whether their refresh token is spent.
        oldest_intent: Its age in seconds; None if there is none.
        oldest_token: The age in seconds of the oldest token whose refresh token may be used; None if there is none.
    """

    prefix: str
    valid: int
    expired: int
    dead: int
    empty: int
    due: int
    renewed: int
    leased: int
    intents: int
    in_doubt: int
    oldest_intent: float | None
    oldest_token: float | None

    @property
    def identities(self) -> int:
        """How many there are."""
        return self.valid + self.expired + self.dead + self.empty


@runtime_checkable
class Surveyable(Protocol):
    """What a store offers beyond the protocol to those who watch it: counts, made where the records are.

    A wrapping store tells by an attribute, `can_survey`, whether the inner one is able to; if it has none, it is.
    """

    async def survey(self, prefix: str = "") -> tuple[Survey, ...]:
        """Count the identities whose keys begin with `prefix`, for each app; in the order of the apps' prefixes.

        A record that cannot be read is counted by what of it can.
        """
        ...


def can_survey(store: object) -> bool:
    """Tell whether a store is `Surveyable`, and so is what is in it."""
    return isinstance(store, Surveyable) and getattr(store, "can_survey", True)


def surveyed(kept: Iterable[tuple[str, Row]], now: float) -> tuple[Survey, ...]:
    """Count rows, given with their keys."""
    apps: defaultdict[str, list[Row]] = defaultdict(list)
    for key, row in kept:
        apps[key[: key.find("/") + 1]].append(row)
    return tuple(_survey(prefix, rows, now) for prefix, rows in sorted(apps.items()))


def _survey(prefix: str, rows: list[Row], now: float) -> Survey:
    records = [row.record for row in rows if row.record is not None]
    dead = sum(record.cause is not None for record in records)
    with_token = [record for record in records if record.token is not None]
    usable = [record for record in with_token if record.cause is None]
    valid = [record for record in usable if record.expires_at > now]
    spending = [row for row in rows if row.intents]
    intents = [intent for row in rows for intent in row.intents]
    return Survey(
        prefix=prefix,
        valid=len(valid),
        expired=len(usable) - len(valid),
        dead=dead,
        empty=len(rows) - len(usable) - dead,
        due=sum(record.issued_at + DUE * (record.expires_at - record.issued_at) <= now for record in valid),
        renewed=sum(record.issued_at > now - RECENTLY for record in with_token),
        leased=sum(row.leased_until > now for row in rows),
        intents=len(spending),
        in_doubt=sum(row.leased_until <= now for row in spending),
        oldest_intent=max((max(0.0, now - intent.since) for intent in intents), default=None),
        oldest_token=max((now - record.issued_at for record in usable), default=None),
    )
