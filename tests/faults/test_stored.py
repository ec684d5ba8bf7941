"""S32 to S40: what is stored, and under which name. All but the names come with the durable stores: rows.py."""

import itertools

import pytest

from tests.engine.world import World
from zoom_async_auth import ConfigurationError, ServerToServer, UserOAuth
from zoom_async_auth.identity import namespace_of
from zoom_async_auth.oauth.credentials import Credentials

ZOOM = "https://zoom.us"


def test_s38_no_two_apps_share_a_namespace() -> None:
    """Parts are counted, not joined: "a:b" + "c" is not "a" + "b:c"."""
    apps: list[Credentials] = [
        ServerToServer(client_id="ab", account_id="c", client_secret="secret"),
        ServerToServer(client_id="a", account_id="bc", client_secret="secret"),
        ServerToServer(client_id="a", account_id="1:bc", client_secret="secret"),
        UserOAuth(client_id="ab"),
        UserOAuth(client_id="a"),
    ]
    names = [namespace_of(app, url) for app, url in itertools.product(apps, [ZOOM, "https://zoomgov.com"])]

    assert len(set(names)) == len(names) == 10
    assert all(len(name) == 32 and name.isalnum() for name in names)


@pytest.mark.parametrize(("one", "other"), [("a:b", "a"), ("../", "/"), ("Zoë", "Zoe"), ("a/b", "a")])
async def test_s38_no_two_keys_share_a_token(world: World, one: str, other: str) -> None:
    store = world.store()
    async with world.manager(store=store, key=one) as first, world.manager(store=store, key=other) as second:
        assert await first.bearer() != await second.bearer()

    assert world.zoom.token_requests == 2


async def test_s38_a_key_in_nfc_and_in_nfd_is_one_identity(world: World) -> None:
    store = world.store()
    async with world.manager(store=store, key="Zo\u00eb") as first:
        token = await first.bearer()
    async with world.manager(store=store, key="Zoe\u0308") as second:
        assert await second.bearer() == token

    assert world.zoom.token_requests == 1


def test_s38_a_key_of_ten_kilobytes_is_refused(world: World) -> None:
    with pytest.raises(ConfigurationError, match="1 to 200 characters"):
        world.manager(key="x" * 10_000)
