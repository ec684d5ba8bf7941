"""What a program and its operators can see: events, health; never a secret."""

import asyncio
import logging
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from tests.engine.world import LATENCY, QUIET, FaultyStore, World, turns
from zoom_async_auth import AuthorizationRequiredError, ConfigurationError, TokenManager, TokenUnavailableError
from zoom_async_auth.events import Event, RenewalFailed, TokenAdopted, TokenRejected, TokenRenewed


async def test_observers_are_told_in_order_and_after_the_fact(world: World) -> None:
    seen: list[tuple[str, bool]] = []
    manager: TokenManager

    def observe(event: Event) -> None:
        seen.append((type(event).__name__, manager.health().ready))

    manager = world.manager(observers=[observe])
    async with manager:
        token = await manager.bearer()
        manager.invalidate(token)
        await manager.bearer()

    assert seen == [("TokenRenewed", True), ("TokenRejected", False), ("TokenRenewed", True)]


async def test_an_observer_that_raises_is_logged_once_and_disturbs_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """F55: its text may hold anything, so only its class is logged."""
    others: list[Event] = []

    def fail(event: Event) -> None:
        raise ValueError(f"secret {event}")

    async with world.manager(observers=[fail, others.append, fail]) as manager:
        for _ in range(3):
            await manager.renew()

    assert len(others) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"observer {index} failed on TokenRenewed with ValueError; further failures of it are not logged"
        for index in (0, 2)
    ]


async def _coroutine_function(event: Event) -> None:
    del event


class _Waits:
    async def __call__(self, event: Event) -> None:
        del event


@pytest.mark.parametrize(
    ("observer", "problem"),
    [
        (_coroutine_function, "is a coroutine function"),
        (partial(_coroutine_function), "is a coroutine function"),
        (_Waits(), "is a coroutine function"),
        (_Waits().__call__, "is a coroutine function"),
        (_Waits, "is a class"),
        ("not callable", "cannot be called"),
    ],
    ids=["function", "partial", "object", "method", "class", "string"],
)
def test_an_observer_that_would_never_do_anything_is_refused_at_once(world: World, observer: Any, problem: str) -> None:
    """Called, it would make a coroutine, or an object, and leave it at that: silently."""
    with pytest.raises(ConfigurationError, match=f"observer 1 {problem}.*: an observer is a plain callable"):
        world.manager(observers=[world.events.append, observer])


async def test_an_observer_may_use_the_manager(world: World) -> None:
    """It holds no lock and is not in the middle of anything."""
    manager: TokenManager

    def observe(event: Event) -> None:
        if isinstance(event, TokenRenewed) and event.generation == 1:
            manager.invalidate(world_token())

    def world_token() -> str:
        held = manager._slot.held
        assert held is not None
        return held.token.access_token

    manager = world.manager(observers=[observe])
    async with manager:
        await asyncio.sleep(2.0)
        assert manager.health().generation == 2


async def test_a_healthy_program_logs_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A library is silent by default: whoever wants to hear of it observes."""
    caplog.set_level(logging.DEBUG, logger="zoom_async_auth")
    async with world.manager() as manager:
        await manager.bearer()
        await asyncio.sleep(24 * 3600.0)

    assert not caplog.records


async def test_health_tells_the_whole_life(world: World) -> None:
    """One word for each state; all of it fit for a readiness probe."""
    world.luck = 0.5
    manager = world.manager(policy=QUIET)
    states = [manager.health().state]
    await manager.start()
    states.append(manager.health().state)
    await manager.bearer()
    states.append(manager.health().state)
    world.zoom.outage = 503
    await asyncio.sleep(3400.0)
    states.append(manager.health().state)
    await asyncio.sleep(300.0)
    states.append(manager.health().state)
    await manager.aclose()
    states.append(manager.health().state)

    assert states == ["new", "starting", "fresh", "stale", "expired", "closed"]


async def test_health_has_the_numbers_of_the_moment(world: World) -> None:
    world.luck = 0.5
    async with world.manager(policy=QUIET) as manager:
        await manager.bearer()
        await asyncio.sleep(100.0)
        health = manager.health()
        assert (health.ready, health.durable, health.generation, health.last_error) == (True, False, 1, None)
        assert health.seconds_left == pytest.approx(3600.0 - 10.0 - 100.0 - world.zoom.latency)
        assert health.next_attempt == pytest.approx(3300.0 - 100.0 - world.zoom.latency)
        world.zoom.outage = 503
        await asyncio.sleep(3600.0)
        health = manager.health()
        assert (health.ready, health.seconds_left) == (False, 0.0)
        assert health.last_error is not None
        assert health.last_error.status == 503


async def test_what_is_told_of_a_failure_is_the_error_that_callers_get(world: World) -> None:
    world.zoom.outage = 500
    async with world.manager():
        await turns()
        await asyncio.sleep(0.2)

    errors = [event.error for event in world.seen(RenewalFailed)]
    assert errors
    assert {error.status for error in errors} == {500}


async def test_a_failure_tells_how_long_the_token_at_hand_is_good_and_when_the_next_try_is(world: World) -> None:
    """What whoever is called at night asks first: does anybody go without, and when does it try again?"""
    loop = asyncio.get_running_loop()
    failures: list[tuple[float, RenewalFailed]] = []

    def observe(event: Event) -> None:
        if isinstance(event, RenewalFailed):
            failures.append((loop.time(), event))

    async with world.manager(policy=QUIET, observers=[observe]) as manager:
        withheld_at = loop.time() + (await manager.token()).expires_in - 10.0
        world.zoom.outage = 503
        await asyncio.sleep(3700.0)

    assert {event.seconds_left == 0.0 for _, event in failures} == {True, False}
    for (before, failure), (now, following) in pairwise(failures):
        assert failure.seconds_left == pytest.approx(max(0.0, withheld_at - before))
        assert failure.next_attempt == pytest.approx(now - following.took - before)


async def test_a_token_that_somebody_wanted_anew_is_tried_for_while_they_wait_and_then_as_planned(
    world: World,
) -> None:
    loop = asyncio.get_running_loop()
    async with world.manager(policy=QUIET) as manager:
        await manager.bearer()
        await asyncio.sleep(100.0)
        planned = loop.time() + (manager.health().next_attempt or 0.0)
        world.zoom.outage = 503
        with pytest.raises(TokenUnavailableError):
            await manager.renew()
        first = world.seen(RenewalFailed)[0]
        assert first.seconds_left
        assert first.next_attempt is not None
        assert first.next_attempt < QUIET.timeout
        assert loop.time() + (manager.health().next_attempt or 0.0) == pytest.approx(planned)


async def test_the_next_attempt_of_a_misconfigured_app_is_the_next_request_not_the_next_look(world: World) -> None:
    """The store is looked at twice a minute, in case another process has better credentials; Zoom is not asked."""
    app = replace(world.zoom.credentials, client_secret="wrong")
    async with world.manager(app) as manager:
        with pytest.raises(ConfigurationError):
            await manager.bearer()
        asked = world.wire.posts
        next_attempt = manager.health().next_attempt
        assert next_attempt is not None
        await asyncio.sleep(next_attempt - 1.0)
        assert world.wire.posts == asked
        await asyncio.sleep(2.0)
        assert world.wire.posts == asked + 1


async def test_no_attempt_is_planned_while_it_takes_a_person(world: World) -> None:
    async with world.personal() as manager:
        with pytest.raises(AuthorizationRequiredError):
            await manager.bearer()
        assert manager.health().next_attempt is None
        await manager.authorize(world.consent())
        assert manager.health().next_attempt is not None

    assert [event.next_attempt for event in world.seen(RenewalFailed)] == [None]


async def test_a_bug_of_ours_is_told_with_its_lines_and_without_its_words(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text may hold a token; without its place nobody finds it."""

    def fail(*_: object, **__: object) -> None:
        raise KeyError("the-access-token")

    monkeypatch.setattr("zoom_async_auth.renewal.exchange.Exchange.renew", fail)
    async with world.manager() as manager:
        with pytest.raises(TokenUnavailableError, match=r"the renewal failed: KeyError at .*slot\.py:\d+ > ") as caught:
            await manager.bearer()

    assert "the-access-token" not in str(caught.value)


async def test_an_event_tells_how_long_the_renewal_took(world: World) -> None:
    """From the first look into the store on, whatever came of it."""
    store = FaultyStore(world.store())
    store.slow = {"peek": 1.0, "begin": 2.0, "commit": 3.0}
    async with world.manager(store=store) as manager:
        await manager.bearer()
    async with world.manager(store=store) as manager:
        await manager.bearer()
    store.down.add("peek")
    async with world.personal(store=store):
        await asyncio.sleep(1.5)
    async with world.manager(store=store) as manager:  # gets a token past the store
        await manager.bearer()

    whole, past = 1.0 + 2.0 + LATENCY + 3.0, 1.0 + LATENCY
    assert [event.took for event in world.seen(TokenRenewed)] == [pytest.approx(whole), pytest.approx(past)]
    assert [event.took for event in world.seen(TokenAdopted)] == [pytest.approx(1.0)]
    assert [event.took for event in world.seen(RenewalFailed)] == [pytest.approx(1.0)]


async def test_events_name_the_key_and_hold_nothing_that_could_be_spent(world: World) -> None:
    async with world.manager(key="team-a") as manager:
        manager.invalidate(await manager.bearer())
        await manager.bearer()

    assert {event.key for event in world.events} == {"team-a"}
    kinds = {field.name for event in world.events for field in fields(event)}
    assert kinds == {"key", "generation", "expires_in", "took"}
    assert [event.generation for event in world.seen(TokenRejected)] == [1]
