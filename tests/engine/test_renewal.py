"""Renewal in the background: ahead of expiry, once for each token, invisible while there is a token to serve."""

import asyncio
import gc
import math
import re
from collections.abc import Callable, Mapping

import pytest

from tests.engine.world import QUIET, World, turns
from zoom_async_auth import (
    AuthorizationRequiredError,
    ConfigurationError,
    RenewalPolicy,
    TokenManager,
    TokenUnavailableError,
)
from zoom_async_auth.events import FieldsAssumed, RenewalFailed, SchedulerRestarted, ScopeShrunk, TokenRenewed
from zoom_async_auth.oauth.wire import Answer


class Caller:
    """Asks for the token all the time; notes whether it ever had to wait, and what it got."""

    def __init__(self, world: World, manager: TokenManager) -> None:
        self._world = world
        self._manager = manager
        self.calls = self.waited = self.expired = 0
        self.errors: list[Exception] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                token = await self._manager.bearer()
            except Exception as error:  # noqa: BLE001 -- a caller may see none at all
                self.errors.append(error)
            else:
                self.calls += 1
                self.waited += loop.time() > begun
                self.expired += not self._world.is_good(token)
            await asyncio.sleep(0.05)


@pytest.mark.timeout(60)
async def test_ten_renewals_under_two_hundred_callers_make_nobody_wait(world: World) -> None:
    """One request for each renewal, no call after the first on the network, no expired token handed out."""
    world.zoom.token_lifetime = 6.0
    async with world.manager() as manager:
        await manager.bearer()
        callers = [Caller(world, manager) for _ in range(200)]
        tasks = [asyncio.create_task(caller.run()) for caller in callers]
        await asyncio.sleep(10 * 0.6 * 6.0 + 0.5)  # a margin of 0.4 of the life
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    assert len(world.seen(TokenRenewed)) == world.zoom.token_requests == 11
    assert sum(caller.waited for caller in callers) == 0
    assert sum(caller.expired for caller in callers) == 0
    assert not any(caller.errors for caller in callers)
    assert all(caller.calls > 500 for caller in callers)


async def test_an_outage_is_invisible_while_the_token_lives(world: World) -> None:
    """Down from just after a renewal until shortly before the token would be withheld: no caller notices (F1)."""
    world.zoom.token_lifetime = 60.0
    async with world.manager(policy=QUIET) as manager:
        await manager.bearer()
        await asyncio.sleep(36.5)  # a margin of 0.4 of the life: the second token has just arrived
        assert world.zoom.stats == {"account_credentials": {"ok": 2}}
        world.zoom.outage = 503
        caller = Caller(world, manager)
        task = asyncio.create_task(caller.run())
        await asyncio.sleep(53.0)  # withheld in its last 6 of 60 s
        world.zoom.outage = None
        await asyncio.sleep(60.0)
        task.cancel()
        await asyncio.wait({task})

    assert (caller.waited, caller.expired, caller.errors) == (0, 0, [])
    assert world.seen(RenewalFailed)


async def test_an_outage_of_107_minutes_ends_for_callers_within_a_minute(world: World) -> None:
    """Backoff has a cap of 60 s, so the end of an outage is noticed soon (F23)."""
    world.luck = 1.0 - 1e-9
    async with world.manager() as manager:
        await manager.bearer()
        world.zoom.outage = 502
        await asyncio.sleep(3600.0 + 107 * 60.0)
        with pytest.raises(TokenUnavailableError):
            await manager.bearer()
        world.zoom.outage = None
        await asyncio.sleep(60.2)
        assert manager.health().state == "fresh"

    assert world.zoom.stats["account_credentials"]["outage"] < 107 + 3600 / 60 + 20


async def test_a_day_costs_as_many_requests_as_there_are_lives_in_it(world: World) -> None:
    """An hour's token without luck is renewed 55 minutes after it was asked for."""
    async with world.manager(policy=QUIET) as manager:
        await manager.bearer()
        await asyncio.sleep(24 * 3600.0)

    assert world.zoom.token_requests == 1 + (24 * 3600) // 3300


async def test_luck_spreads_the_renewals_of_a_fleet(world: World) -> None:
    """A tenth of the life is drawn by luck, also for short lives."""
    moments: list[float] = []
    for luck in (0.0, 0.5, 0.99):
        world.luck = luck
        async with world.manager() as manager:
            token = await manager.token()
            health = manager.health()
            assert health.next_attempt is not None
            moments.append(token.expires_in - health.next_attempt)

    assert moments == pytest.approx([300.0 + 0.1, 300.0 + 180.0 + 0.1, 300.0 + 356.4 + 0.1], abs=0.01)


async def test_tokens_that_arrive_nearly_expired_are_not_renewed_in_a_loop(world: World) -> None:
    """`min_interval` is the floor between the arrival of a token and the next request (F20)."""
    world.zoom.token_lifetime = 0.5
    async with world.manager(policy=RenewalPolicy(min_interval=10.0)) as manager:
        await manager.bearer()
        await asyncio.sleep(100.0)

    assert world.zoom.token_requests == 10


async def test_retry_after_is_kept_by_all_and_callers_hear_of_it(world: World) -> None:
    """429 with Retry-After: 100: nothing is sent before, `bearer()` raises at once with the seconds (F2)."""
    world.wire.replies.append(lambda _: Answer(status=429, headers={"Retry-After": "100"}, body=b""))
    loop = asyncio.get_running_loop()
    async with world.manager() as manager:
        with pytest.raises(TokenUnavailableError) as first:
            await manager.bearer()
        assert first.value.retry_after == pytest.approx(100.0)
        await asyncio.sleep(50.0)
        asked = loop.time()
        with pytest.raises(TokenUnavailableError) as second:
            await manager.bearer()
        with pytest.raises(TokenUnavailableError):
            await manager.renew()
        assert loop.time() == asked
        assert second.value.retry_after == pytest.approx(50.0)
        assert world.wire.posts == 1
        await asyncio.sleep(49.9)
        assert world.wire.posts == 1
        await asyncio.sleep(0.3)
        assert world.wire.posts == 2
        assert world.is_good(await manager.bearer())


async def test_a_short_retry_after_is_waited_out_inside_the_flight(world: World) -> None:
    """Whoever waits gets the token after the pause, for two requests (F2)."""
    world.wire.replies.append(lambda _: Answer(status=429, headers={"Retry-After": "7"}, body=b""))
    loop = asyncio.get_running_loop()
    async with world.manager() as manager:
        started = loop.time()
        await asyncio.gather(*(manager.bearer() for _ in range(100)))
        assert loop.time() - started == pytest.approx(7.0 + 2 * world.zoom.latency)

    assert world.wire.posts == 2


async def test_an_app_that_zoom_calls_misconfigured_is_probed_every_half_hour(world: World) -> None:
    """Only a person can mend it; `renew()` is the way to try at once (F14, S21)."""
    bad = type(world.zoom.credentials)(
        account_id=world.zoom.credentials.account_id,
        client_id=world.zoom.credentials.client_id,
        client_secret="of another app",
    )
    async with world.manager(bad) as manager:
        with pytest.raises(ConfigurationError) as caught:
            await manager.bearer()
        assert not caught.value.transient
        assert world.wire.posts == 1
        assert manager.health().state == "misconfigured"
        for _ in range(100):
            with pytest.raises(ConfigurationError):
                await manager.bearer()
        assert world.wire.posts == 1
        with pytest.raises(ConfigurationError):
            await manager.renew()
        assert world.wire.posts == 2
        await asyncio.sleep(1800.2)
        assert world.wire.posts == 3


async def test_renew_brings_a_new_token_though_the_held_one_is_good(world: World) -> None:
    """It respects the floor, and callers are served meanwhile."""
    async with world.manager() as manager:
        first = await manager.bearer()
        renewal = asyncio.create_task(manager.renew())
        await turns()
        assert await manager.bearer() == first
        token = await renewal
        assert token.access_token == await manager.bearer() != first

    assert world.zoom.token_requests == 2


async def test_renew_ignores_the_backoff(world: World) -> None:
    """After failures the next try is up to a minute away; a person at the keyboard does not wait for it."""
    world.luck = 1.0 - 1e-9
    world.zoom.outage = 500
    loop = asyncio.get_running_loop()
    async with world.manager() as manager:
        await asyncio.sleep(100.0)
        world.zoom.outage = None
        started = loop.time()
        await manager.renew()
        assert loop.time() - started == pytest.approx(world.zoom.latency)
        assert manager.health().last_error is None


async def test_renew_does_not_hammer_an_endpoint_that_is_down(world: World) -> None:
    """It skips the pause that is there when it is called; after its own failures it keeps them like everybody."""
    world.luck = 1.0 - 1e-9
    async with world.manager() as manager:
        await manager.bearer()
        await asyncio.sleep(10.0)
        world.zoom.outage = 503
        with pytest.raises(TokenUnavailableError):
            await asyncio.gather(*(manager.renew() for _ in range(100)))
        sent = world.zoom.stats["account_credentials"]["outage"]
        assert sent == 6
        with pytest.raises(TokenUnavailableError):
            await asyncio.wait_for(manager.renew(), 60.0)

    # Now at 60 s a pause, none of which fits into the patience of 30 s: one request, at once, and no more.
    assert world.zoom.stats["account_credentials"]["outage"] == sent + 1


async def test_renew_wakes_a_flight_that_sleeps_in_its_backoff(world: World) -> None:
    """It joins the flight in progress, and hurries it."""
    world.luck = 1.0 - 1e-9
    world.zoom.outage = 500
    loop = asyncio.get_running_loop()
    async with world.manager() as manager:
        caller = asyncio.create_task(manager.bearer())
        await asyncio.sleep(4.5)  # after tries at 0, 0.6, 1.7 and 3.8 s the flight sleeps until 7.9 s
        assert world.wire.posts == 4
        world.zoom.outage = None
        started = loop.time()
        token = await manager.renew()
        assert loop.time() - started == pytest.approx(world.zoom.latency)
        assert await caller == token.access_token

    assert world.wire.posts == 5


async def test_token_renews_once_for_those_who_need_it_to_last(world: World) -> None:
    """`valid_for` costs at most one renewal, and none if no token lives that long: that is an error, not a loop."""
    async with world.manager(policy=QUIET) as manager:
        held = await manager.token()
        await asyncio.sleep(1800.0)
        assert await manager.token(valid_for=1700.0) == held
        longer = await manager.token(valid_for=1900.0)
        assert longer.access_token != held.access_token
        await asyncio.sleep(2.0)
        with pytest.raises(TokenUnavailableError, match="do not live for 4000 s") as caught:
            await manager.token(valid_for=4000.0)
        assert not caught.value.transient

    assert world.zoom.token_requests == 2


async def test_headers_are_what_an_api_call_needs(world: World) -> None:
    async with world.manager() as manager:
        headers = await manager.headers()
        assert headers == {"Authorization": f"Bearer {await manager.bearer()}"}


async def test_a_bug_in_the_scheduler_restarts_it_and_callers_renew_inline(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without renewals a program stops an hour later: what tends them outlives its own bugs (F47)."""
    async with world.manager(policy=QUIET) as manager:
        await manager.bearer()
        await asyncio.sleep(3299.0)
        tend: Callable[[], None] = manager._slot.tend
        broken = [True]

        def fail(_: object) -> None:
            if broken[0]:
                raise ValueError("a bug")
            tend()

        monkeypatch.setattr(type(manager._slot), "tend", fail)
        await asyncio.sleep(320.0)
        crashes = len(world.seen(SchedulerRestarted))
        assert world.zoom.token_requests == 1
        assert world.is_good(await manager.bearer())
        assert world.zoom.token_requests == 2
        broken[0] = False
        await asyncio.sleep(3301.0)
        assert world.zoom.token_requests == 3

    assert 300 <= crashes <= 320
    (kind,) = {event.kind for event in world.seen(SchedulerRestarted)}
    assert re.fullmatch(r"ValueError at scheduler\.py:\d+ > .*test_renewal\.py:\d+", kind)


async def test_garbage_collection_takes_no_task_away(world: World) -> None:
    """The event loop itself keeps only weak references (F46)."""
    async with world.manager() as manager:
        caller = asyncio.create_task(manager.bearer())
        await turns()
        gc.collect()
        await caller
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(3600.0)

    assert world.zoom.token_requests >= 4


async def test_a_missing_lifetime_is_assumed_and_told(world: World) -> None:
    """Ten minutes, and an event (F17)."""
    world.wire.replies.append(lambda _: Answer(status=200, headers={}, body=b'{"access_token":"t"}'))
    async with world.manager() as manager:
        assert (await manager.token()).expires_in == 600.0

    assert [event.fields for event in world.seen(FieldsAssumed)] == [frozenset({"expires_in", "token_type"})]


async def test_a_scope_that_shrank_is_accepted_and_told(world: World) -> None:
    """The program learns why the API refuses it from now on (F22)."""

    def narrowed(answer: Answer) -> Answer:
        return Answer(status=200, headers={}, body=answer.body.replace(b"user:read:admin", b"meeting:read"))

    async with world.manager() as manager:
        await manager.bearer()
        world.wire.replies.append(narrowed)
        await manager.renew()
        await turns()

    assert [event.lost for event in world.seen(ScopeShrunk)] == [frozenset({"user:read:admin"})]


async def test_an_answer_that_is_not_a_token_is_not_cached(world: World) -> None:
    """A captive portal answers 200 with HTML; the next try gets the token (F7, F8)."""
    world.wire.replies += [
        lambda _: Answer(status=200, headers={}, body=b"<html>log in</html>"),
        lambda _: Answer(status=200, headers={}, body=b'{"error":"server_error"}'),
    ]
    async with world.manager() as manager:
        assert world.is_good(await manager.bearer())

    assert world.wire.posts == 3


async def test_a_bug_in_the_transport_is_told_by_its_class_alone(world: World) -> None:
    """Its text may hold what was sent (F52)."""

    class Broken:
        async def send(self, *_: object) -> Answer:
            raise RecursionError("secret")

    async with world.manager(transport=Broken()) as manager:
        with pytest.raises(TokenUnavailableError, match="RecursionError") as caught:
            await manager.bearer()

    assert "secret" not in str(caught.value)


async def test_in_the_last_seconds_of_a_token_zoom_is_not_asked_ever_more_often() -> None:
    """Several tries fit into what is left of it, but not each time as many into what is left then."""
    world = World(luck=0.5)
    async with world.manager() as manager:
        await manager.bearer()
        ends = asyncio.get_running_loop().time() + 3590.0
        world.zoom.outage = 503
        await asyncio.sleep(3580.0)
        before = world.wire.posts
        assert before > 5
        await asyncio.sleep(ends - asyncio.get_running_loop().time())
        assert world.wire.posts - before <= 14


async def test_a_transport_that_loses_a_task_of_its_own_is_no_cancellation_of_ours(world: World) -> None:
    """Zoom may have acted: the answer is in doubt, and the next try has what it brought."""

    class Losing:
        lost = 0

        async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
            answer = await world.wire.send(url, headers, body, timeout)
            if self.lost == 0:
                self.lost += 1
                task = asyncio.create_task(asyncio.sleep(1.0))
                asyncio.get_running_loop().call_soon(task.cancel)
                await task
            return answer

    async with world.personal(transport=Losing()) as manager:
        with pytest.raises(TokenUnavailableError, match="CancelledError") as caught:
            await manager.authorize(world.consent())
        assert caught.value.in_doubt
        assert caught.value.transient
        await manager.authorize(world.consent())
        assert world.is_good(await manager.bearer())


@pytest.mark.parametrize("wanted", [-1.0, math.nan, math.inf])
async def test_no_token_is_valid_for_no_number_of_seconds(world: World, wanted: float) -> None:
    async with world.manager() as manager:
        with pytest.raises(ConfigurationError, match="valid_for must be a finite number of seconds"):
            await manager.token(valid_for=wanted)


async def test_who_wants_all_of_a_life_that_has_begun_costs_one_request(world: World) -> None:
    """A token is some moments old when it arrives: the next one would be as well."""
    async with world.manager() as manager:
        await manager.bearer()
        await asyncio.sleep(100.0)
        with pytest.raises(TokenUnavailableError, match="ask for less") as caught:
            await manager.token(valid_for=3600.0)
        assert not caught.value.transient

    assert world.zoom.token_requests == 2


async def test_an_app_cannot_use_a_persons_grant(world: World) -> None:
    async with world.manager() as manager:
        with pytest.raises(ConfigurationError, match="UserOAuth"):
            await manager.authorize(world.consent())


async def test_an_app_that_acts_as_itself_gets_its_token(world: World) -> None:
    async with world.manager(world.zoom.client_credentials) as manager:
        assert (await manager.token()).scope == {"imchat:bot"}

    assert world.zoom.stats == {"client_credentials": {"ok": 1}}


async def test_a_person_who_has_not_authorized_costs_no_request(world: World) -> None:
    """State `unauthorized`; asked a thousand times, nothing is sent."""
    async with world.personal() as manager:
        with pytest.raises(AuthorizationRequiredError, match="nobody has authorized") as caught:
            await manager.bearer()
        assert not caught.value.transient
        for _ in range(1000):
            with pytest.raises(AuthorizationRequiredError):
                await manager.bearer()
        assert manager.health().state == "unauthorized"
        assert manager.health().durable is False
        await asyncio.sleep(3600.0)

    assert world.wire.posts == 0
    assert len(world.seen(RenewalFailed)) == 1
