"""Events in the standard library's logging: how loud, in which words, with which fields."""

import json
import logging
import re
from typing import Any

import pytest

import zoom_async_auth.integrations.logging
from tests.integrations.happened import DOWN, EVENTS, KINDS, REFUSED, UNAUTHORIZED, failed
from zoom_async_auth.errors import ConfigurationError, TokenUnavailableError
from zoom_async_auth.events import (
    Event,
    GrantDied,
    RenewalFailed,
    ScopeShrunk,
    StoreBypassed,
    TokenRevoked,
)
from zoom_async_auth.integrations.logging import LEVELS, LoggingObserver

MISCONFIGURED = failed(ConfigurationError("Zoom does not know this client", error="invalid_client", status=400))


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def _logged(caplog: pytest.LogCaptureFixture, event: Event, **options: Any) -> logging.LogRecord:
    LoggingObserver(**options)(event)
    (record,) = caplog.records
    return record


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name.startswith("zoom_auth_")}


def _documented() -> dict[str, str]:
    table = re.search(
        r"^level +event\n(.+?)\n\n", zoom_async_auth.integrations.logging.__doc__ or "", re.DOTALL | re.MULTILINE
    )
    assert table is not None
    lines = (line.split(maxsplit=1) for line in table[1].splitlines())
    return {kind: level for level, kinds in lines for kind in re.findall(r"\w+", kinds.partition(", and ")[0])}


def test_each_event_has_the_level_that_is_documented() -> None:
    assert {kind.__name__: logging.getLevelName(level) for kind, level in LEVELS.items()} == _documented()
    assert set(LEVELS) == set(KINDS) == set(map(type, EVENTS))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_each_event_is_one_record_with_its_key_and_its_fields(event: Event, caplog: pytest.LogCaptureFixture) -> None:
    record = _logged(caplog, event)

    assert (record.name, record.levelno) == ("zoom_async_auth.events", LEVELS[type(event)])
    assert record.getMessage().endswith(" [key=alice]")
    assert record.exc_info is None
    fields = _fields(record)
    assert fields["zoom_auth_event"] == type(event).__name__
    assert fields["zoom_auth_key"] == "alice"
    assert {f"zoom_auth_{name}" for name in event.__slots__} <= set(fields)
    json.dumps(fields)


def test_an_error_is_told_by_its_text_and_in_its_parts(caplog: pytest.LogCaptureFixture) -> None:
    record = _logged(caplog, RenewalFailed(key="alice", error=DOWN, took=10.0, seconds_left=240.0, next_attempt=1.25))

    assert record.getMessage() == (
        "the renewal failed after 10.000 s: Zoom failed to answer: try again later "
        "[status=503, x-zm-trackingid='v=2.0;tid=1']; the token at hand is good for 240 s; next try in 1.2 s "
        "[key=alice]"
    )
    assert _fields(record) == {
        "zoom_auth_event": "RenewalFailed",
        "zoom_auth_key": "alice",
        "zoom_auth_took": 10.0,
        "zoom_auth_seconds_left": 240.0,
        "zoom_auth_next_attempt": 1.25,
        "zoom_auth_error": str(DOWN),
        "zoom_auth_error_class": "TokenUnavailableError",
        "zoom_auth_transient": True,
        "zoom_auth_retry_after": None,
        "zoom_auth_status": 503,
        "zoom_auth_code": None,
        "zoom_auth_reason": None,
        "zoom_auth_tracking_id": "v=2.0;tid=1",
    }


@pytest.mark.parametrize(
    ("seconds_left", "next_attempt", "prospect"),
    [
        (0.0, 12.0, "; no token is at hand; next try in 12.0 s"),
        (0.0, None, "; no token is at hand"),
        (None, 60.0, "; next try in 60.0 s"),
    ],
)
def test_a_failure_says_what_it_means_for_callers(
    seconds_left: float | None, next_attempt: float | None, prospect: str, caplog: pytest.LogCaptureFixture
) -> None:
    failure = RenewalFailed(key="k", error=DOWN, took=1.0, seconds_left=seconds_left, next_attempt=next_attempt)
    record = _logged(caplog, failure)

    assert record.getMessage().endswith(f"[status=503, x-zm-trackingid='v=2.0;tid=1']{prospect} [key=k]")


def test_what_only_a_person_can_mend_is_an_error_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """An outage ends by itself, an app that was deactivated does not."""
    assert _logged(caplog, MISCONFIGURED).levelno == logging.ERROR


def test_a_person_who_has_not_authorized_the_app_yet_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """Each customer's first visit finds that out: whoever is woken up by warnings would not sleep."""
    record = _logged(caplog, failed(UNAUTHORIZED))

    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        "nothing to renew: nobody has authorized the app yet: send the person to the authorize URL [key=alice]"
    )
    assert _fields(record)["zoom_auth_error_class"] == "AuthorizationRequiredError"


def test_an_authorization_that_zoom_refuses_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    assert _logged(caplog, failed(REFUSED)).levelno == logging.WARNING


def test_the_level_of_an_event_can_be_chosen(caplog: pytest.LogCaptureFixture) -> None:
    """A person who removes the app is no error of the operator, who would be woken up by one."""
    observer = LoggingObserver(levels={GrantDied: logging.INFO})
    for event in EVENTS:
        observer(event)

    levels = {_fields(record)["zoom_auth_event"]: record.levelno for record in caplog.records}
    assert levels == {**{kind.__name__: level for kind, level in LEVELS.items()}, "GrantDied": logging.INFO}


def test_a_chosen_level_of_failures_is_that_of_all(caplog: pytest.LogCaptureFixture) -> None:
    observer = LoggingObserver(levels={RenewalFailed: logging.CRITICAL})
    for error in (MISCONFIGURED.error, UNAUTHORIZED, DOWN):
        observer(failed(error))

    assert [record.levelno for record in caplog.records] == [logging.CRITICAL] * 3


def test_a_key_that_is_left_out_is_nowhere_in_the_record(caplog: pytest.LogCaptureFixture) -> None:
    observer = LoggingObserver(show_key=False)
    for event in EVENTS:
        observer(event)

    assert [
        record.getMessage() for record in caplog.records if _fields(record)["zoom_auth_event"] == "TokenRevoked"
    ] == ["the token was revoked"]
    for record in caplog.records:
        assert "alice" not in f"{record.getMessage()} {vars(record)}"


def test_it_logs_where_it_is_told_to(caplog: pytest.LogCaptureFixture) -> None:
    assert _logged(caplog, TokenRevoked(key="alice"), logger=logging.getLogger("bot.zoom")).name == "bot.zoom"


def test_what_a_server_sends_much_of_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    lost = _logged(caplog, ScopeShrunk(key="k", lost=frozenset(f"{n:03}{'x' * 5000}" for n in range(900))))
    caplog.clear()
    failure = _logged(caplog, failed(TokenUnavailableError("x" * 5000)))

    names = _fields(lost)["zoom_auth_lost"]
    assert (len(names), {len(name) for name in names}, names[0][:4]) == (20, {64}, "000x")
    assert len(_fields(failure)["zoom_auth_error"]) == 500
    assert len(lost.getMessage()) < 2000
    assert len(failure.getMessage()) < 600


def test_a_lease_that_was_busy_is_told_as_that(caplog: pytest.LogCaptureFixture) -> None:
    record = _logged(caplog, StoreBypassed(key="alice", error=None))

    message = "got a token without the store, for this process: its lease was busy for too long [key=alice]"
    assert record.getMessage() == message
