"""Who is cancelled: we, or what we wait for."""

import asyncio


def is_being_cancelled() -> bool:
    """Tell whether somebody cancels this very task.

    A `CancelledError` may also come from a task of somebody else that was cancelled while we waited for it.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
