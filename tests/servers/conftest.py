"""Each real server, started once for all tests, and what a test needs to work with it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.servers.bench import Bench
from tests.servers.peers import Peer, django_oauth_toolkit, oidc_provider

Starter = Callable[[Path], AbstractContextManager[Peer]]


@pytest.fixture(
    scope="session", params=[oidc_provider, django_oauth_toolkit], ids=["oidc-provider", "django-oauth-toolkit"]
)
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    start: Starter = request.param
    with start(tmp_path_factory.mktemp("peer")) as running:
        yield running


@pytest.fixture
async def bench(peer: Peer) -> Bench:
    return Bench(peer, asyncio.get_running_loop().time)
