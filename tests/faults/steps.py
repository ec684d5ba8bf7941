"""What many rows begin with, a person who has authorized the app; and what came of it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.engine.world import QUIET, World, turns
from zoom_async_auth import (
    AuthorizationCodeGrant,
    RenewalPolicy,
    StoredToken,
    TokenManager,
    TokenUnavailableError,
    UserOAuth,
    ZoomAuthError,
)
from zoom_async_auth.events import RenewalFailed
from zoom_async_auth.identity import namespace_of
from zoom_async_auth.sandbox import Zoom

APP = UserOAuth(client_id="the-client", client_secret="the-secret")
PAIR = b'{"access_token":"new","token_type":"bearer","refresh_token":"next","expires_in":3599}'
"""For servers that know nobody: an app, and what it gets."""

LIFE = 3600.0
"""Seconds that a token of the sandbox lives."""

PATIENT = RenewalPolicy(jitter=0.0, min_interval=0.001, timeout=10.0)
"""On real sockets: no floor that takes real time. Without luck the first retry comes after 0.05 s."""

IMPATIENT = RenewalPolicy(jitter=0.0, min_interval=0.001, timeout=0.45)
"""The same for those who want to see a failure: with all luck the first retry is beyond that."""


def no_luck() -> float:
    return 0.0


def all_luck() -> float:
    return 0.99


@asynccontextmanager
async def person(world: World, **options: Any) -> AsyncIterator[TokenManager]:
    """Open a manager of a person who has authorized the app; no event is left of how that went."""
    async with world.personal(**{"policy": QUIET, **options}) as manager:
        await manager.authorize(world.consent())
        await turns()
        world.events.clear()
        yield manager


@asynccontextmanager
async def person_at(zoom: Zoom, **options: Any) -> AsyncIterator[TokenManager]:
    """Do the same on a server."""
    known: dict[str, Any] = {"base_url": zoom.url, "policy": PATIENT, "random": no_luck}
    async with TokenManager(zoom.user_app, **{**known, **options}) as manager:
        await manager.authorize(consent_of(zoom))
        yield manager


def consent_of(zoom: Zoom) -> AuthorizationCodeGrant:
    """Return what comes back from the consent page when alice allows the app."""
    return AuthorizationCodeGrant(code=zoom.authorize(), redirect_uri=zoom.redirect_uri)


@dataclass(frozen=True, slots=True)
class Tls:
    """What a private certificate authority issued, and who trusts it."""

    trusting: ssl.SSLContext
    localhost: ssl.SSLContext
    elsewhere: ssl.SSLContext
    expired: ssl.SSLContext


def expired_pair() -> StoredToken:
    """Return tokens of which only the refresh token is of use."""
    return StoredToken(access_token="spent", refresh_token="the-refresh-token", expires_at=0.0)


async def failure_of(manager: TokenManager) -> ZoomAuthError:
    """Return why there is no token."""
    with pytest.raises(ZoomAuthError) as caught:
        await manager.bearer()
    return caught.value


def failures(world: World) -> list[ZoomAuthError]:
    """Return why attempts failed, in order."""
    return [event.error for event in world.seen(RenewalFailed)]


def in_doubt(world: World) -> list[bool]:
    """Tell of each failure that waiting may mend whether Zoom may have acted all the same."""
    errors = failures(world)
    assert all(type(error) is TokenUnavailableError and error.transient for error in errors)
    return [error.in_doubt for error in errors]


def key_of(zoom: Zoom) -> str:
    """Return what a person's tokens are stored under."""
    return f"{namespace_of(zoom.user_app, zoom.url)}/default"


def now() -> float:
    """Return the time of the loop."""
    return asyncio.get_running_loop().time()
