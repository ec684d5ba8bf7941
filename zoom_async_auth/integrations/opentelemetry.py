"""Metrics and spans by OpenTelemetry; of it only the API is needed (extra `otel`), the program brings the SDK.

    telemetry = OpenTelemetryObserver()
    async with TokenManager.from_env(observers=[telemetry]) as manager:
        telemetry.watch(manager)

name                                    instrument        attributes            counts, or is
zoom_async_auth.renewals                counter           outcome, error.type   renewals, by what came of them
zoom_async_auth.renewal.duration        histogram, s      outcome               how long they took
zoom_async_auth.rejections              counter                                 tokens that Zoom's API refused
zoom_async_auth.grants.died             counter                                 authorizations that Zoom refused
zoom_async_auth.store.failures          counter           event                 failures of the store, by what followed
zoom_async_auth.other_events            counter           event                 all other events, by their class
zoom_async_auth.state                   gauge             state                 how many managers are in this state
zoom_async_auth.token.seconds_left      gauge, s                                for how long it may be handed out
zoom_async_auth.pool.identities         gauge                                   how many pools have in memory
zoom_async_auth.pool.waiting            gauge                                   renewals that wait for their turn there
zoom_async_auth.pool.rate               gauge                                   how many of them a second may start now
zoom_async_auth.pool.dead               gauge                                   authorizations found dead, not renewed
zoom_async_auth.pool.suspended          gauge                                   pools that saw too many refusals
zoom_async_auth.pool.held_back          gauge                                   pools that renew nobody's token now

All have the attribute `zoom_async_auth.name`, which the program chooses: one word for each kind of managers, not for
each identity. `outcome`, `event` and `state` begin with `zoom_async_auth.` too; their values, and that of `error.type`,
are words and classes of this package. `outcome` is "renewed" by Zoom, "adopted" from the store, "failed", or
"unauthorized": a person has yet to authorize the app, as the first visit of each finds out, which is no failure and has
no `error.type`. The gauges are read from `health()` at the time of the export; of several managers with one name the
number of seconds is the least. A `TokenPool` is watched in the same way, and has gauges of its own, in which those of
several pools add up.

Each renewal is a span, `zoom_async_auth.renewal`, from its first look into the store to its end; an attempt that fails
is one of its own. It is made when it is over, and is the root of a trace: it serves all callers, so it belongs to none.
Besides the name, the outcome and `error.type` it has

zoom_async_auth.identity                a hash of the key: the first 16 hex digits of its SHA-256
zoom_async_auth.generation              of the token that there is now
zoom_async_auth.expires_in              for how many seconds it is good
zoom_async_auth.transient               of a failure: whether waiting longer may help
http.response.status_code               of a failure: what Zoom answered, if it did

What `bearer()` does is neither counted nor traced: it would cost more than `bearer()`.
"""

from collections.abc import Callable, Iterable
from copy import copy
from functools import partial
from hashlib import sha256
from typing import Self

from zoom_async_auth.clock import Clock, SystemClock
from zoom_async_auth.events import Event, RenewalFailed, TokenAdopted, TokenRenewed
from zoom_async_auth.extras import extra
from zoom_async_auth.integrations.measures import (
    POOL_GAUGES,
    SECONDS,
    Gauges,
    Renewal,
    Watchable,
    Watched,
    class_of,
    count_of,
    is_unauthorized,
    renewal_in,
)

with extra("otel"):
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter
    from opentelemetry.trace import Span, StatusCode, TracerProvider, get_tracer, set_span_in_context

_SCOPE = "zoom_async_auth"
_NAME = "zoom_async_auth.name"
_OUTCOME = "zoom_async_auth.outcome"
_EVENT = "zoom_async_auth.event"
_STATE = "zoom_async_auth.state"
_ERROR = "error.type"

_Attributes = dict[str, str | int | float | bool]


class OpenTelemetryObserver:
    """Counts what a manager reports, makes a span of each renewal, and shows how the manager is.

    One for each pair of providers; `named` makes more of it. Of a second one the SDK exports no gauges: it has those of
    the first, and says so only in its log.

    Args:
        meter_provider: Where metrics go; None: the global one, also if it is set later.
        tracer_provider: Where spans go; None: the global one, also if it is set later.
        name: The attribute `zoom_async_auth.name` of all that is reported here.
        clock: Tells when a renewal was over.
    """

    def __init__(
        self,
        *,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        name: str = "default",
        clock: Clock | None = None,
    ) -> None:
        self._meters = _Meters(meter_provider)
        self._tracer = get_tracer(_SCOPE, tracer_provider=tracer_provider)
        self._wall = (clock or SystemClock()).time
        self._open(name)

    def __call__(self, event: Event) -> None:
        """Report an event."""
        context = Context()  # not the current one: that of whoever opened the manager
        if (renewal := renewal_in(event)) is not None:
            span = self._span(event, renewal, context)
            context = set_span_in_context(span, context)  # for exemplars
            self._count_renewal(renewal, context)
        named: _Attributes = {_NAME: self._name}
        match count_of(event):
            case "rejections":
                self._meters.rejections.add(1, named, context)
            case "grants_died":
                self._meters.grants_died.add(1, named, context)
            case "store_failures":
                self._meters.store_failures.add(1, {**named, _EVENT: type(event).__name__}, context)
            case "other_events":
                self._meters.other_events.add(1, {**named, _EVENT: type(event).__name__}, context)
            case None:
                pass

    def watch(self, manager: Watchable) -> None:
        """Show how a manager is, or a pool, for as long as the program keeps it."""
        self._watched.add(manager)

    def named(self, name: str) -> Self:
        """Return an observer with the same providers for other managers, which has another `zoom_async_auth.name`."""
        other = copy(self)
        other._open(name)  # noqa: SLF001 -- one of its own
        return other

    def _open(self, name: str) -> None:
        self._name = name
        self._watched = self._meters.open(name)

    def _count_renewal(self, renewal: Renewal, context: Context) -> None:
        known: _Attributes = {_NAME: self._name, _OUTCOME: renewal.outcome}
        self._meters.duration.record(renewal.took, known, context)
        failed: _Attributes = {} if renewal.error is None else {_ERROR: class_of(renewal.error)}
        self._meters.renewals.add(1, {**known, **failed}, context)

    def _span(self, event: Event, renewal: Renewal, context: Context) -> Span:
        ended = self._wall()
        span = self._tracer.start_span(
            "zoom_async_auth.renewal",
            context,
            attributes={_NAME: self._name, _OUTCOME: renewal.outcome, **_told(event)},
            start_time=_nanoseconds(ended - renewal.took),
        )
        if renewal.error is not None:
            span.set_status(StatusCode.ERROR)
        span.end(_nanoseconds(ended))
        return span


class _Meters:
    """All instruments. Of a meter there is one of each, so all names share them."""

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = get_meter(_SCOPE, meter_provider=provider)
        self.renewals = meter.create_counter(
            "zoom_async_auth.renewals", unit="{renewal}", description="Renewals, by outcome."
        )
        self.duration = meter.create_histogram(
            "zoom_async_auth.renewal.duration",
            unit="s",
            description="How long renewals took.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self.rejections = meter.create_counter(
            "zoom_async_auth.rejections", unit="{token}", description="Tokens that Zoom's API refused."
        )
        self.grants_died = meter.create_counter(
            "zoom_async_auth.grants.died", unit="{grant}", description="Authorizations that Zoom refused for good."
        )
        self.store_failures = meter.create_counter(
            "zoom_async_auth.store.failures", unit="{failure}", description="Failures of the store."
        )
        self.other_events = meter.create_counter(
            "zoom_async_auth.other_events", unit="{event}", description="All other events."
        )
        meter.create_observable_gauge(
            "zoom_async_auth.state",
            [self._reading(_states)],
            unit="{manager}",
            description="How many managers are in this state.",
        )
        meter.create_observable_gauge(
            "zoom_async_auth.token.seconds_left",
            [self._reading(_seconds_left)],
            unit="s",
            description="For how long the token may be handed out.",
        )
        for gauge in POOL_GAUGES:
            meter.create_observable_gauge(
                f"zoom_async_auth.pool.{gauge.name}",
                [self._reading(partial(_of_pools, gauge.name))],
                unit=gauge.unit,
                description=gauge.told,
            )
        self._watched: dict[str, Watched] = {}

    def open(self, name: str) -> Watched:
        """Return who is watched under a name."""
        return self._watched.setdefault(name, Watched())

    def _reading(
        self, observe: Callable[[_Attributes, Gauges], Iterable[Observation]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(options: CallbackOptions) -> Iterable[Observation]:
            del options
            for name, watched in tuple(self._watched.items()):
                yield from observe({_NAME: name}, watched.read())

        return read


def _states(named: _Attributes, gauges: Gauges) -> Iterable[Observation]:
    return [Observation(count, {**named, _STATE: state}) for state, count in gauges.states.items()]


def _seconds_left(named: _Attributes, gauges: Gauges) -> Iterable[Observation]:
    return [] if gauges.seconds_left is None else [Observation(gauges.seconds_left, named)]


def _of_pools(what: str, named: _Attributes, gauges: Gauges) -> Iterable[Observation]:
    return [Observation(gauges.pools[what], named)] if what in gauges.pools else []


def _told(event: Event) -> _Attributes:
    """Return what a span says of a renewal beyond its outcome."""
    told: _Attributes = {"zoom_async_auth.identity": sha256(event.key.encode()).hexdigest()[:16]}
    match event:
        case TokenRenewed() | TokenAdopted():
            told["zoom_async_auth.generation"] = event.generation
            told["zoom_async_auth.expires_in"] = event.expires_in
        case RenewalFailed(error=error) if not is_unauthorized(error):
            told[_ERROR] = class_of(error)
            told["zoom_async_auth.transient"] = error.transient
            if error.status is not None:
                told["http.response.status_code"] = error.status
        case _:
            pass
    return told


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
