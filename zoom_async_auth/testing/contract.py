"""What every store promises, as checks that any store can be held to.

    @pytest.mark.parametrize("promise", STORE_PROMISES, ids=lambda promise: promise.__name__)
    async def test_my_store_keeps_its_promises(promise):
        async with MyStore(url) as one, MyStore(url) as other:
            await promise(one, other, f"test/{uuid4()}")

`one` and `other` are two clients of the same place, as two processes would have them (a store in memory is both), and
have been entered; `key` was never used before. A promise that is broken raises `AssertionError`, or `TimeoutError` if
nothing happens. Each check takes less than two seconds of the store's time.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from dataclasses import replace
from typing import Final, Protocol

from zoom_async_auth.oauth.token import Token
from zoom_async_auth.stores.base import PLAUSIBLE_LEASE, Begun, Reading, Record, Store
from zoom_async_auth.testing.abilities import (
    a_claim_is_a_lease_without_an_intent,
    a_claim_leaves_little_of_a_lease_that_was_timed_by_another_clock,
    a_survey_counts_each_identity_by_its_state,
    a_survey_counts_who_is_renewed_and_who_is_in_doubt,
    a_survey_is_of_the_keys_that_begin_so,
    keys_are_listed_page_by_page,
    of_many_who_claim_each_gets_others,
)
from zoom_async_auth.testing.looks import (
    LEASE,
    PRECISION,
    SOON,
    a_record,
    assert_peeked,
    assert_same,
    look,
    peek_until,
)


class StorePromise(Protocol):
    """A check, and what it is called: it gets two clients of one place, and a key of its own."""

    __name__: str

    def __call__(self, one: Store, other: Store, key: str, /) -> Awaitable[None]:
        """Return if the promise is kept.

        Raises:
            AssertionError: It is not.
            TimeoutError: Nothing happens.
        """
        ...


_ODD_KEYS = (
    "a/b",
    "a:b",
    "../etc",
    "%41%00",
    'it\'s "quoted"; --',
    "{tag}",
    "*?[a-z]",
    "Case",
    "case",
    "Zoë 東京 🙂",
    "x" * 200,
)


async def nothing_is_found_where_nothing_was_kept(one: Store, other: Store, key: str) -> None:
    """The generation of nothing is 0."""
    for store in (one, other):
        assert isinstance(store.durable, bool)
        reading = await store.peek(key)
        assert reading.record is None
        assert reading.generation == 0
        assert (reading.lease_left, reading.intents) == (0.0, ())


async def what_is_committed_is_read_by_all_clients(one: Store, other: Store, key: str) -> None:
    """To the last field, times to the microsecond."""
    now = (await one.peek(key)).now
    record = replace(
        a_record(1, now),
        token=Token(
            access_token="access." + "x" * 4000,
            refresh_token="refresh token with a blank, 'quotes' and a \\",  # VSCHAR: RFC 6749, appendix A.17
            expires_in=3599.5,
            scope=frozenset({"user:read:user", "meeting:write"}),
            api_url="https://api-eu.zoom.us",
        ),
        issued_at=now + 0.123456,
        expires_at=now + 3599.623456,
    )
    assert await one.commit(key, 0, record, "one") is True
    for store in (one, other):
        assert_same(await look(store, key), record)
        assert_peeked(await peek_until(store, key, 1), record)


async def a_token_without_its_optional_parts_is_read_as_it_was(one: Store, other: Store, key: str) -> None:
    """An app's token has no refresh token."""
    record = replace(a_record(1, (await one.peek(key)).now), token=Token(access_token="access", expires_in=3600.0))
    assert await one.commit(key, 0, record, "one") is True
    assert_same(await look(other, key), record)


async def all_clients_read_one_clock(one: Store, other: Store, key: str) -> None:
    """It goes on between two looks, and does not go back from one client to the other."""
    first = (await one.peek(key)).now
    await asyncio.sleep(0.1)
    second = (await other.peek(key)).now
    await asyncio.sleep(0.1)
    third = (await look(one, key)).now
    assert first < second < third < first + SOON


async def a_lease_belongs_to_one_holder(one: Store, other: Store, key: str) -> None:
    """The next one hears for how long; nothing is said to the holder itself."""
    begun = await one.begin(key, 0, "one", LEASE)
    assert isinstance(begun, Begun)
    assert begun.reading.generation == 0
    refused = await other.begin(key, 0, "other", LEASE)
    assert isinstance(refused, Reading)
    assert 0 < refused.lease_left <= LEASE + PRECISION
    assert [intent.holder for intent in refused.intents] == ["one"]


async def a_lease_may_be_taken_again_by_its_holder(one: Store, other: Store, key: str) -> None:
    """Its intent stays as old as it is: how often somebody tries again does not prolong the doubt of others."""
    await one.begin(key, 0, "one", 0.2)
    since = (await look(other, key)).intents[0].since
    await asyncio.sleep(0.05)
    again = await one.begin(key, 0, "one", LEASE)
    assert isinstance(again, Begun)
    seen = await look(other, key)
    assert 1.0 < seen.lease_left <= LEASE + PRECISION
    assert [(intent.holder, intent.generation) for intent in seen.intents] == [("one", 0)]
    assert abs(seen.intents[0].since - since) < 1e-5  # noqa: PLR2004 -- microseconds, by a clock of seconds


async def a_lease_is_refused_to_who_has_seen_another_generation(one: Store, other: Store, key: str) -> None:
    """What is there comes back instead, and nothing is taken."""
    record = a_record(1, (await one.peek(key)).now)
    await one.commit(key, 0, record, "one")
    answer = await other.begin(key, 0, "other", LEASE)
    assert isinstance(answer, Reading)
    assert_same(answer, record)
    seen = await look(one, key)
    assert (seen.lease_left, seen.intents) == (0.0, ())


async def a_lease_that_has_run_out_is_free_and_its_intent_stays(one: Store, other: Store, key: str) -> None:
    """Whoever takes over must know what may have been sent."""
    await one.begin(key, 0, "one", 0.2)
    await asyncio.sleep(0.4)
    begun = await other.begin(key, 0, "other", LEASE)
    assert isinstance(begun, Begun)
    assert [intent.holder for intent in begun.reading.intents] == ["one"]
    seen = await look(one, key)
    assert sorted(intent.holder for intent in seen.intents) == ["one", "other"]


async def a_lease_can_be_superseded(one: Store, other: Store, key: str) -> None:
    """A new authorization outranks a renewal; what the renewal may have sent is still noted."""
    await one.begin(key, 0, "one", LEASE)
    begun = await other.begin(key, 0, "other", LEASE, supersede=True)
    assert isinstance(begun, Begun)
    assert 0 < begun.reading.lease_left <= LEASE + PRECISION
    assert [intent.holder for intent in begun.reading.intents] == ["one"]
    assert isinstance(await one.begin(key, 0, "one", LEASE), Reading)


async def a_lease_that_was_timed_by_another_clock_ends_in_time(one: Store, other: Store, key: str) -> None:
    """More is left of it than anybody takes: the clock was set back since, and its holder may be dead."""
    await one.begin(key, 0, "one", 3600.0)
    assert (await look(other, key)).lease_left > PLAUSIBLE_LEASE  # whoever takes nothing changes nothing
    refused = await other.begin(key, 0, "other", LEASE)
    assert isinstance(refused, Reading)
    assert LEASE < refused.lease_left <= PLAUSIBLE_LEASE + PRECISION
    assert LEASE < (await look(other, key)).lease_left <= PLAUSIBLE_LEASE + PRECISION  # and it runs out from now on
    await one.begin(key, 0, "one", 3600.0)
    refused = await other.begin(key, 0, "other", 2 * PLAUSIBLE_LEASE)  # some take more
    assert isinstance(refused, Reading)
    assert PLAUSIBLE_LEASE < refused.lease_left <= 2 * PLAUSIBLE_LEASE + PRECISION
    await one.begin(key, 0, "one", 3600.0)
    begun = await other.begin(key, 0, "other", LEASE, supersede=True)
    assert isinstance(begun, Begun)
    assert LEASE < begun.reading.lease_left <= PLAUSIBLE_LEASE + PRECISION


async def a_commit_ends_the_lease_and_all_intents(one: Store, other: Store, key: str) -> None:
    """Also those of others: their refresh token is spent."""
    await one.begin(key, 0, "one", 0.05)
    await asyncio.sleep(0.1)
    await other.begin(key, 0, "other", LEASE)
    assert await other.commit(key, 0, a_record(1, (await one.peek(key)).now), "other") is True
    seen = await look(one, key)
    assert (seen.generation, seen.lease_left, seen.intents) == (1, 0.0, ())


async def a_commit_needs_the_generation_and_no_lease(one: Store, other: Store, key: str) -> None:
    """A holder whose lease ran out may have the only live token."""
    now = (await one.peek(key)).now
    await one.commit(key, 0, a_record(1, now), "one")
    await other.begin(key, 1, "other", LEASE)
    late = a_record(2, now, access_token="late")
    assert await one.commit(key, 1, late, "one") is True
    assert await other.commit(key, 1, a_record(2, now, access_token="lost"), "other") is False
    assert await other.commit(key, 0, a_record(1, now, access_token="lost"), "other") is False
    assert_same(await look(one, key), late)


async def a_commit_may_put_any_generation(one: Store, other: Store, key: str) -> None:
    """The caller computes it, the store compares: a token that is newer than a restored backup is put back so."""
    now = (await one.peek(key)).now
    assert await one.commit(key, 0, a_record(7, now), "one") is True
    assert await other.commit(key, 7, a_record(7, now, access_token="same"), "other") is True
    assert await one.commit(key, 7, a_record(12, now), "one") is True
    assert (await look(other, key)).generation == 12  # noqa: PLR2004 -- committed just now


async def a_tombstone_is_a_record_without_a_token(one: Store, other: Store, key: str) -> None:
    """So a revocation is committed like a token."""
    now = (await one.peek(key)).now
    await one.commit(key, 0, a_record(1, now), "one")
    tombstone = Record(generation=2, token=None, issued_at=now, expires_at=now)
    assert await one.commit(key, 1, tombstone, "one") is True
    assert_same(await look(other, key), tombstone)


async def a_dead_refresh_token_is_noted_and_its_generation_stays(one: Store, other: Store, key: str) -> None:
    """Only of the generation that is meant; its lease and its intents are over."""
    record = a_record(1, (await one.peek(key)).now)
    assert await one.condemn(key, 0, "invalid_grant") is False  # there is none
    await one.commit(key, 0, record, "one")
    await one.begin(key, 1, "one", LEASE)
    assert await one.condemn(key, 0, "invalid_grant") is False
    assert_same(await look(other, key), record)
    assert await one.condemn(key, 1, "invalid_grant") is True
    seen = await look(other, key)
    assert_same(seen, replace(record, cause="invalid_grant"))
    assert (seen.lease_left, seen.intents) == (0.0, ())
    assert seen.record is not None
    assert await other.commit(key, 1, replace(seen.record, generation=2), "other") is True  # as a copy is kept
    assert_same(await look(one, key), replace(record, generation=2, cause="invalid_grant"))


async def a_lease_is_given_back_by_its_holder_only(one: Store, other: Store, key: str) -> None:
    """A release that comes late does not touch the next holder's."""
    await one.begin(key, 0, "one", 0.05)
    await asyncio.sleep(0.1)
    await other.begin(key, 0, "other", LEASE)
    await one.release(key, "one", doubt=False)
    seen = await look(one, key)
    assert seen.lease_left > 0
    assert [intent.holder for intent in seen.intents] == ["other"]
    await other.release(key, "other", doubt=False)
    seen = await look(one, key)
    assert (seen.lease_left, seen.intents) == (0.0, ())


async def a_release_in_doubt_leaves_the_intent(one: Store, other: Store, key: str) -> None:
    """The refresh token may be spent, and the next holder has to know."""
    await one.begin(key, 0, "one", LEASE)
    await one.release(key, "one", doubt=True)
    begun = await other.begin(key, 0, "other", LEASE)
    assert isinstance(begun, Begun)
    assert begun.reading.lease_left == 0.0
    assert [(intent.holder, intent.generation) for intent in begun.reading.intents] == [("one", 0)]


async def what_is_forgotten_leaves_a_tombstone(one: Store, other: Store, key: str) -> None:
    """Of the next generation, so that no late token takes its place."""
    now = (await one.peek(key)).now
    await one.commit(key, 0, a_record(1, now), "one")
    await one.begin(key, 1, "one", LEASE)
    await other.forget(key)
    seen = await look(one, key)
    assert seen.record is not None
    assert (seen.generation, seen.record.token, seen.record.cause) == (2, None, None)
    assert (seen.lease_left, seen.intents) == (0.0, ())
    assert await one.commit(key, 1, a_record(2, now), "one") is False


async def nothing_can_be_forgotten_too(one: Store, other: Store, key: str) -> None:
    """It makes the first generation."""
    await one.forget(key)
    seen = await look(other, key)
    assert seen.record is not None
    assert (seen.generation, seen.record.token) == (1, None)


async def keys_do_not_touch_each_other(one: Store, other: Store, key: str) -> None:
    """Whatever characters they have."""
    now = (await one.peek(key)).now
    keys = [f"{key}/{odd}"[:250] for odd in _ODD_KEYS]
    for number, name in enumerate(keys):
        assert await one.commit(name, 0, a_record(1, now, access_token=f"token-{number}"), "one") is True
    for number, name in enumerate(keys):
        record = (await look(other, name)).record
        assert record is not None
        assert record.token is not None
        assert record.token.access_token == f"token-{number}"
    assert (await look(one, key)).record is None


async def of_many_who_begin_together_one_gets_the_lease(one: Store, other: Store, key: str) -> None:
    """Through both clients; and of nothing, where there is no row to lock yet."""
    answers = await asyncio.gather(
        *((one, other)[number % 2].begin(key, 0, f"holder-{number}", LEASE) for number in range(20))
    )
    assert [isinstance(answer, Begun) for answer in answers].count(True) == 1
    assert len((await look(one, key)).intents) == 1


async def of_many_who_commit_together_one_is_kept(one: Store, other: Store, key: str) -> None:
    """Each generation is given once."""
    now = (await one.peek(key)).now
    for sent in (0, 1):
        kept = await asyncio.gather(
            *(
                (one, other)[number % 2].commit(key, sent, a_record(sent + 1, now, access_token=f"token-{number}"), "h")
                for number in range(20)
            )
        )
        assert kept.count(True) == 1
        record = (await look(one, key)).record
        assert record is not None
        assert record.token is not None
        assert record.token.access_token == f"token-{kept.index(True)}"


async def a_cancelled_call_leaves_the_old_or_the_new_content(one: Store, other: Store, key: str) -> None:
    """And the store goes on to work: no half-read answer waits for the next caller."""
    now = (await one.peek(key)).now
    neighbour = f"{key}/neighbour"
    await one.commit(neighbour, 0, a_record(1, now, access_token="neighbour"), "one")
    generation = 0
    for turns in range(60):
        record = a_record(generation + 1, now, access_token=f"token-{generation + 1}")
        task = asyncio.ensure_future(one.commit(key, generation, record, "one"))
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        await asyncio.sleep(0.0005 * (turns % 7))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        beside = (await one.peek(neighbour)).record
        assert beside is not None
        assert beside.token is not None
        assert beside.token.access_token == "neighbour"
        seen = await look(other, key)
        assert seen.generation in {generation, generation + 1}
        if seen.record is not None:
            assert seen.record.token is not None
            assert seen.record.token.access_token == f"token-{seen.generation}"
        generation = seen.generation


async def a_wait_ends_at_a_change(one: Store, other: Store, key: str) -> None:
    """Long before its time."""
    loop = asyncio.get_running_loop()
    now = (await one.peek(key)).now
    waiting = asyncio.ensure_future(other.wait(key, 0, 60.0))
    await asyncio.sleep(0.1)
    started = loop.time()
    await one.commit(key, 0, a_record(1, now), "one")
    async with asyncio.timeout(SOON):
        await waiting
    assert loop.time() - started < SOON


async def a_wait_ends_after_its_time(one: Store, other: Store, key: str) -> None:
    """Though nothing has changed."""
    del other
    async with asyncio.timeout(SOON):
        await one.wait(key, 0, 0.1)


async def a_wait_for_what_has_changed_ends_soon(one: Store, other: Store, key: str) -> None:
    """The change came between the look and the wait."""
    await one.commit(key, 0, a_record(1, (await one.peek(key)).now), "one")
    async with asyncio.timeout(SOON):
        await other.wait(key, 0, 60.0)


async def a_store_serves_until_its_last_user_has_left(one: Store, other: Store, key: str) -> None:
    """And then may be entered again."""
    del other
    async with one:
        await one.commit(key, 0, a_record(1, (await one.peek(key)).now), "one")
    assert (await one.peek(key)).generation == 1
    await one.__aexit__(None, None, None)
    await one.__aenter__()
    assert (await look(one, key)).generation == 1


STORE_PROMISES: Final[tuple[StorePromise, ...]] = (
    nothing_is_found_where_nothing_was_kept,
    what_is_committed_is_read_by_all_clients,
    a_token_without_its_optional_parts_is_read_as_it_was,
    all_clients_read_one_clock,
    a_lease_belongs_to_one_holder,
    a_lease_may_be_taken_again_by_its_holder,
    a_lease_is_refused_to_who_has_seen_another_generation,
    a_lease_that_has_run_out_is_free_and_its_intent_stays,
    a_lease_can_be_superseded,
    a_lease_that_was_timed_by_another_clock_ends_in_time,
    a_commit_ends_the_lease_and_all_intents,
    a_commit_needs_the_generation_and_no_lease,
    a_commit_may_put_any_generation,
    a_tombstone_is_a_record_without_a_token,
    a_dead_refresh_token_is_noted_and_its_generation_stays,
    a_lease_is_given_back_by_its_holder_only,
    a_release_in_doubt_leaves_the_intent,
    what_is_forgotten_leaves_a_tombstone,
    nothing_can_be_forgotten_too,
    keys_do_not_touch_each_other,
    of_many_who_begin_together_one_gets_the_lease,
    of_many_who_commit_together_one_is_kept,
    a_cancelled_call_leaves_the_old_or_the_new_content,
    a_wait_ends_at_a_change,
    a_wait_ends_after_its_time,
    a_wait_for_what_has_changed_ends_soon,
    a_store_serves_until_its_last_user_has_left,
    keys_are_listed_page_by_page,
    of_many_who_claim_each_gets_others,
    a_claim_is_a_lease_without_an_intent,
    a_claim_leaves_little_of_a_lease_that_was_timed_by_another_clock,
    a_survey_counts_each_identity_by_its_state,
    a_survey_counts_who_is_renewed_and_who_is_in_doubt,
    a_survey_is_of_the_keys_that_begin_so,
)
