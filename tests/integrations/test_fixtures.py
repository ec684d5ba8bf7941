"""A manager as a fixture: opened by one task and closed by another, in every scope that pytest-asyncio has."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from zoom_async_auth import TokenManager
from zoom_async_auth.sandbox import Sandbox


async def _opened() -> AsyncIterator[TokenManager]:
    async with Sandbox() as zoom, TokenManager(zoom.credentials, base_url=zoom.url) as manager:
        yield manager
    assert manager.health().state == "closed"


@pytest_asyncio.fixture(loop_scope="function", scope="function")
async def function_manager() -> AsyncIterator[TokenManager]:
    async for manager in _opened():
        yield manager


@pytest_asyncio.fixture(loop_scope="class", scope="class")
async def class_manager() -> AsyncIterator[TokenManager]:
    async for manager in _opened():
        yield manager


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def module_manager() -> AsyncIterator[TokenManager]:
    async for manager in _opened():
        yield manager


@pytest_asyncio.fixture(loop_scope="package", scope="package")
async def package_manager() -> AsyncIterator[TokenManager]:
    async for manager in _opened():
        yield manager


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def session_manager() -> AsyncIterator[TokenManager]:
    async for manager in _opened():
        yield manager


@pytest.mark.asyncio(loop_scope="function")
async def test_a_fixture_of_function_scope_works(function_manager: TokenManager) -> None:
    assert len(await function_manager.bearer()) > 500


@pytest.mark.asyncio(loop_scope="class")
class TestScopeOfAClass:
    async def test_a_fixture_of_class_scope_works(self, class_manager: TokenManager) -> None:
        assert len(await class_manager.bearer()) > 500

    async def test_it_goes_on_for_the_next_test(self, class_manager: TokenManager) -> None:
        old = await class_manager.bearer()
        assert (await class_manager.renew()).access_token != old


@pytest.mark.asyncio(loop_scope="module")
async def test_a_fixture_of_module_scope_works(module_manager: TokenManager) -> None:
    assert len(await module_manager.bearer()) > 500


@pytest.mark.asyncio(loop_scope="package")
async def test_a_fixture_of_package_scope_works(package_manager: TokenManager) -> None:
    assert len(await package_manager.bearer()) > 500


@pytest.mark.asyncio(loop_scope="session")
async def test_a_fixture_of_session_scope_works(session_manager: TokenManager) -> None:
    assert len(await session_manager.bearer()) > 500
