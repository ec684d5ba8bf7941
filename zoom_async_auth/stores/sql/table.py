"""The table of a SQL store: its columns, its DDL for those who run migrations, and how a row is written and read."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Double, Index, MetaData, RowMapping, Table, Text, TypeDecorator, and_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from zoom_async_auth.errors import ConfigurationError, StoreError
from zoom_async_auth.stores import row as rows
from zoom_async_auth.stores.base import Record
from zoom_async_auth.stores.records import intents_from_text, intents_to_text, token_from_text, token_to_text
from zoom_async_auth.stores.row import Row


class _Hidden(str):
    """Text that is not shown: drivers log parameters, SQLAlchemy logs rows, both by their `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'...'"


class _HiddenText(TypeDecorator[str]):
    """A column of secrets."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else _Hidden(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:  # noqa: ANN401 -- what is there
        del dialect
        return _Hidden(value) if isinstance(value, str) else value


metadata: Final = MetaData()
"""For Alembic: `target_metadata = [..., metadata]`."""

tokens: Final = Table(
    "zoom_async_auth_tokens",
    metadata,
    # In the order of code points, wherever the database was made.
    Column("key", Text().with_variant(Text(collation="C"), "postgresql"), primary_key=True),
    Column("generation", BigInteger, nullable=False, doc="0: nothing was kept yet"),
    Column("payload", _HiddenText, doc="the token, with secrets; NULL: a tombstone"),
    Column("issued_at", Double, nullable=False, doc="seconds since 1970, of the database's clock, like all times"),
    Column("expires_at", Double, nullable=False),
    Column("cause", Text, doc="why the refresh token is dead"),
    Column("holder", Text, nullable=False, doc="of the lease"),
    Column("leased_until", Double, nullable=False),
    Column("intents", Text, nullable=False, doc="spendings without a result so far"),
)
"""One row for each key."""

_MAY_BE_RENEWED: Final = and_(tokens.c.payload.is_not(None), tokens.c.cause.is_(None))
_BY_AGE: Final = Index(  # a search for old ones does not read all; that a lease is taken does not touch it
    "zoom_async_auth_tokens_by_age",
    tokens.c.issued_at,
    postgresql_where=_MAY_BE_RENEWED,
    sqlite_where=_MAY_BE_RENEWED,
)

EMPTY: Final[Mapping[str, Any]] = {
    "generation": 0,
    "payload": None,
    "issued_at": 0.0,
    "expires_at": 0.0,
    "cause": None,
    "holder": "",
    "leased_until": 0.0,
    "intents": "[]",
}
"""What `Row()` is in the table."""

_DIALECTS: Final[Mapping[str, type[Dialect]]] = {"sqlite": sqlite.dialect, "postgresql": postgresql.dialect}


def ddl(dialect: str) -> str:
    """Return the statements that create the table and its index, for migrations without Alembic.

    Args:
        dialect: "sqlite" or "postgresql".

    Raises:
        ConfigurationError: It is neither.
    """
    if dialect not in _DIALECTS:
        raise ConfigurationError(f"no DDL for {dialect!r}: sqlite or postgresql")
    statements = (CreateTable(tokens), CreateIndex(_BY_AGE))
    return "\n".join(f"{str(made.compile(dialect=_DIALECTS[dialect]())).strip()};" for made in statements)


def row_of(found: RowMapping) -> Row | StoreError:
    """Return what a row of the table says; the error is returned, because the frames here hold secrets."""
    if not _is_whole(found):
        return StoreError("the stored row is damaged and was left as it is: restore it, or delete it", transient=False)
    intents = intents_from_text(found["intents"])
    if isinstance(intents, StoreError):
        return intents
    token = None if found["payload"] is None else token_from_text(found["payload"])
    if isinstance(token, StoreError):
        return token
    record = Record(
        generation=found["generation"],
        token=token,
        issued_at=found["issued_at"],
        expires_at=found["expires_at"],
        cause=found["cause"],
    )
    return Row(
        record=record if record.generation or token else None,
        holder=found["holder"],
        leased_until=found["leased_until"],
        intents=intents,
    )


def generation_of(found: RowMapping) -> int | StoreError:
    """Return the generation of a row that may be damaged otherwise."""
    generation = found["generation"]
    if isinstance(generation, int):
        return generation
    return StoreError("the generation of the stored row is damaged: restore it, or delete it", transient=False)


def row_values(row: Row) -> dict[str, Any]:
    """Return all columns of a row but its key."""
    if row.record is None:
        return {**EMPTY, **lease_values(row)}
    record = row.record
    return {
        "generation": record.generation,
        "payload": None if record.token is None else token_to_text(record.token),
        "issued_at": record.issued_at,
        "expires_at": record.expires_at,
        "cause": record.cause,
        **lease_values(row),
    }


def lease_values(row: Row) -> dict[str, Any]:
    """Return the columns of the lease and the intents."""
    return {"holder": row.holder, "leased_until": row.leased_until, "intents": intents_to_text(row.intents)}


def released_values(found: RowMapping, *, holder: str, doubt: bool) -> dict[str, Any]:
    """Return the columns that change when `holder` gives its lease back, in a row that may be damaged.

    Intents that cannot be read stay: somebody may be in doubt.
    """
    intents = intents_from_text(found["intents"])
    row = Row(holder=found["holder"], intents=() if isinstance(intents, StoreError) else intents)
    changed = rows.released(row, holder=holder, doubt=doubt)
    values = lease_values(changed)
    kept = {"holder", "leased_until"} if changed.holder == row.holder else set[str]()
    if changed.intents == row.intents:
        kept.add("intents")
    return {name: value for name, value in values.items() if name not in kept}


def _is_whole(found: RowMapping) -> bool:
    """Tell whether the types are right: a column of SQLite takes anything."""
    return (
        isinstance(found["generation"], int)
        and all(isinstance(found[name], int | float) for name in ("issued_at", "expires_at", "leased_until"))
        and all(isinstance(found[name], str) for name in ("holder", "intents"))
        and all(isinstance(found[name], str | None) for name in ("payload", "cause"))
    )
