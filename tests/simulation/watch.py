"""Looks over the shoulder of the tasks that managers own: counts their suspensions, and acts at one of them."""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

Work = Coroutine[Any, Any, Any] | Generator[Any, None, Any]


class Watch:
    """Counts the suspensions of the tasks that managers own, and acts at one of them."""

    OWN = frozenset({"Slot._fly", "Slot._settle", "Crew.see_through.<locals>.keep", "TokenManager._supervise"})

    def __init__(self) -> None:
        self._left = 0
        self._act: Callable[[], object] | None = None

    def at(self, suspension: int, act: Callable[[], object]) -> None:
        """Call `act` at that suspension, counted from now."""
        self._left, self._act = suspension, act

    def disarm(self) -> None:
        """Do nothing from now on."""
        self._act = None

    def factory(self, loop: asyncio.AbstractEventLoop, coroutine: Work, **options: Any) -> asyncio.Task[Any]:
        """Make a task; watch it if it is the work of a manager."""
        if getattr(coroutine, "__qualname__", "") not in self.OWN:
            return asyncio.Task(coroutine, loop=loop, **options)
        task = asyncio.Task(self._watched(coroutine), loop=loop, **options)
        task.add_done_callback(lambda _: coroutine.close())  # it never began if the task was cancelled at once
        return task

    async def _watched(self, coroutine: Work) -> None:
        await self._stepping(coroutine)

    @types.coroutine
    def _stepping(self, coroutine: Work) -> Generator[Any, Any, None]:
        step: Callable[[], Any] = partial(coroutine.send, None)
        while True:
            try:
                waited_for = step()
            except StopIteration:
                return
            self._suspended()
            try:
                yield waited_for
            except BaseException as error:  # noqa: BLE001 -- whatever comes goes into the coroutine
                step = partial(coroutine.throw, error)
            else:
                step = partial(coroutine.send, None)

    def _suspended(self) -> None:
        if self._act is None:
            return
        self._left -= 1
        if self._left == 0:
            self._act()


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch all tasks that are made in here, on the running loop."""
    loop = asyncio.get_running_loop()
    watch = Watch()
    loop.set_task_factory(watch.factory)
    try:
        yield watch
    finally:
        loop.set_task_factory(None)
