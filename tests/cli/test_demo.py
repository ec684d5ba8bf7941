"""`zoom-async-auth demo`, twice in real time: what it measures, and what it shows without a terminal."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest

from zoom_async_auth.cli import demo
from zoom_async_auth.cli.demo import LATENCY, Summary

Run = Callable[..., subprocess.CompletedProcess[str]]

FLAWLESS = Summary(
    callers=50,
    calls=1_000_000,
    calls_per_second=125_000,
    token_requests=13,
    renewals=9,
    waited_after_first=0,
    waited_after_rejection=50,
    expired_handed_out=0,
    errors=0,
    p50_us=1.5,
    p99_us=3.5,
    max_us=60_000.0,
)


@pytest.mark.timeout(60)
def test_nobody_waits_through_renewals_an_outage_and_a_rejection(run: Run) -> None:
    """The main job, in figures: only the rejection is noticed, once by each caller, and by none for long."""
    done = run("demo", "--json", "--seconds", "10", "--callers", "50")
    summary = json.loads(done.stdout)

    assert (done.returncode, done.stderr) == (0, "")
    assert list(summary) == [
        "callers",
        "calls",
        "calls_per_second",
        "token_requests",
        "renewals",
        "waited_after_first",
        "waited_after_rejection",
        "expired_handed_out",
        "errors",
        "p50_us",
        "p99_us",
        "max_us",
    ]
    assert (summary["waited_after_first"], summary["expired_handed_out"], summary["errors"]) == (0, 0, 0)
    assert (summary["callers"], summary["waited_after_rejection"]) == (50, 50)
    assert summary["renewals"] >= 5  # real time: the machine decides how many fit into ten seconds
    assert summary["token_requests"] > summary["renewals"] + 1  # the first one, and those of the outage
    assert 0 < summary["p50_us"] <= summary["p99_us"] < LATENCY * 1e6 < summary["max_us"] < 10e6
    assert summary["calls"] // 13 < summary["calls_per_second"] <= summary["calls"] // 10


@pytest.mark.timeout(60)
def test_without_a_terminal_it_tells_its_story_in_plain_lines(run: Run) -> None:
    """A log of a build server shows all of it, even where colours are asked for."""
    done = run("demo", "--seconds", "8", "--callers", "5", FORCE_COLOR="1")
    told = [line.strip().rpartition(" s  ")[2] for line in done.stdout.splitlines()]

    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    story = [
        "the token endpoint goes down",
        "renewal failed, the token at hand goes on: Zoom failed to answer: try again later [status=503]",
        "token 5 was rejected by the API",
        "token 6 arrived, good for 1.6 s",
        "",
        "callers  5",
        "waited on the network  0 after the first token",
        "expired tokens handed out  0",
        "errors  0",
    ]
    places = [told.index(line) for line in story]
    assert places == sorted(places)
    assert "the token endpoint is back" in told


@pytest.mark.parametrize("flaw", ["waited_after_first", "expired_handed_out", "errors"])
def test_one_caller_who_noticed_is_a_flaw(flaw: str) -> None:
    flawed = {"waited_after_first": 0, "expired_handed_out": 0, "errors": 0, flaw: 1}

    assert FLAWLESS.flawless
    assert not replace(FLAWLESS, **flawed).flawless


def test_a_flaw_is_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """Tokens that die before the next one may be asked for: nobody could manage that without waiting."""
    assert demo.run(callers=1, seconds=0.5, as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["waited_after_first"] > 0
