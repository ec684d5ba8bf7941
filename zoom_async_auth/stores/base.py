"""The protocol between a renewal and the place where tokens are kept.

What a store promises, and nothing beyond it:

- Each change of one key is atomic, and durable (if `durable`) before the call returns.
- The generation of a key never goes back and never restarts, not even through `forget`.
- Every reading carries the store's own time, so that hosts whose clocks differ agree on leases and expiry.

The caller decides; the store compares. It never computes a generation, a deadline or a state.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.oauth.token import Token

PLAUSIBLE_LEASE: Final = 60.0
"""Seconds. Another's lease is believed for this long at most, or for as long as the asker's own if that is longer:
see `begin`.
"""


SEALED: Final = "sealed."
"""What a token begins with that `EncryptedStore` has sealed."""
NO_GENERATION: Final = -1
"""No record has it: a `begin` for it is refused, and only looks."""


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is kept of one identity. Times are seconds of the store's clock.

    Attributes:
        generation: Grows by one with each change of the token.
        token: None is a tombstone: there was one, and it was revoked or forgotten.
        issued_at: When the token was asked for.
        expires_at: When it expires.
        cause: Why its refresh token is dead, once Zoom has said so; None while it may be used.
    """

    generation: int
    token: Token | None
    issued_at: float
    expires_at: float
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The note "I am about to spend the refresh token of this generation", not yet followed by a result."""

    holder: str
    generation: int
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at a key.

    Attributes:
        record: What is kept, or None if there never was anything.
        now: The store's time of this look, in seconds.
        lease_left: Seconds for which *another* holder may still exchange; 0 if nobody does.
        intents: Notes without a result, the reader's own among them; none is from the future.
    """

    record: Record | None
    now: float
    lease_left: float = 0.0
    intents: tuple[Intent, ...] = ()

    @property
    def generation(self) -> int:
        """The generation of the record; 0 if there never was one."""
        return 0 if self.record is None else self.record.generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The lease is ours and our intent is written. `reading` is authoritative; its intents are the earlier ones."""

    reading: Reading


class Store(Protocol):
    """A place for tokens. `holder` names one manager: a lease belongs to it, and `begin` is re-entrant for it.

    A store that must not be the only home of a person's refresh token says why, and what to do, in a text,
    `rotating_risk`, and a manager of such a token refuses it. Where that is None, or missing, the store is fit.

    Any method but `__aenter__` may raise anything when the store is down; what is raised counts as "not known to be
    done". Cancelling a call leaves either the old or the new content, whole.
    """

    @property
    def durable(self) -> bool:
        """Whether what is kept survives the end of this process."""
        ...

    async def __aenter__(self) -> Self:
        """Count one more user. Does no I/O, so that an application starts while the store is down."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Count one user less; the last one closes the connections. The store may be entered again."""
        ...

    async def peek(self, key: str) -> Reading:
        """Look; take no lease, write no intent. The answer may lag behind `begin`, and leave out the refresh token."""
        ...

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        """Take the lease and write the intent in one step, if the record still has `generation`.

        An intent that the holder has for this generation stays as it is: its doubt ends for others, however often the
        holder tries again.

        A store's clock may have been set back. So if another's lease has more left than both `PLAUSIBLE_LEASE` and
        `lease`, it is cut to the longer of the two, counted from now, and an intent from the future is dated now; only
        if `generation` is current, else nothing changes. It is cut and not taken away, because its holder may be at
        work: the lease was taken before now, so a cut to no less than the holder took does not end it early; if it took
        more, its intent still tells what it may have sent.

        Args:
            key: Whose token it is.
            generation: What the caller believes to be current; 0 if it saw nothing.
            holder: Who asks.
            lease: For how many seconds.
            supersede: Whether a lease of another holder is taken over: a new authorization outranks a renewal.

        Returns:
            `Begun` if the lease is the caller's now; else what is there instead. Both are authoritative.
        """
        ...

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:
        """Keep `record` if the generation is still `sent`; clear lease and intents. The lease need not be held."""
        ...

    async def condemn(self, key: str, generation: int, cause: str) -> bool:
        """Note that the refresh token of `generation` is dead; clear lease and intents. The generation stays.

        Returns:
            Whether `generation` was still current; if not, nothing was changed.
        """
        ...

    async def release(self, key: str, holder: str, *, doubt: bool) -> None:
        """Give the lease back, if it is the holder's; drop its intent, unless the outcome is in doubt."""
        ...

    async def wait(self, key: str, generation: int, timeout: float) -> None:
        """Return once `key` may have changed since `generation`, soon if it has; after `timeout` seconds at most."""
        ...

    async def forget(self, key: str) -> None:
        """Leave a tombstone of the next generation; clear lease and intents."""
        ...


@runtime_checkable
class Browsable(Protocol):
    """What a store offers beyond the protocol to those who look after it: which keys there are."""

    async def keys(self, *, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return the keys that come after `after`, in the order of their code points, `limit` at most.

        An empty answer is the end. Keys of tombstones are among them.
        """
        ...


@runtime_checkable
class Claimable(Protocol):
    """What a store offers beyond the protocol to a pool: to find identities that nobody renews, once for a fleet.

    A wrapping store tells by an attribute, `can_claim`, whether the inner one is able to; if it has none, it is.
    """

    async def claim(self, prefix: str, holder: str, *, older_than: float, lease: float, limit: int) -> tuple[str, ...]:
        """Take the lease of keys whose token is old; write no intent. No two callers get the same key.

        A lease of another that ends too late is cut, as by `begin`, and stays that holder's.

        Args:
            prefix: What the keys begin with.
            holder: Who asks; it may `begin` with what it gets.
            older_than: How many seconds ago their token was issued, at least. One that is dead, or a tombstone, does
                not count.
            lease: For how many seconds.
            limit: How many keys at most, the oldest first.
        """
        ...


def can_claim(store: object) -> bool:
    """Tell whether a store is `Claimable`, and so is what is in it."""
    return isinstance(store, Claimable) and getattr(store, "can_claim", True)
