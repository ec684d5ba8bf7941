"""What a store does with one key, as pure functions: a row goes in, the row that takes its place comes out.

Stores whose place can run Python within one transaction are these functions and a way to keep a row.
"""

from dataclasses import dataclass, replace

from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.stores.base import PLAUSIBLE_LEASE, Intent, Reading, Record


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """All that is kept of one key. Times are seconds of the store's clock."""

    record: Record | None = None
    holder: str = ""
    leased_until: float = 0.0
    intents: tuple[Intent, ...] = ()

    @property
    def generation(self) -> int:
        """The generation of the record; 0 if there never was one."""
        return 0 if self.record is None else self.record.generation


def read(row: Row, now: float, *, reader: str = "") -> Reading:
    """Return what `reader` sees; its own lease holds nobody back."""
    foreign = row.holder not in {"", reader}
    return Reading(
        record=row.record,
        now=now,
        lease_left=max(0.0, row.leased_until - now) if foreign else 0.0,
        intents=_begun_by(row.intents, now),
    )


def longest(lease: float) -> float:
    """Return how much is left of another's lease at most, for one who would take one of `lease` seconds."""
    # Not what the asker takes alone: where others take more, it would end the lease of one who is at work.
    return max(lease, PLAUSIBLE_LEASE)


def timely(row: Row, now: float, *, generation: int, lease: float) -> Row:
    """Return the row without times that a clock left there which was set back since; `begin` says why that is safe.

    It has to be kept also where `begun` says None: only from then on, what is left of the lease gets less.
    """
    if row.generation != generation:
        return row
    until = min(row.leased_until, now + longest(lease))
    return replace(row, leased_until=until, intents=_begun_by(row.intents, now))


def begun(row: Row, now: float, *, generation: int, holder: str, lease: float, supersede: bool) -> Row | None:
    """Return the row with the lease of `holder` and its intent, made of a `timely` one; None if somebody was faster."""
    busy = row.holder not in {"", holder} and row.leased_until > now
    if row.generation != generation or (busy and not supersede):
        return None
    intents = row.intents
    if not any(intent.holder == holder and intent.generation == generation for intent in intents):
        others = tuple(intent for intent in intents if intent.holder != holder)
        intents = (*others, Intent(holder=holder, generation=generation, since=now))
    return replace(row, holder=holder, leased_until=now + lease, intents=intents)


def committed(row: Row, record: Record, *, sent: int) -> Row | None:
    """Return the row of `record`, without lease and intents; None if the generation is not `sent` any more."""
    return Row(record=record) if row.generation == sent else None


def condemned(row: Row, *, generation: int, cause: str) -> Row | None:
    """Return the row with its refresh token noted as dead, without lease and intents; None if it is another one."""
    if row.record is None or row.generation != generation:
        return None
    return Row(record=replace(row.record, cause=cause))


def released(row: Row, *, holder: str, doubt: bool) -> Row:
    """Return the row without the lease of `holder`, and without its intent unless the outcome is in doubt."""
    if not doubt:
        row = replace(row, intents=tuple(intent for intent in row.intents if intent.holder != holder))
    return replace(row, holder="", leased_until=0.0) if row.holder == holder else row


def forgotten(row: Row, now: float) -> Row:
    """Return the tombstone that takes the place of the row."""
    return Row(record=Record(generation=row.generation + 1, token=None, issued_at=now, expires_at=now))


def is_claimable(row: Row, now: float, *, older_than: float, lease: float) -> bool:
    """Tell whether its refresh token is old, not known to be dead, and nobody's to spend, or for too long."""
    record = row.record
    if record is None or record.token is None or record.cause is not None:
        return False
    return record.issued_at < now - older_than and not now < row.leased_until <= now + longest(lease)


def claimed(row: Row, now: float, *, holder: str, lease: float) -> Row:
    """Return the row with the lease of `holder`, without an intent; or with that of another one, cut."""
    if row.leased_until > now:
        return replace(row, leased_until=now + longest(lease))
    return replace(row, holder=holder, leased_until=now + lease)


def _begun_by(intents: tuple[Intent, ...], now: float) -> tuple[Intent, ...]:
    return tuple(replace(intent, since=min(intent.since, now)) for intent in intents)
