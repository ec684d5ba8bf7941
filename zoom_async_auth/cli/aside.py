"""Work that may block for longer than anybody wants to wait: the keyring's dialog, a browser, a name server."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import TypeVar

_T = TypeVar("_T")


async def aside(work: Callable[[], _T], *, within: float) -> _T:
    """Return what `work` returns. It is done in a thread that nobody waits for: not even the end of the program.

    Args:
        work: What may block.
        within: Seconds.

    Raises:
        TimeoutError: It takes longer.
        Exception: What `work` raised.

    Cancellation: `work` goes on, unheard.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[_T] = loop.create_future()

    def settle(result: Callable[[], None]) -> None:
        if not outcome.done():
            result()

    def run() -> None:
        try:
            result = partial(outcome.set_result, work())
        except Exception as error:  # noqa: BLE001 -- raised where it is waited for
            result = partial(outcome.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result)

    Thread(target=run, daemon=True).start()
    async with asyncio.timeout(within):
        return await outcome
