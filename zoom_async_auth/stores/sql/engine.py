"""What SQLite and PostgreSQL need, each in its way: which URLs are taken, how to connect, what time it is."""

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import starmap
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.extras import told_missing
from zoom_async_auth.stores.urls import QUOTE, require_parameters

CONNECTIONS: Final = 5
"""To a server."""
PATIENCE: Final = 4.5
"""Seconds after which a call has failed: less than a policy's `commit_timeout`, so that its reason is heard."""

_PATIENCE_WITH_LOCKS: Final = 3.5
_PATIENCE_WITH_CONNECTING: Final = 3.0
_LONGEST_USE: Final = 60
"""Seconds after which a connection is made anew: firewalls forget one that idles, without telling either end."""

_PORT: Final = 5432
_TOO_MANY: Final = f"the URL of the store has an @ too many: {QUOTE}"
_WRITES: Final = "zoom_async_auth_writes"
_DRIVERS: Final = {"sqlite": "aiosqlite", "postgresql": "asyncpg"}
_EXTRAS: Final = {"sqlite": "sql", "postgresql": "postgres"}
_PARAMETERS: Final[dict[str, frozenset[str]]] = {
    "sqlite": frozenset(),
    "postgresql": frozenset({"host", "port", "ssl", "sslmode", "target_session_attrs"}),
}
_NOW: Final = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch from clock_timestamp())::double precision",  # now() is when the transaction began
}
_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # with less, WAL loses the last commits with the power
    "PRAGMA fullfsync = ON",  # on macOS, what is synced has reached the disk; elsewhere nothing changes
    "PRAGMA secure_delete = ON",  # a token that was replaced is not left in a free page
)
# Local to the transaction, so that it holds behind PgBouncer, too, and for nobody else. A host that freezes in the
# middle does not keep its lock for long; and a commit is durable, also where the database was set to less.
_BEFORE_WRITING: Final = text(
    f"""
    SELECT set_config('lock_timeout', '{_PATIENCE_WITH_LOCKS * 1000:.0f}', true),
           set_config('idle_in_transaction_session_timeout', '{PATIENCE * 1000:.0f}', true),
           set_config('synchronous_commit', CASE current_setting('synchronous_commit')
                      WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)
    """
)


def parsed(url: str) -> URL:
    """Return the URL of a database, with the driver that is used.

    Raises:
        ConfigurationError: No store can use it. The message says what to do, and shows no password.
    """
    try:
        found = make_url(url)
    except (ArgumentError, ValueError, TypeError, AttributeError):
        found = None
    if found is None:
        raise ConfigurationError("the URL of the store cannot be read: sqlite:////path, or postgresql://user@host/name")
    backend = found.get_backend_name()
    driver = _DRIVERS.get(backend)
    if driver is None or found.drivername not in {backend, f"{backend}+{driver}"}:
        raise ConfigurationError(
            f"no SQLStore for {found.drivername!r}: sqlite:////path, or postgresql://user@host/name; for Redis use "
            "RedisStore"
        )
    if find_spec(driver) is None:
        raise ConfigurationError(told_missing(driver, _EXTRAS[backend]))
    require_parameters({*found.query, *_parameters_in(str(url), backend)}, _PARAMETERS[backend])
    if backend != "sqlite" and str(url).count("@") > 1:  # a password with an @ and a question mark reads like a host
        raise ConfigurationError(_TOO_MANY)
    found = found.set(drivername=f"{backend}+{driver}")
    return _of_file(found) if backend == "sqlite" else _of_server(found)


def _parameters_in(url: str, backend: str) -> Iterator[str]:
    """Yield the parameters of a URL, also those without a value, which SQLAlchemy leaves out."""
    behind_user = url if backend == "sqlite" else url.rpartition("@")[2]  # a password may have a question mark in it
    yield from (name for name, _ in parse_qsl(behind_user.partition("?")[2], keep_blank_values=True))


def file_of(url: URL) -> str | None:
    """Return the path of the database's file; None if it is on a server."""
    return url.database if url.get_backend_name() == "sqlite" else None


def server_of(url: URL) -> str | None:
    """Return where the database's server is, for people: `host:port`, or a socket; None if the URL does not say."""
    if file_of(url) is not None:
        return None
    _, arguments = url.get_dialect()().create_connect_args(url)  # a parameter may name it, and several hosts, too
    hosts, ports = (arguments.get(name) or [] for name in ("host", "port"))
    hosts = [hosts] if isinstance(hosts, str) else hosts
    ports = ports if isinstance(ports, list) and ports else [ports or _PORT] * len(hosts)
    return ", ".join(starmap(_shown, zip(hosts, ports, strict=True))) or None


def now_of(url: URL) -> str:
    """Return the SQL for the database's time, in seconds since 1970-01-01 UTC."""
    return _NOW[url.get_backend_name()]


def make_engine(url: URL) -> AsyncEngine:
    """Return the connections of one event loop; none is made before somebody asks for it."""
    common: dict[str, Any] = {
        "hide_parameters": True,
        "poolclass": AsyncAdaptedQueuePool,
        "pool_timeout": PATIENCE,
        "max_overflow": 0,
    }
    path = file_of(url)
    return _for_server(url, common) if path is None else _for_file(path, common)


async def to_write(connection: AsyncConnection) -> None:
    """Prepare the transaction that is about to begin for writing."""
    if connection.dialect.name == "sqlite":
        await connection.execution_options(**{_WRITES: True})
    else:
        await connection.execute(_BEFORE_WRITING)


def _of_file(url: URL) -> URL:
    if url.host or not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigurationError(
            "the URL of the store names no file: sqlite:////path with four slashes (MemoryStore is what forgets)"
        )
    path = Path(url.database)
    return url if path.is_absolute() else url.set(database=str(Path.cwd() / path))  # it may be another one later


def _of_server(url: URL) -> URL:
    if "@" in f"{url.host}{url.database}{url.query.get('host')}":
        raise ConfigurationError(_TOO_MANY)
    if not url.database:
        raise ConfigurationError("the URL of the store names no database: postgresql://user@host/name")
    query = dict(url.query)
    if "sslmode" in query:  # as libpq calls it, and every provider's dashboard
        query.setdefault("ssl", query.pop("sslmode"))
    found = url.set(query=query)
    if not _names_servers(found):
        raise ConfigurationError(
            "the URL of the store has hosts and ports that do not fit: host=one:5432&host=two:5432"
        )
    return found


def _names_servers(url: URL) -> bool:
    try:
        server_of(url)
    except (ArgumentError, ValueError):
        return False
    return True


def _shown(host: str, port: int) -> str:
    if host.startswith("/"):
        return f"{host}/.s.PGSQL.{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _for_file(path: str, common: dict[str, Any]) -> AsyncEngine:
    # Never create the file: SQLite would give it the mode of the umask.
    address = URL.create("sqlite+aiosqlite", database=f"file:{quote(path)}", query={"mode": "rw", "uri": "true"})
    # One connection: SQLite has one writer at a time, and its own queue for it is neither fair nor fast.
    engine = create_async_engine(address, pool_size=1, connect_args={"timeout": _PATIENCE_WITH_LOCKS}, **common)

    # The sqlite3 module begins transactions by itself, and too late: SQLAlchemy's remedy, with an IMMEDIATE for those
    # that will write, so that two of them cannot both have read before either writes.
    @event.listens_for(engine.sync_engine, "connect")
    def _(connection: Any, _record: object) -> None:  # noqa: ANN401 -- SQLAlchemy's adapter has no public type
        connection.isolation_level = None
        connection.driver_connection.text_factory = _read
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _read(raw: bytes) -> str:
    """Read damaged text as well: sqlite3's own error would show it."""
    return raw.decode(errors="replace")


def _for_server(url: URL, common: dict[str, Any]) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=CONNECTIONS,
        pool_pre_ping=True,
        pool_recycle=_LONGEST_USE,
        isolation_level="READ COMMITTED",  # whoever waited for a row wants to see what became of it
        connect_args={
            "timeout": _PATIENCE_WITH_CONNECTING,
            # Without them, no statement is prepared under a name, which PgBouncer's next connection would not know.
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
        },
        **common,
    )
