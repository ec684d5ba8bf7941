"""A token as this process holds it: with the moments of its own clock at which it turns stale, is withheld, expires."""

import math
from dataclasses import dataclass, field

from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.oauth.token import Token
from zoom_async_auth.renewal.policy import RenewalPolicy
from zoom_async_auth.stores.base import Record


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One token. Its times are moments of the manager's clock, in seconds; never compared with another host's.

    Attributes:
        issued_at: When it was requested, by the *store's* clock (the one exception); minus infinity if it is not known.
    """

    token: Token
    generation: int
    arrived_at: float
    stale_at: float
    withheld_at: float
    expires_at: float
    issued_at: float


@secretive
@dataclass(frozen=True, slots=True)
class Serving:
    """What the hot path reads, swapped whole: the string to hand out, and until when."""

    access_token: str = field(repr=False)
    until: float


NOTHING = Serving("", -math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One moment on two clocks: when the store's read `store`, ours read `local`, or somewhat more."""

    local: float
    store: float


def arrived(
    token: Token,
    *,
    generation: int,
    issued_at: float,
    sent_at: float,
    now: float,
    policy: RenewalPolicy,
    luck: float,
) -> Held:
    """Return a token that Zoom sent `now`, asked for at `sent_at`: its life is counted from before the request."""
    return Held(
        token=token,
        generation=generation,
        arrived_at=now,
        stale_at=sent_at + policy.stale_age(token.expires_in, luck),
        withheld_at=sent_at + policy.withheld_age(token.expires_in),
        expires_at=sent_at + token.expires_in,
        issued_at=issued_at,
    )


def rejected(access_token: str) -> Held:
    """Return a token of which nothing is known but that it is good for nothing."""
    token = Token(access_token=access_token, expires_in=0.0)
    return Held(
        token=token,
        generation=0,
        arrived_at=-math.inf,
        stale_at=-math.inf,
        withheld_at=-math.inf,
        expires_at=-math.inf,
        issued_at=-math.inf,
    )


def found(record: Record, *, seen: Moment, policy: RenewalPolicy, luck: float) -> Held | None:
    """Return the token of a record that was read, in our time; None if it has none, or it has expired.

    The store's clock may be stepped: a token never lives longer than its whole life from this look, and one from the
    future is not believed.
    """
    lifetime = record.expires_at - record.issued_at
    left = min(record.expires_at - seen.store, lifetime)
    age = seen.store - record.issued_at
    if record.token is None or left <= 0 or age < -policy.leeway:
        return None
    expires_at = seen.local + left
    return Held(
        token=record.token,
        generation=record.generation,
        arrived_at=seen.local - max(0.0, age),
        stale_at=expires_at - (lifetime - policy.stale_age(lifetime, luck)),
        withheld_at=expires_at - (lifetime - policy.withheld_age(lifetime)),
        expires_at=expires_at,
        issued_at=record.issued_at,
    )
