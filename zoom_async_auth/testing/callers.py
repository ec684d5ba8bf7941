"""Many callers at once, and what that may cost."""

import asyncio

from zoom_async_auth.bearer import BearerSource
from zoom_async_auth.sandbox.zoom import Zoom


async def assert_one_request(source: BearerSource, zoom: Zoom, *, callers: int = 1000) -> str:
    """Have many tasks ask for the token at once, and assert that together they cost one request.

    Args:
        source: What a program gets its tokens from: a manager, or whatever wraps one.
        zoom: Whom it asks.
        callers: How many tasks there are.

    Returns:
        The token that all of them got.

    Raises:
        AssertionError: They cost more or fewer requests, or got different tokens.
    """
    before = zoom.token_requests
    tokens = set(await asyncio.gather(*(source.bearer() for _ in range(callers))))
    cost = zoom.token_requests - before
    if cost != 1:
        raise AssertionError(f"{callers} callers cost {cost} token requests, not 1")
    if len(tokens) != 1:
        raise AssertionError(f"{callers} callers got {len(tokens)} different tokens")
    return tokens.pop()
