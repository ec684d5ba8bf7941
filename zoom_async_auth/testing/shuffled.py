"""An event loop that wakes tasks in another order for each seed, so that a race that may happen does happen."""

import asyncio
import itertools
import random
from collections import deque
from weakref import WeakKeyDictionary

from zoom_async_auth.testing.virtual import VirtualTimeLoop


class ShuffledLoop(VirtualTimeLoop):
    """A `VirtualTimeLoop` on which tasks that are due in the same turn run in an order that only the seed decides.

    asyncio promises no order among tasks that can go on at the same moment; in practice it is always the same, and
    hides races. One run for each of many seeds finds them, and the seed replays what it found, on CPython 3.11 to 3.14:

        with asyncio.Runner(loop_factory=functools.partial(ShuffledLoop, seed)) as runner:
            runner.run(scenario())

    Only tasks change places, with each other: transports rely on the order of all other callbacks.

    Args:
        seed: Decides the order. The same seed gives the same order, if the program itself is deterministic.
        grace: Real seconds that sockets and threads get before time leaps, as for `VirtualTimeLoop`.
    """

    _ready: deque[asyncio.Handle]  # CPython's own, unknown to typeshed

    def __init__(self, seed: int, *, grace: float = 0.0) -> None:
        self._random = random.Random(seed)  # noqa: S311 -- an order, no secret
        self._count = itertools.count()
        self._ages: WeakKeyDictionary[asyncio.Task[object], int] = WeakKeyDictionary()
        super().__init__(grace)

    def _run_once(self) -> None:
        self._shuffle()
        super()._run_once()  # type: ignore[misc] # as above

    def _shuffle(self) -> None:
        places: list[int] = []
        wakeups: list[tuple[int, asyncio.Handle]] = []
        for place, handle in enumerate(self._ready):
            task = getattr(getattr(handle, "_callback", None), "__self__", None)  # whose step it is, if it is one
            if isinstance(task, asyncio.Task):
                places.append(place)
                wakeups.append((self._ages.setdefault(task, next(self._count)), handle))
        # By age first: whoever cancels a set of tasks does so in the order of their addresses, which no seed repeats.
        wakeups.sort(key=lambda wakeup: wakeup[0])
        self._random.shuffle(wakeups)
        for place, (_, handle) in zip(places, wakeups, strict=True):
            self._ready[place] = handle
