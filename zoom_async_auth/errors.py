"""What can go wrong, as one class per decision that a caller can take.

    ZoomAuthError
      ConfigurationError          fix the configuration (also a ValueError)
      TokenUnavailableError       try again later
      AuthorizationRequiredError  ask the person to authorize the app again
      StoreError                  look after the store
      ManagerClosedError          the manager is closed, or closed meanwhile
      MisuseError                 fix the program (also a RuntimeError)

No error holds a secret, so each can be logged, pickled and shown.
"""

from typing import Any, ClassVar, Self, TypeVar

_E = TypeVar("_E", bound="ZoomAuthError")


class ZoomAuthError(Exception):
    """Why there is no token.

    Attributes:
        transient: Whether waiting longer may help, with nothing changed by anybody.
        retry_after: Seconds until another try makes sense, if that is known.
        error: Zoom's `error` code (RFC 6749, section 5.2), cleaned and cut.
        reason: Zoom's `reason`, cleaned and cut.
        status: The HTTP status of Zoom's answer.
        tracking_id: Zoom's `x-zm-trackingid`, for its support.
        in_doubt: Whether what was asked for may have been done although no readable answer came back: by Zoom, then a
            refresh token that was sent may be spent; or by a store, which may even do it later.
    """

    _transient_by_default: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        transient: bool | None = None,
        retry_after: float | None = None,
        error: str | None = None,
        reason: str | None = None,
        status: int | None = None,
        tracking_id: str | None = None,
        in_doubt: bool = False,
    ) -> None:
        super().__init__(message)
        self.transient: bool = self._transient_by_default if transient is None else transient
        self.retry_after = retry_after
        self.error = error
        self.reason = reason
        self.status = status
        self.tracking_id = tracking_id
        self.in_doubt = in_doubt

    def __str__(self) -> str:
        shown = {
            "status": self.status,
            "error": self.error,
            "reason": self.reason,
            "retry_after": None if self.retry_after is None else round(self.retry_after, 3),
            "x-zm-trackingid": self.tracking_id,
        }
        details = ", ".join(f"{name}={value!r}" for name, value in shown.items() if value is not None)
        message = str(self.args[0])
        return f"{message} [{details}]" if details else message

    def copy(self, **changes: Any) -> Self:  # noqa: ANN401 -- the keywords of the constructor
        """Return an error of the same content without traceback, cause or context, `changes` applied.

        One exception object that is raised in many tasks would collect the tracebacks of all.
        """
        return _rebuilt(type(self), self.args, {**self._details(), **changes})

    def _details(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "__notes__"}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args, self._details())


def _rebuilt(kind: type[_E], args: tuple[Any, ...], details: dict[str, Any]) -> _E:
    """Return an error without calling its constructor: that of a class of somebody else may want other arguments."""
    error = kind.__new__(kind, *args)
    vars(error).update(details)
    return error


def recast(error: ZoomAuthError, kind: type[_E], message: str, *, retry_after: float | None = None) -> _E:
    """Return an error of another class, with a text of its own, and with what Zoom said in this one."""
    return kind(
        message,
        retry_after=retry_after,
        error=error.error,
        reason=error.reason,
        status=error.status,
        tracking_id=error.tracking_id,
    )


class ConfigurationError(ZoomAuthError, ValueError):
    """Something that only a person can correct: credentials, an option, the app's settings at Zoom."""


class TokenUnavailableError(ZoomAuthError):
    """No token now: the network, Zoom, or a deadline. Trying later may help, unless `transient` is False."""

    _transient_by_default = True


class AuthorizationRequiredError(ZoomAuthError):
    """Nobody has authorized the app yet, or the authorization is dead: send the person to Zoom's consent page."""


class StoreError(ZoomAuthError):
    """The store failed. Meanwhile no refresh token is sent; a token that has arrived is kept in memory until stored."""

    _transient_by_default = True


class ManagerClosedError(ZoomAuthError):
    """The manager was closed, before the call or while it waited."""


class MisuseError(ZoomAuthError, RuntimeError):
    """The program uses the manager in a way that cannot work: before its start, on another loop, after a fork."""
