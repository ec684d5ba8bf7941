"""What can go wrong between a client and Zoom: faults as values, and a script that says which request gets which.

A fault is written `WHERE:WHAT`, in Python, over HTTP and on the command line alike: `refresh_token#2:reset-after`.

WHERE                 the requests that get it, counted from when the fault was set
    any               the next one
    refresh_token     the next one of this grant type
    any#3, any#3-5    the third, the third to the fifth
    any#1-            all

WHAT                  what the client sees                                            has Zoom acted?
    answer=503 TEXT   this status with this body                                      no
    retry-after=7     429 with this Retry-After                                       no
    redirect=URL      307 to this address                                             no
    html              200 with a log-in page, as a captive portal sends it            no
    gzip-bomb         200 with 50 MB in 50 kB                                         no
    endless           200 with a body without end                                     no
    hang              nothing, and the connection stays open                          no
    reset             the connection is reset                                         no
    hang-after, reset-after                                                           yes: a refresh token is spent
    cut               half an answer, then a reset                                    yes
    truncated         half an answer, as if it were whole                             yes
    drip=0.1          an answer, this many seconds between two bytes                  yes
    content-type=T    an answer of another content type                               yes
    expires-in=JSON   an answer with another lifetime                                 yes
    scope=JSON        an answer with another scope                                    yes
    without=FIELD     an answer without a field                                       yes
"""

import gzip
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from zoom_async_auth.errors import ConfigurationError

GRANTS = frozenset(
    {"any", "account_credentials", "client_credentials", "authorization_code", "refresh_token", "device_code"}
)
"""What WHERE can name."""

_RULE = re.compile(
    r"(?P<grant>[a-z_]+)(?:#(?P<first>[1-9][0-9]{0,8})(?:(?P<dash>-)(?P<last>[0-9]{1,9})?)?)?:(?P<what>.+)", re.DOTALL
)
_ANSWER = re.compile(r"(?P<status>[2-5][0-9]{2})(?: (?P<body>.*))?", re.DOTALL)
_GATEWAY = b"<html><body><h1>Bad gateway</h1></body></html>"
_PORTAL = b"<!doctype html><html><title>Log in to the network</title></html>"
_BOMB = 50_000_000


class Delivery(Enum):
    """How a reply goes over the wire."""

    WHOLE = "as it is"
    NEVER = "not at all, the connection stays open"
    RESET = "not at all, the connection is reset"
    CUT = "half of it, then the connection is reset"
    DRIP = "byte by byte"
    ENDLESS = "and then more of the same, without end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What goes back over the wire.

    Attributes:
        status: The HTTP status.
        headers: All that matter.
        body: The body.
        delivery: How it is sent.
        pace: Seconds between two bytes, if it drips.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    delivery: Delivery = Delivery.WHOLE
    pace: float = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of one request.

    Attributes:
        acts: Whether Zoom acts on it first.
        change: Makes what is sent out of what Zoom would send; an empty reply, if it has not acted.
    """

    acts: bool
    change: Callable[[Reply], Reply]


@dataclass(slots=True)
class _Rule:
    grant: str
    first: int
    last: float
    fault: Fault
    seen: int = 0


class Faults:
    """A script of faults. An earlier one wins where two meet."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []

    def add(self, *texts: str) -> None:
        """Set faults, each written `WHERE:WHAT` as in the module's text.

        Raises:
            ConfigurationError: One is not written like that; none is set then.
        """
        self._rules += [_rule(text) for text in texts]

    def clear(self) -> None:
        """Take all faults back."""
        self._rules.clear()

    def take(self, grant: str) -> Fault | None:
        """Return what the next request of this grant type gets, if it is a fault."""
        taken: Fault | None = None
        for rule in self._rules:
            if rule.grant in {grant, "any"}:
                rule.seen += 1
                if taken is None and rule.first <= rule.seen <= rule.last:
                    taken = rule.fault
        self._rules = [rule for rule in self._rules if rule.seen < rule.last]
        return taken


def _rule(text: str) -> _Rule:
    match = _RULE.fullmatch(text)
    if match is None or match["grant"] not in GRANTS:
        known = ", ".join(sorted(GRANTS))
        raise ConfigurationError(f"a fault is written WHERE:WHAT, as refresh_token#2:reset-after; WHERE: {known}")
    first = int(match["first"] or 1)
    last = float(match["last"] or math.inf) if match["dash"] else float(first)
    if last < first:
        raise ConfigurationError(f"a range of requests is written FIRST-LAST, not {first}-{last:g}")
    return _Rule(match["grant"], first, last, _fault(match["what"]))


def _fault(what: str) -> Fault:
    name, _, value = what.partition("=")
    if name in _PLAIN and not value:
        return _PLAIN[name]
    if not value.isprintable():
        raise ConfigurationError(f"{name} wants what can be printed, in one line")
    if name in _VALUED and value:
        return _VALUED[name](value)
    raise ConfigurationError(f"no such fault: {', '.join([*_PLAIN, *(f'{known}=...' for known in _VALUED)])} are there")


def _sends(status: int, body: bytes, *, delivery: Delivery = Delivery.WHOLE, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = Reply(status=status, headers={"Content-Type": "text/html", **named}, body=body, delivery=delivery)
    return Fault(acts=False, change=lambda _: reply)


def _answer(value: str) -> Fault:
    match = _ANSWER.fullmatch(value)
    if match is None:
        raise ConfigurationError('answer is written with a status, and a body behind it: answer=400 {"error":"x"}')
    return _sends(int(match["status"]), (match["body"] or "").encode())


def _drips(value: str) -> Fault:
    try:
        pace = float(value)
    except ValueError:
        pace = math.nan
    if not 0 < pace < math.inf:
        raise ConfigurationError("drip wants the seconds between two bytes: drip=0.1")
    return _delivered(Delivery.DRIP, acts=True, pace=pace)


def _delivered(delivery: Delivery, *, acts: bool, pace: float = 0.0) -> Fault:
    return Fault(acts=acts, change=lambda reply: replace(reply, delivery=delivery, pace=pace))


def _with_field(name: str) -> Callable[[str], Fault]:
    def fault(value: str) -> Fault:
        try:
            content = json.loads(value)
        except ValueError:
            raise ConfigurationError(f'{name} wants JSON behind it: 3600, or "3600" for a string') from None
        return Fault(acts=True, change=lambda reply: _edited(reply, lambda fields: {**fields, name: content}))

    return fault


def _without_field(name: str) -> Fault:
    return Fault(
        acts=True,
        change=lambda reply: _edited(reply, lambda fields: {key: fields[key] for key in fields if key != name}),
    )


def _edited(reply: Reply, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Reply:
    fields = edit(json.loads(reply.body))
    return replace(reply, body=json.dumps(fields, separators=(",", ":")).encode())


def _typed(content_type: str) -> Fault:
    def change(reply: Reply) -> Reply:
        return replace(reply, headers={**reply.headers, "Content-Type": content_type})

    return Fault(acts=True, change=change)


_PLAIN: dict[str, Fault] = {
    "html": _sends(200, _PORTAL),
    "gzip-bomb": Fault(
        acts=False,
        change=lambda _: Reply(
            status=200,
            headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
            body=gzip.compress(b"{" + b" " * _BOMB + b"}"),
        ),
    ),
    "endless": _sends(200, b" " * 4096, delivery=Delivery.ENDLESS),
    "hang": _delivered(Delivery.NEVER, acts=False),
    "reset": _delivered(Delivery.RESET, acts=False),
    "hang-after": _delivered(Delivery.NEVER, acts=True),
    "reset-after": _delivered(Delivery.RESET, acts=True),
    "cut": _delivered(Delivery.CUT, acts=True),
    "truncated": Fault(acts=True, change=lambda reply: replace(reply, body=reply.body[: len(reply.body) // 2])),
}
_VALUED: dict[str, Callable[[str], Fault]] = {
    "answer": _answer,
    "retry-after": lambda value: _sends(429, _GATEWAY, Retry_After=value),
    "redirect": lambda value: _sends(307, b"", Location=value),
    "drip": _drips,
    "content-type": _typed,
    "expires-in": _with_field("expires_in"),
    "scope": _with_field("scope"),
    "without": _without_field,
}
