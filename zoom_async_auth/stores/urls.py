"""The store that a URL names."""

import importlib
from collections.abc import Sequence
from typing import Any

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.stores.base import Store

_HOMES = {
    "sqlite": ("sql", "SQLStore", "sql"),
    "postgresql": ("sql", "SQLStore", "postgres"),
    "redis": ("redis", "RedisStore", "redis"),
    "rediss": ("redis", "RedisStore", "redis"),
    "unix": ("redis", "RedisStore", "redis"),
    "valkey": ("redis", "RedisStore", "redis"),
    "valkeys": ("redis", "RedisStore", "redis"),
}


def store_at(url: str, *, keys: Sequence[str] = (), **options: Any) -> Store:  # noqa: ANN401 -- of the store
    """Return the store at `url`; with `keys`, an `EncryptedStore` around it.

    Args:
        url: `sqlite:////path/to/file`, `postgresql://...` or `redis://...`.
        keys: Of `EncryptedStore`, the first encrypts.
        options: Further arguments of the store.

    Raises:
        ConfigurationError: No store has such a URL, or what it needs is not installed.
    """
    scheme = url.partition(":")[0].partition("+")[0].lower()
    if scheme not in _HOMES:
        raise ConfigurationError("a store's URL begins with sqlite:, postgresql: or redis:")
    module, name, extra = _HOMES[scheme]
    try:
        store: Store = getattr(importlib.import_module(f"zoom_async_auth.stores.{module}"), name)(url, **options)
        if keys:
            encrypted: Any = importlib.import_module("zoom_async_auth.stores.encrypted")
            store = encrypted.EncryptedStore(store, keys=list(keys))
    except ModuleNotFoundError as missing:
        failure = ConfigurationError(f'{missing.name} is missing: pip install "zoom_async_auth[{extra},crypto]"')
    else:
        return store
    raise failure
