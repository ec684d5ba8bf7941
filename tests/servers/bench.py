"""What a test on a real server works with."""

import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from tests.servers.peers import REDIRECT_URI, Peer
from tests.servers.person import visit
from tests.servers.wire import Wire
from zoom_async_auth import RenewalPolicy, Token, TokenManager, UserOAuth, ZoomAuthError
from zoom_async_auth.endpoint import AiohttpTransport, Endpoint
from zoom_async_auth.events import Event
from zoom_async_auth.oauth.authorize import authorization_request, read_callback
from zoom_async_auth.oauth.credentials import Credentials
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant, RefreshTokenGrant
from zoom_async_auth.testing import ManualClock

_E = TypeVar("_E", bound=Event)

AT_ONCE = RenewalPolicy(jitter=0.0, min_interval=0.001)
"""Hardly a pause between one token and the next."""


class Bench:
    """A manager's surroundings.

    Attributes:
        peer: The server.
        clock: The manager's clock: the server has its own, and goes on to take what counts as expired here.
        wire: What the manager sends.
        events: What it reported.
    """

    def __init__(self, peer: Peer, follow: Callable[[], float]) -> None:
        self.peer = peer
        self.clock = ManualClock(follow)
        self.wire = Wire()
        self.events: list[Event] = []

    def manager(
        self, credentials: Credentials | None = None, *, policy: RenewalPolicy = AT_ONCE, luck: float = 0.0
    ) -> TokenManager:
        """Return a manager of the app that acts for persons, or of another one, that is not open yet."""
        return TokenManager(
            credentials or self.peer.person,
            base_url=self.peer.url,
            policy=policy,
            transport=self.wire,
            clock=self.clock,
            observers=[self.events.append],
            random=lambda: luck,
        )

    def endpoint(self, credentials: Credentials | None = None) -> AbstractAsyncContextManager[Endpoint]:
        """Return a way to the server past every manager."""
        return Endpoint(
            credentials or self.peer.person,
            base_url=self.peer.url,
            transport=AiohttpTransport(),
            clock=self.clock,
            attempt_timeout=10.0,
        )

    async def refresh(self, token: Token, credentials: UserOAuth | None = None) -> Token | ZoomAuthError:
        """Spend a refresh token behind the manager's back."""
        async with self.endpoint(credentials) as endpoint:
            return await endpoint.exchange(RefreshTokenGrant(refresh_token=token.refresh_token or ""))

    async def asked(self, *, allows: bool = True) -> AuthorizationCodeGrant | ZoomAuthError:
        """Ask the person for consent and return what comes back."""
        request = authorization_request(
            self.peer.person,
            redirect_uri=REDIRECT_URI,
            randomness=secrets.token_bytes(64),
            base_url=self.peer.url,
        )
        back = await visit(request.url, self.peer.passport, allows=allows)
        assert str(back).startswith(REDIRECT_URI)
        return read_callback(back.raw_query_string, request)

    async def consent(self) -> AuthorizationCodeGrant:
        """Return the grant of a person who allows the app."""
        grant = await self.asked()
        assert isinstance(grant, AuthorizationCodeGrant)
        return grant

    def expire(self) -> None:
        """Let the held token pass its time."""
        self.clock.advance(4000.0)

    def seen(self, kind: type[_E]) -> list[_E]:
        """Return the events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]
