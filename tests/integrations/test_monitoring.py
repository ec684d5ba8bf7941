"""What an operator sees of a long day, in a scrape, in spans and in the log: the truth, and no secret.

A day in virtual time, of an app and of a person: renewals, an outage, a rejection, an app that was called
misconfigured, a store in trouble, a refresh token that Zoom refuses. Row S46 of the security matrix.
"""

import asyncio
import gc
import itertools
import json
import logging
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition

from tests.engine.world import LATENCY, QUIET, FaultyStore, Wire, World
from tests.integrations.exported import Exported, Samples, counts, scrape
from zoom_async_auth import AuthorizationRequiredError, ConfigurationError, TokenManager
from zoom_async_auth.events import Event, RenewalFailed, TokenAdopted, TokenRenewed
from zoom_async_auth.integrations.logging import LoggingObserver
from zoom_async_auth.integrations.opentelemetry import OpenTelemetryObserver
from zoom_async_auth.integrations.prometheus import PrometheusObserver
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.testing import VirtualTimeLoop

_T = TypeVar("_T")

PERSON = "alice.liddell@example.com"
HOUR = 3600.0

_openmetrics: Callable[[CollectorRegistry], bytes] = exposition.generate_latest  # which has no types


def in_virtual_time(main: Callable[[World], Coroutine[Any, Any, _T]]) -> _T:
    """Run `main` where a day takes no time."""

    async def run() -> _T:
        return await main(World(luck=0.5))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run())


class Tap:
    """A transport that notes every secret that is sent or received."""

    def __init__(self, inner: Wire) -> None:
        self._inner = inner
        self.secrets: set[str] = set()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        form = dict(parse_qsl(body.decode()))
        self.secrets |= {value for name, value in form.items() if name not in {"grant_type", "redirect_uri"}}
        self.secrets.add(headers["Authorization"].removeprefix("Basic "))
        answer = await self._inner.send(url, headers, body, timeout)
        with suppress(ValueError):
            self.secrets |= {str(value) for name, value in json.loads(answer.body).items() if name.endswith("_token")}
        return answer


@dataclass
class Day:
    """What was seen of a day, by whom, and what it is held against."""

    exported: Exported = field(default_factory=Exported)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    records: list[logging.LogRecord] = field(default_factory=list)
    told: dict[str, list[Event]] = field(default_factory=lambda: {"app": [], "person": []})
    secrets: set[str] = field(default_factory=set)
    answered: dict[str, dict[str, int]] = field(default_factory=dict)
    scraped: Samples = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)

    @property
    def renewals(self) -> list[TokenRenewed | TokenAdopted | RenewalFailed]:
        events = itertools.chain.from_iterable(self.told.values())
        return [event for event in events if isinstance(event, TokenRenewed | TokenAdopted | RenewalFailed)]


async def _live(world: World, day: Day) -> None:
    metrics = PrometheusObserver(day.registry, name="app")
    telemetry = OpenTelemetryObserver(
        meter_provider=day.exported.meters, tracer_provider=day.exported.tracers, name="app", clock=world.clock
    )
    observers = {"app": (metrics, telemetry), "person": (metrics.named("person"), telemetry.named("person"))}
    tap = Tap(world.wire)
    store = FaultyStore(world.store())

    def watched(name: str, make: Callable[..., TokenManager], **options: Any) -> TokenManager:
        heard: list[Any] = [day.told[name].append, LoggingObserver(), *observers[name]]
        manager = make(store=store, policy=QUIET, transport=tap, observers=heard, **options)
        for observer in observers[name]:
            observer.watch(manager)
        return manager

    async with (
        watched("app", world.manager) as app,
        watched("person", world.personal, key=PERSON) as person,
    ):
        await app.bearer()
        await person.authorize(world.consent())
        await _an_outage(world)
        await _a_rejection(world, app)
        await _a_misconfiguration(world, app)
        await _a_store_in_trouble(store, app)
        async with watched("app", world.manager) as twin:
            await twin.bearer()
        del twin
        gc.collect()
        await _a_refused_grant(world)
        await app.bearer()
        day.scraped = scrape(day.registry)
        day.shown = {
            "scrape": generate_latest(day.registry).decode(),
            "OpenMetrics": _openmetrics(day.registry).decode(),
            "metrics": _json(day.exported.reader.get_metrics_data()),
            "spans": "\n".join(span.to_json() for span in day.exported.spans()),
        }
    day.answered = world.zoom.stats
    apps = (world.zoom.credentials, world.zoom.user_app)
    day.secrets = tap.secrets | {str(app.client_secret) for app in apps} | {app.client_id for app in apps}
    day.secrets |= {b64encode(secret.encode()).decode().rstrip("=") for secret in day.secrets}


def _json(data: Any) -> str:
    return str(data.to_json())


async def _an_outage(world: World) -> None:
    """It begins before the tokens turn stale and ends before they expire: nobody notices but who watches."""
    await asyncio.sleep(3000.0)
    world.zoom.outage = 503
    await asyncio.sleep(400.0)
    world.zoom.outage = None
    await asyncio.sleep(400.0)


async def _a_rejection(world: World, app: TokenManager) -> None:
    token = await app.bearer()
    world.zoom.reject(token)
    app.invalidate(token)
    await app.bearer()
    await asyncio.sleep(2.0)


async def _a_misconfiguration(world: World, app: TokenManager) -> None:
    """Zoom's answer repeats what was sent, which happens."""
    known = world.zoom.credentials
    echo = f"{known.client_id} {known.client_secret} {known.account_id}"
    said = json.dumps({"error": "invalid_client", "reason": echo, "error_description": echo})
    world.zoom.faults.add(f"account_credentials:answer=400 {said}")
    with pytest.raises(ConfigurationError):
        await app.renew()
    await app.renew()
    await asyncio.sleep(2.0)


async def _a_store_in_trouble(store: FaultyStore, app: TokenManager) -> None:
    store.down = {"commit"}
    await app.renew()
    await asyncio.sleep(5.0)
    store.down = {"peek", "begin"}
    await asyncio.sleep(5.0)
    store.down = set()
    await asyncio.sleep(60.0)
    store.down = {"peek"}
    await app.renew()
    store.down = set()
    await asyncio.sleep(60.0)


async def _a_refused_grant(world: World) -> None:
    said = json.dumps({"error": "invalid_grant", "reason": "Invalid Token!"})
    world.zoom.faults.add(f"refresh_token:answer=400 {said}")
    await asyncio.sleep(2 * HOUR)


class _Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@pytest.fixture(scope="module")
def day() -> Iterator[Day]:
    day = Day()
    handler, logger = _Kept(day.records), logging.getLogger("zoom_async_auth")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        in_virtual_time(lambda world: _live(world, day))
        day.shown["log"] = "\n".join(f"{record.getMessage()} {vars(record)}" for record in day.records)
        yield day
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        day.exported.meters.shutdown()
        day.exported.tracers.shutdown()


def _expected(day: Day, name: str) -> dict[str, float]:
    """Return what a plain observer has counted, in the words of the metrics."""
    found: Counter[str] = Counter()
    for event in day.told[name]:
        kind = type(event).__name__
        match event:
            case TokenRenewed():
                found["renewals renewed"] += 1
            case TokenAdopted():
                found["renewals adopted"] += 1
            case RenewalFailed(error=AuthorizationRequiredError(error=None, status=None)):
                found["renewals unauthorized"] += 1
            case RenewalFailed(error=error):
                found[f"renewals failed {type(error).__name__}"] += 1
                found["store_failures RenewalFailed"] += type(error).__name__ == "StoreError"
            case _ if kind in {"CommitFailed", "StoreBypassed", "StoreWentBack"}:
                found[f"store_failures {kind}"] += 1
            case _:
                found[
                    {"TokenRejected": "rejections", "GrantDied": "grants_died"}.get(kind, f"other_events {kind}")
                ] += 1
    return {**found}


def test_a_scrape_tells_what_has_happened(day: Day) -> None:
    for name in ("app", "person"):
        seen = {what: value for what, value in counts(day.registry, name=name).items() if "_seconds_" not in what}
        assert seen == {what: value for what, value in _expected(day, name).items() if value}


def test_what_has_happened_is_what_the_day_was_made_of(day: Day) -> None:
    """Held against what Zoom has counted: nothing is told twice, and nothing is left out."""
    app, person = counts(day.registry, name="app"), counts(day.registry, name="person")
    own, refreshed = day.answered["account_credentials"], day.answered["refresh_token"]

    assert app["renewals renewed"] == own["ok"] > 5
    assert person["renewals renewed"] == refreshed["ok"] > 0
    assert app["renewals failed TokenUnavailableError"] == own["outage"] > 3
    assert person["renewals failed TokenUnavailableError"] == refreshed["outage"] > 3
    once = {"renewals failed ConfigurationError", "renewals adopted", "rejections", "store_failures CommitFailed"}
    once |= {"store_failures StoreBypassed"}
    assert {what: app[what] for what in once} == dict.fromkeys(once, 1)
    assert (person["grants_died"], person["renewals failed AuthorizationRequiredError"]) == (1, 1)
    assert person["renewals unauthorized"] == 1  # the first time nobody had authorized the app yet
    assert app["store_failures RenewalFailed"] == app["renewals failed StoreError"] > 0
    assert (app["other_events CommitRecovered"], person["other_events Authorized"]) == (2, 1)


def test_a_scrape_tells_how_the_managers_are(day: Day) -> None:
    """The other manager of the app was closed and is gone."""
    states = {
        (dict(labels)["name"], dict(labels)["state"])
        for (name, labels), n in day.scraped.items()
        if name == "zoom_auth_state" and n
    }
    left = {dict(labels)["name"]: n for (name, labels), n in day.scraped.items() if name.endswith("_seconds_left")}

    assert states == {("app", "fresh"), ("person", "dead")}
    assert left["person"] == 0.0
    assert 300.0 < left["app"] < HOUR


def test_the_durations_are_those_of_the_events(day: Day) -> None:
    for name in ("app", "person"):
        took = [event.took for event in day.told[name] if isinstance(event, TokenRenewed)]
        by = (("name", name), ("outcome", "renewed"))
        assert day.scraped["zoom_auth_renewal_seconds_count", by] == len(took)
        assert day.scraped["zoom_auth_renewal_seconds_sum", by] == pytest.approx(sum(took))
        assert min(took) == pytest.approx(LATENCY)


def test_opentelemetry_tells_the_same(day: Day) -> None:
    words = {"store.failures": "store_failures", "grants.died": "grants_died"}
    for name in ("app", "person"):
        seen = {}
        for what, value in day.exported.counted(name=name).items():
            metric, _, rest = what.partition(" ")
            if not metric.startswith(("state", "token.", "renewal.duration")):
                seen[f"{words.get(metric, metric)} {rest}".strip()] = value
        assert seen == {what: value for what, value in _expected(day, name).items() if value}
    points = day.exported.metrics()["zoom_async_auth.renewal.duration"].data.data_points
    assert sum(point.count for point in points if isinstance(point, HistogramDataPoint)) == len(day.renewals)


def test_each_renewal_is_a_span_of_its_length(day: Day) -> None:
    spans = day.exported.spans()

    assert len(spans) == len(day.renewals) > 20
    assert {span.parent for span in spans} == {None}
    lengths = sorted(((span.end_time or 0) - (span.start_time or 0)) / 1e9 for span in spans)
    assert lengths == pytest.approx(sorted(event.took for event in day.renewals), abs=1e-5)
    failed = [span for span in spans if not span.status.is_unset]
    # Beside them, the first time nobody had authorized the app yet.
    assert len(failed) + 1 == sum(isinstance(event, RenewalFailed) for event in day.renewals)
    assert all((span.attributes or {})["zoom_async_auth.outcome"] == "failed" for span in failed)


def test_each_event_is_a_record_of_the_log(day: Day) -> None:
    told = Counter(type(event).__name__ for events in day.told.values() for event in events)

    assert Counter(vars(record)["zoom_auth_event"] for record in day.records) == told


def _pieces(text: str, length: int = 10) -> set[str]:
    return {text[start : start + length] for start in range(len(text) - length + 1)}


def test_none_of_it_shows_a_secret(day: Day) -> None:
    """S46: not one piece of ten characters, of a token, a secret, a code or an id, nor of any of it in base64."""
    assert len(day.secrets) > 40
    secret = set().union(*map(_pieces, day.secrets))

    for where, text in day.shown.items():
        assert len(text) > 1000
        assert not secret & _pieces(text), where


def test_metrics_and_spans_do_not_name_the_person(day: Day) -> None:
    """S46: only the log does, unless it is told not to; and there it is the key and nothing else."""
    named = {where for where, text in day.shown.items() if _pieces(PERSON) & _pieces(text)}

    assert named == {"log"}


def test_a_hundred_identities_make_no_more_series_than_one() -> None:
    """S46: with a label for each, a hundred thousand of them would bring any monitoring down."""

    async def series(world: World, identities: int) -> tuple[set[Any], set[Any]]:
        registry, exported = CollectorRegistry(), Exported()
        metrics = PrometheusObserver(registry)
        telemetry = OpenTelemetryObserver(meter_provider=exported.meters, tracer_provider=exported.tracers)
        managers = [
            world.manager(key=f"person-{number}", observers=[metrics, telemetry]) for number in range(identities)
        ]
        for manager in managers:
            metrics.watch(manager)
            telemetry.watch(manager)
            async with manager:
                manager.invalidate(await manager.bearer())
                await manager.bearer()
        assert counts(registry)["renewals renewed"] == 2 * identities
        points = {
            (name, *sorted(attributes.items()))
            for name in exported.metrics()
            for attributes, _ in exported.points(name)
        }
        exported.meters.shutdown()
        exported.tracers.shutdown()
        return set(scrape(registry)), points

    one = in_virtual_time(lambda world: series(world, 1))
    assert in_virtual_time(lambda world: series(world, 100)) == one


def _functions_of(call: Coroutine[Any, Any, str]) -> list[str]:
    """Drive `call`, which must not wait; return the functions that ran."""
    ran: list[str] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        del argument
        if event == "call":
            ran.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        call.send(None)
    except StopIteration:
        return ran
    finally:
        sys.setprofile(None)
    raise AssertionError("it waits")


def test_bearer_runs_the_same_few_functions_with_observers_as_without() -> None:
    """The hot path tells nobody: no observer is called, none is looked for."""

    async def measure(world: World) -> tuple[list[str], list[str], int]:
        observers = (LoggingObserver(), PrometheusObserver(CollectorRegistry()), OpenTelemetryObserver())
        async with (
            world.manager(observers=()) as plain,
            world.manager(observers=[world.events.append, *observers]) as observed,
        ):
            for observer in observers[1:]:
                observer.watch(observed)
            await asyncio.gather(plain.bearer(), observed.bearer())
            await asyncio.sleep(1.0)
            before = len(world.events)
            ran = _functions_of(plain.bearer()), _functions_of(observed.bearer())
            for _ in range(1000):
                await observed.bearer()
            await asyncio.sleep(1.0)
            return *ran, len(world.events) - before

    plain, observed, events = in_virtual_time(measure)
    assert observed == plain
    assert plain == ["TokenManager.bearer", "ManualClock.monotonic", "VirtualTimeLoop.time"]
    assert events == 0
