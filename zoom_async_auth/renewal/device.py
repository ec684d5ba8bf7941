"""A person authorizes a device without a browser: it shows a code, and asks until the code was typed in elsewhere.

    Zoom says (RFC 8628, section 3.5)    what follows
      authorization_pending                asked again after the interval
      slow_down                            the same; the interval is five seconds longer from now on
      nothing, or that it is in trouble    the same; with each time in a row the pause doubles
      access_denied, expired_token         over
      a token                              kept as that of any other authorization

Each question goes the way of an authorization, under a lease of its own: so a token is never lost, and none is asked
for that could not be stored. A lease that somebody else holds is waited for, not taken over: there is time.

Errors are returned, never raised: the frames here hold secrets, and a traceback shows frames.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import anyio

from zoom_async_auth.errors import (
    AuthorizationRequiredError,
    ManagerClosedError,
    StoreError,
    ZoomAuthError,
)
from zoom_async_auth.oauth.grants import DeviceCodeGrant
from zoom_async_auth.oauth.wire import DeviceCode
from zoom_async_auth.renewal.held import Held
from zoom_async_auth.renewal.ledger import Ledger
from zoom_async_auth.renewal.policy import LONGEST_BACKOFF

Show = Callable[[DeviceCode], Awaitable[None] | None]
"""Shows a person what to type in, and where."""

_SLOWER = 5.0
_LONGEST_WAIT = 60.0
"""Seconds that another's lease is waited for at most; by the default policy it lasts 20."""
_CLOSED = "the manager was closed before the person had decided"
_EXPIRED = "the device code has expired: ask the person to authorize the app again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a device asks.

    Attributes:
        interval: Seconds between an answer and the next question.
        misses: How many questions in a row got no answer.
    """

    interval: float
    misses: int = 0

    def pause(self) -> float:
        """Return the seconds until the next question."""
        return max(self.interval, min(self.interval * (1 << min(self.misses, 10)), LONGEST_BACKOFF))

    def after(self, error: ZoomAuthError) -> "Pace | None":
        """Return how to go on after an answer without a token; None: not at all."""
        match error.error:
            case "authorization_pending":
                return Pace(interval=self.interval)
            case "slow_down":
                return Pace(interval=self.interval + _SLOWER)
            case _:
                return replace(self, misses=self.misses + 1) if error.transient else None


class DeviceFlow:
    """One identity's authorization on a device.

    Args:
        ledger: The identity's key of the store.
        now: The manager's clock.
        closing: Set when the manager closes.
        ask: Asks Zoom for the codes.
        authorize: Asks Zoom for the token, and keeps it; whoever cancels it does not stop it.
    """

    def __init__(
        self,
        ledger: Ledger,
        now: Callable[[], float],
        closing: asyncio.Event,
        *,
        ask: Callable[[], Awaitable[DeviceCode | ZoomAuthError]],
        authorize: Callable[[DeviceCodeGrant], Awaitable[Held | ZoomAuthError]],
    ) -> None:
        self._ledger = ledger
        self._now = now
        self._closing = closing
        self._ask = ask
        self._authorize = authorize

    async def run(self, show: Show) -> Held | ZoomAuthError:
        """Return the token of whoever typed the code in, or why there is none.

        Cancellation: no further question; one that is on the wire is seen through, and its token kept.
        """
        asked_at = self._now()
        code = await self._ask()
        if isinstance(code, ZoomAuthError):
            return code
        shown = show(code)
        if inspect.isawaitable(shown):
            await shown
        pace = Pace(interval=code.interval)
        pause = pace.pause()
        while self._now() + pause < asked_at + code.expires_in:
            await self._sleep(pause)
            if self._closing.is_set():
                return ManagerClosedError(_CLOSED)
            outcome = await self._question(code)
            if isinstance(outcome, Held) or (slower := pace.after(outcome)) is None:
                return outcome
            pace = slower
            pause = max(pace.pause(), outcome.retry_after or 0.0)
        return AuthorizationRequiredError(_EXPIRED, error="expired_token")

    async def _question(self, code: DeviceCode) -> Held | ZoomAuthError:
        seen = await self._ledger.peek()
        if not isinstance(seen, StoreError) and seen.reading.lease_left > 0:
            await self._sleep(min(seen.reading.lease_left, _LONGEST_WAIT))
        return await self._authorize(DeviceCodeGrant(device_code=code.device_code))

    async def _sleep(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._closing.wait()
