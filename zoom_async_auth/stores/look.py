"""A look at a store that never lags: what `peek` does not promise."""

from zoom_async_auth.stores.base import NO_GENERATION, Begun, Reading, Store


async def look(store: Store, key: str) -> Reading:
    """Look without the lag of `peek`, and take nothing: `begin` always refuses a generation that no record has.

    Raises:
        Exception: Whatever the store raises.
    """
    answer = await store.begin(key, NO_GENERATION, "nobody", 1.0)
    return answer.reading if isinstance(answer, Begun) else answer
