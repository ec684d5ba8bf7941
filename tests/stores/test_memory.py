"""The store in memory keeps what every store promises."""

from inspect import iscoroutinefunction

import pytest

from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.testing import STORE_PROMISES, StorePromise, abilities, contract


@pytest.mark.parametrize("promise", STORE_PROMISES, ids=lambda promise: promise.__name__)
async def test_the_store_in_memory_keeps_its_promises(promise: StorePromise) -> None:
    async with MemoryStore() as store:
        await promise(store, store, "key")


def test_all_promises_are_listed() -> None:
    """None is left out of what stores are held to."""
    written = [
        value
        for module in (contract, abilities)
        for value in vars(module).values()
        if iscoroutinefunction(value) and value.__module__ == module.__name__ and value.__name__[0] != "_"
    ]
    assert list(STORE_PROMISES) == written
