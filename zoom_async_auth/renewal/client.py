"""One client id at Zoom: its endpoints, and the pauses that all its identities have to keep."""

from collections.abc import Callable
from dataclasses import replace

from zoom_async_auth.endpoint import Endpoint
from zoom_async_auth.errors import AuthorizationRequiredError, TokenUnavailableError, ZoomAuthError, recast
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant, DeviceCodeGrant, Grant, RefreshTokenGrant
from zoom_async_auth.oauth.token import Token
from zoom_async_auth.oauth.wire import DeviceCode
from zoom_async_auth.renewal.breaker import PAUSE, Breaker
from zoom_async_auth.renewal.gate import Gate
from zoom_async_auth.renewal.policy import Pause
from zoom_async_auth.renewal.sleepers import Sleepers


class Client:
    """Sends what an exchange wants to send, unless Zoom has asked for a pause; returns what went wrong, if so.

    Args:
        endpoint: Where it is sent.
        now: The clock, in seconds.
        gate: What holds many identities to a rate.

    Attributes:
        gate: As above.
        pause: What holds the next request back.
        breaker: Decides whether refusals are believed while many come at once.
        sleepers: Decides whether a refusal is believed if nobody uses the identity.
    """

    __slots__ = ("_endpoint", "_now", "breaker", "gate", "pause", "sleepers")

    def __init__(self, endpoint: Endpoint, now: Callable[[], float], *, gate: Gate) -> None:
        self._endpoint = endpoint
        self._now = now
        self.gate: Gate = gate
        self.breaker: Breaker = Breaker(now)
        self.sleepers: Sleepers = Sleepers(now)
        self.pause: Pause = Pause()

    async def exchange(self, grant: Grant, *, key: str, forced: bool = False) -> Token | ZoomAuthError:
        """Ask for a token; see `Endpoint.exchange`.

        Args:
            grant: What is sent.
            key: Whose token it is.
            forced: Whether a refusal is believed though many are refused at once: somebody asked about this one.
        """
        if (error := self._wished_pause()) is not None:
            return error
        answer = await self._endpoint.exchange(grant)
        failure = answer if isinstance(answer, ZoomAuthError) else None
        refreshing = isinstance(grant, RefreshTokenGrant)
        refused = isinstance(failure, AuthorizationRequiredError)
        if refreshing and failure is None:
            self.sleepers.note_success(key)
        if refreshing and failure is not None and refused and key in self.sleepers.asked:
            return failure if self.sleepers.note_refusal(key) else _not_yet_believed(failure)
        # A code that is refused says something about that code, not about the renewals of others.
        probing = not isinstance(grant, AuthorizationCodeGrant | DeviceCodeGrant)
        self.pause = self.pause.after(failure, now=self._now(), probing=probing)
        if probing or failure is None:
            self.gate.note(failure)
        if refreshing and (failure is None or refused):
            self.breaker.note(key, refused=refused, forced=forced)
            if failure is not None and self.breaker.open and not forced:
                return self._disbelieved(failure)
        return answer

    async def device_code(self) -> DeviceCode | ZoomAuthError:
        """Ask for a device code; see `Endpoint.device_code`."""
        if (error := self._wished_pause()) is not None:
            return error
        answer = await self._endpoint.device_code()
        failure = answer if isinstance(answer, ZoomAuthError) else None
        self.pause = self.pause.after(failure, now=self._now(), probing=False)
        return answer

    async def revoke(self, token: str) -> ZoomAuthError | None:
        """Have Zoom kill a token; see `Endpoint.revoke`."""
        if (error := self._wished_pause()) is not None:
            return error
        error = await self._endpoint.revoke(token)
        self.pause = self.pause.after(error, now=self._now(), probing=False)
        return error

    def _disbelieved(self, refusal: ZoomAuthError) -> TokenUnavailableError:
        doubt = recast(
            refusal,
            TokenUnavailableError,
            "many refresh tokens are refused at once, so no refusal is believed: is the app active, did its settings "
            "change? renew() puts one to the test",
            retry_after=PAUSE,
        )
        if self.breaker.nothing_but_refusals:
            self.pause = replace(self.pause, refused_until=self._now() + PAUSE, refused_by=doubt)
        return doubt

    def _wished_pause(self) -> ZoomAuthError | None:
        left = self.pause.asked_until - self._now()
        if left <= 0 or self.pause.asked_by is None:
            return None
        why = self.pause.asked_by
        return recast(
            why, TokenUnavailableError, f"nothing was sent, for an earlier answer: {why.args[0]}", retry_after=left
        )


def _not_yet_believed(refusal: ZoomAuthError) -> TokenUnavailableError:
    return recast(
        refusal,
        TokenUnavailableError,
        "Zoom refuses the refresh token, which nobody has used for long: it is tried once more, in some hours",
    )
