"""Events as records of the standard library's logging: nothing is logged unless an observer is added.

    TokenManager(..., observers=[LoggingObserver()])

level       event
DEBUG       TokenAdopted, FieldsAssumed
INFO        TokenRenewed, Authorized, TokenRevoked, CommitRecovered, and RenewalFailed if a person has yet to authorize
WARNING     RenewalFailed, TokenRejected, ScopeShrunk, StoreBypassed, LateTokenDropped, StoreNotDurable
ERROR       CommitFailed, StoreWentBack, GrantDied, SchedulerRestarted, and RenewalFailed with a ConfigurationError

Each record has `zoom_auth_event`, the class of the event, and its fields as `zoom_auth_generation`, `zoom_auth_took`
and so on: numbers, words and short lists, fit for JSON. An error is `zoom_auth_error`, its text, with
`zoom_auth_error_class`, `_transient`, `_retry_after`, `_status`, `_code`, `_reason` and `_tracking_id`. Durations are
seconds.
"""

import logging
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType

from zoom_async_auth import events
from zoom_async_auth.errors import ConfigurationError, ZoomAuthError
from zoom_async_auth.events import Event
from zoom_async_auth.integrations.measures import is_unauthorized

LEVELS: Mapping[type[Event], int] = MappingProxyType(
    {
        events.TokenAdopted: logging.DEBUG,
        events.FieldsAssumed: logging.DEBUG,
        events.TokenRenewed: logging.INFO,
        events.Authorized: logging.INFO,
        events.TokenRevoked: logging.INFO,
        events.CommitRecovered: logging.INFO,
        events.RenewalFailed: logging.WARNING,
        events.TokenRejected: logging.WARNING,
        events.ScopeShrunk: logging.WARNING,
        events.StoreBypassed: logging.WARNING,
        events.LateTokenDropped: logging.WARNING,
        events.StoreNotDurable: logging.WARNING,
        events.CommitFailed: logging.ERROR,
        events.StoreWentBack: logging.ERROR,
        events.GrantDied: logging.ERROR,
        events.SchedulerRestarted: logging.ERROR,
    }
)
"""How loud each event is. `LoggingObserver(levels={GrantDied: logging.WARNING})` changes single ones."""

_TEXTS: Mapping[type[Event], str] = {
    events.TokenAdopted: "took token %(generation)d from the store, good for %(expires_in).0f s",
    events.FieldsAssumed: "Zoom left out %(fields)s: defaults are assumed",
    events.TokenRenewed: "token %(generation)d arrived, good for %(expires_in).0f s, after %(took).3f s",
    events.Authorized: "authorized anew, with token %(generation)d",
    events.TokenRevoked: "the token was revoked",
    events.CommitRecovered: "token %(generation)d is stored now",
    events.RenewalFailed: "the renewal failed after %(took).3f s: %(error)s",
    events.TokenRejected: "Zoom's API rejected token %(generation)d before its time",
    events.ScopeShrunk: "the new token may do less: it lost %(lost)s",
    events.StoreBypassed: "got a token without the store, for this process: %(error)s",
    events.LateTokenDropped: "a token came too late and was dropped",
    events.StoreNotDurable: "the refresh token is kept in memory only: the end of this process loses it",
    events.CommitFailed: "token %(generation)d could not be stored, and is served from memory: %(error)s",
    events.StoreWentBack: "the store went back from token %(newest)d to token %(generation)d: was a backup restored, "
    "or a write lost?",
    events.GrantDied: "the authorization is dead, the person has to authorize the app again: %(error)s",
    events.SchedulerRestarted: "the background task failed with %(kind)s and was started again",
}

_UNAUTHORIZED = "nothing to renew: %(error)s"
"""Of `RenewalFailed`, if a person has yet to authorize the app: each customer's first visit finds that out."""

_PREFIX = "zoom_auth_"
"""A name of `extra` that `LogRecord` has already would raise."""
_MOST_NAMES, _LONGEST_NAME, _LONGEST_TEXT = 20, 64, 500

_Value = str | int | float | bool | list[str] | None


class LoggingObserver:
    """Logs each event, as a line for people and as fields for programs; never a secret.

    A handler that writes over the network holds the event loop up: put it behind `logging.handlers.QueueHandler`.

    Args:
        logger: Where to; None: the logger `zoom_async_auth.events`.
        levels: Levels of single events, instead of those of `LEVELS`.
        show_key: Whether to tell whose token it is. If keys are people's names, they are in the log then.
    """

    def __init__(
        self,
        logger: logging.Logger | None = None,
        *,
        levels: Mapping[type[Event], int] | None = None,
        show_key: bool = True,
    ) -> None:
        self._logger = logger or logging.getLogger("zoom_async_auth.events")
        self._levels = {**LEVELS, **(levels or {})}
        self._misconfigured = (levels or {}).get(events.RenewalFailed, logging.ERROR)
        self._unauthorized = (levels or {}).get(events.RenewalFailed, logging.INFO)
        self._show_key = show_key

    def __call__(self, event: Event) -> None:
        """Log an event."""
        kind = type(event)
        level, text, values = self._levels[kind], _TEXTS[kind], _values(event)
        match event:
            case events.RenewalFailed(error=error) if is_unauthorized(error):
                level, text = self._unauthorized, _UNAUTHORIZED
            case events.RenewalFailed(error=error):
                text += _prospect(event)
                if isinstance(error, ConfigurationError):
                    level = self._misconfigured  # only a person can mend that
            case _:
                pass
        if self._show_key:
            text += " [key=%(key)s]"
        else:
            del values["key"]
        self._logger.log(level, text, values, extra={_PREFIX + name: value for name, value in values.items()})


def _prospect(event: events.RenewalFailed) -> str:
    """Say what a failure means for callers, and when the next try is."""
    text = ""
    if event.seconds_left is not None:
        text += (
            "; the token at hand is good for %(seconds_left).0f s" if event.seconds_left else "; no token is at hand"
        )
    if event.next_attempt is not None:
        text += "; next try in %(next_attempt).1f s"
    return text


def _values(event: Event) -> dict[str, _Value]:
    values: dict[str, _Value] = {"event": type(event).__name__}
    for field in fields(event):
        match getattr(event, field.name):
            case ZoomAuthError() as error:
                values |= _told(error)
            case frozenset() as names:
                values[field.name] = sorted(name[:_LONGEST_NAME] for name in names)[:_MOST_NAMES]
            case None if isinstance(event, events.StoreBypassed):
                values[field.name] = "its lease was busy for too long"
            case value:
                values[field.name] = value
    return values


def _told(error: ZoomAuthError) -> dict[str, _Value]:
    return {
        "error": str(error)[:_LONGEST_TEXT],
        "error_class": type(error).__name__,
        "transient": error.transient,
        "retry_after": error.retry_after,
        "status": error.status,
        "code": error.error,
        "reason": error.reason,
        "tracking_id": error.tracking_id,
    }
