"""Metrics for Prometheus: their names, what counts where, what the dashboard asks for."""

import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

import zoom_async_auth.integrations.prometheus
from tests.integrations.exported import Samples, counts, scrape
from tests.integrations.happened import DOWN, EVENTS, REFUSED, STORE_DOWN, UNAUTHORIZED, Still, StillPool, failed
from zoom_async_auth import TokenPool, UserOAuth
from zoom_async_auth.errors import ConfigurationError, StoreError, ZoomAuthError
from zoom_async_auth.events import Event, StoreBypassed, TokenRejected
from zoom_async_auth.integrations.measures import STATES
from zoom_async_auth.integrations.prometheus import PrometheusObserver, dashboard
from zoom_async_auth.stores.memory import MemoryStore


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> PrometheusObserver:
    return PrometheusObserver(registry)


def _documented() -> dict[str, tuple[str, set[str]]]:
    """Return type and labels of each metric in the module's table."""
    table = re.search(
        r"^name +type.+?\n(.+?)\n\n", zoom_async_auth.integrations.prometheus.__doc__ or "", re.DOTALL | re.MULTILINE
    )
    assert table is not None
    rows = (re.match(r"(\w+) +(\w+) {1,15}((?:\w+(?:, )?)*) ", line) for line in table[1].splitlines())
    return {row[1]: (row[2], set(row[3].split(", ")) - {""}) for row in rows if row is not None}


def test_the_names_types_and_labels_are_those_that_are_documented(
    registry: CollectorRegistry, metrics: PrometheusObserver
) -> None:
    manager, pool = Still("fresh", 60.0), StillPool()
    metrics.watch(manager)
    metrics.watch(pool)
    for event in EVENTS:
        metrics(event)

    seen: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        if not family.name.endswith("_created"):
            labels = {label for sample in family.samples for label in sample.labels}
            seen[family.name + ("_total" if family.type == "counter" else "")] = (family.type, labels - {"name", "le"})
    assert seen == _documented()


def _expected(event: Event) -> dict[str, float]:
    kind = type(event).__name__
    match kind:
        case "TokenRenewed":
            return {"renewals renewed": 1, "renewal_seconds_count renewed": 1}
        case "TokenAdopted":
            return {"renewals adopted": 1, "renewal_seconds_count adopted": 1}
        case "RenewalFailed":
            return {"renewals failed TokenUnavailableError": 1, "renewal_seconds_count failed": 1}
        case "TokenRejected":
            return {"rejections": 1}
        case "GrantDied":
            return {"grants_died": 1}
        case "CommitFailed" | "StoreBypassed" | "StoreWentBack":
            return {f"store_failures {kind}": 1}
        case _:
            return {f"other_events {kind}": 1}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_each_event_counts_once_where_it_belongs(
    event: Event, registry: CollectorRegistry, metrics: PrometheusObserver
) -> None:
    metrics(event)

    assert counts(registry) == _expected(event)


def test_a_renewal_that_fails_on_the_store_counts_as_a_failure_of_the_store_too(
    registry: CollectorRegistry, metrics: PrometheusObserver
) -> None:
    metrics(failed(STORE_DOWN))

    assert counts(registry) == {
        "renewals failed StoreError": 1,
        "renewal_seconds_count failed": 1,
        "store_failures RenewalFailed": 1,
    }


def test_a_person_who_has_not_authorized_the_app_yet_is_no_failure(
    registry: CollectorRegistry, metrics: PrometheusObserver
) -> None:
    """Each customer's first visit finds that out: among failures, it would make any alert on them worthless."""
    metrics(failed(UNAUTHORIZED))

    assert counts(registry) == {"renewals unauthorized": 1, "renewal_seconds_count unauthorized": 1}


def test_a_lease_that_was_busy_is_no_failure_of_the_store(
    registry: CollectorRegistry, metrics: PrometheusObserver
) -> None:
    metrics(StoreBypassed(key="alice", error=None))

    assert counts(registry) == {"other_events StoreBypassed": 1}


def test_how_long_renewals_took_is_in_seconds(registry: CollectorRegistry, metrics: PrometheusObserver) -> None:
    for event in EVENTS:
        metrics(event)

    samples = scrape(registry)
    by = ("name", "default"), ("outcome", "renewed")
    assert samples["zoom_auth_renewal_seconds_sum", by] == 0.25
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in samples.items()
        if name == "zoom_auth_renewal_seconds_bucket" and ("outcome", "renewed") in labels
    }
    assert [limit for limit, value in buckets.items() if value] == [
        "0.25",
        "0.5",
        *map(str, (1.0, 2.5, 5.0, 10.0, 20.0, 60.0)),
        "+Inf",
    ]


class _DerivedError(StoreError):
    """What a store of somebody else may raise."""


class _StrangeError(ZoomAuthError):
    """What nobody should raise."""


def test_the_class_of_an_error_is_one_of_ours(registry: CollectorRegistry, metrics: PrometheusObserver) -> None:
    """S46: others may derive classes without end."""
    metrics(failed(_DerivedError("x")))
    metrics(failed(_StrangeError("x")))
    metrics(failed(REFUSED))

    assert {name for name in counts(registry) if name.startswith("renewals ")} == {
        "renewals failed StoreError",
        "renewals failed ZoomAuthError",
        "renewals failed AuthorizationRequiredError",
    }


def test_what_has_not_happened_yet_is_there_as_zero(registry: CollectorRegistry, metrics: PrometheusObserver) -> None:
    """Or the first failure of a process would be no rise, and no alert."""
    before = {series for series in scrape(registry) if series[0].endswith(("_total", "_count"))}
    for event in (*EVENTS, *map(failed, (STORE_DOWN, REFUSED, UNAUTHORIZED, ConfigurationError("x")))):
        metrics(event)
    after = {series for series in scrape(registry) if series[0].endswith(("_total", "_count"))}

    assert {name for name, _ in after - before} == {"zoom_auth_other_events_total"}


def test_the_state_is_one_word_and_the_seconds_are_what_is_left(
    registry: CollectorRegistry, metrics: PrometheusObserver
) -> None:
    manager = Still("fresh", 1234.5)
    metrics.watch(manager)

    assert _states(registry) == {"fresh": 1}
    assert scrape(registry)["zoom_auth_token_seconds_left", (("name", "default"),)] == 1234.5
    manager.state, manager.seconds_left = "expired", 0.0
    assert _states(registry) == {"expired": 1}
    assert scrape(registry)["zoom_auth_token_seconds_left", (("name", "default"),)] == 0.0


def _states(registry: CollectorRegistry, *, name: str = "default") -> dict[str, float]:
    states = {
        dict(labels)["state"]: value
        for (metric, labels), value in scrape(registry).items()
        if metric == "zoom_auth_state" and ("name", name) in labels
    }
    assert set(states) == set(STATES)
    return {state: value for state, value in states.items() if value}


def test_of_several_managers_with_one_name_states_are_counted_and_the_least_is_left(
    registry: CollectorRegistry, metrics: PrometheusObserver
) -> None:
    managers = [Still("fresh", 300.0), Still("fresh", 200.0), Still("new"), Still("closed")]
    for manager in (*managers, managers[0]):
        metrics.watch(manager)

    assert _states(registry) == {"fresh": 2, "new": 1, "closed": 1}
    assert scrape(registry)["zoom_auth_token_seconds_left", (("name", "default"),)] == 200.0


def test_of_pools_with_one_name_the_sums_are_shown(registry: CollectorRegistry, metrics: PrometheusObserver) -> None:
    """And beside them how managers are; no key is in it."""
    manager = Still("fresh", 300.0)
    pools = [StillPool(identities=70, waiting=3, dead=1), StillPool(identities=30, dead=1, suspended=True)]
    pools[1].held_back = DOWN
    metrics.watch(manager)
    for pool in pools:
        metrics.watch(pool)

    shown = {name: value for (name, _), value in scrape(registry).items() if name.startswith("zoom_auth_pool_")}
    assert shown == {
        "zoom_auth_pool_identities": 100,
        "zoom_auth_pool_waiting": 3,
        "zoom_auth_pool_rate": 20,
        "zoom_auth_pool_dead": 2,
        "zoom_auth_pool_suspended": 1,
        "zoom_auth_pool_held_back": 1,
    }
    assert _states(registry) == {"fresh": 1}
    assert "alice" not in generate_latest(registry).decode()


async def test_a_token_pool_can_be_watched(registry: CollectorRegistry, metrics: PrometheusObserver) -> None:
    """S46: a hundred thousand identities are a handful of numbers. Whoever has none sees nothing of pools."""
    assert not any(name.startswith("zoom_auth_pool_") for name, _ in scrape(registry))
    async with TokenPool(UserOAuth(client_id="app", client_secret="secret"), store=MemoryStore()) as pool:
        metrics.watch(pool)
        assert scrape(registry)["zoom_auth_pool_identities", (("name", "default"),)] == 0


def test_a_manager_is_watched_as_long_as_the_program_keeps_it(
    registry: CollectorRegistry, metrics: PrometheusObserver
) -> None:
    managers = [Still("fresh", 300.0)]
    metrics.watch(managers[0])
    managers.clear()
    gc.collect()

    assert _states(registry) == {}
    assert ("zoom_auth_token_seconds_left", (("name", "default"),)) not in scrape(registry)


def test_managers_that_come_and_go_leave_nothing_behind(metrics: PrometheusObserver) -> None:
    """As in a program that opens one for each job."""
    for _ in range(100):
        metrics.watch(Still("fresh"))

    assert len(metrics._watched._all) <= 2


def test_several_managers_share_a_registry_under_names_of_their_own(
    registry: CollectorRegistry, metrics: PrometheusObserver
) -> None:
    others = metrics.named("others")
    manager, other = Still("fresh", 300.0), Still("dead")
    metrics.watch(manager)
    others.watch(other)
    metrics(failed(STORE_DOWN))
    others(TokenRejected(key="alice", generation=1))

    assert counts(registry, name="others") == {"rejections": 1}
    assert "rejections" not in counts(registry)
    assert (_states(registry), _states(registry, name="others")) == ({"fresh": 1}, {"dead": 1})


def test_a_second_observer_on_a_registry_is_told_of_the_first(
    registry: CollectorRegistry, metrics: PrometheusObserver
) -> None:
    with pytest.raises(ConfigurationError, match="has these metrics already: use named"):
        PrometheusObserver(registry)

    metrics(TokenRejected(key="alice", generation=1))
    assert counts(registry) == {"rejections": 1}


def test_a_scrape_may_ask_for_single_metrics(registry: CollectorRegistry, metrics: PrometheusObserver) -> None:
    metrics(TokenRejected(key="alice", generation=1))

    wanted: Any = registry.restricted_registry(["zoom_auth_rejections_total"])
    assert {name for name, _ in scrape(wanted)} == {"zoom_auth_rejections_total"}


_WORKER = """
import sys
from prometheus_client import CollectorRegistry
from zoom_async_auth.events import TokenRenewed
from zoom_async_auth.integrations.prometheus import PrometheusObserver

metrics = PrometheusObserver(CollectorRegistry())
for generation in range(int(sys.argv[1])):
    metrics(TokenRenewed(key="alice", generation=generation, expires_in=3600.0, took=0.2))
"""


def test_the_counts_of_several_processes_add_up(tmp_path: Path) -> None:
    """As documented: in this mode of the client the gauges are not there."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    workers = [subprocess.Popen([sys.executable, "-c", _WORKER, str(renewals)], env=environment) for renewals in (2, 3)]
    assert [worker.wait(timeout=15) for worker in workers] == [0, 0]

    registry = CollectorRegistry()
    collect: Callable[..., object] = MultiProcessCollector  # which has no types
    collect(registry, path=str(tmp_path))
    assert counts(registry) == {"renewals renewed": 5, "renewal_seconds_count renewed": 5}
    assert not any(name.startswith(("zoom_auth_state", "zoom_auth_token")) for name, _ in scrape(registry))


# The dashboard.


def _strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _strings(inner)
        case list():
            for inner in value:
                yield from _strings(inner)


def _queries(board: dict[str, Any]) -> list[str]:
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return asked + [variable["query"]["query"] for variable in board["templating"]["list"]]


@pytest.fixture
def everything(registry: CollectorRegistry, metrics: PrometheusObserver) -> Samples:
    """A scrape after one event of each kind."""
    manager = Still("fresh", 60.0)
    metrics.watch(manager)
    for event in EVENTS:
        metrics(event)
    return scrape(registry)


def test_the_dashboard_asks_for_each_metric_and_for_no_other(everything: Samples) -> None:
    there = {name for name, _ in everything}
    asked = {name for query in _queries(json.loads(dashboard())) for name in re.findall(r"\bzoom_auth\w*", query)}

    assert asked <= there
    assert {name.removesuffix("_bucket") for name in asked} == {
        re.sub("_(bucket|sum|count)$", "", name) for name in there
    }


def test_the_dashboard_selects_by_labels_and_values_that_there_are(everything: Samples) -> None:
    there: dict[str, set[str]] = {}
    for _, labels in everything:
        for label, value in labels:
            there.setdefault(label, set()).add(value)

    for query in _queries(json.loads(dashboard())):
        for label, values in re.findall(r'(\w+)(?:=~|!~|=)"([^"]*)"', query):
            assert values == "$name" or set(values.split("|")) <= there[label], query
        for label in re.findall(r"\b(?:by \(|, )(\w+)\)", query):
            assert label in there, query


def test_the_dashboard_can_be_imported_anywhere() -> None:
    """It asks for the data source when it is imported, names no other, and no panel lies on another."""
    board = json.loads(dashboard())

    assert [wanted["name"] for wanted in board["__inputs"]] == ["DS_PROMETHEUS"]
    sources = [*board["panels"], *board["templating"]["list"]]
    sources += [target for panel in board["panels"] for target in panel["targets"]]
    assert {source["datasource"]["uid"] for source in sources} == {"${DS_PROMETHEUS}"}
    assert not any("://" in text for text in _strings(board))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in board["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


def test_each_panel_of_the_dashboard_says_what_it_shows() -> None:
    for panel in json.loads(dashboard())["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
