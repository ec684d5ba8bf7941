"""The servers that processes share here; they keep on disk what they were told."""

import atexit
import functools

from tests.stores.postgres import Postgres, postgres
from tests.stores.redis_server import RedisServer

Server = Postgres | RedisServer


@functools.cache
def server_of(kind: str) -> Server:
    """Return the server of that kind, started; who stops or freezes it mends it."""
    if kind == "postgres":
        return postgres()
    server = RedisServer(kind, appendonly=True)
    atexit.register(server.remove)
    server.start()
    return server


def mend(server: Server) -> None:
    """Set it going again, whatever was done to it."""
    if server._process is None:
        server.start()
    else:
        server.resume()
