"""What stores promise that can do more: list their keys, find what is old, count what they have."""

import asyncio

from zoom_async_auth.stores.base import PLAUSIBLE_LEASE, Begun, Browsable, Claimable, Reading, Record, Store, can_claim
from zoom_async_auth.stores.survey import Survey, Surveyable, can_survey
from zoom_async_auth.testing.looks import LEASE, PRECISION, SOON, a_record, look


async def keys_are_listed_page_by_page(one: Store, other: Store, key: str) -> None:
    """By a store that is `Browsable`; in the order of their code points, tombstones among them."""
    if not isinstance(one, Browsable):
        return
    now = (await one.peek(key)).now
    names = sorted(f"{key}/{letter}" for letter in "aZ_9é🙂")
    for name in names:
        await other.commit(name, 0, a_record(1, now), "other")
    await other.forget(names[2])
    listed: list[str] = []
    after = key
    while page := await one.keys(after=after, limit=4):
        assert len(page) <= 4  # noqa: PLR2004 -- the limit
        listed += page
        after = listed[-1]
    assert [name for name in listed if name.startswith(f"{key}/")] == names


async def of_many_who_claim_each_gets_others(one: Store, other: Store, key: str) -> None:
    """By a store that is `Claimable`: oldest first, the prefix matched exactly; dead, revoked and leased keys stay."""
    if not (isinstance(one, Claimable) and isinstance(other, Claimable) and can_claim(one)):
        return
    now = (await one.peek(key)).now
    names = [f"{key}/{number}" for number in range(12)]
    for age, name in enumerate(names):
        await one.commit(name, 0, a_record(1, now - 1000.0 + age), "one")
    await one.commit(f"{key.upper()}/0", 0, a_record(1, now - 2000.0), "one")  # whose prefix is another one
    await one.commit(f"{key}/young", 0, a_record(1, now), "one")
    await one.commit(f"{key}/dead", 0, a_record(1, now - 2000.0), "one")
    await one.condemn(f"{key}/dead", 1, "invalid_grant")
    await one.commit(f"{key}/revoked", 0, Record(generation=1, token=None, issued_at=0.0, expires_at=0.0), "one")
    await one.begin(names[0], 1, "busy", 30.0)
    oldest = await one.claim(f"{key}/", "first", older_than=500.0, lease=30.0, limit=2)
    assert sorted(oldest) == names[1:3]
    claims = [
        store.claim(f"{key}/", f"sweeper-{number}", older_than=500.0, lease=30.0, limit=4)
        for number, store in enumerate((one, other, one, other))
    ]
    taken = [name for keys in await asyncio.gather(*claims) for name in keys]
    assert len(set(taken)) == len(taken)
    left = await one.claim(f"{key}/", "last", older_than=500.0, lease=30.0, limit=20)
    assert sorted((*oldest, *taken, *left)) == sorted(names[1:])  # rows that another one was about to change came later


async def a_claim_is_a_lease_without_an_intent(one: Store, other: Store, key: str) -> None:
    """By a store that is `Claimable`: only its holder may begin, and earlier intents stay."""
    if not (isinstance(one, Claimable) and can_claim(one)):
        return
    now = (await one.peek(key)).now
    await one.commit(key, 0, a_record(1, now - 1000.0), "one")
    await one.begin(key, 1, "killed", 30.0)
    await one.release(key, "killed", doubt=True)
    assert await one.claim(key, "sweeper", older_than=500.0, lease=30.0, limit=1) == (key,)
    assert isinstance(await other.begin(key, 1, "other", 30.0), Reading)
    begun = await other.begin(key, 1, "sweeper", 30.0)
    assert isinstance(begun, Begun)
    assert [intent.holder for intent in begun.reading.intents] == ["killed"]
    await other.release(key, "sweeper", doubt=False)
    assert (await other.peek(key)).lease_left == 0


async def a_claim_leaves_little_of_a_lease_that_was_timed_by_another_clock(one: Store, other: Store, key: str) -> None:
    """By a store that is `Claimable`: its holder may be dead, or at work, so it is not taken away at once."""
    if not (isinstance(one, Claimable) and can_claim(one)):
        return
    now = (await one.peek(key)).now
    await one.commit(key, 0, a_record(1, now - 1000.0), "one")
    await one.begin(key, 1, "one", 3600.0)
    assert await one.claim(key, "sweeper", older_than=500.0, lease=LEASE, limit=1) == ()
    left = (await look(other, key)).lease_left
    assert LEASE < left <= PLAUSIBLE_LEASE + PRECISION
    assert await one.claim(key, "sweeper", older_than=500.0, lease=LEASE, limit=1) == ()
    assert (await look(other, key)).lease_left <= left + PRECISION  # once is enough, or it would never end
    assert isinstance(await one.begin(key, 1, "one", LEASE), Begun)


async def a_survey_counts_each_identity_by_its_state(one: Store, other: Store, key: str) -> None:
    """By a store that is `Surveyable`: once, and those that are due or were renewed just now by their times."""
    if not (isinstance(other, Surveyable) and can_survey(other)):
        return
    assert await other.survey(f"{key}/") == ()
    now = (await one.peek(key)).now
    for name, age in {"new": 1.0, "a minute": 61.0, "young": 2870.0, "old": 2890.0, "unused": 3601.0}.items():
        await one.commit(f"{key}/{name}", 0, a_record(1, now - age), "one")
    await one.commit(f"{key}/dead", 0, a_record(1, now - 5000.0), "one")
    await one.condemn(f"{key}/dead", 1, "invalid_grant")
    await one.commit(f"{key}/forgotten", 0, a_record(1, now), "one")
    await one.forget(f"{key}/forgotten")
    await one.begin(f"{key}/authorizing", 0, "one", LEASE)
    found = await _survey(other, f"{key}/")
    assert (found.valid, found.expired, found.dead, found.empty) == (4, 1, 1, 2)
    assert (found.identities, found.due, found.renewed) == (8, 1, 1)
    assert found.oldest_token is not None
    assert 0 <= found.oldest_token - 3601.0 < SOON


async def a_survey_counts_who_is_renewed_and_who_is_in_doubt(one: Store, other: Store, key: str) -> None:
    """By a store that is `Surveyable`: an intent is in doubt once nobody has the lease."""
    if not (isinstance(other, Surveyable) and can_survey(other)):
        return
    now = (await one.peek(key)).now
    names = [f"{key}/{name}" for name in ("at rest", "killed", "unanswered", "busy", "refused")]
    for name in names:
        await one.commit(name, 0, a_record(1, now), "one")
    seen = await _survey(other, f"{key}/")
    assert (seen.leased, seen.intents, seen.in_doubt, seen.oldest_intent) == (0, 0, 0, None)
    pause = 0.1
    for name, lease in zip(names[1:], (pause / 2, LEASE, LEASE, LEASE), strict=True):
        await one.begin(name, 1, "one", lease)
    await asyncio.sleep(pause)
    await one.release(names[2], "one", doubt=True)
    await one.release(names[4], "one", doubt=False)
    await one.begin(names[1], 1, 'an "odd" one", 7, 8]', LEASE)
    await one.release(names[1], 'an "odd" one", 7, 8]', doubt=True)
    seen = await _survey(other, f"{key}/")
    assert (seen.identities, seen.leased, seen.intents, seen.in_doubt) == (5, 1, 3, 2)
    assert seen.oldest_intent is not None
    assert pause / 2 < seen.oldest_intent < SOON


async def a_survey_is_of_the_keys_that_begin_so(one: Store, other: Store, key: str) -> None:
    """By a store that is `Surveyable`: to the letter, and each app for itself; its part of the key is told, no more."""
    if not (isinstance(other, Surveyable) and can_survey(other)):
        return
    now = (await one.peek(key)).now
    for name in ("a/1", "a/2/3", "A/1", "a_/1", "a%/1", "é🙂/1"):
        await one.commit(f"{key}{name}", 0, a_record(1, now), "one")
    app = f"{key}a/"[: f"{key}a/".find("/") + 1]
    counts = [(found.prefix, found.identities) for found in await other.survey(f"{key}a/")]
    assert counts == [(app, 2)]
    assert (await _survey(other, f"{key}é🙂")).identities == 1
    of_all = {found.prefix: found.identities for found in await other.survey()}
    assert list(of_all) == sorted(of_all)
    assert of_all[app] >= 2  # noqa: PLR2004 -- kept above; others may use the place


async def _survey(store: Surveyable, prefix: str) -> Survey:
    """Return the counts of what are the keys of one app."""
    (found,) = await store.survey(prefix)
    return found
