"""Metrics and spans of OpenTelemetry, as its SDK exports them."""

import ast
import gc
import re
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint

import zoom_async_auth.integrations.opentelemetry
from tests.integrations.exported import Exported, context_of
from tests.integrations.happened import DOWN, EVENTS, REFUSED, STORE_DOWN, UNAUTHORIZED, Still, StillPool, failed
from zoom_async_auth.errors import StoreError
from zoom_async_auth.events import Event, RenewalFailed, StoreBypassed, TokenAdopted, TokenRejected, TokenRenewed
from zoom_async_auth.integrations.measures import SECONDS, STATES
from zoom_async_auth.integrations.opentelemetry import OpenTelemetryObserver
from zoom_async_auth.testing import ManualClock


@pytest.fixture
def exported() -> Iterator[Exported]:
    exported = Exported()
    yield exported
    exported.meters.shutdown()
    exported.tracers.shutdown()


@pytest.fixture
def telemetry(exported: Exported) -> OpenTelemetryObserver:
    return OpenTelemetryObserver(
        meter_provider=exported.meters, tracer_provider=exported.tracers, clock=ManualClock(wall=1000.0)
    )


DOCUMENTATION = zoom_async_auth.integrations.opentelemetry.__doc__ or ""


def _documented() -> dict[str, set[str]]:
    """Return the attributes of each instrument in the module's table."""
    table = re.search(r"^name +instrument.+?\n(.+?)\n\n", DOCUMENTATION, re.DOTALL | re.MULTILINE)
    assert table is not None
    rows = ((line[:40].strip(), line[58:80].strip()) for line in table[1].splitlines())
    return {name: set(attributes.split(", ")) - {""} for name, attributes in rows}


def test_the_names_and_attributes_are_those_that_are_documented(
    exported: Exported, telemetry: OpenTelemetryObserver
) -> None:
    manager, pool = Still("fresh", 60.0), StillPool()
    telemetry.watch(manager)
    telemetry.watch(pool)
    for event in EVENTS:
        telemetry(event)

    seen = {
        name: {key.removeprefix("zoom_async_auth.") for attributes, _ in exported.points(name) for key in attributes}
        - {"name"}
        for name in exported.metrics()
    }
    assert seen == _documented()


def _expected(event: Event) -> dict[str, float]:
    kind = type(event).__name__
    match kind:
        case "TokenRenewed":
            return {"renewals renewed": 1, "renewal.duration renewed": 1}
        case "TokenAdopted":
            return {"renewals adopted": 1, "renewal.duration adopted": 1}
        case "RenewalFailed":
            return {"renewals failed TokenUnavailableError": 1, "renewal.duration failed": 1}
        case "TokenRejected":
            return {"rejections": 1}
        case "GrantDied":
            return {"grants.died": 1}
        case "CommitFailed" | "StoreBypassed" | "StoreWentBack":
            return {f"store.failures {kind}": 1}
        case _:
            return {f"other_events {kind}": 1}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_each_event_counts_once_where_it_belongs_and_a_renewal_is_a_span(
    event: Event, exported: Exported, telemetry: OpenTelemetryObserver
) -> None:
    telemetry(event)

    assert {name: value for name, value in exported.counted().items() if not name.startswith("state ")} == _expected(
        event
    )
    assert len(exported.spans()) == isinstance(event, TokenRenewed | TokenAdopted | RenewalFailed)


def test_a_renewal_that_fails_on_the_store_counts_as_a_failure_of_the_store_too(
    exported: Exported, telemetry: OpenTelemetryObserver
) -> None:
    telemetry(failed(STORE_DOWN))
    telemetry(StoreBypassed(key="alice", error=None))

    assert exported.points("zoom_async_auth.store.failures") == [
        ({"zoom_async_auth.name": "default", "zoom_async_auth.event": "RenewalFailed"}, 1)
    ]


def test_a_span_lasts_from_the_start_of_its_renewal_to_its_end(
    exported: Exported, telemetry: OpenTelemetryObserver
) -> None:
    telemetry(TokenRenewed(key="alice", generation=3, expires_in=3599.0, took=0.25))

    (span,) = exported.spans()
    assert span.name == "zoom_async_auth.renewal"
    assert (span.start_time, span.end_time) == (999_750_000_000, 1_000_000_000_000)
    assert span.status.is_unset
    assert dict(span.attributes or {}) == {
        "zoom_async_auth.name": "default",
        "zoom_async_auth.outcome": "renewed",
        "zoom_async_auth.identity": sha256(b"alice").hexdigest()[:16],
        "zoom_async_auth.generation": 3,
        "zoom_async_auth.expires_in": 3599.0,
    }


def test_the_span_of_a_failure_says_what_failed(exported: Exported, telemetry: OpenTelemetryObserver) -> None:
    telemetry(RenewalFailed(key="alice", error=DOWN, took=10.0))
    telemetry(failed(REFUSED))
    telemetry(failed(STORE_DOWN))

    told = [
        {key.removeprefix("zoom_async_auth."): value for key, value in (span.attributes or {}).items()}
        for span in exported.spans()
    ]
    common = {"name": "default", "outcome": "failed", "identity": sha256(b"alice").hexdigest()[:16]}
    assert told == [
        common | {"error.type": "TokenUnavailableError", "transient": True, "http.response.status_code": 503},
        common | {"error.type": "AuthorizationRequiredError", "transient": False, "http.response.status_code": 400},
        common | {"error.type": "StoreError", "transient": True},
    ]
    assert not any(span.status.is_ok or span.status.is_unset for span in exported.spans())
    assert not any(span.events for span in exported.spans())


def test_a_person_who_has_not_authorized_the_app_yet_is_no_failure(
    exported: Exported, telemetry: OpenTelemetryObserver
) -> None:
    """Each customer's first visit finds that out."""
    telemetry(failed(UNAUTHORIZED))

    (span,) = exported.spans()
    assert span.status.is_unset
    assert dict(span.attributes or {}) == {
        "zoom_async_auth.name": "default",
        "zoom_async_auth.outcome": "unauthorized",
        "zoom_async_auth.identity": sha256(b"alice").hexdigest()[:16],
    }
    counted = {name: value for name, value in exported.counted().items() if not name.startswith("state ")}
    assert counted == {"renewals unauthorized": 1, "renewal.duration unauthorized": 1}


def test_attributes_of_spans_are_those_that_are_documented(
    exported: Exported, telemetry: OpenTelemetryObserver
) -> None:
    for event in (*EVENTS, failed(REFUSED)):
        telemetry(event)

    keys = {key for span in exported.spans() for key in span.attributes or {}}
    documented = set(
        re.findall(r"^((?:zoom_async_auth|http)\.[\w.]+)  +(?:a|of|for|what)\b", DOCUMENTATION, re.MULTILINE)
    )
    assert keys == documented | {"zoom_async_auth.name", "zoom_async_auth.outcome", "error.type"}


def test_a_span_is_the_root_of_a_trace_whoever_opened_the_manager(
    exported: Exported, telemetry: OpenTelemetryObserver
) -> None:
    """It serves all callers: as the child of one it would make that one's request last for an hour."""
    tracer = exported.tracers.get_tracer("the program")
    with tracer.start_as_current_span("a request that opened the manager"):
        telemetry(TokenRenewed(key="alice", generation=1, expires_in=3599.0, took=0.25))

    renewal, request = exported.spans()
    assert renewal.parent is None
    assert context_of(renewal).trace_id != context_of(request).trace_id


def test_the_duration_leads_to_the_span(exported: Exported, telemetry: OpenTelemetryObserver) -> None:
    """By an exemplar; of the span around it, which has nothing to do with it, there is none."""
    with exported.tracers.get_tracer("the program").start_as_current_span("a request"):
        telemetry(TokenRenewed(key="alice", generation=1, expires_in=3599.0, took=0.25))
        telemetry(TokenRejected(key="alice", generation=1))

    (point,) = exported.metrics()["zoom_async_auth.renewal.duration"].data.data_points
    assert isinstance(point, HistogramDataPoint)
    assert point.explicit_bounds == SECONDS
    assert point.sum == 0.25
    assert [exemplar.span_id for exemplar in point.exemplars] == [context_of(exported.spans()[0]).span_id]
    (rejection,) = exported.metrics()["zoom_async_auth.rejections"].data.data_points
    assert not rejection.exemplars


class _DerivedError(StoreError):
    """What a store of somebody else may raise."""


def test_the_class_of_an_error_is_one_of_ours(exported: Exported, telemetry: OpenTelemetryObserver) -> None:
    """S46: others may derive classes without end."""
    telemetry(failed(_DerivedError("x")))

    assert [attributes["error.type"] for attributes, _ in exported.points("zoom_async_auth.renewals")] == ["StoreError"]
    assert [dict(span.attributes or {})["error.type"] for span in exported.spans()] == ["StoreError"]


def _states(exported: Exported, *, name: str = "default") -> dict[str, float]:
    states = {
        attributes["zoom_async_auth.state"]: value
        for attributes, value in exported.points("zoom_async_auth.state")
        if attributes["zoom_async_auth.name"] == name
    }
    assert set(states) == set(STATES)
    return {state: value for state, value in states.items() if value}


def test_states_are_counted_and_the_least_number_of_seconds_is_what_is_left(
    exported: Exported, telemetry: OpenTelemetryObserver
) -> None:
    managers = [Still("fresh", 300.0), Still("stale", 200.0), Still("new")]
    telemetry.watch(managers[0])
    telemetry.watch(managers[1])
    telemetry.watch(managers[2])

    assert _states(exported) == {"fresh": 1, "stale": 1, "new": 1}
    assert exported.points("zoom_async_auth.token.seconds_left") == [({"zoom_async_auth.name": "default"}, 200.0)]
    managers.clear()
    gc.collect()
    assert _states(exported) == {}
    assert not exported.points("zoom_async_auth.token.seconds_left")


def test_of_pools_with_one_name_the_sums_are_shown(exported: Exported, telemetry: OpenTelemetryObserver) -> None:
    manager = Still("fresh", 300.0)
    pools = [StillPool(identities=70, waiting=3, dead=1), StillPool(identities=30, dead=1, suspended=True)]
    pools[1].held_back = DOWN
    telemetry.watch(manager)
    for pool in pools:
        telemetry.watch(pool)

    assert {name: value for name, value in exported.counted().items() if name.startswith("pool.")} == {
        "pool.identities": 100,
        "pool.waiting": 3,
        "pool.rate": 20,
        "pool.dead": 2,
        "pool.suspended": 1,
        "pool.held_back": 1,
    }
    assert _states(exported) == {"fresh": 1}


def test_several_managers_share_the_instruments_under_names_of_their_own(
    exported: Exported, telemetry: OpenTelemetryObserver
) -> None:
    others = telemetry.named("others")
    manager, other = Still("fresh", 300.0), Still("dead")
    telemetry.watch(manager)
    others.watch(other)
    others(TokenRejected(key="alice", generation=1))

    assert "rejections" not in exported.counted()
    assert exported.counted(name="others")["rejections"] == 1
    assert (_states(exported), _states(exported, name="others")) == ({"fresh": 1}, {"dead": 1})


def test_of_a_second_observer_with_the_same_provider_there_are_no_gauges(
    exported: Exported, telemetry: OpenTelemetryObserver
) -> None:
    """As documented: the API does not say that there is a first one, so it cannot be refused."""
    second = OpenTelemetryObserver(meter_provider=exported.meters, tracer_provider=exported.tracers, name="second")
    first_manager, second_manager = Still("fresh", 300.0), Still("fresh", 300.0)
    telemetry.watch(first_manager)
    second.watch(second_manager)
    second(TokenRejected(key="alice", generation=1))

    assert exported.counted(name="second") == {"rejections": 1}
    assert _states(exported) == {"fresh": 1}


def test_without_an_sdk_it_does_nothing_and_hurts_nobody() -> None:
    telemetry = OpenTelemetryObserver()
    telemetry.watch(Still("fresh"))
    for event in EVENTS:
        telemetry(event)


_GLOBAL = """
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from zoom_async_auth.events import TokenRenewed
from zoom_async_auth.integrations.opentelemetry import OpenTelemetryObserver

telemetry = OpenTelemetryObserver()
reader, exporter, tracers = InMemoryMetricReader(), InMemorySpanExporter(), TracerProvider()
tracers.add_span_processor(SimpleSpanProcessor(exporter))
metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
trace.set_tracer_provider(tracers)
telemetry(TokenRenewed(key="alice", generation=1, expires_in=3599.0, took=0.25))
assert "zoom_async_auth.renewals" in reader.get_metrics_data().to_json()
assert [span.name for span in exporter.get_finished_spans()] == ["zoom_async_auth.renewal"]
"""


def test_an_sdk_that_is_set_up_later_gets_all_that_happens_from_then_on() -> None:
    """A program makes its managers where it likes: providers are global, and this needs a process of its own."""
    subprocess.run([sys.executable, "-W", "error", "-c", _GLOBAL], check=True, timeout=15)


def test_only_the_api_is_imported() -> None:
    tree = ast.parse(Path(zoom_async_auth.integrations.opentelemetry.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {module for module in modules if str(module).startswith("opentelemetry")} == {
        "opentelemetry.context",
        "opentelemetry.metrics",
        "opentelemetry.trace",
    }
