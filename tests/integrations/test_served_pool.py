"""A pool in the place of a manager in a web app: the readiness probe, and what takes one token where there are many."""

import pytest

from tests.integrations.sites import SITES, Site
from zoom_async_auth import (
    AuthorizationCodeGrant,
    AuthorizationRequiredError,
    ConfigurationError,
    MisuseError,
    TokenPool,
)
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.stores.memory import MemoryStore


async def _authorized(pool: TokenPool, zoom: Zoom, person: str) -> None:
    grant = AuthorizationCodeGrant(code=zoom.authorize(person), redirect_uri=zoom.redirect_uri)
    await pool.authorize(person, grant)


async def test_a_probe_of_a_pool_tells_how_it_is_and_names_no_customer(site: Site, zoom: Zoom) -> None:
    """Of those whose authorization died it tells the number: keys are customers' names."""
    pool = TokenPool(zoom.user_app, store=MemoryStore(), base_url=zoom.url, rate=20)
    async with site(None, lambda: pool) as client:
        for person in ("alice", "bob"):
            await _authorized(pool, zoom, person)
        zoom.take_off("alice")
        with pytest.raises(AuthorizationRequiredError):
            await pool.renew("alice")
        reply = await client.get("/health")
    told = reply.json()
    assert reply.status_code == 200
    assert 0 < told.pop("rate") <= 20
    assert told == {
        "ready": True,
        "identities": 2,
        "waiting": 0,
        "suspended": False,
        "dead": 1,
        "last_error": None,
    }
    assert "alice" not in reply.text


async def test_a_pool_whose_app_zoom_refuses_serves_the_tokens_it_has_and_says_why(site: Site, zoom: Zoom) -> None:
    pool = TokenPool(zoom.user_app, store=MemoryStore(), base_url=zoom.url)
    async with site(None, lambda: pool) as client:
        await _authorized(pool, zoom, "alice")
        zoom.faults.add('refresh_token#1-:answer=400 {"error": "invalid_client"}')
        with pytest.raises(ConfigurationError):
            await pool.renew("alice")
        reply = await client.get("/health")
        await pool.aclose()
        closed = await client.get("/health")
    assert (reply.status_code, closed.status_code) == (200, 503)
    assert reply.json()["ready"] is False
    assert "invalid_client" in reply.json()["last_error"]


async def test_a_route_that_takes_the_one_token_of_a_pool_is_told_to_name_a_key(zoom: Zoom) -> None:
    pool = TokenPool(zoom.user_app, store=MemoryStore(), base_url=zoom.url)
    async with SITES["fastapi"](None, lambda: pool) as client:
        with pytest.raises(MisuseError, match=r"a pool has a token for each key: await pool\.bearer\(key\)"):
            await client.get("/token")
