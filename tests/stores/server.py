"""A server of our own on loopback, to be stopped, frozen and killed."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

UNPRIVILEGED = "nobody" if os.geteuid() == 0 else None
"""Who runs what does not want to be run by root."""


class ServerProcess:
    """A server with a port and a folder of its own, which it keeps from one start to the next.

    All methods block: call them from synchronous code, or by `asyncio.to_thread`.

    Args:
        user: Who runs it; None: who runs the tests.
    """

    def __init__(self, *, user: str | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="zoom-async-auth-"))
        self.port = _free_port()
        self._user = user
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None

    def pause(self) -> None:
        """Freeze all its processes: connections are taken by the kernel, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End all its processes at once."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *command: str | Path) -> None:
        if self._process is None:
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    command, cwd=self.folder, stdout=log, stderr=log, user=self._user, start_new_session=True
                )
        give_up = time.monotonic() + 15
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < give_up, "it does not answer"
            time.sleep(0.02)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self.resume()
            if how == signal.SIGKILL:
                self._signal(how)
            else:
                self._process.send_signal(how)  # it tells its children
            self._process.wait(timeout=15)
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        """Signal the server and its children: those of PostgreSQL are in groups of their own."""
        assert self._process is not None
        server = psutil.Process(self._process.pid)
        for process in (server, *server.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
