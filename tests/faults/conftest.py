"""Which loop a row is tested on: in virtual time if it asks for a `world`, else on a real one."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest
import trustme

from tests.engine.world import World
from tests.faults.steps import Tls
from zoom_async_auth.testing import VirtualTimeLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """One loop for each test: the other loops are for the tests of the engine and of the adapters."""
    del config
    virtual = isinstance(item, pytest.Function) and "world" in item.fixturenames
    return {"plain": VirtualTimeLoop if virtual else asyncio.new_event_loop}


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture(scope="session")
def tls() -> Tls:
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def serving(name: str, not_after: datetime | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name, not_after=not_after).configure_cert(context)
        return context

    past = datetime(2020, 1, 1, tzinfo=UTC)
    return Tls(trusting, serving("localhost"), serving("elsewhere.example"), serving("localhost", past))
