"""One Chromium for all tests of a module, and somebody at it for each."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium, Person, chromium, executable
from zoom_async_auth.sandbox import Sandbox, Zoom


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium(executable()) as running:
        yield running


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go: `SCREENSHOTS`, to look at them, or a folder that pytest forgets."""
    return Path(os.environ.get("SCREENSHOTS", tmp_path))


@pytest.fixture
async def zoom() -> AsyncIterator[Zoom]:
    async with Sandbox() as zoom:
        yield zoom


@pytest.fixture
async def person(browser: Chromium, pictures: Path) -> AsyncIterator[Person]:
    async with browser.person(pictures=pictures) as somebody:
        yield somebody
