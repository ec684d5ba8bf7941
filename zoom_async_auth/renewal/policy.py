"""When to renew, when to stop handing out, when to try again: pure functions of time and luck.

Times are seconds; `luck` is a random number in [0, 1), so that many processes do not act in the same instant.
"""

import math
from dataclasses import dataclass, fields, replace

from zoom_async_auth.errors import AuthorizationRequiredError, ConfigurationError, ZoomAuthError

LONGEST_BACKOFF = 60.0
SHORTEST_BACKOFF = 0.05
"""Whatever luck says: a store that fails at once, and a random number of 0, make no busy loop."""
MOST_INTERVALS = 60
"""In multiples of `min_interval`: how far the floor grows while fresh tokens keep being rejected."""
PROBE_PAUSE = 1800.0
"""Between two attempts of an app that Zoom calls misconfigured: only a person can mend that."""
LEASE_RESERVE = 5.0
"""What a lease has beyond the longest exchange and the longest commit."""
STORE_POLL = 30.0
"""Between two looks into the store of a process that cannot renew by itself."""
_NEVER = -math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalPolicy:
    """When a token is replaced, and when it is no longer handed out. All but `jitter` are seconds.

    Attributes:
        renew_before: A token turns stale this long before its expiry, at the latest; 40 % of its life at most.
        leeway: A token is not handed out in its last seconds (a tenth of its life at most).
        jitter: Share of the lifetime over which the moment of renewal is spread.
        min_interval: The least time between the arrival of a token and the next request for one.
        timeout: How long a caller waits for a token at most.
        attempt_timeout: How long Zoom has to answer one request.
        commit_timeout: How long the store has for one call.
        doubt: For how long another process's use of a refresh token, without a result yet, is taken seriously: we wait
            while our token lasts, and do not take a refusal for its death.

    Raises:
        ConfigurationError: A value that makes no sense.
    """

    renew_before: float = 300.0
    leeway: float = 10.0
    jitter: float = 0.1
    min_interval: float = 1.0
    timeout: float = 30.0
    attempt_timeout: float = 10.0
    commit_timeout: float = 5.0
    doubt: float = 300.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ConfigurationError(f"{field.name} must be a finite number of seconds, 0 or more")
        for name in ("min_interval", "timeout", "attempt_timeout", "commit_timeout"):
            if getattr(self, name) == 0:
                raise ConfigurationError(f"{name} must be more than 0 seconds")
        if self.jitter > 0.5:  # noqa: PLR2004 -- with the 0.4 of renew_before, a tenth of the life is left
            raise ConfigurationError("jitter must be a share of the lifetime, 0.5 at most")

    @property
    def lease(self) -> float:
        """For how long the right to exchange is taken: one attempt, its commit, and a reserve."""
        return self.attempt_timeout + self.commit_timeout + LEASE_RESERVE

    def stale_age(self, lifetime: float, luck: float) -> float:
        """Return the age at which a token turns stale."""
        # A token that lives shorter than the margin would arrive stale and be renewed in a loop.
        margin = min(self.renew_before, 0.4 * lifetime)
        return lifetime - margin - self.jitter * lifetime * luck

    def withheld_age(self, lifetime: float) -> float:
        """Return the age from which a token is never handed out."""
        return lifetime - min(self.leeway, lifetime / 10)

    def floor(self, rejections: int) -> float:
        """Return the pause after the arrival of a token, when `rejections` in a row were reported by callers."""
        doublings = min(max(rejections - 1, 0), 10)
        return self.min_interval * min(MOST_INTERVALS, 1 << doublings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restraint:
    """What holds one identity's next attempt back. It outlives flights; times are moments of the manager's clock.

    Attributes:
        floor: No renewal is sent before this moment, not even for `renew()`: set once a token was revoked or forgotten,
            or a person is needed.
        backoff: No renewal is sent before this moment unless `renew()` asks; each failure in a row may put it later.
        failures: How many in a row.
        last_error: The latest failure since the latest success.
    """

    floor: float = _NEVER
    backoff: float = _NEVER
    failures: int = 0
    last_error: ZoomAuthError | None = None

    @classmethod
    def for_a_person(cls, error: ZoomAuthError, *, look_at: float) -> "Restraint":
        """Return what holds when only a person can help: nothing is sent, the store is looked at from `look_at` on."""
        return cls(floor=look_at, last_error=error)

    def until(self, *, forced: bool) -> float:
        """Return the moment up to which it holds. A forced attempt respects nothing but the floor."""
        return self.floor if forced else max(self.floor, self.backoff)

    def after_failure(self, error: ZoomAuthError, *, now: float, luck: float, left: float) -> "Restraint":
        """Return what holds after a failed attempt.

        Args:
            error: Why it failed.
            now: The moment it failed.
            luck: A random number in [0, 1).
            left: Seconds that a held token has left; 0 without one.
        """
        longest = min(LONGEST_BACKOFF, (1 << min(self.failures, 10)) / 2)
        if left > 0:
            longest = min(longest, left / 4)  # several tries still fit into what is left
        pause = max(SHORTEST_BACKOFF, luck * longest)
        return replace(self, backoff=now + pause, failures=self.failures + 1, last_error=error)

    def relieved(self) -> "Restraint":
        """Return what is left once the trouble is over: the floor."""
        return Restraint(floor=self.floor)


NO_RESTRAINT = Restraint()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """What holds back every request of one client id. It outlives flights; times are moments of the manager's clock.

    Attributes:
        asked_until: Up to when Zoom wants no request (`Retry-After`), or a TLS connection that is not to be trusted
            suggests none.
        asked_by: The error that said so.
        refused_until: Up to when an app that Zoom calls misconfigured is left alone: only a person can mend that.
        refused_by: The error that said so.
    """

    asked_until: float = _NEVER
    asked_by: ZoomAuthError | None = None
    refused_until: float = _NEVER
    refused_by: ZoomAuthError | None = None

    def until(self, *, forced: bool) -> float:
        """Return the moment up to which it holds. A forced attempt respects what Zoom asked for, nothing else."""
        return self.asked_until if forced else max(self.asked_until, self.refused_until)

    def reason_at(self, now: float) -> ZoomAuthError | None:
        """Return why it holds so long; None once it is over."""
        if self.until(forced=False) <= now:
            return None
        return self.refused_by if self.refused_until > self.asked_until else self.asked_by

    def after(self, error: ZoomAuthError | None, *, now: float, probing: bool) -> "Pause":
        """Return what holds after an answer.

        Args:
            error: Why there was not what was asked for; None if there was.
            now: The moment of the answer.
            probing: Whether the answer tells how the app itself is configured.
        """
        until = _NEVER if error is None or error.retry_after is None else now + error.retry_after
        refused = probing and isinstance(error, ConfigurationError)
        accepted = probing and (error is None or isinstance(error, AuthorizationRequiredError))
        pause = replace(self, asked_until=until, asked_by=error) if until > self.asked_until else self
        if refused:
            return replace(pause, refused_until=now + PROBE_PAUSE, refused_by=error)
        return replace(pause, refused_until=_NEVER, refused_by=None) if accepted else pause
