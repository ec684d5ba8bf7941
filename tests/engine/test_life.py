"""New, open, closed: one way, from any task, in mid-flight, and never a hang."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from tests.engine.world import FaultyStore, World, turns
from zoom_async_auth import (
    AuthorizationRequiredError,
    ConfigurationError,
    ManagerClosedError,
    MisuseError,
    RenewalPolicy,
    Token,
    TokenManager,
    TokenUnavailableError,
)
from zoom_async_auth.testing import VirtualTimeLoop


async def test_opening_waits_for_nothing(world: World) -> None:
    """An application starts while Zoom is down; the first flight starts in the background."""
    world.zoom.outage = 500
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with world.manager() as manager:
        assert loop.time() == started
        assert manager.health().state == "starting"
        await turns()
        assert world.wire.posts == 1


async def test_constructing_needs_no_loop(world: World) -> None:
    manager = await asyncio.to_thread(world.manager)
    assert manager.health().state == "new"


VERBS: list[tuple[str, Callable[[TokenManager], Awaitable[object]]]] = [
    ("bearer", lambda manager: manager.bearer()),
    ("token", lambda manager: manager.token()),
    ("headers", lambda manager: manager.headers()),
    ("renew", lambda manager: manager.renew()),
    ("revoke", lambda manager: manager.revoke()),
]


@pytest.mark.parametrize("verb", [verb for _, verb in VERBS], ids=[name for name, _ in VERBS])
async def test_each_verb_is_a_clear_error_before_the_start_and_after_the_end(
    world: World, verb: Callable[[TokenManager], Awaitable[object]]
) -> None:
    manager = world.manager()
    with pytest.raises(MisuseError, match="not open"):
        await verb(manager)
    async with manager:
        await manager.bearer()
    with pytest.raises(ManagerClosedError, match="make a new one"):
        await verb(manager)


async def test_synchronous_verbs_and_authorize_are_clear_errors_after_the_end(world: World) -> None:
    async with world.personal() as manager:
        await manager.authorize(world.consent())
    with pytest.raises(ManagerClosedError):
        manager.invalidate("token")
    with pytest.raises(ManagerClosedError):
        manager.session()
    with pytest.raises(ManagerClosedError):
        await manager.authorize(world.consent())
    assert manager.health().state == "closed"


async def test_a_manager_opens_once(world: World) -> None:
    manager = world.manager()
    async with manager:
        with pytest.raises(MisuseError, match="only once"):
            await manager.start()
    with pytest.raises(MisuseError, match="only once"):
        await manager.start()


async def test_closing_is_idempotent_also_before_the_start(world: World) -> None:
    manager = world.manager()
    await manager.aclose()
    await manager.aclose()
    with pytest.raises(MisuseError):
        await manager.start()
    with pytest.raises(ManagerClosedError):
        await manager.bearer()


async def test_one_task_may_open_and_another_close(world: World) -> None:
    """As fixtures of pytest-asyncio and an aiohttp `cleanup_ctx` do."""
    manager = world.manager()
    await asyncio.create_task(manager.start())
    token = await asyncio.create_task(manager.bearer())
    closers = [asyncio.create_task(manager.aclose()) for _ in range(5)]
    await asyncio.gather(*closers)
    assert world.is_good(token)


async def test_an_aiohttp_cleanup_context_opens_and_closes_it(world: World) -> None:
    key = web.AppKey("manager", TokenManager)

    async def tokens(app: web.Application) -> AsyncIterator[None]:
        async with world.manager() as manager:
            app[key] = manager
            yield

    app = web.Application()
    app.cleanup_ctx.append(tokens)
    runner = web.AppRunner(app)
    await runner.setup()
    assert world.is_good(await app[key].bearer())
    await runner.cleanup()
    assert app[key].health().state == "closed"


async def test_the_callers_own_exception_comes_out_as_it_is(world: World) -> None:
    """A task group held open across the block would wrap it."""

    async def work() -> None:
        async with world.manager() as manager:
            await manager.bearer()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()


async def test_a_request_on_the_wire_lands_before_the_end(world: World) -> None:
    """Waiters get the token; nothing new is sent (F44)."""
    world.zoom.latency = 5.0
    loop = asyncio.get_running_loop()
    manager = world.manager()
    await manager.start()
    callers = [asyncio.create_task(manager.bearer()) for _ in range(10)]
    await asyncio.sleep(1.0)
    started = loop.time()
    await manager.aclose()
    assert loop.time() - started == pytest.approx(4.0)
    assert {world.is_good(token) for token in await asyncio.gather(*callers)} == {True}
    assert world.wire.posts == 1


async def test_a_request_that_hangs_is_given_up_after_its_attempt(world: World) -> None:
    """Closing is bounded by `attempt_timeout`; waiters hear that the manager was closed (F44)."""
    world.wire.held_before = asyncio.Event()
    loop = asyncio.get_running_loop()
    manager = world.manager()
    await manager.start()
    caller = asyncio.create_task(manager.bearer())
    await asyncio.sleep(1.0)
    started = loop.time()
    await manager.aclose()
    assert loop.time() - started == pytest.approx(9.0)
    with pytest.raises((TokenUnavailableError, ManagerClosedError)):
        await caller
    await asyncio.sleep(100.0)
    assert world.wire.posts == 1


async def test_a_flight_that_sleeps_ends_at_once(world: World) -> None:
    """Nothing was sent, nothing is waited for."""
    world.luck = 1.0 - 1e-9
    world.zoom.outage = 500
    loop = asyncio.get_running_loop()
    manager = world.manager()
    await manager.start()
    caller = asyncio.create_task(manager.bearer())
    await asyncio.sleep(4.5)
    started = loop.time()
    await manager.aclose()
    assert loop.time() == started
    with pytest.raises(ManagerClosedError, match="closed before a token arrived"):
        await caller


async def test_closing_between_begin_and_the_request_sends_nothing(world: World) -> None:
    """The lease was on its way when the end came: no new attempt (F44)."""
    store = FaultyStore(world.store())
    store.slow["begin"] = 2.0
    manager = world.manager(store=store)
    await manager.start()
    caller = asyncio.create_task(manager.bearer())
    await asyncio.sleep(1.0)
    await manager.aclose()
    with pytest.raises(ManagerClosedError):
        await caller
    assert world.wire.posts == 0
    assert store.calls[-1] == "release"


async def test_closing_lets_an_authorization_on_the_wire_land(world: World) -> None:
    """A person's code is spent by then: its token must be kept."""
    world.zoom.latency = 2.0
    store = world.store()
    manager = world.personal(store=store)
    await manager.start()
    authorization = asyncio.create_task(manager.authorize(world.consent()))
    await asyncio.sleep(1.0)
    await manager.aclose()
    token = await authorization
    async with world.personal(store=store) as successor:
        assert await successor.bearer() == token.access_token


async def test_authorize_and_aclose_in_the_same_turn_neither_hang_nor_warn(world: World) -> None:
    """Whatever comes first, the caller gets a token or an error."""
    for closing_first in (True, False):
        manager = world.personal()
        await manager.start()
        closing = asyncio.create_task(manager.aclose()) if closing_first else None
        authorization = asyncio.create_task(manager.authorize(world.consent()))
        await (closing or asyncio.create_task(manager.aclose()))
        await asyncio.wait({authorization})
        assert isinstance(authorization.exception(), ManagerClosedError | None)


async def test_a_cancelled_closer_stops_only_itself(world: World) -> None:
    world.zoom.latency = 5.0
    manager = world.manager()
    await manager.start()
    caller = asyncio.create_task(manager.bearer())
    await asyncio.sleep(1.0)
    closer = asyncio.create_task(manager.aclose())
    await turns()
    closer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closer
    assert world.is_good(await caller)
    await manager.aclose()


async def test_a_start_that_is_cancelled_leaves_nothing_behind(world: World) -> None:
    store = FaultyStore(world.store())
    manager = world.manager(store=store)
    opening = asyncio.create_task(manager.start())
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait({opening})
    await manager.aclose()
    assert store.users == 0
    assert manager.health().state == "closed"


async def test_somebody_who_cancels_every_task_of_the_loop_closes_the_manager_cleanly(world: World) -> None:
    """Some bots do that at their end: waiters hear of it, nothing hangs."""
    manager = world.manager()
    await manager.start()
    callers = [asyncio.create_task(manager.bearer()) for _ in range(3)]
    await turns()
    me = asyncio.current_task()
    for task in asyncio.all_tasks():
        if task is not me and task not in callers and "zoom" in task.get_name():
            task.cancel()

    async def end() -> None:
        await asyncio.wait(callers)
        await manager.aclose()

    with pytest.warns(ResourceWarning, match="was not closed"):
        await end()
    assert all(isinstance(caller.exception(), ManagerClosedError) for caller in callers)
    with pytest.raises(ManagerClosedError):
        await manager.bearer()


async def test_store_and_transport_are_closed_with_it_and_can_be_used_again(world: World) -> None:
    """In order: flight, then transport, then store; a store is entered by each of its users."""
    store = FaultyStore(world.store())
    for _ in range(2):
        async with world.manager(store=store) as one, world.manager(store=store) as other:
            assert store.users == 2
            assert await one.bearer() == await other.bearer()
        assert store.users == 0


def test_another_thread_gets_a_clear_error_off_the_hot_path() -> None:
    """A held token may be read from anywhere, the rest belongs to one loop (F48, F50)."""

    async def opened() -> tuple[World, TokenManager, str]:
        world = World()
        manager = world.manager()
        await manager.start()
        return world, manager, await manager.bearer()

    outcomes: list[str] = []

    def told_by(work: Callable[[], object]) -> None:
        try:
            work()
        except MisuseError as error:
            outcomes.append(str(error))

    def elsewhere() -> None:
        outcomes.append(asyncio.run(manager.bearer()))
        for verb in (manager.token, manager.renew, manager.revoke, manager.aclose):
            told_by(lambda verb=verb: asyncio.run(verb()))  # type: ignore[misc]
        told_by(lambda: manager.invalidate(token))
        world.clock.advance(3600.0)
        told_by(lambda: asyncio.run(manager.bearer()))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        world, manager, token = runner.run(opened())
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        runner.run(manager.aclose())

    assert (
        outcomes == [token] + ["the TokenManager belongs to another event loop, or thread: make one on each loop"] * 6
    )


def test_a_second_event_loop_gets_a_clear_error_never_a_hang() -> None:
    """`asyncio.run` for each job, with a manager made for the first one (F48)."""
    managers: list[TokenManager] = []

    async def first_job() -> None:
        world = World()
        manager = world.personal()
        await manager.start()
        managers.append(manager)
        with pytest.raises(AuthorizationRequiredError):
            await manager.bearer()
        await manager.aclose()

    async def second_job() -> None:
        with pytest.raises(ManagerClosedError):
            await managers[0].bearer()

    asyncio.run(first_job())
    asyncio.run(second_job())


async def test_what_could_not_be_stored_is_handed_over_at_the_end(world: World) -> None:
    """`on_uncommitted` is the last rescue of a refresh token (F44, F57)."""
    store = FaultyStore(world.store())
    rescued: list[tuple[str, Token]] = []
    manager = world.personal(store=store, key="alice", on_uncommitted=lambda key, token: rescued.append((key, token)))
    await manager.start()
    await manager.authorize(world.consent())
    store.down.add("commit")
    token = await manager.renew()
    await manager.aclose()

    assert rescued == [("alice", token)]


async def test_a_rescue_that_fails_does_not_keep_the_manager_open(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    store = FaultyStore(world.store())

    def fail(_key: str, _token: Token) -> None:
        raise OSError("disk full: secret")

    manager = world.personal(store=store, on_uncommitted=fail)
    await manager.start()
    await manager.authorize(world.consent())
    store.down.add("commit")
    await manager.renew()
    await manager.aclose()

    assert [record.message for record in caplog.records] == ["on_uncommitted failed with OSError"]


async def test_a_store_that_recovers_at_the_end_gets_the_token(world: World) -> None:
    store = FaultyStore(world.store())
    rescued: list[str] = []
    manager = world.personal(store=store, on_uncommitted=lambda key, _: rescued.append(key))
    await manager.start()
    await manager.authorize(world.consent())
    store.down.add("commit")
    token = await manager.renew()
    store.down.clear()
    await manager.aclose()

    assert not rescued
    async with world.personal(store=store) as successor:
        assert await successor.bearer() == token.access_token


async def test_a_stuck_store_does_not_keep_the_manager_open(world: World) -> None:
    """Every call of a store is bounded by `commit_timeout` (F58)."""
    store = FaultyStore(world.store())
    store.slow["commit"] = 1e6
    loop = asyncio.get_running_loop()
    manager = world.manager(store=store, policy=RenewalPolicy(commit_timeout=2.0))
    await manager.start()
    await asyncio.sleep(1.0)
    started = loop.time()
    await manager.aclose()
    assert loop.time() - started <= 5.0


async def _never(_key: str, _token: Token) -> None:
    pass


@pytest.mark.parametrize("moment", ["with the first", "a moment later"])
def test_the_end_of_the_loop_after_a_closer_gave_up_still_rescues_the_last_token(moment: str) -> None:
    """A scope around `async with`, a second Ctrl-C: the closing goes on, until asyncio.run cancels it as well (F44)."""
    rescued: list[str] = []

    async def program() -> None:
        world = World()
        store = FaultyStore(world.store())
        manager = world.personal(store=store, on_uncommitted=lambda _, token: rescued.append(token.access_token))
        await manager.start()
        await manager.authorize(world.consent())
        store.down.add("commit")
        store.slow["commit"] = 1e6
        token = await manager.renew()
        rescued.append(token.access_token)
        closing = asyncio.create_task(manager.aclose())
        await turns()
        closing.cancel()
        if moment == "a moment later":
            await asyncio.sleep(1.0)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(program())
    assert len(rescued) == 2
    assert len(set(rescued)) == 1


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"on_uncommitted": None}, ""),
        ({"on_uncommitted": _never}, "on_uncommitted is a coroutine function, which nobody would await"),
        ({"on_uncommitted": "save"}, "on_uncommitted cannot be called"),
        ({"observers": print}, "observers must be a list of callables"),
        ({"policy": {"timeout": 2}}, "policy must be a RenewalPolicy"),
        ({"store": "sqlite:///tokens.sqlite3"}, r"store must be an object such as SQLStore\(url\)"),
        ({"base_url": None}, r"base_url \(ZOOM_BASE_URL\) must be https"),
        ({"base_url": 7}, r"base_url \(ZOOM_BASE_URL\) must be https"),
    ],
)
async def test_an_argument_of_another_kind_is_refused_at_once(world: World, option: dict[str, Any], told: str) -> None:
    if not told:
        world.manager(**option)
        return
    with pytest.raises(ConfigurationError, match=told):
        world.manager(**option)
