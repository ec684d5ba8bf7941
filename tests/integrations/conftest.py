"""What the tests of the adapters share: a Zoom to talk to, and a web app in each framework."""

from collections.abc import AsyncIterator

import pytest

from tests.integrations.sites import SITES, Site
from zoom_async_auth.sandbox import Sandbox, Zoom


@pytest.fixture
async def zoom() -> AsyncIterator[Zoom]:
    async with Sandbox() as zoom:
        yield zoom


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> Site:
    return SITES[request.param]
