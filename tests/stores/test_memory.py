"""The store in memory keeps what every store promises."""

from inspect import iscoroutinefunction

import pytest

from zoom_async_auth import Token
from zoom_async_auth.stores.base import Begun, Intent, Reading, Record
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


async def test_who_only_looks_leaves_nothing_behind() -> None:
    """Keys may come from requests: an app that asks for whoever comes along would grow without end."""
    store = MemoryStore()
    for number in range(100):
        await store.peek(f"nobody-{number}")

    assert not store._entries


class SettableClock:
    """A clock that somebody sets, as no monotonic one is, and a server's is."""

    def __init__(self) -> None:
        self.now = 1e9

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


LEASE, AN_HOUR = 20.0, 3600.0


async def test_a_lease_of_a_dead_holder_is_over_soon_though_the_clock_was_set_back() -> None:
    """A minute after the next one asks, and not when the clock has caught up."""
    clock = SettableClock()
    async with MemoryStore(clock=clock) as store:
        await store.begin("key", 0, "killed", LEASE)
        clock.now -= AN_HOUR
        refused = await store.begin("key", 0, "next", LEASE)
        assert isinstance(refused, Reading)
        assert refused.lease_left == 60.0
        clock.now += 59.0
        assert isinstance(await store.begin("key", 0, "next", LEASE), Reading)
        clock.now += 1.0
        assert isinstance(await store.begin("key", 0, "next", LEASE), Begun)


async def test_a_lease_outlives_a_small_correction_of_the_clock() -> None:
    """Its holder is at work: what is left of it is more than it took, and no reason to take it away."""
    clock = SettableClock()
    async with MemoryStore(clock=clock) as store:
        await store.begin("key", 0, "one", LEASE)
        clock.now -= 1.0
        refused = await store.begin("key", 0, "other", LEASE)
        assert isinstance(refused, Reading)
        assert refused.lease_left == LEASE + 1.0


async def test_the_age_of_an_intent_grows_from_the_next_begin_on_though_the_clock_was_set_back() -> None:
    """Or what it may have sent would be in doubt for an hour more."""
    clock = SettableClock()
    async with MemoryStore(clock=clock) as store:
        await store.begin("key", 0, "killed", 0.001)
        clock.now -= AN_HOUR
        peeked = await store.peek("key")
        assert peeked.intents == (Intent(holder="killed", generation=0, since=peeked.now),)
        (found,) = await store.survey()
        assert found.oldest_intent == 0.0
        await store.begin("key", 0, "next", LEASE)
        since = clock.now
        clock.now += 10.0
        assert [intent.since for intent in (await store.peek("key")).intents] == [since]


async def test_a_keep_alive_is_claimed_soon_though_the_clock_was_set_back() -> None:
    clock = SettableClock()
    token = Token(access_token="access", refresh_token="refresh", expires_in=AN_HOUR)
    record = Record(generation=1, token=token, issued_at=0.0, expires_at=AN_HOUR)
    async with MemoryStore(clock=clock) as store:
        await store.commit("key", 0, record, "one")
        assert await store.claim("", "killed", older_than=1.0, lease=LEASE, limit=1) == ("key",)
        clock.now -= AN_HOUR
        assert await store.claim("", "next", older_than=1.0, lease=LEASE, limit=1) == ()
        clock.now += 60.0
        assert await store.claim("", "next", older_than=1.0, lease=LEASE, limit=1) == ("key",)
