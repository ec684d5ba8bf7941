"""What a test of a program with tokens needs: time that leaps, a Zoom without sockets, what stores promise.

`plugin` has fixtures for pytest. The names here are resolved on first use (PEP 562): the plugin costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoom_async_auth.testing.callers import assert_one_request
    from zoom_async_auth.testing.contract import STORE_PROMISES, StorePromise
    from zoom_async_auth.testing.shuffled import ShuffledLoop
    from zoom_async_auth.testing.transport import MemoryTransport
    from zoom_async_auth.testing.virtual import LoopClock, ManualClock, VirtualTimeLoop

__all__ = [
    "STORE_PROMISES",
    "LoopClock",
    "ManualClock",
    "MemoryTransport",
    "ShuffledLoop",
    "StorePromise",
    "VirtualTimeLoop",
    "assert_one_request",
]

_HOMES = {
    "STORE_PROMISES": "contract",
    "LoopClock": "virtual",
    "ManualClock": "virtual",
    "MemoryTransport": "transport",
    "ShuffledLoop": "shuffled",
    "StorePromise": "contract",
    "VirtualTimeLoop": "virtual",
    "assert_one_request": "callers",
}


def __getattr__(name: str) -> object:
    """Resolve a name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
