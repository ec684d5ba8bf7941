"""What happened, as frozen records for observers.

An observer is a plain callable. It is called on the event loop, in order, after the fact, holding no lock; it must not
block. What it raises is logged once for each observer, and disturbs nobody. Times are seconds; `took` counts from the
first look into the store. `key` is the identity's key, or "pool" for a whole `TokenPool`.
"""

import inspect
import logging
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass

from zoom_async_auth.errors import ConfigurationError, ZoomAuthError

_log = logging.getLogger("zoom_async_auth")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRenewed:
    """We got a token from Zoom. `expires_in` is its lifetime."""

    key: str
    generation: int
    expires_in: float
    took: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAdopted:
    """Somebody else's token was found in the store, and is ours now. `expires_in` is what is left of it."""

    key: str
    generation: int
    expires_in: float
    took: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalFailed:
    """An attempt failed. A token that is still valid goes on being served.

    Attributes:
        key: Whose token it is.
        error: Why it failed.
        took: How long the attempt took.
        seconds_left: For how long the token at hand may still be handed out; 0: there is none. None for a whole pool.
        next_attempt: Seconds until the next one; None if a person has to authorize first, or the manager is closing.
    """

    key: str
    error: ZoomAuthError
    took: float
    seconds_left: float | None = None
    next_attempt: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRejected:
    """A caller reports that Zoom's API refused a token before its expiry."""

    key: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldsAssumed:
    """Zoom's answer left these fields out, and they got their defaults."""

    key: str
    fields: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeShrunk:
    """The new token may do less than the one before it."""

    key: str
    lost: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitFailed:
    """A token arrived and could not be stored. It is served from memory; storing it is tried until it works."""

    key: str
    generation: int
    error: ZoomAuthError


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRecovered:
    """The token that could not be stored is stored now."""

    key: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreBypassed:
    """An app's token was got without the store, for this process.

    `error`: how the store failed; None: its lease was busy for too long.
    """

    key: str
    error: ZoomAuthError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreWentBack:
    """The store has an older generation than we saw there: a backup was restored, or a write was lost.

    Attributes:
        key: Whose token it is.
        generation: What the store has.
        newest: What we have. It is put back if its refresh token is known here.
    """

    key: str
    generation: int
    newest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantDied:
    """Zoom refused the refresh token for good. Nothing more is sent until somebody authorizes again.

    `answer_was_lost`: an earlier request with it got no answer, so Zoom has probably rotated it then.
    """

    key: str
    error: ZoomAuthError
    answer_was_lost: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorized:
    """A person's authorization, or an imported pair of tokens, took effect."""

    key: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRevoked:
    """Zoom was told to kill the token, and did."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LateTokenDropped:
    """A token arrived after its identity was authorized anew or forgotten. `revoked`: Zoom was told to kill it."""

    key: str
    revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerRestarted:
    """The background task failed on a bug of ours and was started again.

    `kind`: the exception's class, and the lines that led there.
    """

    key: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreNotDurable:
    """A person's refresh token is kept in memory only: the end of this process loses it."""

    key: str


Event = (
    TokenRenewed
    | TokenAdopted
    | RenewalFailed
    | TokenRejected
    | FieldsAssumed
    | ScopeShrunk
    | CommitFailed
    | CommitRecovered
    | StoreBypassed
    | StoreWentBack
    | GrantDied
    | Authorized
    | TokenRevoked
    | LateTokenDropped
    | SchedulerRestarted
    | StoreNotDurable
)
"""Whatever an observer may be told."""

Observer = Callable[[Event], None]
"""A plain callable, not a coroutine function."""


class Announcer:
    """Hands events to observers, each in a turn of the event loop of its own, never in the middle of a renewal.

    Raises:
        ConfigurationError: An observer that can never be told anything.
    """

    __slots__ = ("_context", "_loop", "_muted", "_observers")

    def __init__(self, observers: Iterable[Observer]) -> None:
        if not isinstance(observers, Iterable):
            raise ConfigurationError("observers must be a list of callables")
        self._observers = tuple(observers)
        for index, observer in enumerate(self._observers):
            if (problem := unfit(observer)) is not None:
                raise ConfigurationError(f"observer {index} {problem}: an observer is a plain callable")
        self._context: Context | None = None
        self._muted: set[int] = set()
        self._loop: AbstractEventLoop | None = None

    def bind(self, loop: AbstractEventLoop, context: Context) -> None:
        """Name the loop and the context in which observers are called."""
        self._loop = loop
        self._context = context

    def __call__(self, event: Event) -> None:
        """Tell all observers, soon."""
        if self._loop is None:
            return
        for index, observer in enumerate(self._observers):
            self._loop.call_soon(self._tell, index, observer, event, context=self._context)

    def _tell(self, index: int, observer: Observer, event: Event) -> None:
        try:
            observer(event)
        except Exception as error:  # noqa: BLE001 -- whatever it raises, the renewal goes on
            if index not in self._muted:
                self._muted.add(index)
                _log.error(
                    "observer %d failed on %s with %s; further failures of it are not logged",
                    index,
                    type(event).__name__,
                    type(error).__name__,
                )


def unfit(observer: object) -> str | None:
    """Return why something can never be called back, if so."""
    if not callable(observer):
        return "cannot be called"
    if isinstance(observer, type):
        return "is a class, not an object of it"
    if any(map(inspect.iscoroutinefunction, (observer, getattr(observer, "__call__", None)))):  # noqa: B004 -- called
        return "is a coroutine function, which nobody would await"
    return None
