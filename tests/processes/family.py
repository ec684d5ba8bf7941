"""Processes that a test starts, and ends: children of a fork server that has loaded everything once."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import anyio.to_thread

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.processes.members"])
_STOPPED = {"T", "t"}
_ENDED = {"", "Z", "X"}
_one_at_a_time = threading.Lock()
"""Each start looks which children have ended; two threads that read of the same end confuse each other."""


class Child:
    """One process, and a pipe to it. Starting it blocks for a moment: `Child.of` is for an event loop."""

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(target=work, args=(*arguments, theirs), daemon=True)
        with _one_at_a_time:
            self._process.start()
        theirs.close()

    @classmethod
    async def of(cls, work: Callable[..., None], *arguments: Any) -> Self:
        """Start a process that does this work."""
        return await anyio.to_thread.run_sync(cls, work, *arguments)

    async def hears(self, *, within: float = 30.0) -> Any:
        """Return what it says next.

        Raises:
            EOFError: It has ended.
        """

        def wait() -> Any:
            assert self._pipe.poll(within), "it says nothing"
            return self._pipe.recv()

        return await anyio.to_thread.run_sync(wait)

    async def tell(self, what: object) -> None:
        """Say something to it."""
        await anyio.to_thread.run_sync(self._pipe.send, what)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    async def ended(self, *, within: float = 30.0) -> int | None:
        """Wait for its end; return its exit code, negative if a signal ended it."""

        def wait() -> int | None:
            assert multiprocessing.connection.wait([self._process.sentinel], within), "it goes on"
            self._pipe.close()
            with _one_at_a_time:
                self._process.join()
                return self._process.exitcode

        return await anyio.to_thread.run_sync(wait)

    async def stopped(self, *, within: float = 30.0) -> bool:
        """Wait until a signal has stopped it; False: it has ended instead."""

        def wait() -> bool:
            give_up = time.monotonic() + within
            while (state := self._state()) not in _STOPPED:
                if state in _ENDED:
                    return False
                assert time.monotonic() < give_up, "it is not stopped"
                time.sleep(0.01)
            return True

        return await anyio.to_thread.run_sync(wait)

    def end(self) -> None:
        """End it, if it has not ended."""
        with _one_at_a_time:
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def _state(self) -> str:
        """Return what proc(5) says; nothing once it is gone."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        except FileNotFoundError:
            return ""
        return stat.rpartition(")")[2].split()[0]
