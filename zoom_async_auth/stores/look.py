"""A look at a store that never lags: what `peek` does not promise."""

from zoom_async_auth.stores.base import NO_GENERATION, Begun, Reading, Store


async def look(store: Store, key: str) -> Reading:
    """Look with authority, and take nothing: no record has the generation that is asked for.

    Raises:
        Exception: Whatever the store raises.
    """
    answer = await store.begin(key, NO_GENERATION, "nobody", 1.0)
    return answer.reading if isinstance(answer, Begun) else answer
