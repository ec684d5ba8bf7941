"""F39 to F55: callers that leave, managers that end, programs with bugs. F47 and F49 are proven elsewhere: rows.py."""

import asyncio
import gc
from typing import Any

import pytest

from tests.engine.world import QUIET, FaultyStore, World, cancelled_at, turns
from tests.faults.steps import LIFE, consent_of, failures, key_of, now, person
from zoom_async_auth import ManagerClosedError, MisuseError, Token, TokenManager, TokenUnavailableError
from zoom_async_auth.events import Event, GrantDied, TokenRenewed
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.testing import ManualClock, MemoryTransport, VirtualTimeLoop
from zoom_async_auth.testing.callers import assert_one_request


async def test_f39_a_caller_cancelled_at_any_await_of_an_authorization_loses_no_token(world: World) -> None:
    """A web client that hangs up has spent its code: what it bought is kept."""
    moments = 0
    async with world.personal() as manager:
        for k in range(1, 50):
            caller = asyncio.create_task(cancelled_at(k, manager.authorize(world.consent())))
            await asyncio.wait({caller})
            await asyncio.sleep(1.0)
            assert world.is_good(await manager.bearer())
            assert world.zoom.stats == {"authorization_code": {"ok": k}}
            if not caller.cancelled():
                break
            moments += 1

    assert moments >= 1


async def test_f40_a_flight_that_all_have_left_still_lands(world: World) -> None:
    world.zoom.latency = 5.0
    async with person(world) as manager:
        world.clock.advance(LIFE)
        callers = [asyncio.create_task(manager.bearer()) for _ in range(50)]
        await asyncio.sleep(1.0)
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        await asyncio.sleep(4.5)
        assert manager.health().state == "fresh"
        assert world.is_good(await manager.bearer())

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


async def test_f41_a_waiter_that_loses_patience_does_not_touch_the_others(world: World) -> None:
    world.zoom.latency = 5.0
    async with person(world) as manager:
        world.clock.advance(LIFE)
        others = [asyncio.create_task(manager.bearer()) for _ in range(10)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(manager.bearer(), timeout=1.0)
        assert len(set(await asyncio.gather(*others))) == 1

    assert world.zoom.stats["refresh_token"] == {"ok": 1}


@pytest.mark.parametrize("operation", ["commit", "release"])
async def test_f42_a_caller_cancelled_during_commit_or_release_stops_neither(world: World, operation: str) -> None:
    """A lease that is not given back frees by time; one that is, at once."""
    store = FaultyStore(world.store())
    async with person(world, store=store) as manager:
        store.slow[operation] = 3.0
        if operation == "release":
            world.zoom.faults.add("refresh_token:answer=503")
        store.calls.clear()
        world.clock.advance(LIFE)
        caller = asyncio.create_task(manager.bearer())
        await asyncio.sleep(1.0)
        assert store.calls[-1] == operation
        caller.cancel()
        await asyncio.sleep(60.0)
        reading = await store.peek(key_of(world.zoom))
        assert (reading.generation, reading.lease_left) == (2, 0.0)
        assert world.is_good(await manager.bearer())

    assert world.zoom.stats["refresh_token"]["ok"] == 1


@pytest.mark.parametrize(("what", "outcomes"), [("hang", {"fault": 1, "ok": 1}), ("hang-after", {"ok": 2})])
def test_f43_an_end_of_the_loop_without_aclose_leaves_an_intent_that_the_next_start_resolves(
    what: str, outcomes: dict[str, int]
) -> None:
    """Whether Zoom has rotated or not: the same refresh token is tried once more."""
    clock = ManualClock()
    zoom = Zoom(clock=clock.time, reuse_grace=30.0)
    store = MemoryStore(clock=clock)

    def manager() -> TokenManager:
        return TokenManager(
            zoom.user_app, base_url=zoom.url, store=store, clock=clock, policy=QUIET, transport=MemoryTransport(zoom)
        )

    async def first() -> None:
        abandoned = manager()
        await abandoned.start()
        await abandoned.authorize(consent_of(zoom))
        zoom.faults.add(f"refresh_token:{what}")
        clock.advance(LIFE)
        asyncio.create_task(abandoned.bearer())  # noqa: RUF006 -- it is abandoned, that is the point
        await asyncio.sleep(1.0)

    async def second() -> None:
        assert [intent.generation for intent in (await store.peek(key_of(zoom))).intents] == [1]
        async with manager() as successor:
            assert zoom.model.user_of(await successor.bearer()) == "alice"
        assert (await store.peek(key_of(zoom))).intents == ()

    with pytest.warns(ResourceWarning, match="was not closed"):
        _run(first())
    clock.advance(20.0)  # the lease of who is gone
    _run(second())
    assert zoom.stats["refresh_token"] == outcomes


async def test_f44_closing_lets_a_request_on_the_wire_land_within_its_bound(world: World) -> None:
    world.zoom.latency = 5.0
    store = FaultyStore(world.store())
    async with person(world, store=store) as manager:
        renewal = asyncio.create_task(manager.renew())
        await asyncio.sleep(2.0)
        started = now()
        await manager.aclose()
        assert now() - started == pytest.approx(4.0)
        token = await renewal
    reading = await store.peek(key_of(world.zoom))
    assert reading.record is not None
    assert reading.record.token == token


async def test_f44_closing_hands_over_a_token_that_cannot_be_stored(world: World) -> None:
    store = FaultyStore(world.store())
    rescued: list[tuple[str, Token]] = []
    async with person(world, store=store, on_uncommitted=lambda *token: rescued.append(token)) as manager:
        store.down.add("commit")
        renewal = asyncio.create_task(manager.renew())
        await asyncio.sleep(1.05)
        await manager.aclose()
        assert rescued == [("default", await renewal)]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_f45_an_interrupt_comes_out_as_itself_after_the_end_of_the_block(kind: type[BaseException]) -> None:
    """The first one runs `__aexit__`; with a real signal: tests/test_process.py. A second one is F43."""
    kept: list[TokenManager] = []

    async def program() -> None:
        async with World().manager() as manager:
            kept.append(manager)
            await manager.bearer()
            raise kind

    with pytest.raises(kind):
        _run(program())
    assert kept[0].health().state == "closed"


async def test_f46_garbage_collection_takes_no_flight_away(world: World) -> None:
    """Nobody waits for it, and the loop keeps only weak references to tasks."""
    async with person(world) as manager:
        world.wire.held_after = asyncio.Event()
        world.clock.advance(LIFE)
        await asyncio.sleep(31.0)
        assert world.zoom.stats["refresh_token"] == {"ok": 1}
        gc.collect()
        world.wire.held_after.set()
        world.wire.held_after = None
        await asyncio.sleep(31.0)
        assert manager.health().state == "fresh"


def test_f48_another_loop_gets_a_clear_error_off_the_hot_path_and_never_a_hang() -> None:
    """One `asyncio.run` per job; a token that is held may be read from anywhere."""

    async def opened() -> TokenManager:
        manager = World().manager()
        await manager.start()
        await manager.bearer()
        return manager

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as first:
        manager = first.run(opened())
        assert _run(manager.bearer()) == first.run(manager.bearer())
        for verb in (manager.renew, manager.token, manager.revoke, manager.aclose):
            with pytest.raises(MisuseError, match="another event loop"):
                _run(verb())
        first.run(manager.aclose())
    with pytest.raises(ManagerClosedError):
        _run(manager.bearer())


async def test_f50_another_thread_gets_a_typed_error_off_the_hot_path(zoom_manager: TokenManager) -> None:
    """A held token may be read from anywhere. On a real loop: a virtual one leaps while it waits for threads."""
    token = await zoom_manager.bearer()
    said: list[str] = []

    def elsewhere() -> None:
        said.append(asyncio.run(zoom_manager.bearer()))
        for call in (lambda: zoom_manager.renew().send(None), lambda: zoom_manager.invalidate(token)):
            with pytest.raises(MisuseError) as caught:
                call()
            said.append(str(caught.value))

    await asyncio.to_thread(elsewhere)

    misuse = "the TokenManager belongs to another event loop, or thread: make one on each loop"
    assert said == [token, misuse, misuse]
    assert await zoom_manager.bearer() == token


async def test_f52_an_answer_that_breaks_the_reader_is_an_error_and_the_next_call_works(world: World) -> None:
    """Nested ten thousand deep; and no memory to read the next one."""

    def no_memory(_: Answer) -> Answer:
        raise MemoryError

    world.zoom.faults.add("any:answer=200 " + '{"x":' * 10_000)
    async with world.manager() as manager:
        assert world.is_good(await manager.bearer())
        world.wire.replies.append(no_memory)
        assert world.is_good((await manager.renew()).access_token)

    first, second = failures(world)
    assert type(first) is type(second) is TokenUnavailableError
    assert "MemoryError" in str(second)
    assert world.wire.posts == 4


async def test_f53_ten_thousand_cold_callers_cost_one_request(world: World) -> None:
    async with world.manager() as manager:
        await assert_one_request(manager, world.zoom, callers=10_000)

    assert world.zoom.stats == {"account_credentials": {"ok": 1}}


async def test_f54_a_shared_failure_reaches_each_waiter_as_an_exception_of_its_own(world: World) -> None:
    """All at once: nobody waits for a second flight after the first. Its six tries have pauses of 0.5 to 16 s."""
    world.luck = 1.0 - 1e-9
    world.zoom.faults.add("any#1-:answer=500")
    async with world.manager() as manager:
        outcomes = await asyncio.gather(*(manager.bearer() for _ in range(100)), return_exceptions=True)
        assert now() <= 30.0
        assert world.zoom.token_requests == 6

    assert {type(outcome) for outcome in outcomes} == {TokenUnavailableError}
    assert len({id(outcome) for outcome in outcomes}) == 100
    assert len({_depth(outcome) for outcome in outcomes if isinstance(outcome, BaseException)}) == 1


async def test_f55_an_observer_that_raises_is_logged_once_and_isolated(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: Event) -> None:
        raise ValueError(event)

    async with person(world, observers=[fail, world.events.append]) as manager:
        for _ in range(3):
            await manager.renew()
        await turns()

    assert len(world.seen(TokenRenewed)) == 3
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert world.zoom.stats["refresh_token"] == {"ok": 3}
    assert not world.seen(GrantDied)


def _run(work: Any) -> Any:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)


def _depth(error: BaseException) -> int:
    depth, traceback = 0, error.__traceback__
    while traceback is not None:
        depth, traceback = depth + 1, traceback.tb_next
    return depth
