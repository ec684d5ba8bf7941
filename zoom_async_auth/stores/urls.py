"""The store that a URL names."""

import importlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.extras import told_missing
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

_WORD: Final = re.compile(r"[a-z_]{1,40}")
QUOTE: Final = "a password needs quoting: urllib.parse.quote(password, safe='')"
"""What helps where a URL falls apart at a character of its password."""


def store_at(url: str, *, keys: Sequence[str] = (), **options: Any) -> Store:  # noqa: ANN401 -- of the store
    """Return the store at `url`; with `keys`, an `EncryptedStore` around it.

    Args:
        url: `sqlite:////path/to/file`, `postgresql://...` or `redis://...`.
        keys: Of `EncryptedStore`, the first encrypts.
        options: Further arguments of the store.

    Raises:
        ConfigurationError: No store has such a URL, or what it needs is not installed.
    """
    store = _store_at(url, keys, options)
    if isinstance(store, ConfigurationError):
        del url, keys, options
        raise store
    return store


def require_parameters(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise `ConfigurationError` if a URL has parameters that are not known.

    One that is no word is not shown: it may be the rest of a password with a question mark in it.
    """
    if unknown := sorted(set(given).difference(known)):
        shown = ", ".join(name if _WORD.fullmatch(name) else "(no word)" for name in unknown)
        raise ConfigurationError(f"the URL of the store has parameters that are not taken: {shown}; {QUOTE}")


def _store_at(url: str, keys: Sequence[str], options: dict[str, Any]) -> Store | ConfigurationError:
    """Return the store; or the error, because the frame here has secrets."""
    scheme = url.partition(":")[0].partition("+")[0].lower()
    if scheme not in _HOMES:
        return ConfigurationError("a store's URL begins with sqlite:, postgresql: or redis:")
    module, name, extra = _HOMES[scheme]
    try:
        store: Store = getattr(importlib.import_module(f"zoom_async_auth.stores.{module}"), name)(url, **options)
        if keys:
            encrypted: Any = importlib.import_module("zoom_async_auth.stores.encrypted")
            store = encrypted.EncryptedStore(store, keys=list(keys))
    except ModuleNotFoundError as missing:
        return ConfigurationError(told_missing(str(missing.name), extra, "crypto"))
    except ConfigurationError as known:
        return known.copy()
    return store
