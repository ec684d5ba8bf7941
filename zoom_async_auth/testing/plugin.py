"""Fixtures for pytest, there as soon as the package is installed; nothing is loaded before a test asks for one.

zoom_sandbox   the `Zoom` behind an HTTP server on loopback: `zoom_sandbox.url`, `.credentials`, `.faults`, `.reject()`,
               and for a person's app `.user_app`, `.authorize()`, `.redirect_uri`, `.take_off()`
zoom_manager   an open `TokenManager` of its server-to-server app

Both are asynchronous: run them with pytest-asyncio, or anyio's plugin. In a synchronous test, one with FastAPI's
`TestClient` for example, the server runs in a thread, and goes on while the test blocks.
"""

import inspect
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from zoom_async_auth.manager import TokenManager
    from zoom_async_auth.sandbox.zoom import Zoom


def _asynchronous(function: Callable[..., AsyncIterator[object]]) -> object:
    """Make a fixture of pytest-asyncio where that is there; anyio's plugin takes plain ones."""
    if find_spec("pytest_asyncio") is None:
        return pytest.fixture(function)
    import pytest_asyncio  # noqa: PLC0415 -- optional

    return pytest_asyncio.fixture(function)


@_asynchronous
async def zoom_sandbox(request: pytest.FixtureRequest) -> "AsyncIterator[Zoom]":
    """A Zoom OAuth server on loopback, for one test."""
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415

    from zoom_async_auth.sandbox import Sandbox  # noqa: PLC0415 -- loads aiohttp

    if inspect.iscoroutinefunction(request.function):
        async with Sandbox() as zoom:
            yield zoom
    else:  # the loop of this fixture stands still while such a test runs
        with start_blocking_portal() as thread, thread.wrap_async_context_manager(Sandbox()) as zoom:
            yield zoom


@_asynchronous
async def zoom_manager(zoom_sandbox: "Zoom") -> "AsyncIterator[TokenManager]":
    """A manager on that server, open."""
    from zoom_async_auth.manager import TokenManager  # noqa: PLC0415

    async with TokenManager(zoom_sandbox.credentials, base_url=zoom_sandbox.url) as manager:
        yield manager
