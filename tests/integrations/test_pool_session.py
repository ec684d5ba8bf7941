"""What one identity of a pool does by its view, `pool.manager(key)`: all that a manager does, in its own name."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.engine.world import World
from zoom_async_auth import (
    AuthorizationCodeGrant,
    AuthorizationRequiredError,
    ConfigurationError,
    RenewalPolicy,
    TokenPool,
)
from zoom_async_auth.oauth.wire import DeviceCode
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.testing import VirtualTimeLoop

NO_FLOOR = RenewalPolicy(jitter=0.0, min_interval=0.001)


@pytest.fixture
async def pool(zoom: Zoom) -> AsyncIterator[TokenPool]:
    async with TokenPool(zoom.user_app, store=MemoryStore(), base_url=zoom.url, policy=NO_FLOOR) as pool:
        yield pool


def consent(zoom: Zoom, user: str) -> AuthorizationCodeGrant:
    return AuthorizationCodeGrant(code=zoom.authorize(user), redirect_uri=zoom.redirect_uri)


async def test_a_person_authorizes_by_the_view_and_its_session_acts_for_nobody_else(
    zoom: Zoom, pool: TokenPool
) -> None:
    persons = ("alice", "bob")
    tokens = [await pool.manager(person).authorize(consent(zoom, person)) for person in persons]
    assert [zoom.model.user_of(token.access_token) for token in tokens] == ["alice", "bob"]
    assert [await pool.bearer(person) for person in persons] == [token.access_token for token in tokens]

    for person in persons:
        async with pool.manager(person).session() as session:
            async with session.get(f"/v2/users/{person}") as response:
                assert response.status == 200
            async with session.get("/v2/users/me") as response:
                assert (await response.json())["email"].startswith(person)


async def test_a_401_renews_the_token_of_that_person_once_and_of_no_other(zoom: Zoom, pool: TokenPool) -> None:
    alice, bob = pool.manager("alice"), pool.manager("bob")
    for one in (alice, bob):
        await one.authorize(consent(zoom, one.key))
    rejected, other = await alice.bearer(), await bob.bearer()
    zoom.reject(rejected)

    async with alice.session() as session:
        for _ in range(2):
            async with session.get("/v2/users/alice") as response:
                assert response.status == 200

    assert zoom.stats["refresh_token"] == {"ok": 1}
    assert await alice.bearer() != rejected
    assert await bob.bearer() == other


async def test_a_token_that_is_revoked_by_the_view_is_dead_at_zoom_and_gone_here(zoom: Zoom, pool: TokenPool) -> None:
    alice, bob = pool.manager("alice"), pool.manager("bob")
    tokens = [(await one.authorize(consent(zoom, one.key))).access_token for one in (alice, bob)]

    await alice.revoke()

    assert [zoom.model.user_of(token) for token in tokens] == [None, "bob"]
    with pytest.raises(AuthorizationRequiredError):
        await alice.bearer()
    assert await bob.bearer() == tokens[1]


async def test_what_is_forgotten_by_the_view_is_alive_at_zoom_and_counts_no_longer_as_dead(
    zoom: Zoom, pool: TokenPool
) -> None:
    alice, bob = pool.manager("alice"), pool.manager("bob")
    tokens = [(await one.authorize(consent(zoom, one.key))).access_token for one in (alice, bob)]
    zoom.faults.add('refresh_token:answer=400 {"reason":"Invalid Token!","error":"invalid_grant"}')
    with pytest.raises(AuthorizationRequiredError):
        await alice.renew()
    assert set(pool.health().dead_keys) == {"alice"}

    await alice.forget()

    assert pool.health().dead == 0
    assert alice.health().state == "unauthorized"
    assert [zoom.model.user_of(token) for token in tokens] == ["alice", "bob"]
    assert await bob.bearer() == tokens[1]


def test_a_person_authorizes_by_a_code_that_the_view_has_shown() -> None:
    """In virtual time: Zoom wants to be asked each five seconds only."""

    async def main() -> None:
        world = World()

        def show(code: DeviceCode) -> None:
            assert world.zoom.model.decide_device(code.user_code, "alice", allow=True)

        options: dict[str, Any] = {"base_url": world.zoom.url, "transport": world.wire, "clock": world.clock}
        async with TokenPool(world.zoom.user_app, store=world.store(), **options) as pool:
            token = await pool.manager("alice").authorize_device(show)
            assert await pool.bearer("alice") == token.access_token
            assert world.zoom.model.user_of(token.access_token) == "alice"

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


async def test_a_view_costs_a_pool_no_memory(zoom: Zoom, pool: TokenPool) -> None:
    """Nor does its session, until there is a request."""
    del zoom
    async with pool.manager("alice").session():
        assert pool.manager("alice").health().generation is None
        assert pool.health().identities == 0


@pytest.mark.parametrize("key", [["x"], {}, 7, None])
async def test_what_cannot_be_a_key_is_told_the_same_whatever_it_is(pool: TokenPool, key: Any) -> None:
    """A list has no hash; the error is not that of the dictionary that it was looked up in."""
    for call in (pool.bearer, pool.headers, pool.token):
        with pytest.raises(ConfigurationError, match="key must be a string, another one for each identity") as caught:
            await call(key)
        assert caught.value.__context__ is None
