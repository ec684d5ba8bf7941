"""One event of each kind, as a manager would tell it."""

from typing import get_args

from zoom_async_auth import events
from zoom_async_auth.errors import AuthorizationRequiredError, StoreError, TokenUnavailableError, ZoomAuthError
from zoom_async_auth.events import Event
from zoom_async_auth.pool import PoolHealth
from zoom_async_auth.renewal.health import Health, State

KINDS: tuple[type[Event], ...] = get_args(Event)

DOWN = TokenUnavailableError("Zoom failed to answer: try again later", status=503, tracking_id="v=2.0;tid=1")
REFUSED = AuthorizationRequiredError("the authorization is spent", error="invalid_grant", status=400)
UNAUTHORIZED = AuthorizationRequiredError("nobody has authorized the app yet: send the person to the authorize URL")
STORE_DOWN = StoreError("the store failed: ConnectionError")

EVENTS: tuple[Event, ...] = (
    events.TokenRenewed(key="alice", generation=3, expires_in=3599.0, took=0.25),
    events.TokenAdopted(key="alice", generation=3, expires_in=1800.0, took=0.01),
    events.RenewalFailed(key="alice", error=DOWN, took=10.0),
    events.TokenRejected(key="alice", generation=3),
    events.FieldsAssumed(key="alice", fields=frozenset({"scope", "expires_in"})),
    events.ScopeShrunk(key="alice", lost=frozenset({"user:read"})),
    events.CommitFailed(key="alice", generation=4, error=STORE_DOWN),
    events.CommitRecovered(key="alice", generation=4),
    events.StoreBypassed(key="alice", error=STORE_DOWN),
    events.StoreWentBack(key="alice", generation=2, newest=4),
    events.GrantDied(key="alice", error=REFUSED, answer_was_lost=True),
    events.Authorized(key="alice", generation=5),
    events.TokenRevoked(key="alice"),
    events.LateTokenDropped(key="alice", revoked=False),
    events.SchedulerRestarted(key="alice", kind="KeyError"),
    events.StoreNotDurable(key="alice"),
)


def failed(error: ZoomAuthError) -> events.RenewalFailed:
    """Return a renewal that failed with `error`."""
    return events.RenewalFailed(key="alice", error=error, took=1.0)


class Still:
    """Something to watch, whose health is what it is told to be."""

    def __init__(self, state: State, seconds_left: float = 0.0) -> None:
        self.state: State = state
        self.seconds_left = seconds_left

    def health(self) -> Health:
        return Health(
            state=self.state,
            ready=self.seconds_left > 0,
            durable=True,
            generation=1,
            seconds_left=self.seconds_left,
            last_error=None,
            next_attempt=None,
        )


class StillPool:
    """A pool to watch, whose health is what it is told to be."""

    def __init__(self, *, identities: int = 0, waiting: int = 0, dead: int = 0, suspended: bool = False) -> None:
        self.identities, self.waiting, self.dead, self.suspended = identities, waiting, dead, suspended
        self.held_back: ZoomAuthError | None = None

    def health(self) -> PoolHealth:
        return PoolHealth(
            ready=True,
            identities=self.identities,
            waiting=self.waiting,
            rate=10.0,
            suspended=self.suspended,
            dead=self.dead,
            dead_keys={"alice": "invalid_grant"},
            last_error=self.held_back,
        )
