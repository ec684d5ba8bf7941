"""The door of a store that has connections: they belong to one event loop and one process, and to those who entered."""

import asyncio
import os
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from zoom_async_auth.errors import MisuseError


class Home(Protocol):
    """The connections, made by the first call."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that they belong to."""
        ...

    @property
    def pid(self) -> int:
        """The process that they belong to."""
        ...

    async def close(self) -> None:
        """End them."""
        ...


_H = TypeVar("_H", bound=Home)


class Door(Generic[_H]):
    """Counts those who have entered. The first call makes the connections, the last one to leave ends them.

    Args:
        make: Returns the connections of the running loop, without connecting.
    """

    def __init__(self, make: Callable[[], _H]) -> None:
        self._make = make
        self._inside = 0
        self._home: _H | None = None
        self._inherited: list[_H] = []

    def enter(self) -> None:
        """Count one more; connect to nothing.

        Raises:
            MisuseError: The event loop is one of tests, on which every deadline is over before an answer can come.
        """
        if getattr(asyncio.get_running_loop(), "leaps_over_waiting", False):
            raise MisuseError(
                "this event loop leaps over waiting, a database cannot: take MemoryStore, or a VirtualTimeLoop(grace=5)"
            )
        if self._home is not None and self._home.pid != os.getpid():
            # After a fork the connections are the parent's. They are kept: to collect them could end them for it, too.
            self._inherited.append(self._home)
            self._inside, self._home = 0, None
        elif self._home is not None and self._home.loop.is_closed():
            self._inside, self._home = 0, None  # it was not left before its loop ended
        self._inside += 1

    async def leave(self) -> None:
        """Count one less. The closing goes on if the last one to leave is cancelled."""
        self._inside -= 1
        if self._inside == 0 and self._home is not None:
            home, self._home = self._home, None
            if home.loop is not asyncio.get_running_loop():
                return  # nobody can end them from here
            await asyncio.wait({home.loop.create_task(home.close(), name="zoom-async-auth")})

    def home(self) -> _H:
        """Return the connections.

        Raises:
            MisuseError: Nobody has entered, or those who have came on another event loop, or before a fork.
        """
        if self._inside == 0:
            raise MisuseError("the store is not open: use async with")
        if self._home is None:
            self._home = self._make()
        if self._home.loop is not asyncio.get_running_loop() or self._home.pid != os.getpid():
            raise MisuseError("the store is in use on another event loop or in another process: make one for each")
        return self._home
