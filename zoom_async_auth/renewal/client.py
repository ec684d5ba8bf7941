"""One client id at Zoom: its endpoints, and the pauses that all its identities have to keep."""

from collections.abc import Callable

from zoom_async_auth.endpoint import Endpoint
from zoom_async_auth.errors import TokenUnavailableError, ZoomAuthError
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant, DeviceCodeGrant, Grant
from zoom_async_auth.oauth.token import Token
from zoom_async_auth.renewal.policy import Pause


class Client:
    """Sends what an exchange wants to send, unless Zoom has asked for a pause; returns what went wrong, if so.

    Attributes:
        pause: What holds the next request back.
    """

    __slots__ = ("_endpoint", "_now", "pause")

    def __init__(self, endpoint: Endpoint, now: Callable[[], float]) -> None:
        self._endpoint = endpoint
        self._now = now
        self.pause: Pause = Pause()

    async def exchange(self, grant: Grant) -> Token | ZoomAuthError:
        """Ask for a token; see `Endpoint.exchange`."""
        if (error := self._refusal()) is not None:
            return error
        answer = await self._endpoint.exchange(grant)
        # A code that is refused says something about that code, not about the renewals of others.
        probing = not isinstance(grant, AuthorizationCodeGrant | DeviceCodeGrant)
        self.pause = self.pause.after(
            answer if isinstance(answer, ZoomAuthError) else None, now=self._now(), probing=probing
        )
        return answer

    async def revoke(self, token: str) -> ZoomAuthError | None:
        """Have Zoom kill a token; see `Endpoint.revoke`."""
        if (error := self._refusal()) is not None:
            return error
        error = await self._endpoint.revoke(token)
        self.pause = self.pause.after(error, now=self._now(), probing=False)
        return error

    def _refusal(self) -> ZoomAuthError | None:
        left = self.pause.wished - self._now()
        if left <= 0:
            return None
        return TokenUnavailableError("Zoom asked for a pause, nothing was sent: try again later", retry_after=left)
