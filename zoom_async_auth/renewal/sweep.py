"""Keeps unused authorizations alive: a refresh token that nobody uses dies one day.

An identity that nobody uses is not renewed: each exchange of a one-time token is a risk. But Zoom lets a refresh token
die that was not used for long (90 days, say its documents). So once in a while the store is asked whose token is old;
it gives each to one process of the fleet. A sweep that is broken off goes on by the next one: what is old is written
nowhere but in the records. Whoever could not be renewed is passed over for some hours: others get their turn.
"""

import math
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from zoom_async_auth.errors import StoreError
from zoom_async_auth.renewal.scheduler import Tended
from zoom_async_auth.renewal.sleepers import FEW, Sleepers
from zoom_async_auth.stores.base import Claimable

_PARTS = 1000
"""How often the store is asked within the age at which tokens are renewed."""
_OFTEN = 60.0
"""Seconds between two batches, at the least, unless the first one was full."""
LATER = 6 * 3600.0
"""Seconds for which one that could not be renewed is passed over."""


class Sweep:
    """Renews what is old, a batch at a time. The scheduler calls it.

    Args:
        store: Finds what is old.
        prefix: What the keys of this client begin with.
        holder: Names this process.
        age: Seconds after which a token is old.
        lease: For how many seconds a batch is taken.
        batch: How many are taken at once.
        now: The clock, in seconds.
        plan: Tells the scheduler when to call `tend`.
        spawn: Starts a task that only closing cancels.
        renew: Renews a few keys; returns those that it could not renew.
        give_back: Gives back what was claimed and is not renewed.
        sleepers: Says when nothing but refusals comes back.
        paused: Returns for how many seconds nothing may be sent.
        report: Told that the store failed, how long that took, and how long the pause is that follows.

    Attributes:
        due: When `tend` is to be called.
        noted: When the scheduler is going to call it.
    """

    def __init__(
        self,
        store: Claimable,
        *,
        prefix: str,
        holder: str,
        age: float,
        lease: float,
        batch: int,
        now: Callable[[], float],
        plan: Callable[[Tended], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        renew: Callable[[list[str]], Coroutine[Any, Any, list[str]]],
        give_back: Callable[[list[str]], Coroutine[Any, Any, None]],
        sleepers: Sleepers,
        paused: Callable[[], float],
        report: Callable[[StoreError, float, float], None],
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._holder = holder
        self._age = age
        self._lease = lease
        self._batch = batch
        self._now = now
        self._plan = plan
        self._spawn = spawn
        self._renew = renew
        self._give_back = give_back
        self._sleepers = sleepers
        self._passed_over: dict[str, float] = {}  # and up to when
        self._paused = paused
        self._report = report
        self.due: float = math.inf
        self.noted: float = math.inf

    def begin(self, luck: float) -> None:
        """Plan the first batch at a random moment: a fleet that starts together must not sweep at once."""
        self._plan_in(luck * self._pause)

    def tend(self) -> None:
        """Take a batch and renew it; not while nothing may be sent."""
        self.due = math.inf
        if (pause := self._paused()) > 0:
            self._plan_in(pause)
        else:
            self._spawn(self._sweep())

    @property
    def _pause(self) -> float:
        return max(_OFTEN, self._age / _PARTS)

    async def _sweep(self) -> None:
        since = self._now()
        pause = self._pause
        try:
            pause = await self._take_batch()
        except StoreError as known:
            self._report(known.copy(), self._now() - since, pause)
        except Exception as foreign:  # noqa: BLE001 -- its text may show what is stored: only its class is told
            self._report(StoreError(f"the store failed: {type(foreign).__name__}"), self._now() - since, pause)
        finally:
            self._plan_in(pause)

    async def _take_batch(self) -> float:
        """Renew some of the oldest; return the seconds until the next batch."""
        now = self._now()
        self._passed_over = {key: until for key, until in self._passed_over.items() if until > now}
        limit = self._batch + len(self._passed_over)
        with anyio.fail_after(self._lease):  # then what was claimed is free again
            claimed = await self._store.claim(
                self._prefix, self._holder, older_than=self._age, lease=self._lease, limit=limit
            )
        keys = [key.removeprefix(self._prefix) for key in claimed]
        await self._give_back([key for key in keys if key in self._passed_over])
        wanted = [key for key in keys if key not in self._passed_over]
        for start in range(0, len(wanted), FEW):
            left = await self._renew(wanted[start : start + FEW])
            self._passed_over.update(dict.fromkeys(left, self._now() + LATER))
            if self._sleepers.enough_refused:
                await self._give_back(wanted[start + FEW :])
                return _OFTEN
        return 0.0 if len(claimed) == limit else self._pause

    def _plan_in(self, seconds: float) -> None:
        self.due = self._now() + seconds
        self._plan(self)
