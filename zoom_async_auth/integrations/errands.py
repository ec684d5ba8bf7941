"""Work that outlives the request that asked for it: whoever hangs up in the middle must not take a spent code along."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from zoom_async_auth.bugs import told_of
from zoom_async_auth.errors import ManagerClosedError, TokenUnavailableError, ZoomAuthError
from zoom_async_auth.integrations.readiness import is_temporary

_MOST_KNOWN: Final = 4096

Outcome = ZoomAuthError | None
"""How work ended: None is success. Errors are returned, because the frames of the work hold secrets."""


class Errands:
    """Does work in tasks of its own.

    Args:
        now: The clock for `until`.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._tasks: set[asyncio.Task[Outcome]] = set()  # the event loop itself keeps only weak references
        self._known: dict[str, tuple[float, asyncio.Task[Outcome]]] = {}

    async def see_through(self, work: Callable[[], Awaitable[object]]) -> Outcome:
        """Do `work`, and return how it ended. It goes on if the caller is cancelled."""
        return await self._joined(self._begun(work))

    async def once(self, name: str, work: Callable[[], Awaitable[object]], *, until: float) -> Outcome:
        """Do `work`, unless it was done, or is being done, under this name: then share how that ends.

        Work that failed for a while only may be done again.

        Args:
            name: Of the work.
            work: Is not called a second time.
            until: The moment, by `now`, up to which the outcome is remembered.
        """
        known = self._known.get(name)
        if known is None or (known[1].done() and _may_be_repeated(known[1])):
            self._make_room()
            known = until, self._begun(work)
            self._known[name] = known
        return await self._joined(known[1])

    async def aclose(self) -> None:
        """Wait for what is being done."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def _begun(self, work: Callable[[], Awaitable[object]]) -> asyncio.Task[Outcome]:
        task = asyncio.get_running_loop().create_task(_ended(work), name="zoom-async-auth")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _joined(self, task: asyncio.Task[Outcome]) -> Outcome:
        if not task.done():
            await asyncio.wait({task})
        if task.cancelled():
            return ManagerClosedError("the program ended before it was done")
        return task.result()

    def _make_room(self) -> None:
        now = self._now()
        while self._known:
            oldest = next(iter(self._known))
            if now < self._known[oldest][0] and len(self._known) < _MOST_KNOWN:
                return
            del self._known[oldest]


async def _ended(work: Callable[[], Awaitable[object]]) -> Outcome:
    try:
        await work()
    except ZoomAuthError as known:
        failure: ZoomAuthError = known.copy()
    except Exception as bug:  # noqa: BLE001 -- its text and frames may hold secrets: only class and lines are told
        failure = TokenUnavailableError(f"failed on a bug: {told_of(bug)}", transient=False)
    else:
        return None
    return failure


def _may_be_repeated(task: asyncio.Task[Outcome]) -> bool:
    if task.cancelled():
        return True
    outcome = task.result()
    return outcome is not None and is_temporary(outcome)
