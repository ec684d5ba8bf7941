"""`zoom-async-auth demo`: many callers, short-lived tokens, an outage, a rejected token; and what callers notice."""

import asyncio
import importlib.util
import json
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

from zoom_async_auth.cli.terminal import TROUBLE
from zoom_async_auth.errors import ZoomAuthError
from zoom_async_auth.events import Event, RenewalFailed, TokenRejected, TokenRenewed
from zoom_async_auth.manager import TokenManager
from zoom_async_auth.renewal.policy import RenewalPolicy
from zoom_async_auth.sandbox import Sandbox, Zoom

LATENCY = 0.05
"""Seconds that the sandbox takes for an answer: so a call that waits for it is seen."""
_TOKENS = 5
"""Lifetimes of a token that the demo lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What happened. Times of `bearer()` in microseconds, this program's bookkeeping included.

    Attributes:
        waited_after_first: Calls that waited on the network though there had been a token.
        waited_after_rejection: The same right after the API refused the token: there was nothing else to hand out.
        expired_handed_out: Tokens that were no longer good when a caller got them.
    """

    callers: int
    calls: int
    calls_per_second: int
    token_requests: int
    renewals: int
    waited_after_first: int
    waited_after_rejection: int
    expired_handed_out: int
    errors: int
    p50_us: float
    p99_us: float
    max_us: float

    @property
    def flawless(self) -> bool:
        """Whether nobody waited, failed, or got a token that was no longer good."""
        return not (self.waited_after_first or self.expired_handed_out or self.errors)


@dataclass(slots=True)
class _Tally:
    calls: int = 0
    waited_after_first: int = 0
    waited_after_rejection: int = 0
    expired_handed_out: int = 0
    errors: int = 0
    renewals: int = 0
    arrived: bool = False
    rejecting: bool = False
    times: Counter[int] = field(default_factory=Counter)  # nanoseconds, to the nearest hundred


def run(*, callers: int, seconds: float, as_json: bool) -> int:
    """Show the demo; return 0 if it was flawless."""
    summary = asyncio.run(_demo(callers, seconds, quiet=as_json))
    if as_json:
        sys.stdout.write(json.dumps(asdict(summary)) + "\n")
    else:
        _print_summary(summary)
    return 0 if summary.flawless else TROUBLE


async def _demo(callers: int, seconds: float, *, quiet: bool) -> Summary:
    lifetime = seconds / _TOKENS
    tally = _Tally()
    started = time.perf_counter()

    def say(line: str) -> None:
        if not quiet:
            sys.stdout.write(f"{time.perf_counter() - started:6.2f} s  {line}\n")
            sys.stdout.flush()

    def observe(event: Event) -> None:
        match event:
            case TokenRenewed():
                tally.renewals += tally.arrived
                tally.arrived, tally.rejecting = True, False
                say(f"token {event.generation} arrived, good for {event.expires_in:g} s")
            case RenewalFailed():
                say(f"renewal failed, the token at hand goes on: {event.error}")
            case TokenRejected():
                say(f"token {event.generation} was rejected by the API")

    # Pauses in proportion to tokens that live for seconds, not for an hour.
    policy = RenewalPolicy(min_interval=0.1, leeway=lifetime / 10)
    async with Sandbox(token_lifetime=lifetime, latency=LATENCY) as zoom:
        say(f"for {seconds:g} s: a sandbox on {zoom.url}, tokens live {lifetime:g} s, an answer takes {LATENCY:g} s")
        async with TokenManager(zoom.credentials, base_url=zoom.url, policy=policy, observers=[observe]) as manager:
            say(f"{callers} callers ask for the token all the time")
            with _live(tally, started, wanted=not quiet):
                tasks = [asyncio.create_task(_call(manager, zoom, tally)) for _ in range(callers)]
                await _trouble(manager, zoom, tally, lifetime, say)
                await asyncio.sleep(max(0.0, started + seconds - time.perf_counter()))
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            return _summary(tally, callers, time.perf_counter() - started, zoom.token_requests)


async def _call(manager: TokenManager, zoom: Zoom, tally: _Tally) -> None:
    """Ask for the token, again and again, and note how that went."""
    while True:
        first, rejecting, begun = not tally.arrived, tally.rejecting, time.perf_counter_ns()
        try:
            token, waited = await _watched(manager.bearer())
        except ZoomAuthError:
            tally.errors += 1
            await asyncio.sleep(LATENCY)
            continue
        tally.times[(time.perf_counter_ns() - begun + 50) // 100 * 100] += 1
        tally.calls += 1
        tally.expired_handed_out += zoom.model.user_of(token) is None
        if waited and not first:
            if rejecting:
                tally.waited_after_rejection += 1
            else:
                tally.waited_after_first += 1
        await asyncio.sleep(0)


@types.coroutine
def _watched(call: Coroutine[Any, Any, str]) -> Generator[Any, None, tuple[str, bool]]:
    """Drive `call`; return its result, and whether it ever had to wait."""
    steps = call.__await__()
    waited = False
    try:
        while True:
            future = next(steps)
            waited = True
            yield future
    except StopIteration as done:
        return done.value, waited
    finally:
        call.close()


async def _trouble(
    manager: TokenManager, zoom: Zoom, tally: _Tally, lifetime: float, say: Callable[[str], None]
) -> None:
    await _next_token(zoom, tally, 3)
    say("the token endpoint goes down")
    zoom.outage = 503
    await asyncio.sleep(0.7 * lifetime)
    zoom.outage = None
    renewals = tally.renewals
    await asyncio.sleep(2 * LATENCY)  # a request that was on its way fails yet; or the next token arrives already
    say("the token endpoint is back")
    await _next_token(zoom, tally, renewals + 1)
    await asyncio.sleep(0.2 * lifetime)
    tally.rejecting = True
    token = await manager.bearer()
    zoom.reject(token)
    manager.invalidate(token)


async def _next_token(zoom: Zoom, tally: _Tally, number: int) -> None:
    """Wait until that many renewals have happened, or as many as there will ever be."""
    for _ in range(10_000):
        if tally.renewals >= number:
            return
        await asyncio.sleep(zoom.latency / 5)


def _summary(tally: _Tally, callers: int, seconds: float, token_requests: int) -> Summary:
    return Summary(
        callers=callers,
        calls=tally.calls,
        calls_per_second=round(tally.calls / seconds),
        token_requests=token_requests,
        renewals=tally.renewals,
        waited_after_first=tally.waited_after_first,
        waited_after_rejection=tally.waited_after_rejection,
        expired_handed_out=tally.expired_handed_out,
        errors=tally.errors,
        p50_us=_quantile(tally.times, 0.5),
        p99_us=_quantile(tally.times, 0.99),
        max_us=_quantile(tally.times, 1.0),
    )


def _quantile(times: Counter[int], share: float) -> float:
    """Return, in microseconds, what `share` of the calls did not exceed."""
    left = share * times.total()
    for nanoseconds in sorted(times):
        left -= times[nanoseconds]
        if left <= 0:
            return nanoseconds / 1000
    return 0.0


def _live(tally: _Tally, started: float, *, wanted: bool) -> AbstractContextManager[object]:
    """Return a line of figures that moves, if that is wanted and possible."""
    if not wanted or not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
        return nullcontext()
    from rich.live import Live  # noqa: PLC0415 -- optional
    from rich.text import Text  # noqa: PLC0415

    def figures() -> Text:
        per_second = tally.calls / max(time.perf_counter() - started, 0.001)
        return Text(
            f"{tally.calls:,} calls, {per_second:,.0f} per second, {tally.renewals} renewals, "
            f"{tally.waited_after_first} waited, {tally.errors} errors",
            style="bold green" if not tally.errors and not tally.waited_after_first else "bold red",
        )

    return Live(get_renderable=figures, refresh_per_second=4, transient=True)


def _print_summary(summary: Summary) -> None:
    rows = [
        ("callers", f"{summary.callers:,}"),
        ("calls", f"{summary.calls:,} ({summary.calls_per_second:,} per second)"),
        ("token requests", f"{summary.token_requests}: the first, {summary.renewals} renewals, others in the outage"),
        ("waited on the network", f"{summary.waited_after_first} after the first token"),
        ("", f"{summary.waited_after_rejection} after the rejection, when there was no other token"),
        ("expired tokens handed out", f"{summary.expired_handed_out}"),
        ("errors", f"{summary.errors}"),
        ("bearer()", f"p50 {summary.p50_us:g} µs, p99 {summary.p99_us:g} µs, longest {summary.max_us / 1000:.0f} ms"),
    ]
    sys.stdout.write("\n" + "".join(f"{name:>26}  {value}\n" for name, value in rows))
