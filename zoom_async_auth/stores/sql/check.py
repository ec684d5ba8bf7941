"""What can be told about a database that is to keep tokens."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from zoom_async_auth.stores.facts import ANSWERS, Fact
from zoom_async_auth.stores.sql.table import tokens

_ENOUGH: Final = 2
"""PRAGMA synchronous: 2 is FULL, 3 is EXTRA."""


async def facts_of(connection: AsyncConnection) -> tuple[Fact, ...]:
    """Return what a look at the database tells. Its table was found before, with all columns."""
    version = ".".join(map(str, connection.dialect.server_version_info or ()))
    return (
        Fact(what=ANSWERS, ok=True, told=f"{connection.dialect.name} {version}"),
        Fact(what="has the table", ok=True, told=tokens.name),
        await (_durable_file if connection.dialect.name == "sqlite" else _durable_server)(connection),
    )


async def _durable_file(connection: AsyncConnection) -> Fact:
    journal = str((await connection.execute(text("PRAGMA journal_mode"))).scalar_one())
    synchronous = int((await connection.execute(text("PRAGMA synchronous"))).scalar_one())
    return Fact(
        what="is durable",
        ok=journal == "wal" and synchronous >= _ENOUGH,
        told=f"journal_mode {journal}, synchronous {synchronous}",
    )


async def _durable_server(connection: AsyncConnection) -> Fact:
    look = text("SELECT current_setting('fsync'), current_setting('synchronous_commit'), pg_is_in_recovery()")
    fsync, synchronous, standby = (await connection.execute(look)).one()
    return Fact(
        what="is durable",
        ok=fsync == "on" and not standby,
        told=f"fsync {fsync}, synchronous_commit {synchronous} (for tokens at least on), "
        f"{'a standby' if standby else 'the primary'}",
    )
