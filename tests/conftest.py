"""What all tests share: the event loops they run on, and what no test may leave behind or do."""

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import aioresponses.core
import pytest
import uvloop
from blockbuster import blockbuster_ctx
from pytest_asyncio import is_async_test

from zoom_async_auth.testing import VirtualTimeLoop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

TESTS = Path(__file__).parent
VIRTUAL = (TESTS / "engine", TESTS / "simulation")
"""Everything in there runs in virtual time."""
STORES = TESTS / "stores"
"""Databases take their time: what all stores promise is tried on the loops that programs choose, the rest on one."""
FLEETS = (TESTS / "processes", TESTS / "examples", TESTS / "cli" / "test_demo.py")
"""Many processes, in real time: with `-n` one of these tests runs at a time, whatever else does."""


def _eager(factory: LoopFactory) -> LoopFactory:
    def make() -> asyncio.AbstractEventLoop:
        loop = factory()
        loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 -- unknown to 3.11
        return loop

    return make


def _debugging(factory: LoopFactory) -> LoopFactory:
    def make() -> asyncio.AbstractEventLoop:
        loop = factory()
        loop.set_debug(True)
        return loop

    return make


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    """Run each test on the loops that matter to it: engines in virtual time, what touches a socket on real ones."""
    del config
    if item.path.is_relative_to(STORES):
        promised = isinstance(item, pytest.Function) and "promise" in item.fixturenames
        return {"plain": asyncio.new_event_loop} | ({"uvloop": uvloop.new_event_loop} if promised else {})
    virtual = any(map(item.path.is_relative_to, VIRTUAL))
    plain: LoopFactory = VirtualTimeLoop if virtual else asyncio.new_event_loop
    loops = {"plain": plain}
    if not virtual:
        loops |= {"debug": _debugging(plain), "uvloop": uvloop.new_event_loop}
    if sys.version_info >= (3, 12):
        loops["eager"] = _eager(plain)
    return loops


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests run one after the other, on the same servers, where there are several workers (`-n`)."""
    for item in items:
        alone = any(map(item.path.is_relative_to, FLEETS))
        item.add_marker(pytest.mark.xdist_group("fleets" if alone else str(item.path.relative_to(TESTS))))


@pytest.fixture(autouse=True)
def _nothing_blocks() -> Iterator[None]:
    """A call that blocks the event loop raises."""
    with blockbuster_ctx():
        yield


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have asynchronous tests checked for leaks. First in, so last out: after the test's own fixtures."""
    if isinstance(item, pytest.Function) and is_async_test(item):
        item.fixturenames.insert(0, no_task_is_left.__name__)


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    """A test ends with the tasks that it began with."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left


def _with_stream_writer(original: type[aiohttp.ClientResponse]) -> type[aiohttp.ClientResponse]:
    """Give a mocked response the argument that aiohttp 3.14 wants (pnuckowski/aioresponses#289)."""

    class Response(original):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.setdefault("stream_writer", Mock(output_size=0))
            super().__init__(*args, **kwargs)

    return Response


if "stream_writer" in inspect.signature(aiohttp.ClientResponse.__init__).parameters:
    setattr(aioresponses.core, "ClientResponse", _with_stream_writer(aiohttp.ClientResponse))  # noqa: B010 -- not exported
