"""The world that each test of the engine gets."""

import pytest

from tests.engine.world import World


@pytest.fixture
async def world() -> World:
    return World()
