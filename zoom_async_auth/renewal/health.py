"""What a readiness probe wants to know: a snapshot without secrets."""

import math
from dataclasses import dataclass
from typing import Literal

from zoom_async_auth.errors import AuthorizationRequiredError, ConfigurationError, ZoomAuthError
from zoom_async_auth.renewal.slot import Slot

State = Literal[
    "new",  # not started
    "starting",  # started, no token yet
    "fresh",  # a token to hand out
    "stale",  # the same, and the next one is due
    "uncommitted",  # a token to hand out, which the store does not have yet
    "expired",  # no token to hand out, a renewal is due
    "unauthorized",  # nobody has authorized the app
    "dead",  # Zoom refused the authorization: the person has to authorize the app again
    "misconfigured",  # Zoom refuses the app
    "closed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a manager is. Times are seconds from now.

    Attributes:
        state: One word.
        ready: Whether `bearer()` returns at once.
        durable: Whether what is stored survives the end of this process.
        generation: Of the token that is held; None without one.
        seconds_left: For how long it may be handed out; 0 if it may not.
        last_error: The latest failure since the latest success.
        next_attempt: When the next renewal is tried; None if it takes a person first, or somebody who asks. What other
            processes store meanwhile is found all the same.
    """

    state: State
    ready: bool
    durable: bool
    generation: int | None
    seconds_left: float
    last_error: ZoomAuthError | None
    next_attempt: float | None


def health_of(slot: Slot, *, started: bool, durable: bool, now: float) -> Health:
    """Return the health of one identity."""
    left = max(0.0, slot.serving.until - now)
    error = slot.restraint.last_error or (None if slot.pending is None else slot.pending.why)
    next_try = slot.next_try()
    planned = started and not slot.closed and math.isfinite(slot.due) and math.isfinite(next_try)
    return Health(
        state=_state(slot, started=started, usable=left > 0, now=now),
        ready=left > 0,
        durable=durable,
        generation=None if slot.held is None else slot.held.generation,
        seconds_left=left,
        last_error=None if error is None else error.copy(),
        next_attempt=max(0.0, next_try - now) if planned else None,
    )


def _state(slot: Slot, *, started: bool, usable: bool, now: float) -> State:
    if slot.closed:
        return "closed"
    if not started:
        return "new"
    if usable:
        if slot.pending is not None:
            return "uncommitted"
        return "fresh" if slot.held is not None and now < slot.held.stale_at else "stale"
    match slot.restraint.last_error:
        case AuthorizationRequiredError(error=None, status=None):  # not of Zoom's saying
            return "unauthorized"
        case AuthorizationRequiredError():
            return "dead"
        case ConfigurationError():
            return "misconfigured"
        case _:
            return "starting" if slot.held is None else "expired"
