"""What there is to count and to measure, in words that are all known beforehand: no label grows without bound.

    TokenRenewed, TokenAdopted, RenewalFailed      a renewal: its outcome, how long it took, the class of its error;
                                                   "unauthorized", and no error, if a person has yet to authorize
    TokenRejected                                  a rejection
    GrantDied                                      a grant that died
    CommitFailed, StoreWentBack                    a failure of the store
    StoreBypassed, RenewalFailed                   the same, if a `StoreError` is why
    all others                                     counted by their class

The key of an identity is in none of it: there may be a hundred thousand, and each may be a person's name.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from zoom_async_auth import events
from zoom_async_auth.errors import (
    AuthorizationRequiredError,
    ConfigurationError,
    ManagerClosedError,
    MisuseError,
    StoreError,
    TokenUnavailableError,
    ZoomAuthError,
)
from zoom_async_auth.renewal.health import Health, State

if TYPE_CHECKING:
    from zoom_async_auth.pool import PoolHealth

Outcome = Literal["renewed", "adopted", "unauthorized", "failed"]
Count = Literal["rejections", "grants_died", "store_failures", "other_events"]

STATES: tuple[State, ...] = get_args(State)
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0)
"""Limits of the buckets for how long a renewal took: an answer of Zoom at one end, a lease waited for at the other."""

_ERRORS: tuple[type[ZoomAuthError], ...] = (
    ConfigurationError,
    TokenUnavailableError,
    AuthorizationRequiredError,
    StoreError,
    ManagerClosedError,
    MisuseError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """One renewal that is over.

    Attributes:
        outcome: What came of it.
        took: Seconds from its start to its end.
        error: What it failed with, if it did.
    """

    outcome: Outcome
    took: float
    error: ZoomAuthError | None = None


def renewal_in(event: events.Event) -> Renewal | None:
    """Return the renewal that an event is about, if it is the end of one."""
    match event:
        case events.TokenRenewed(took=took):
            return Renewal(outcome="renewed", took=took)
        case events.TokenAdopted(took=took):
            return Renewal(outcome="adopted", took=took)
        case events.RenewalFailed(took=took, error=error) if is_unauthorized(error):
            return Renewal(outcome="unauthorized", took=took)
        case events.RenewalFailed(took=took, error=error):
            return Renewal(outcome="failed", took=took, error=error)
        case _:
            return None


def count_of(event: events.Event) -> Count | None:
    """Return what else an event counts as; None for a renewal that did not fail on the store."""
    match event:
        case events.TokenRejected():
            return "rejections"
        case events.GrantDied():
            return "grants_died"
        case events.CommitFailed() | events.StoreWentBack():
            return "store_failures"
        case events.StoreBypassed(error=StoreError()) | events.RenewalFailed(error=StoreError()):
            return "store_failures"
        case events.TokenRenewed() | events.TokenAdopted() | events.RenewalFailed():
            return None
        case _:
            return "other_events"


def is_unauthorized(error: ZoomAuthError) -> bool:
    """Tell whether a person has yet to authorize the app, as a look into the store found: Zoom has refused nothing."""
    return isinstance(error, AuthorizationRequiredError) and error.error is None and error.status is None


def class_of(error: ZoomAuthError) -> str:
    """Return which of our classes an error is of; a transport of somebody else may have derived its own."""
    return next((kind.__name__ for kind in _ERRORS if isinstance(error, kind)), ZoomAuthError.__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolGauge:
    """What is shown of pools.

    Attributes:
        name: How it is called.
        unit: What is counted, as OpenTelemetry writes it.
        told: A description.
        read: Returns the number of one pool; those of several with one name add up.
    """

    name: str
    unit: str
    told: str
    read: "Callable[[PoolHealth], float]"


POOL_GAUGES = (
    PoolGauge(
        name="identities",
        unit="{identity}",
        told="How many identities are in memory.",
        read=lambda pool: pool.identities,
    ),
    PoolGauge(
        name="waiting",
        unit="{renewal}",
        told="How many renewals wait for their turn.",
        read=lambda pool: pool.waiting,
    ),
    PoolGauge(
        name="rate", unit="{renewal}/s", told="How many renewals a second may start now.", read=lambda pool: pool.rate
    ),
    PoolGauge(
        name="dead",
        unit="{grant}",
        told="How many authorizations were found dead, and not renewed since.",
        read=lambda pool: pool.dead,
    ),
    PoolGauge(
        name="suspended",
        unit="{pool}",
        told="How many pools believe no refusal, because there were so many.",
        read=lambda pool: pool.suspended,
    ),
    PoolGauge(
        name="held_back",
        unit="{pool}",
        told="How many pools renew nobody's token: Zoom is down, refuses the app or wants a pause.",
        read=lambda pool: pool.last_error is not None,
    ),
)


class Watchable(Protocol):
    """What can be watched: a `TokenManager`, a `TokenPool`, or anything else with the health of one."""

    def health(self) -> "Health | PoolHealth":
        """Return how it is, at any time and from any thread."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """How all those who are watched under one name are.

    Attributes:
        states: How many are in each state; all states are there.
        seconds_left: For how many seconds the token that ends first may be handed out; None if nobody is open.
        pools: The number for each of `POOL_GAUGES`, by its name; empty without a pool.
    """

    states: Mapping[State, int]
    seconds_left: float | None
    pools: Mapping[str, float]


class Watched:
    """Those whose health is read when somebody asks, from any thread. None is kept alive by being watched."""

    def __init__(self) -> None:
        self._all: tuple[weakref.ref[Watchable], ...] = ()  # swapped whole: another thread may be reading it

    def add(self, watchable: Watchable) -> None:
        """Watch one more, once."""
        alive = [(known, known()) for known in self._all]
        others = [known for known, other in alive if other is not None and other is not watchable]
        self._all = (*others, weakref.ref(watchable))

    def read(self) -> Gauges:
        """Ask all of them."""
        healths = [watchable.health() for known in self._all if (watchable := known()) is not None]
        managers = [health for health in healths if isinstance(health, Health)]
        pools = [health for health in healths if not isinstance(health, Health)]
        counted = Counter(health.state for health in managers)
        left = [health.seconds_left for health in managers if health.state not in {"new", "closed"}]
        return Gauges(
            states={state: counted[state] for state in STATES},
            seconds_left=min(left, default=None),
            pools={gauge.name: sum(map(gauge.read, pools)) for gauge in POOL_GAUGES} if pools else {},
        )
