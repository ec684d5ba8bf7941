"""F1 to F22: what the token endpoint answers."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from tests.engine.world import World, turns
from tests.faults.steps import IMPATIENT, LIFE, all_luck, failure_of, failures, in_doubt, key_of, now, person
from zoom_async_auth import (
    AuthorizationRequiredError,
    ConfigurationError,
    RenewalPolicy,
    TokenManager,
    TokenUnavailableError,
)
from zoom_async_auth.events import FieldsAssumed, GrantDied, ScopeShrunk
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.testing import ManualClock, MemoryTransport

PROBE = 1800.0


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_f01_a_server_in_trouble_leaves_a_refresh_in_doubt_and_the_next_try_heals(
    world: World, status: int
) -> None:
    async with person(world) as manager:
        world.zoom.faults.add(f"refresh_token:answer={status} <html>Bad gateway</html>")
        world.clock.advance(LIFE)
        assert world.is_good(await manager.bearer())

    assert in_doubt(world) == [True]
    assert world.zoom.stats["refresh_token"] == {"fault": 1, "ok": 1}


async def test_f02_no_request_of_the_client_id_is_sent_before_retry_after(world: World) -> None:
    """Not by a renewal, not by a new authorization, not by a revocation; all identities of a pool: with the pool."""
    async with person(world) as manager:
        world.zoom.faults.add("refresh_token:retry-after=7")
        world.clock.advance(LIFE)
        caller = asyncio.create_task(manager.bearer())
        await asyncio.sleep(1.0)
        posts = world.wire.posts
        for verb in (manager.authorize(world.consent()), manager.revoke()):
            with pytest.raises(TokenUnavailableError) as caught:
                await verb
            assert caught.value.retry_after == pytest.approx(7.0 + world.zoom.latency - 1.0)
        await asyncio.sleep(6.0)
        assert world.wire.posts == posts
        await asyncio.sleep(0.2)
        assert world.wire.posts == posts + 1
        assert world.is_good(await caller)


@pytest.mark.parametrize(
    ("ahead", "wait"),
    [(timedelta(seconds=1000), 1000.0), (timedelta(days=10), 3600.0), (timedelta(days=-1), 0.0)],
    ids=["soon", "clamped", "past"],
)
@pytest.mark.parametrize("iso", [False, True], ids=["HTTP date", "ISO 8601"])
async def test_f03_retry_after_as_a_date_counts_from_the_date_of_the_answer(
    zoom_sandbox: Zoom, ahead: timedelta, wait: float, *, iso: bool
) -> None:
    """Our own wall clock is another one; the server dates its answers by the real one."""
    moment = datetime.now(UTC) + ahead
    date = moment.strftime("%Y-%m-%dT%H:%M:%SZ") if iso else format_datetime(moment, usegmt=True)
    zoom_sandbox.faults.add(f"any:retry-after={date}")
    clock = ManualClock(wall=1.0)
    async with TokenManager(
        zoom_sandbox.credentials, base_url=zoom_sandbox.url, policy=IMPATIENT, random=all_luck, clock=clock
    ) as manager:
        error = await failure_of(manager)

    assert error.retry_after == pytest.approx(wait, abs=3.0)
    assert zoom_sandbox.token_requests == 1


async def test_f04_a_bare_429_is_backed_off_from_with_full_jitter(world: World) -> None:
    """Luck at its worst; with none the pauses are the shortest there are. Halving a fleet's rate: with the pool."""
    for luck, pauses in ((1.0 - 1e-9, [0.5, 1.0, 2.0, 4.0, 8.0]), (0.0, [0.05] * 5)):
        moments: list[float] = []
        world.luck = luck
        world.zoom.faults.add("any#1-6:answer=429")
        async with world.manager(observers=[lambda _, noted=moments: noted.append(now())]) as manager:
            await asyncio.sleep(40.0)
            assert world.is_good(await manager.bearer())
        waited = [later - earlier - world.zoom.latency for earlier, later in pairwise(moments)]
        assert waited[:5] == pytest.approx(pauses, abs=1e-6)

    assert world.zoom.stats["account_credentials"] == {"fault": 12, "ok": 2}


@pytest.mark.parametrize(
    ("value", "told", "waited"),
    [("-1", 0.0, 0.05), ("1000000000", 3600.0, 3600.0), ("1e9", None, 0.05), ("soon", None, 0.05)],
)
async def test_f05_a_retry_after_out_of_range_is_clamped_or_ignored(
    world: World, value: str, told: float | None, waited: float
) -> None:
    world.zoom.faults.add(f"any:retry-after={value}")
    async with world.manager():
        await asyncio.sleep(world.zoom.latency + waited - 0.01)
        assert [error.retry_after for error in failures(world)] == [told]
        assert world.zoom.token_requests == 1
        await asyncio.sleep(0.02)
        assert world.zoom.token_requests == 2


@pytest.mark.parametrize("status", [408, 425])
async def test_f06_a_timeout_of_the_server_is_transient_and_never_a_new_authorization(
    world: World, status: int
) -> None:
    async with person(world) as manager:
        world.zoom.faults.add(f"refresh_token:answer={status}")
        world.clock.advance(LIFE)
        assert world.is_good(await manager.bearer())

    assert in_doubt(world) == [False]
    assert world.zoom.stats["refresh_token"] == {"fault": 1, "ok": 1}


async def test_f07_the_page_of_a_captive_portal_is_not_cached(world: World) -> None:
    async with person(world) as manager:
        world.zoom.faults.add("refresh_token:html")
        world.clock.advance(LIFE)
        assert world.is_good(await manager.bearer())

    assert in_doubt(world) == [True]
    assert world.zoom.stats["refresh_token"] == {"fault": 1, "ok": 1}


@pytest.mark.parametrize(
    ("error", "kind"), [("invalid_grant", AuthorizationRequiredError), ("invalid_client", ConfigurationError)]
)
async def test_f08_a_200_with_an_error_is_treated_as_that_error(
    world: World, error: str, kind: type[Exception]
) -> None:
    async with person(world) as manager:
        world.zoom.faults.add(f'refresh_token:answer=200 {{"error":"{error}","access_token":"trap"}}')
        world.clock.advance(LIFE)
        failure = await failure_of(manager)

    assert (type(failure), failure.error) == (kind, error)
    assert world.zoom.stats["refresh_token"] == {"fault": 1}


@pytest.mark.parametrize("what", ["truncated", "cut"])
async def test_f09_half_an_answer_leaves_it_in_doubt_and_the_same_refresh_token_is_tried_again(
    world: World, what: str
) -> None:
    """Zoom has rotated; one that allows a second use heals it."""
    world.zoom.model.reuse_grace = 30.0
    async with person(world) as manager:
        world.zoom.faults.add(f"refresh_token:{what}")
        world.clock.advance(LIFE)
        assert world.is_good(await manager.bearer())

    assert in_doubt(world) == [True]
    assert world.zoom.stats["refresh_token"] == {"ok": 2}


@pytest.mark.parametrize("content_type", ["text/html", "text/plain; charset=utf-16"])
async def test_f10_valid_json_of_another_content_type_is_accepted(zoom_sandbox: Zoom, content_type: str) -> None:
    zoom_sandbox.faults.add(f"any:content-type={content_type}")
    async with TokenManager(zoom_sandbox.credentials, base_url=zoom_sandbox.url) as manager:
        token = await manager.bearer()

    assert zoom_sandbox.model.user_of(token) is not None
    assert zoom_sandbox.token_requests == 1


@pytest.mark.parametrize("status", [200, 204])
async def test_f11_an_empty_answer_leaves_a_refresh_in_doubt(world: World, status: int) -> None:
    async with person(world) as manager:
        world.zoom.faults.add(f"refresh_token:answer={status}")
        world.clock.advance(LIFE)
        assert world.is_good(await manager.bearer())

    assert in_doubt(world) == [True]
    assert world.zoom.stats["refresh_token"] == {"fault": 1, "ok": 1}


@pytest.mark.parametrize(
    "refusal", ['{"error":"invalid_grant"}', '{"reason":"Invalid Token!","error":"invalid_request"}']
)
async def test_f12_a_refused_refresh_token_is_dead_if_the_store_says_nothing_else(world: World, refusal: str) -> None:
    async with person(world) as manager:
        world.zoom.faults.add(f"refresh_token:answer=400 {refusal}")
        world.clock.advance(LIFE)
        assert type(await failure_of(manager)) is AuthorizationRequiredError
        await asyncio.sleep(2 * LIFE)

    assert world.zoom.stats["refresh_token"] == {"fault": 1}
    assert [event.answer_was_lost for event in world.seen(GrantDied)] == [False]


async def test_f12_a_refusal_is_overtaken_by_a_newer_generation_in_the_store(world: World) -> None:
    """Interleaving: the refresh leaves, somebody authorizes anew elsewhere, Zoom refuses what it gets then."""
    store = world.store()
    peer = world.personal(store=store, transport=MemoryTransport(world.zoom))
    async with person(world, store=store) as manager, peer:
        await peer.bearer()
        world.clock.advance(LIFE)
        world.wire.held_before = asyncio.Event()
        caller = asyncio.create_task(manager.bearer())
        await asyncio.sleep(1.0)
        newer = await peer.authorize(world.consent())
        world.wire.held_before.set()
        assert await caller == newer.access_token

    assert world.zoom.stats["refresh_token"] == {"invalid_grant": 1}
    assert not world.seen(GrantDied)


async def test_f12_a_refusal_is_not_believed_while_somebody_else_may_have_spent_the_token(world: World) -> None:
    """Their lease is over, their intent is open: wait until its doubt has passed."""
    store = world.store()
    world.luck = 0.5
    async with person(world, store=store) as manager:
        world.clock.advance(LIFE)
        await store.begin(key_of(world.zoom), 1, "somebody else", 0.0)
        begun = now()
        world.zoom.faults.add('refresh_token:answer=400 {"error":"invalid_grant"}')
        error = await failure_of(manager)
        assert (type(error), error.error) == (TokenUnavailableError, "invalid_grant")
        await asyncio.sleep(begun + 299.0 - now())
        assert not world.seen(GrantDied)
        assert world.zoom.stats["refresh_token"] == {"fault": 1}
        await asyncio.sleep(61.0)
        assert [event.answer_was_lost for event in world.seen(GrantDied)] == [True]
        assert world.zoom.stats["refresh_token"] == {"fault": 1}


@pytest.mark.parametrize("status", [401, 403])
async def test_f13_an_invalid_grant_is_told_by_its_code_and_not_by_its_status(world: World, status: int) -> None:
    async with person(world) as manager:
        world.zoom.faults.add(f'refresh_token:answer={status} {{"error":"invalid_grant"}}')
        world.clock.advance(LIFE)
        assert type(await failure_of(manager)) is AuthorizationRequiredError
        assert manager.health().state == "dead"

    assert world.zoom.stats["refresh_token"] == {"fault": 1}


@pytest.mark.parametrize(
    "refusal",
    ['401 {"error":"invalid_client"}', '400 {"code":4702}', '400 {"errorCode":4717,"error":"app_disabled"}'],
    ids=["invalid client", "4702", "app disabled"],
)
async def test_f14_a_refused_client_is_probed_every_half_hour_and_its_refresh_token_kept(
    world: World, refusal: str
) -> None:
    """The whole client: all identities of a pool pause with it (comes with the pool)."""
    async with person(world) as manager:
        world.zoom.faults.add(f"refresh_token#1-2:answer={refusal}")
        world.clock.advance(LIFE)
        for probes in (1, 2):
            assert type(await failure_of(manager)) is ConfigurationError
            assert manager.health().state == "misconfigured"
            assert world.zoom.stats["refresh_token"] == {"fault": probes}
            await asyncio.sleep(PROBE - 2.0)
            assert world.zoom.stats["refresh_token"] == {"fault": probes}
            await asyncio.sleep(2.5)
        assert world.is_good(await manager.bearer())

    assert world.zoom.stats["refresh_token"] == {"fault": 2, "ok": 1}


async def test_f15_an_unknown_refusal_is_backed_off_from_and_the_refresh_token_kept(world: World) -> None:
    """After five the token has expired, and health shows what is wrong to whoever looks; the end of it heals."""
    async with person(world) as manager:
        world.zoom.faults.add('refresh_token#1-5:answer=418 {"error":"something_new"}')
        world.clock.advance(LIFE)
        world.luck = 1.0 - 1e-9
        caller = asyncio.create_task(manager.bearer())
        await asyncio.sleep(15.0)  # tries after 0, 0.6, 1.7, 3.8, 7.9 s; the next after 16 s
        health = manager.health()
        assert (health.state, health.ready) == ("expired", False)
        assert health.last_error is not None
        assert health.last_error.error == "something_new"
        assert world.zoom.stats["refresh_token"] == {"fault": 5}
        assert world.is_good(await caller)

    assert world.zoom.stats["refresh_token"] == {"fault": 5, "ok": 1}
    assert not world.seen(GrantDied)


@pytest.mark.parametrize("status", [404, 405])
async def test_f16_a_wrong_address_is_a_misconfiguration_and_no_storm(world: World, status: int) -> None:
    world.zoom.faults.add(f"any#1-:answer={status}")
    async with world.manager() as manager:
        outcomes = await asyncio.gather(*(manager.bearer() for _ in range(1000)), return_exceptions=True)
        await asyncio.sleep(PROBE - 1.0)
        assert {type(outcome) for outcome in outcomes} == {ConfigurationError}
        assert world.zoom.token_requests == 1
        await asyncio.sleep(2.0)
        assert world.zoom.token_requests == 2


async def test_f17_a_missing_lifetime_is_taken_for_ten_minutes_and_told(world: World) -> None:
    world.zoom.faults.add("any:without=expires_in")
    async with world.manager() as manager:
        assert (await manager.token()).expires_in == 600.0

    assert [event.fields for event in world.seen(FieldsAssumed)] == [frozenset({"expires_in"})]
    assert world.zoom.token_requests == 1


@pytest.mark.parametrize("lifetime", ['"3600"', "3600.0"])
async def test_f18_a_lifetime_as_text_or_with_a_fraction_is_accepted(world: World, lifetime: str) -> None:
    world.zoom.faults.add(f"any:expires-in={lifetime}")
    async with world.manager() as manager:
        assert (await manager.token()).expires_in == 3600.0

    assert world.zoom.token_requests == 1


@pytest.mark.parametrize("lifetime", ["0", "-5", "NaN", "Infinity", "true"])
async def test_f19_a_lifetime_that_is_none_is_refused(world: World, lifetime: str) -> None:
    world.zoom.faults.add(f"any:expires-in={lifetime}")
    async with world.manager() as manager:
        assert (await manager.token()).expires_in == 3600.0

    assert in_doubt(world) == [True]
    assert world.zoom.token_requests == 2


async def test_f19_a_lifetime_of_a_century_is_cut_to_a_day(world: World) -> None:
    world.zoom.faults.add("any:expires-in=1e18")
    async with world.manager() as manager:
        assert (await manager.token()).expires_in == 24 * 3600.0

    assert world.zoom.token_requests == 1


async def test_f20_tokens_that_arrive_nearly_expired_are_not_renewed_in_a_loop(world: World) -> None:
    world.zoom.faults.add("any#1-:expires-in=1")
    async with world.manager(policy=RenewalPolicy(min_interval=10.0)):
        await asyncio.sleep(100.0)

    assert world.zoom.token_requests == 10


async def test_f21_an_omitted_refresh_token_leaves_the_old_one_in_use(world: World) -> None:
    world.zoom.model.reuse_grace = 1e9  # as a server that does not rotate
    async with person(world) as manager:
        before = await manager.token()
        world.zoom.faults.add("refresh_token:without=refresh_token")
        after = await manager.renew()
        assert after.access_token != before.access_token
        assert after.refresh_token == before.refresh_token
        assert world.is_good((await manager.renew()).access_token)

    assert world.zoom.stats["refresh_token"] == {"ok": 2}


async def test_f22_a_scope_that_shrank_is_accepted_and_told(world: World) -> None:
    async with person(world) as manager:
        world.zoom.faults.add('refresh_token:scope="meeting:read"')
        assert (await manager.renew()).scope == {"meeting:read"}
        await turns()

    assert [event.lost for event in world.seen(ScopeShrunk)] == [frozenset({"user:read:admin"})]
    assert world.zoom.stats["refresh_token"] == {"ok": 1}
