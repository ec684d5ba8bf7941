"""F23 to F34: between us and the endpoint."""

import asyncio
import socket
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.engine.world import QUIET, World
from tests.faults.steps import (
    APP,
    IMPATIENT,
    LIFE,
    PAIR,
    PATIENT,
    Tls,
    all_luck,
    expired_pair,
    failure_of,
    failures,
    in_doubt,
    key_of,
    no_luck,
    now,
    person,
    person_at,
)
from tests.integrations.raw import answers, hangs, raw_server, resets
from zoom_async_auth import (
    ConfigurationError,
    RenewalPolicy,
    TokenManager,
    TokenUnavailableError,
)
from zoom_async_auth.bearer import BearerMiddleware, origin_of
from zoom_async_auth.endpoint import AiohttpTransport
from zoom_async_auth.events import GrantDied, RenewalFailed
from zoom_async_auth.identity import namespace_of
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.sandbox import Sandbox, Zoom
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.testing import MemoryTransport


class NoName(MemoryTransport):
    """A way to Zoom whose name does not resolve for a while; notes when it was tried."""

    gone = False

    def __init__(self, zoom: Zoom) -> None:
        super().__init__(zoom)
        self.tried: list[float] = []

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        self.tried.append(now())
        if self.gone:
            raise TokenUnavailableError("no connection to the token endpoint: ClientConnectorDNSError")
        return await super().send(url, headers, body, timeout)


async def test_f23_a_name_that_is_gone_for_107_minutes_is_back_within_one(world: World) -> None:
    """zoom.us, 2025-04-16. Served up to the last ten seconds; never more than a minute between two tries."""
    wire = NoName(world.zoom)
    world.luck = 1.0 - 1e-9
    async with person(world, transport=wire) as manager:
        token = await manager.bearer()
        wire.gone = True
        await asyncio.sleep(LIFE - 10.0 - world.zoom.latency - 0.01)
        assert await manager.bearer() == token
        await asyncio.sleep(0.02)
        assert (await failure_of(manager)).in_doubt is False
        await asyncio.sleep(107 * 60.0 - now())
        wire.gone = False
        await asyncio.sleep(60.2)
        assert manager.health().state == "fresh"

    pauses = [later - earlier for earlier, later in pairwise(wire.tried[1:])]
    assert max(pauses) == pytest.approx(60.0)
    assert world.zoom.stats["refresh_token"] == {"ok": 1}


def _unused_url() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


async def test_f24_a_refused_connection_leaves_no_intent_so_that_the_retry_is_free() -> None:
    url = _unused_url()
    store = MemoryStore()
    async with TokenManager(APP, base_url=url, store=store, policy=IMPATIENT, random=all_luck) as manager:
        await manager.authorize(expired_pair())
        error = await failure_of(manager)
        reading = await store.peek(f"{namespace_of(APP, url)}/default")

    assert (type(error), error.in_doubt) == (TokenUnavailableError, False)
    assert reading.record is not None
    assert reading.record.cause is None
    assert reading.intents == ()


async def test_f25_a_certificate_that_is_not_trusted_has_its_own_error_and_a_slow_retry(tls: Tls) -> None:
    events: list[Any] = []
    async with (
        raw_server(answers(PAIR), tls=tls.localhost) as server,
        TokenManager(APP, base_url=server.url, policy=PATIENT, observers=[events.append]) as manager,
    ):
        await manager.authorize(expired_pair())
        for _ in range(10):
            error = await failure_of(manager)
            assert "ClientConnectorCertificateError" in str(error)
            assert error.retry_after == pytest.approx(60.0, abs=5.0)
        assert server.requests == []

    attempts = [event.error.retry_after for event in events if isinstance(event, RenewalFailed)]
    assert [pause for pause in attempts if pause is not None] == [60.0]


@pytest.mark.parametrize(
    ("status", "kind"), [("407 Proxy Authentication Required", ConfigurationError), ("502 Bad", TokenUnavailableError)]
)
async def test_f26_a_proxy_in_trouble_never_kills_a_grant(status: str, kind: type[Exception]) -> None:
    events: list[Any] = []
    async with raw_server(answers(b'{"error":"invalid_grant"}', status=status)) as proxy:
        transport = AiohttpTransport(proxy=proxy.url)
        async with TokenManager(
            APP, transport=transport, policy=IMPATIENT, random=all_luck, observers=[events.append]
        ) as manager:
            await manager.authorize(expired_pair())
            assert type(await failure_of(manager)) is kind
        assert proxy.connections == 1

    assert not any(isinstance(event, GrantDied) for event in events)


async def test_f27_a_connection_that_is_reset_before_anything_was_read_is_tried_again() -> None:
    async with (
        raw_server(resets(after_reading=False), answers(PAIR)) as server,
        TokenManager(APP, base_url=server.url, policy=PATIENT, random=no_luck) as manager,
    ):
        await manager.authorize(expired_pair())
        assert await manager.bearer() == "new"
        assert (server.connections, len(server.requests)) == (2, 1)


async def test_f28_a_lost_answer_is_followed_by_the_same_refresh_token() -> None:
    """To the byte: no other move can heal."""
    async with (
        raw_server(resets(after_reading=True), answers(PAIR)) as server,
        TokenManager(APP, base_url=server.url, policy=PATIENT, random=no_luck) as manager,
    ):
        await manager.authorize(expired_pair())
        assert await manager.bearer() == "new"
        first, second = server.requests

    assert first == second
    assert first.endswith(b"refresh_token=the-refresh-token")


async def test_f28_a_lost_answer_without_grace_is_one_event_and_no_request_for_a_day(world: World) -> None:
    """A: Zoom rotated, and refuses the second use."""
    async with person(world) as manager:
        world.zoom.faults.add("refresh_token:reset-after")
        world.clock.advance(LIFE)
        assert (await failure_of(manager)).error == "invalid_grant"
        await asyncio.sleep(24 * 3600.0)

    assert world.zoom.stats["refresh_token"] == {"ok": 1, "invalid_grant": 1}
    assert [event.answer_was_lost for event in world.seen(GrantDied)] == [True]


@pytest.mark.parametrize(
    ("what", "outcomes"), [("reset-after", {"ok": 2}), ("reset", {"fault": 1, "ok": 1})], ids=["B", "C"]
)
async def test_f28_a_lost_answer_heals_within_a_grace_or_if_nothing_was_rotated(
    what: str, outcomes: dict[str, int]
) -> None:
    """B: the second use is taken, and the store has what the model has. C: reset before rotating."""
    async with Sandbox(reuse_grace=30.0 if what == "reset-after" else 0.0) as zoom:
        store = MemoryStore()
        async with person_at(zoom, store=store) as manager:
            zoom.faults.add(f"refresh_token:{what}")
            manager.invalidate(await manager.bearer())
            token = await manager.bearer()
            assert zoom.model.user_of(token) == "alice"
            assert zoom.stats["refresh_token"] == outcomes
            reading = await store.peek(key_of(zoom))
            assert reading.record is not None
            assert reading.record.token == await manager.token()
            assert reading.intents == ()


async def test_f29_a_reset_in_the_body_leaves_it_in_doubt() -> None:
    events: list[Any] = []
    async with (
        Sandbox(reuse_grace=30.0) as zoom,
        person_at(zoom, observers=[events.append]) as manager,
    ):
        zoom.faults.add("refresh_token:cut")
        manager.invalidate(await manager.bearer())
        assert zoom.model.user_of(await manager.bearer()) == "alice"
        assert zoom.stats["refresh_token"] == {"ok": 2}

    assert [event.error.in_doubt for event in events if getattr(event, "error", None)][1:] == [True]


async def test_f30_an_answer_of_one_byte_per_second_ends_at_the_deadline_of_the_attempt(world: World) -> None:
    world.zoom.model.reuse_grace = 30.0
    async with person(world, policy=QUIET) as manager:
        world.zoom.faults.add("refresh_token:drip=1")
        world.clock.advance(LIFE)
        started = now()
        assert world.is_good(await manager.bearer())
        assert now() - started == pytest.approx(10.0 + 0.05 + world.zoom.latency)

    assert in_doubt(world) == [True]
    assert world.zoom.stats["refresh_token"] == {"ok": 2}


@pytest.mark.parametrize(("what", "outcomes"), [("hang", {"fault": 1, "ok": 1}), ("hang-after", {"ok": 2})])
async def test_f31_an_endpoint_that_accepts_and_then_hangs_is_left_at_the_same_deadline(
    world: World, what: str, outcomes: dict[str, int]
) -> None:
    world.zoom.model.reuse_grace = 30.0
    async with person(world, policy=QUIET) as manager:
        world.zoom.faults.add(f"refresh_token:{what}")
        world.clock.advance(LIFE)
        started = now()
        assert world.is_good(await manager.bearer())
        assert now() - started == pytest.approx(10.0 + 0.05 + world.zoom.latency)

    assert in_doubt(world) == [True]
    assert world.zoom.stats["refresh_token"] == outcomes


async def test_f32_no_connection_is_used_twice_so_that_none_can_be_dead() -> None:
    async with (
        raw_server(answers(PAIR)) as server,
        TokenManager(APP, base_url=server.url, policy=PATIENT) as manager,
    ):
        await manager.authorize(expired_pair())
        for _ in range(3):
            await manager.renew()
        assert server.connections == len(server.requests) == 3
        assert all(b"\r\nConnection: close\r\n" in request for request in server.requests)


async def test_f33_api_calls_that_use_up_their_connections_do_not_hold_a_renewal_back(zoom_sandbox: Zoom) -> None:
    async with raw_server(hangs) as api, person_at(zoom_sandbox) as manager:
        middleware = BearerMiddleware(manager, allowed=[origin_of(URL(api.url))])
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector, middlewares=[middleware]) as session:
            call = asyncio.create_task(session.get(api.url))
            await api.seen.wait()
            await manager.renew()
            call.cancel()
            await asyncio.wait({call})

    assert zoom_sandbox.stats["refresh_token"] == {"ok": 1}


@pytest.fixture
def black_hole() -> Iterator[tuple[str, int]]:
    """An address that answers no SYN: a listener whose queue of one is full."""
    if sys.platform != "linux":
        pytest.skip("how a full queue answers is Linux's")
    with socket.socket(socket.AF_INET) as listening, socket.socket() as first:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        first.connect(listening.getsockname())
        yield listening.getsockname()


async def test_f34_a_black_hole_ends_at_the_deadline_for_connecting(world: World, black_hole: tuple[str, int]) -> None:
    """Half of the attempt: then nothing was sent, and the retry is free."""
    url = "http://{}:{}".format(*black_hole)
    policy = RenewalPolicy(timeout=5.0)
    async with world.manager(APP, base_url=url, transport=AiohttpTransport(), policy=policy) as manager:
        await manager.authorize(expired_pair())
        await asyncio.sleep(1.0)
        started = now()
        error = await failure_of(manager)
        assert now() - started == pytest.approx(5.0, abs=0.1)

    assert error.in_doubt is False
    assert "ConnectionTimeoutError" in str(failures(world)[-1])


async def test_f34_a_black_hole_beside_a_good_address_costs_a_quarter_of_a_second(
    world: World, black_hole: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Happy eyeballs (RFC 8305): the second address is tried before the first is given up."""
    async with raw_server(answers(PAIR)) as server:
        good = ("127.0.0.1", URL(server.url).port)

        async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (black_hole, good)]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        url = f"http://localhost:{black_hole[1]}"
        async with world.manager(APP, base_url=url, transport=AiohttpTransport()) as manager:
            started = now()
            await manager.authorize(expired_pair())
            assert await manager.bearer() == "new"
            assert now() - started == pytest.approx(0.25, abs=0.05)
        assert len(server.requests) == 1
