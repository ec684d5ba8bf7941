"""How a promise looks at a store, and compares what it finds."""

import asyncio
import math
from dataclasses import replace

from zoom_async_auth.oauth.token import Token
from zoom_async_auth.stores.base import NO_GENERATION, Reading, Record, Store

SOON = 5.0
"""Seconds within which what has to happen happens."""
LEASE = 20.0
PRECISION = 1e-5
"""Seconds within which times are compared: a store may round, and so does a clock that is far from 0."""


async def look(store: Store, key: str) -> Reading:
    """Look without the lag of `peek`, and take nothing: `begin` always refuses a generation that no record has."""
    answer = await store.begin(key, NO_GENERATION, "nobody", 0.001)
    assert isinstance(answer, Reading)
    return answer


async def peek_until(store: Store, key: str, generation: int) -> Reading:
    """Peek until it shows `generation`: it may lag."""
    reading = await store.peek(key)
    for _ in range(100):
        if reading.generation == generation:
            break
        await asyncio.sleep(0.05)
        reading = await store.peek(key)
    return reading


def a_record(generation: int, now: float, *, access_token: str = "access") -> Record:
    """Return a record of an hour, issued at `now` of the store's time."""
    token = Token(access_token=access_token, refresh_token="refresh", expires_in=3600.0)
    return Record(generation=generation, token=token, issued_at=now, expires_at=now + 3600.0)


def assert_peeked(reading: Reading, expected: Record) -> None:
    """Compare as `assert_same` does; a peek may leave out the refresh token."""
    token = None if reading.record is None else reading.record.token
    if token is not None and token.refresh_token is None and expected.token is not None:
        expected = replace(expected, token=replace(expected.token, refresh_token=None))
    assert_same(reading, expected)


def assert_same(reading: Reading, expected: Record) -> None:
    """Compare what was found; times within `PRECISION`."""
    found = reading.record
    assert found is not None
    assert (found.generation, found.cause) == (expected.generation, expected.cause)
    assert found.token == expected.token
    assert math.isclose(found.issued_at, expected.issued_at, rel_tol=0, abs_tol=PRECISION)
    assert math.isclose(found.expires_at, expected.expires_at, rel_tol=0, abs_tol=PRECISION)
