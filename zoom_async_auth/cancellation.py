"""Who is cancelled: we, or what we wait for; and what must not be."""

import asyncio
from collections.abc import Coroutine
from typing import Any


def is_being_cancelled() -> bool:
    """Tell whether somebody cancels this very task.

    A `CancelledError` may also come from a task of somebody else that was cancelled while we waited for it.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do `work` to its end before this task is cancelled: what is opened half-way, nobody could close."""
    task = asyncio.get_running_loop().create_task(work, name="zoom-async-auth")
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        await asyncio.wait({task})
        _ = task.cancelled() or task.exception()  # it is of no interest any more
        raise
    task.result()
