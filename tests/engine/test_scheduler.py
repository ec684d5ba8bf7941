"""The one background task: many that are due at one moment, as at the end of a pause that Zoom asked for."""

import asyncio

from zoom_async_auth.renewal.scheduler import Scheduler


class _Due:
    """Something that is due from the start, once."""

    noted = float("inf")

    def __init__(self, tended: list["_Due"]) -> None:
        self.due = 0.0
        self._tended = tended

    def tend(self) -> None:
        self.due = float("inf")
        self._tended.append(self)


async def test_a_crowd_that_is_due_at_once_does_not_hold_the_loop_up() -> None:
    tended: list[_Due] = []
    loop = asyncio.get_running_loop()
    bugs: list[str] = []
    scheduler = Scheduler(loop.time, restart_after=1.0, report=bugs.append)
    for _ in range(1700):
        scheduler.plan(_Due(tended))
    running = asyncio.create_task(scheduler.run_for_ever())
    seen = []
    for _ in range(20):
        await asyncio.sleep(0)
        seen.append(len(tended))
    running.cancel()

    steps = [later - earlier for earlier, later in zip([0, *seen], seen, strict=False)]
    assert max(steps) == 500
    assert len(tended) == 1700
    assert not bugs
