"""A device without a browser: it shows a code, and asks at the pace that Zoom sets until somebody has decided (S29)."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.engine.world import LATENCY, FaultyStore, World, cancelled_at, turns
from zoom_async_auth import (
    AuthorizationRequiredError,
    ConfigurationError,
    ManagerClosedError,
    Token,
    TokenManager,
    TokenUnavailableError,
)
from zoom_async_auth.events import Authorized
from zoom_async_auth.identity import namespace_of
from zoom_async_auth.oauth.wire import Answer, DeviceCode
from zoom_async_auth.stores.base import Begun

Show = Callable[[DeviceCode], None]

PENDING = Answer(status=400, headers={}, body=b'{"error":"authorization_pending"}')
SLOW_DOWN = Answer(status=400, headers={}, body=b'{"error":"slow_down"}')


class Timed:
    """A transport that notes when the token endpoint was asked, in the loop's time.

    Attributes:
        asked_at: The moments.
        pauses: Seconds between one answer and the next question; the first one follows the codes.
    """

    def __init__(self, world: World) -> None:
        self._wire = world.wire
        self._answered_at = now()
        self.asked_at: list[float] = []
        self.pauses: list[float] = []

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        if url.endswith("/oauth/token"):
            self.asked_at.append(now())
            self.pauses.append(round(now() - self._answered_at, 6))
        try:
            return await self._wire.send(url, headers, body, timeout)
        finally:
            self._answered_at = now()


def now() -> float:
    return asyncio.get_running_loop().time()


def decides(world: World, *, allow: bool = True, after: float = 0.0) -> Show:
    """Return a person who types the code in, and decides, `after` that many seconds."""

    def show(code: DeviceCode) -> None:
        asyncio.get_running_loop().call_later(after, decide, code.user_code)

    def decide(user_code: str) -> None:
        assert world.zoom.model.decide_device(user_code, "alice", allow=allow)

    return show


def ignores(_code: DeviceCode) -> None:
    """Return a person who does nothing."""


def answering(world: World, *answers: Answer) -> Show:
    """Return a person who allows it at once, at a Zoom that first gives these answers to the device."""

    def show(code: DeviceCode) -> None:
        world.wire.instead.extend(answers)
        world.zoom.model.decide_device(code.user_code, "alice", allow=True)

    return show


async def test_a_device_asks_once_in_each_interval_until_the_person_has_decided(world: World) -> None:
    """S29: counted from the last answer, so that no delay on the way makes two questions come too close together."""
    timed = Timed(world)
    async with world.personal(transport=timed) as manager:
        token = await manager.authorize_device(decides(world, after=17.0))
        assert await manager.bearer() == token.access_token
        assert world.is_good(token.access_token)

    assert timed.pauses == [5.0] * 4
    assert world.zoom.stats == {
        "urn:ietf:params:oauth:grant-type:device_code": {"authorization_pending": 3, "ok": 1},
    }
    assert len(world.seen(Authorized)) == 1


async def test_what_is_shown_is_all_that_a_person_needs_and_not_the_device_code(world: World) -> None:
    shown: list[DeviceCode] = []
    async with world.personal() as manager:

        async def show(code: DeviceCode) -> None:
            await asyncio.sleep(1.0)  # a message that is sent, for one
            shown.append(code)
            world.zoom.model.decide_device(code.user_code, "alice", allow=True)

        await manager.authorize_device(show)

    (code,) = shown
    assert code.verification_uri == f"{world.zoom.url}/oauth/device"
    assert code.verification_uri_complete == f"{code.verification_uri}?user_code={code.user_code}"
    assert code.expires_in == 900.0
    assert code.device_code not in repr(code)


async def test_each_slow_down_makes_the_interval_five_seconds_longer_for_good(world: World) -> None:
    """S29; RFC 8628, section 3.5: for this and all later questions."""
    timed = Timed(world)
    async with world.personal(transport=timed) as manager:
        await manager.authorize_device(answering(world, SLOW_DOWN, PENDING, SLOW_DOWN, SLOW_DOWN, PENDING))

    assert timed.pauses == [5.0, 10.0, 10.0, 15.0, 20.0, 20.0]


async def test_without_an_answer_the_pause_doubles_and_the_asking_goes_on(world: World) -> None:
    """S29; RFC 8628, section 3.5. Back to the interval as soon as there is an answer, a minute at most."""
    timed = Timed(world)
    world.zoom.faults.add("device_code#1-5:answer=503")
    world.zoom.faults.add("device_code#7:answer=503")
    async with world.personal(transport=timed) as manager:
        await manager.authorize_device(decides(world, after=197.0))

    assert timed.pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 5.0, 10.0]


async def test_a_pause_that_zoom_asks_for_is_kept(world: World) -> None:
    """S29: `Retry-After` outweighs the interval; a device code is not asked for before its end either."""
    timed = Timed(world)
    busy = Answer(status=429, headers={"Retry-After": "45"}, body=b"")
    async with world.personal(transport=timed) as manager:
        await manager.authorize_device(answering(world, busy, PENDING))
        assert timed.pauses == [5.0, 45.0, 5.0]
        world.wire.instead.append(busy)
        posts = world.wire.posts
        for _ in range(2):
            with pytest.raises(TokenUnavailableError) as refused:
                await manager.authorize_device(ignores)
            assert refused.value.retry_after == 45.0
        assert world.wire.posts == posts + 1


async def test_a_refusal_ends_it_and_leaves_an_earlier_authorization_as_it_was(world: World) -> None:
    """S29: `access_denied`. Nothing is latched, so the person may be asked again at once."""
    async with world.personal() as manager:
        token = await manager.authorize(world.consent())
        with pytest.raises(AuthorizationRequiredError) as denied:
            await manager.authorize_device(decides(world, allow=False))
        assert denied.value.error == "access_denied"
        assert await manager.bearer() == token.access_token
        assert await manager.authorize_device(decides(world)) != token


async def test_a_person_who_does_not_come_costs_no_request_after_the_end_of_the_code(world: World) -> None:
    """S29: by our own clock, though Zoom would go on to answer."""
    timed = Timed(world)
    async with world.personal(transport=timed) as manager:
        with pytest.raises(AuthorizationRequiredError, match="has expired") as late:
            await manager.authorize_device(ignores)
        ended = now()
        await asyncio.sleep(3600.0)

    assert late.value.error == "expired_token"
    assert 890.0 < ended < 900.0
    assert timed.asked_at[-1] < 900.0
    assert len(timed.asked_at) == int((900.0 - LATENCY) / (5.0 + LATENCY))


async def test_a_code_that_zoom_calls_expired_ends_it(world: World) -> None:
    """S29: the host was suspended while the code ran out."""
    timed = Timed(world)
    async with world.personal(transport=timed) as manager:
        asking = asyncio.create_task(manager.authorize_device(ignores))
        await asyncio.sleep(2.0)
        world.clock.advance(3600.0)
        with pytest.raises(AuthorizationRequiredError) as late:
            await asking

    assert late.value.error == "expired_token"
    assert len(timed.asked_at) == 1


async def test_a_cancelled_device_asks_no_more(world: World) -> None:
    """S29: nothing is left behind, and the next attempt is as good as the first."""
    async with world.personal() as manager:
        asking = asyncio.create_task(manager.authorize_device(ignores))
        await asyncio.sleep(12.0)
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()
        posts = world.wire.posts
        await asyncio.sleep(900.0)
        assert world.wire.posts == posts
        assert world.is_good((await manager.authorize_device(decides(world))).access_token)


async def test_a_token_that_is_on_its_way_when_the_caller_leaves_is_kept(world: World) -> None:
    """Interleaving: Zoom has given the token, its answer is not here yet, the caller is cancelled."""
    async with world.personal() as manager:
        asking = asyncio.create_task(manager.authorize_device(decides(world)))
        await asyncio.sleep(LATENCY + 1.0)
        world.wire.held_after = asyncio.Event()
        await asyncio.sleep(4.0 + LATENCY / 2)
        assert world.zoom.token_requests == 1
        asking.cancel()
        await asyncio.wait({asking})
        world.wire.held_after.set()
        await turns()
        await asyncio.sleep(LATENCY)
        assert world.is_good(await manager.bearer())
        assert world.zoom.token_requests == 1


async def test_cancelled_at_any_await_a_token_that_zoom_gave_is_in_the_store(world: World) -> None:
    """After the first refusal to be cancelled it runs to its end, so the loop ends."""
    for k in range(1, 100):
        store = world.store()
        before = world.zoom.token_requests
        manager = world.personal(store=store)
        await manager.start()
        task = asyncio.create_task(cancelled_at(k, manager.authorize_device(decides(world))))
        await asyncio.wait({task})
        await asyncio.sleep(20.0)
        asked = world.zoom.token_requests - before
        await manager.aclose()
        record = (await store.peek(f"{namespace_of(world.zoom.user_app, world.zoom.url)}/default")).record
        kept = record is not None and record.token is not None and world.is_good(record.token.access_token)
        assert kept == bool(asked), f"cancelled at {k}"
        if not task.cancelled():
            return
    raise AssertionError("it was cancelled a hundred times")


async def test_closing_ends_the_wait_at_once(world: World) -> None:
    """Then neither Zoom nor the store is asked any more."""
    store = FaultyStore(world.store())
    manager = world.personal(store=store)
    await manager.start()
    asking = asyncio.create_task(manager.authorize_device(ignores))
    await asyncio.sleep(7.0)
    closed_at, calls = now(), len(store.calls)
    await manager.aclose()
    with pytest.raises(ManagerClosedError):
        await asking

    assert (now(), len(store.calls)) == (closed_at, calls)
    assert world.zoom.token_requests == 1


async def test_a_token_that_is_on_its_way_when_the_manager_closes_is_stored(world: World) -> None:
    """As that of any authorization: closing lets it land (F44)."""
    store = world.store()
    manager = world.personal(store=store)
    await manager.start()
    asking = asyncio.create_task(manager.authorize_device(decides(world)))
    await asyncio.sleep(LATENCY + 5.0 + LATENCY / 2)
    assert world.zoom.token_requests == 1
    await manager.aclose()
    await asyncio.wait({asking})

    async with world.personal(store=store) as later:
        assert world.is_good(await later.bearer())
    assert world.zoom.token_requests == 1


async def test_a_device_waits_for_a_lease_of_somebody_else_and_takes_none_over(world: World) -> None:
    """That one may be renewing; a person who is typing takes longer than that in any case."""
    store = world.store()
    key = f"{namespace_of(world.zoom.user_app, world.zoom.url)}/default"
    async with store, world.personal(store=store) as manager:
        asking = asyncio.create_task(manager.authorize_device(decides(world)))
        await asyncio.sleep(LATENCY + 4.0)
        assert isinstance(await store.begin(key, 0, "somebody else", 8.0), Begun)
        await asyncio.sleep(7.9)
        assert (await store.peek(key)).lease_left > 0
        assert world.zoom.token_requests == 0
        await asking

    assert world.zoom.token_requests == 1


async def test_between_two_questions_no_lease_is_held(world: World) -> None:
    """A renewal of another process goes on meanwhile, and finds nothing of the device's."""
    store = world.store()
    key = f"{namespace_of(world.zoom.user_app, world.zoom.url)}/default"
    async with store, world.personal(store=store) as manager:
        asking = asyncio.create_task(manager.authorize_device(ignores))
        await asyncio.sleep(12.0)
        between = await store.peek(key)
        asking.cancel()
        await asyncio.wait({asking})

    assert (between.lease_left, between.intents) == (0.0, ())


async def test_with_the_store_down_zoom_is_not_asked_and_the_device_goes_on_later(world: World) -> None:
    """Its answer could be a token that nobody can keep (F56)."""
    store = FaultyStore(world.store())
    async with world.personal(store=store) as manager:
        store.down = {"peek", "begin"}
        asking = asyncio.create_task(manager.authorize_device(decides(world)))
        await asyncio.sleep(30.0)
        assert world.zoom.token_requests == 0
        store.down = set()
        assert world.is_good((await asking).access_token)

    assert world.zoom.token_requests == 1


async def test_who_cannot_show_the_code_does_not_ask(world: World) -> None:
    """What showing raises comes out as it is."""

    def broken(_code: DeviceCode) -> None:
        raise ZeroDivisionError

    async with world.personal() as manager:
        with pytest.raises(ZeroDivisionError):
            await manager.authorize_device(broken)
        await asyncio.sleep(60.0)

    assert world.zoom.token_requests == 0


async def test_a_public_client_asks_in_the_same_way(world: World) -> None:
    async with world.manager(world.zoom.public_app) as manager:
        assert world.is_good((await manager.authorize_device(decides(world))).access_token)


@pytest.mark.parametrize("kind", ["credentials", "client_credentials"])
async def test_an_app_that_acts_in_its_own_name_has_no_device_to_authorize(world: World, kind: str) -> None:
    async with world.manager(getattr(world.zoom, kind)) as manager:
        await manager.bearer()
        posts = world.wire.posts
        with pytest.raises(ConfigurationError, match="needs UserOAuth"):
            await manager.authorize_device(ignores)

    assert world.wire.posts == posts


async def test_an_app_that_may_not_be_used_on_devices_is_told_so(world: World) -> None:
    """Zoom refuses the codes: nothing is shown."""
    shown: list[Any] = []
    refusal = Answer(status=400, headers={}, body=b'{"error":"unauthorized_client","reason":"no device"}')
    async with world.personal() as manager:
        world.wire.instead.append(refusal)
        with pytest.raises(ConfigurationError, match="may not use this grant"):
            await manager.authorize_device(shown.append)

    assert not shown


async def test_before_the_start_and_after_the_end_it_is_a_clear_error(world: World) -> None:
    manager: TokenManager = world.personal()
    await manager.aclose()
    with pytest.raises(ManagerClosedError):
        await manager.authorize_device(ignores)

    assert world.wire.posts == 0


async def test_a_second_device_of_the_same_person_outranks_the_first(world: World) -> None:
    """As any later authorization: Zoom has killed the earlier tokens."""
    async with world.personal() as manager:
        first: Token = await manager.authorize_device(decides(world))
        second = await manager.authorize_device(decides(world))
        assert await manager.bearer() == second.access_token

    assert not world.is_good(first.access_token)
