"""A command in a pseudo-terminal: what a person sees and types there."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

PATIENCE = 40.0
"""Seconds until something that has to be shown is missed: a process starts slowly on a loaded machine."""
_WIDTH = 250
# A session of its own, whose terminal it is: so Ctrl-C is what it is for a person.
_TAKES_THE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
_INVISIBLE = re.compile(r"\r\S waiting[^\r]*|\r\S asking[^\r]*|\r\S going[^\r]*|\r\S looking[^\r]*|\r\S telling[^\r]*")


class Terminal:
    """What a process has shown so far.

    Attributes:
        shown: All of it.
    """

    def __init__(self, process: asyncio.subprocess.Process, terminal: int) -> None:
        self._process = process
        self._terminal = terminal
        self._news = asyncio.Event()
        self._is_over = False
        self.shown = ""
        asyncio.get_running_loop().add_reader(terminal, self._read)

    async def until(self, text: str) -> str:
        """Wait until `text` is shown; return all that is shown by then."""
        async with asyncio.timeout(PATIENCE):
            while text not in self.shown:
                assert not self._is_over, f"it ended without {text!r}: {self.shown}"
                self._news.clear()
                await self._news.wait()
        return self.shown

    def type(self, text: str) -> None:
        """Type; a line ends with a line feed, and Ctrl-C is \\x03."""
        os.write(self._terminal, text.encode())

    async def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code, and all that was shown but what moved."""
        async with asyncio.timeout(PATIENCE):
            code = await self._process.wait()
            while not self._is_over:
                self._news.clear()
                await self._news.wait()
        return code, _INVISIBLE.sub("", self.shown).replace("\r\n", "\n")

    def close(self) -> None:
        """Kill what is left."""
        asyncio.get_running_loop().remove_reader(self._terminal)
        if self._process.returncode is None:
            self._process.kill()
        os.close(self._terminal)

    def _read(self) -> None:
        try:
            received = os.read(self._terminal, 65536)
        except BlockingIOError:
            return
        except OSError:  # the other end is closed: Linux says so this way
            received = b""
        self._is_over = not received
        if self._is_over:
            asyncio.get_running_loop().remove_reader(self._terminal)
        self.shown += received.decode(errors="replace")
        self._news.set()


@asynccontextmanager
async def terminal(environment: Mapping[str, str], *command: str) -> AsyncIterator[Terminal]:
    """Run a command in a terminal of its own; it is gone afterwards."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, _WIDTH, 0, 0))
    os.set_blocking(ours, False)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-SEc", _TAKES_THE_TERMINAL, *command),
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    screen = Terminal(process, ours)
    try:
        yield screen
    finally:
        with suppress(ProcessLookupError):
            screen.close()
        await process.wait()
