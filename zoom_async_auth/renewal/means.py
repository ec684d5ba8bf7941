"""What all identities of one client share."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from zoom_async_auth import events
from zoom_async_auth.oauth.grants import AppGrant
from zoom_async_auth.renewal.client import Client
from zoom_async_auth.renewal.ledger import Ledger
from zoom_async_auth.renewal.policy import RenewalPolicy
from zoom_async_auth.renewal.scheduler import Tended
from zoom_async_auth.stores.base import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What all identities of one client share.

    Attributes:
        app_grant: What the app sends for a token in its own name; None: it acts for people.
        client: Sends it.
        store: Where tokens are kept.
        prefix: What the names of identities begin with there.
        holder: Names this process there.
        policy: When to renew, and how long to wait.
        now: The clock that goes on during a suspend.
        wall: The wall clock.
        random: Returns a number in [0, 1).
        announce: Tells observers.
        spawn: Starts a task that only closing cancels.
        plan: Tells the scheduler when something is due.
        retire: Asked when something is due: whether nobody wants that token any more. Then it is not renewed.
        closing: Set once: nothing new is handed out or sent.
        writers: Tasks that are between `begin` and `commit`; closing lets them finish.
    """

    app_grant: AppGrant | None
    client: Client
    store: Store
    prefix: str
    holder: str
    policy: RenewalPolicy
    now: Callable[[], float]
    wall: Callable[[], float]
    random: Callable[[], float]
    announce: Callable[[events.Event], None]
    spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
    plan: Callable[[Tended], None]
    retire: Callable[[Any], bool]
    closing: asyncio.Event
    writers: set[object] = field(default_factory=set)

    def ledger(self, key: str) -> Ledger:
        """Return what asks the store about one identity."""
        return Ledger(self.store, key=self.prefix + key, holder=self.holder, policy=self.policy, now=self.now)

    @property
    def is_app(self) -> bool:
        """Whether the app gets tokens in its own name, as many as it likes."""
        return self.app_grant is not None
