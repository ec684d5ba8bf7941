"""The store in memory keeps what every store promises."""

import pytest

from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.testing import STORE_PROMISES, StorePromise


@pytest.mark.parametrize("promise", STORE_PROMISES, ids=lambda promise: promise.__name__)
async def test_the_store_in_memory_keeps_its_promises(promise: StorePromise) -> None:
    async with MemoryStore() as store:
        await promise(store, store, "key")


def test_all_promises_are_listed() -> None:
    """None is left out of what other stores are held to."""
    from zoom_async_auth.testing import contract  # noqa: PLC0415 -- the module, for its names

    written = [value for name, value in vars(contract).items() if callable(value) and not name.startswith("_")]
    promises = [value for value in written if value.__module__ == contract.__name__]
    assert list(STORE_PROMISES) == promises
