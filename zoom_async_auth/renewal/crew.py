"""The tasks that a manager owns: no caller's cancellation reaches them, and none outlives the manager."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from zoom_async_auth.bugs import told_of
from zoom_async_auth.errors import ManagerClosedError, MisuseError, TokenUnavailableError

_T = TypeVar("_T")


class Crew:
    """Runs work in tasks of its own, in the context of the manager and not in that of whoever calls."""

    __slots__ = ("_context", "_loop", "_tasks")

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop itself keeps only weak references
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: Context | None = None

    def bind(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        """Name the loop and the context in which all work is done."""
        self._loop = loop
        self._context = context

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start to do `work`."""
        if self._loop is None or self._context is None:
            work.close()
            raise MisuseError("the manager is not open: use async with, or await start()")
        # A copy: a task that starts eagerly cannot enter a context that is in use.
        task = self._loop.create_task(work, name="zoom-async-auth", context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def see_through(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what `work` returns. It goes on if the caller is cancelled: what is spent has to be kept.

        Raises:
            ManagerClosedError: It was dismissed first.
            TokenUnavailableError: It failed on a bug.
        """
        results: list[_T] = []
        bugs: list[str] = []

        async def keep() -> None:
            try:
                results.append(await work)
            except Exception as bug:  # noqa: BLE001 -- its text and frames hold secrets: only class and lines are told
                bugs.append(told_of(bug))

        task = self.spawn(keep())
        task.add_done_callback(lambda _: work.close())  # it never began if the task was cancelled at once
        await asyncio.wait({task})
        if bugs:
            raise TokenUnavailableError(f"failed on a bug: {bugs[0]}", transient=False)
        if not results:
            raise ManagerClosedError("the manager was closed before it was done")
        return results[0]

    async def dismiss(self, *, all_but: Callable[[object], bool], within: float) -> None:
        """Cancel all tasks at once, except those that may finish `within` that many seconds."""
        for task in self._tasks:
            if not all_but(task):
                task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=within)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
