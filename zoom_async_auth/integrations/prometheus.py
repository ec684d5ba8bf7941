"""Metrics for Prometheus, by prometheus-client (extra `prometheus`).

    metrics = PrometheusObserver(prometheus_client.REGISTRY)
    async with TokenManager.from_env(observers=[metrics]) as manager:
        metrics.watch(manager)

name                                    type        labels           counts, or is
zoom_auth_renewals_total                counter     outcome, error   renewals, by what came of them
zoom_auth_renewal_seconds               histogram   outcome          how long they took
zoom_auth_rejections_total              counter                      tokens that Zoom's API refused before their time
zoom_auth_grants_died_total             counter                      authorizations that Zoom refused for good
zoom_auth_store_failures_total          counter     event            failures of the store; event: what followed
zoom_auth_other_events_total            counter     event            all other events, by their class
zoom_auth_state                         gauge       state            how many managers are in this state
zoom_auth_token_seconds_left            gauge                        for how long the token may be handed out
zoom_auth_pool_identities               gauge                        how many identities pools have in memory
zoom_auth_pool_waiting                  gauge                        how many renewals wait for their turn there
zoom_auth_pool_rate                     gauge                        how many of them a second may start now
zoom_auth_pool_dead                     gauge                        authorizations found dead, not renewed since
zoom_auth_pool_suspended                gauge                        pools that saw too many refusals to believe one
zoom_auth_pool_held_back                gauge                        pools that renew nobody's token now

All have the label `name`, which the program chooses: one word for each kind of managers, not for each identity.
`outcome` is "renewed" by Zoom, "adopted" from the store, "failed", or "unauthorized": a person has yet to authorize the
app, as the first visit of each finds out, which is no failure and has no `error`. `error` is a class of
`zoom_async_auth.errors`, `event` one of `zoom_async_auth.events`, `state` one word of `Health.state`. The gauges are
read from `health()` at the time of the scrape; of several managers with one name the number of seconds is the least. A
`TokenPool` is watched in the same way, `metrics.watch(pool)`, and has gauges of its own, in which those of several
pools add up. An attempt that fails is a renewal of its own. What `bearer()` does is not counted: it would cost more
than `bearer()`.

The dashboard for Grafana:

    python -c "from zoom_async_auth.integrations.prometheus import dashboard; print(dashboard())" > dashboard.json

With several worker processes (`PROMETHEUS_MULTIPROC_DIR`) the counters and the histogram add up. The gauges are not
there: a process can be asked for its own health only by itself.
"""

from collections.abc import Iterable, Iterator
from copy import copy
from importlib.resources import files
from typing import Self

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.events import Event
from zoom_async_auth.extras import extra
from zoom_async_auth.integrations.measures import (
    POOL_GAUGES,
    SECONDS,
    Watchable,
    Watched,
    class_of,
    count_of,
    renewal_in,
)

with extra("prometheus"):
    from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
    from prometheus_client.core import GaugeMetricFamily


class PrometheusObserver:
    """Counts what a manager reports, and shows how it is. One for each registry; `named` makes more of it.

    Args:
        registry: Where the metrics go: `prometheus_client.REGISTRY`, or one of your own.
        name: The label `name` of all that is counted here.

    Raises:
        ConfigurationError: The registry has metrics of these names already.
    """

    def __init__(self, registry: CollectorRegistry, *, name: str = "default") -> None:
        self._meters = _Meters()
        self._open(name)
        try:
            registry.register(self._meters)
        except ValueError:
            raise ConfigurationError("the registry has these metrics already: use named() of its observer") from None

    def __call__(self, event: Event) -> None:
        """Count an event."""
        if (renewal := renewal_in(event)) is not None:
            error = "" if renewal.error is None else class_of(renewal.error)
            self._meters.renewals.labels(self._name, renewal.outcome, error).inc()
            self._meters.seconds.labels(self._name, renewal.outcome).observe(renewal.took)
        match count_of(event):
            case "rejections":
                self._meters.rejections.labels(self._name).inc()
            case "grants_died":
                self._meters.grants_died.labels(self._name).inc()
            case "store_failures":
                self._meters.store_failures.labels(self._name, type(event).__name__).inc()
            case "other_events":
                self._meters.other_events.labels(self._name, type(event).__name__).inc()
            case None:
                pass

    def watch(self, manager: Watchable) -> None:
        """Show how a manager is, or a pool, for as long as the program keeps it."""
        self._watched.add(manager)

    def named(self, name: str) -> Self:
        """Return an observer on the same registry for other managers, which has another label `name`."""
        other = copy(self)
        other._open(name)  # noqa: SLF001 -- one of its own
        return other

    def _open(self, name: str) -> None:
        self._name = name
        self._watched = self._meters.open(name)


def dashboard() -> str:
    """Return a dashboard for Grafana that shows all of these metrics: JSON, to be imported there."""
    return files("zoom_async_auth.integrations").joinpath("dashboard.json").read_text(encoding="utf-8")


class _Meters:
    """All metrics, as one collector: a registry takes all of them, or none."""

    def __init__(self) -> None:
        self.renewals = Counter(
            "zoom_auth_renewals", "Renewals, by outcome.", ("name", "outcome", "error"), registry=None
        )
        self.seconds = Histogram(
            "zoom_auth_renewal_seconds",
            "How long renewals took.",
            ("name", "outcome"),
            buckets=SECONDS,
            registry=None,
        )
        self.rejections = Counter(
            "zoom_auth_rejections", "Tokens that Zoom's API refused before their time.", ("name",), registry=None
        )
        self.grants_died = Counter(
            "zoom_auth_grants_died", "Authorizations that Zoom refused for good.", ("name",), registry=None
        )
        self.store_failures = Counter(
            "zoom_auth_store_failures", "Failures of the store.", ("name", "event"), registry=None
        )
        self.other_events = Counter("zoom_auth_other_events", "All other events.", ("name", "event"), registry=None)
        self._watched: dict[str, Watched] = {}

    def open(self, name: str) -> Watched:
        """Begin to count under a name: what has not happened yet is shown as 0, so that the first time is a rise."""
        for outcome in ("renewed", "adopted", "unauthorized"):
            self.renewals.labels(name, outcome, "")
            self.seconds.labels(name, outcome)
        for error in ("ConfigurationError", "TokenUnavailableError", "AuthorizationRequiredError", "StoreError"):
            self.renewals.labels(name, "failed", error)
        self.seconds.labels(name, "failed")
        self.rejections.labels(name)
        self.grants_died.labels(name)
        for event in ("CommitFailed", "StoreBypassed", "StoreWentBack", "RenewalFailed"):
            self.store_failures.labels(name, event)
        return self._watched.setdefault(name, Watched())

    def describe(self) -> Iterable[Metric]:
        """Name all metrics: the registry compares them with those that it has."""
        for metric in self._counted():
            yield from metric.describe()
        yield from self._gauges()

    def collect(self) -> Iterator[Metric]:
        """Read all metrics; in the thread of whoever scrapes."""
        for metric in self._counted():
            yield from metric.collect()
        states, seconds, *of_pools = self._gauges()
        for name, watched in tuple(self._watched.items()):
            gauges = watched.read()
            for state, count in gauges.states.items():
                states.add_metric((name, state), count)
            if gauges.seconds_left is not None:
                seconds.add_metric((name,), gauges.seconds_left)
            for family, value in zip(of_pools, gauges.pools.values(), strict=False):  # none without a pool
                family.add_metric((name,), value)
        yield from (states, seconds, *of_pools)

    def _counted(self) -> tuple[Counter | Histogram, ...]:
        return (
            self.renewals,
            self.seconds,
            self.rejections,
            self.grants_died,
            self.store_failures,
            self.other_events,
        )

    def _gauges(self) -> tuple[GaugeMetricFamily, ...]:
        return (
            GaugeMetricFamily("zoom_auth_state", "How many managers are in this state.", labels=("name", "state")),
            GaugeMetricFamily(
                "zoom_auth_token_seconds_left", "For how long the token may be handed out.", labels=("name",)
            ),
            *(GaugeMetricFamily(f"zoom_auth_pool_{gauge.name}", gauge.told, labels=("name",)) for gauge in POOL_GAUGES),
        )
