"""Another explorer than our own seeds: detangle schedules the flight and the exchange, and injects cancellations.

By chance and not by priority: anyio delivers a cancellation again and again until the task takes it, and an order that
never lets the task have its turn would go on for ever.
"""

import asyncio

import detangle
import pytest

from tests.engine.world import QUIET
from zoom_async_auth import TokenManager
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.testing import ManualClock, MemoryTransport

RUNS = 100


@pytest.fixture(autouse=True)
def _nothing_blocks() -> None:
    """Not here: detangle looks at source files while it runs."""


def _manager(zoom: Zoom, clock: ManualClock, *, personal: bool) -> TokenManager:
    return TokenManager(
        zoom.user_app if personal else zoom.credentials,
        base_url=zoom.url,
        transport=MemoryTransport(zoom),
        clock=clock,
        policy=QUIET,
        random=lambda: 0.5,
    )


async def _ask(manager: TokenManager) -> str | None:
    """Ask, and perhaps lose patience at any moment."""
    try:
        return await detangle.maybe_timeout(manager.bearer())
    except (TimeoutError, detangle.InjectedTimeout):
        return None


@detangle.test(runs=RUNS, strategy="random", database=False)
async def test_a_herd_costs_one_request_in_whatever_order_it_runs() -> None:
    """F40, F41, F53."""
    clock = ManualClock(asyncio.get_running_loop().time)
    zoom = Zoom(latency=0.1, clock=clock.time)
    async with _manager(zoom, clock, personal=False) as manager:
        tokens = set(await asyncio.gather(*(_ask(manager) for _ in range(5)))) - {None}
        assert tokens <= {await manager.bearer()}

    assert zoom.token_requests == 1


@detangle.test(runs=RUNS, strategy="random", database=False)
async def test_a_chain_lives_on_whoever_loses_patience() -> None:
    """F39: with one-time refresh tokens, and a new authorization in between (F74)."""
    clock = ManualClock(asyncio.get_running_loop().time)
    zoom = Zoom(latency=0.1, clock=clock.time)

    def consent() -> AuthorizationCodeGrant:
        return AuthorizationCodeGrant(code=zoom.authorize(), redirect_uri=zoom.redirect_uri)

    async with _manager(zoom, clock, personal=True) as manager:
        await manager.authorize(consent())
        for _ in range(3):
            clock.advance(3600.0)
            await asyncio.gather(*(_ask(manager) for _ in range(4)))
        await asyncio.gather(manager.renew(), manager.authorize(consent()), _ask(manager))
        assert zoom.model.user_of(await manager.bearer()) == "alice"
        await manager.renew()

    assert "invalid_grant" not in zoom.stats["refresh_token"]
