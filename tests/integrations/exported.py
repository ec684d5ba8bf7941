"""What monitoring gets: a scrape of Prometheus, an export of OpenTelemetry's SDK."""

from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric, NumberDataPoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
Attributes = dict[str, Any]


def scrape(registry: CollectorRegistry) -> Samples:
    """Return what Prometheus gets, by name and labels."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def counts(registry: CollectorRegistry, *, name: str = "default") -> dict[str, float]:
    """Return the counters and counts that are not 0, written as `renewals failed StoreError`."""
    found = {}
    for (metric, labels), value in scrape(registry).items():
        told = dict(labels)
        if value and told.pop("name") == name and metric.endswith(("_total", "_seconds_count")):
            short = metric.removeprefix("zoom_auth_").removesuffix("_total")
            found[short + "".join(f" {told[label]}" for label in sorted(told, reverse=True) if told[label])] = value
    return found


@dataclass
class Exported:
    """What the SDK has exported, from meters and tracers of its own."""

    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def __post_init__(self) -> None:
        nothing = Resource({})  # what this host is would be found out by threads
        self.meters = MeterProvider(metric_readers=[self.reader], resource=nothing, shutdown_on_exit=False)
        self.tracers = TracerProvider(resource=nothing, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))

    def metrics(self) -> dict[str, Metric]:
        """Return all metrics by name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[tuple[Attributes, float]]:
        """Return attributes and value of each point of a metric; of a histogram the count."""
        metric = self.metrics().get(name)
        if metric is None:
            return []
        return [(dict(point.attributes or {}), _value(point)) for point in metric.data.data_points]

    def spans(self) -> tuple[ReadableSpan, ...]:
        """Return all spans, in the order of their ends."""
        return self.exporter.get_finished_spans()

    def counted(self, *, name: str = "default") -> dict[str, float]:
        """Return what was counted, written as `renewals outcome error`."""
        return {
            " ".join(
                [metric.removeprefix("zoom_async_auth.")]
                + [str(value) for key, value in attributes.items() if key != "zoom_async_auth.name"]
            ): value
            for metric in self.metrics()
            for attributes, value in self.points(metric)
            if attributes["zoom_async_auth.name"] == name
        }


def context_of(span: ReadableSpan) -> SpanContext:
    """Return what tells a span from others."""
    context = span.get_span_context()
    assert context is not None
    return context


def _value(point: object) -> float:
    match point:
        case NumberDataPoint(value=value):
            return value
        case HistogramDataPoint(count=count):
            return count
        case _:
            raise AssertionError(point)
