"""`zoom-async-auth pool top`: how the identities in a store are, look by look. It shows no key and no secret.

In a terminal it goes on until it is interrupted; elsewhere it looks once, unless `--every` says how often. Once there
was a look, a store that fails is told of, and looked at again.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any, Final

from zoom_async_auth.cli.place import address_of
from zoom_async_auth.cli.terminal import progress, tell, tell_json
from zoom_async_auth.clock import SystemClock
from zoom_async_auth.errors import ConfigurationError, StoreError
from zoom_async_auth.extras import told_missing
from zoom_async_auth.stores.survey import Survey, Surveyable
from zoom_async_auth.stores.urls import store_at

_EVERY: Final = 5.0
"""Seconds: a look at 100,000 identities keeps a database busy for a third of one."""
_SHOWN_OF_A_PREFIX: Final = 8
_WALL: Final = SystemClock().time
_DEAD: Final = "  dead: refused by Zoom"
_IN_DOUBT: Final = "  in doubt: no result, as in an outage"
_TROUBLES: Final = frozenset({_DEAD, _IN_DOUBT})
_UNITS: Final = (("d", 86400.0), ("h", 3600.0), ("min", 60.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen.

    Attributes:
        at: When, in seconds since 1970.
        surveys: Of each app.
        failure: Why nothing was seen since; None if this is the latest.
    """

    at: float
    surveys: tuple[Survey, ...]
    failure: str | None = None


def run(*, url: str | None, every: float | None, once: bool, as_json: bool) -> int:
    """Look at the store at `url`, that of the environment, or that of the log-ins."""
    in_terminal = sys.stdout.isatty()
    if every is None and in_terminal and not once:
        every = _EVERY
    live = in_terminal and every is not None and not as_json
    if live and find_spec("rich") is None:
        raise ConfigurationError(f"{told_missing('rich', 'cli')}; or look --once")
    address = address_of(url)
    store: Any = store_at(address.url)  # what it needs and is not installed comes first: no file can help then
    if address.missing:
        raise ConfigurationError(address.told_missing())
    if not isinstance(store, Surveyable):
        raise ConfigurationError(
            f"{type(store).__name__} cannot count its identities: name the database of the pool, sqlite: or postgresql:"
        )
    return asyncio.run(_top(store, every=every, as_json=as_json, live=live))


async def _top(store: Any, *, every: float | None, as_json: bool, live: bool) -> int:  # noqa: ANN401 -- a store, Surveyable
    async with store:
        with progress("looking at the store", quiet=as_json):
            look = Look(at=_WALL(), surveys=await store.survey())
        with _live() if live else nullcontext(_tell_json if as_json else _tell_text) as show:
            show(look)
            while every is not None:
                await asyncio.sleep(every)
                look = await _next(store, look)
                show(look)
    return 0


async def _next(store: Surveyable, before: Look) -> Look:
    try:
        return Look(at=_WALL(), surveys=await store.survey())
    except StoreError as error:
        return replace(before, failure=str(error))


@contextmanager
def _live() -> Iterator[Callable[[Look], None]]:
    """Return what shows each look in the place of the one before."""
    from rich.console import Console  # noqa: PLC0415 -- optional
    from rich.live import Live  # noqa: PLC0415

    console = Console(markup=False, highlight=False, emoji=False)  # what a store says is text, and nothing else
    with Live(console=console, auto_refresh=False) as live:
        yield lambda look: live.update(_table(look), refresh=True)


def _tell_json(look: Look) -> None:
    apps = [
        {
            **{name: round(told, 3) if isinstance(told, float) else told for name, told in asdict(survey).items()},
            "identities": survey.identities,
        }
        for survey in look.surveys
    ]
    tell_json({"at": round(look.at, 3), "failure": look.failure, "apps": apps})


def _tell_text(look: Look) -> None:
    rows = _rows(look)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        tell("  ".join([name.ljust(widths[0]), *numbers]))
    tell(_caption(look))


def _table(look: Look) -> Any:  # noqa: ANN401 -- rich's, which may be missing
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    caption = Text(_caption(look), style="red" if look.failure else "dim")
    if not look.surveys:
        return caption
    (_, *heads), *rows = _rows(look)
    table = Table("")
    for head in heads:
        table.add_column(head, justify="right")
    for name, *cells in rows:
        in_trouble = name in _TROUBLES and set(cells) != {"0"}
        table.add_row(name, *cells, style="bold red" if in_trouble else None)
    return Group(table, caption)


def _rows(look: Look) -> list[list[str]]:
    """Return the table: a column for each app, named by what its keys begin with."""
    if not look.surveys:
        return []
    heads = [survey.prefix[:_SHOWN_OF_A_PREFIX] or "-" for survey in look.surveys]
    figures = [_figures(survey) for survey in look.surveys]
    return [["", *heads], *([name, *(column[name] for column in figures)] for name in figures[0])]


def _figures(survey: Survey) -> dict[str, str]:
    return {
        "identities": f"{survey.identities:,}",
        "  valid": f"{survey.valid:,}",
        "    due: in the last fifth of their life": f"{survey.due:,}",
        "  expired: mostly, nobody uses them": f"{survey.expired:,}",
        _DEAD: f"{survey.dead:,}",
        "  empty: revoked, or not yet authorized": f"{survey.empty:,}",
        "renewed in the last minute": f"{survey.renewed:,}",
        "leased: being renewed": f"{survey.leased:,}",
        "with an intent": f"{survey.intents:,}",
        _IN_DOUBT: f"{survey.in_doubt:,}",
        "oldest intent": _age(survey.oldest_intent),
        "oldest token that can be renewed": _age(survey.oldest_token),
    }


def _caption(look: Look) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(look.at))
    seen = f"seen at {clock}" if look.surveys else f"nobody is there, at {clock}"
    return seen if look.failure is None else f"{seen}; since then: {look.failure}"


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
