"""`zoom-async-auth sandbox`: what it prints, what it serves, how it ends."""

import errno
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process is interrupted in another way there")

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Start a sandbox that is gone after the test."""
    with ExitStack() as stack:

        def start(*arguments: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "zoom_async_auth", "sandbox", *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def connect(known: dict[str, str]) -> closing[HTTPConnection]:
    return closing(HTTPConnection(urlsplit(known["base_url"]).netloc))


def statistics(connection: HTTPConnection) -> object:
    connection.request("GET", "/_sandbox/stats")
    return json.load(connection.getresponse())


def status(connection: HTTPConnection, method: str, path: str, body: str | None = None) -> int:
    connection.request(method, path, body)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def ask(connection: HTTPConnection, known: dict[str, str]) -> dict[str, object]:
    """Ask for a token, as a client in any language does."""
    basic = b64encode(f"{known['client_id']}:{known['client_secret']}".encode()).decode()
    connection.request(
        "POST",
        "/oauth/token",
        urlencode({"grant_type": "account_credentials", "account_id": known["account_id"]}),
        {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"},
    )
    answer: dict[str, object] = json.load(connection.getresponse())
    return answer


def test_one_line_of_json_is_all_that_a_script_needs_to_get_a_token(start: Start) -> None:
    known = json.loads(first_line(start("--json")))

    assert list(known) == [
        "base_url",
        "account_id",
        "client_id",
        "client_secret",
        "user_client_id",
        "user_client_secret",
    ]
    assert known["base_url"].startswith("http://127.0.0.1:")
    with connect(known) as connection:
        assert ask(connection, known)["token_type"] == "bearer"
        assert statistics(connection) == {"token_requests": 1, "by_grant": {"account_credentials": {"ok": 1}}}


def test_an_interrupt_ends_it_without_a_word(start: Start) -> None:
    """Ctrl-C is how it is meant to end, also while a client keeps its connection: 130, as shells have it."""
    process = start("--json")
    with connect(json.loads(first_line(process))) as connection:
        statistics(connection)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=10)

    assert (process.returncode, output, errors) == (130, "", "")


def test_what_it_prints_for_people_can_be_pasted_into_a_shell(start: Start, run: Run) -> None:
    """With it the other commands of this package find the sandbox."""
    process = start()
    lines = [first_line(process) for _ in range(8)]
    exports = [shlex.split(line, comments=True) for line in lines]
    variables = dict(words[1].split("=", 1) for words in exports if words)

    assert [words[:1] for words in exports] == [["export"]] * 6 + [[], []]
    assert list(variables) == [
        "ZOOM_BASE_URL",
        "ZOOM_ACCOUNT_ID",
        "ZOOM_CLIENT_ID",
        "ZOOM_CLIENT_SECRET",
        "ZOOM_USER_CLIENT_ID",
        "ZOOM_USER_CLIENT_SECRET",
    ]
    assert f"{variables['ZOOM_BASE_URL']}/_sandbox/stats" in lines[-1]
    assert run("token", **variables).returncode == 0


def test_its_options_reach_the_sandbox(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    known = json.loads(first_line(start("--port", str(port), "--token-lifetime", "60", "--latency", "0.2", "--json")))

    begun = time.monotonic()
    with connect(known) as connection:
        answer = ask(connection, known)

    assert known["base_url"] == f"http://127.0.0.1:{port}"
    assert answer["expires_in"] == 60
    assert time.monotonic() - begun >= 0.2


def test_its_help_has_the_lines_for_an_outage_and_its_end(start: Start, run: Run) -> None:
    known = json.loads(first_line(start("--json")))
    lines = run("sandbox", "--help").stdout.splitlines()
    down, up = (shlex.split(line) for line in lines if line.startswith("  curl "))
    with connect(known) as connection:
        assert down == ["curl", "--data", "any#1-:answer=503", "$ZOOM_BASE_URL/_sandbox/faults"]
        assert status(connection, "POST", "/_sandbox/faults", down[2]) == 204
        assert status(connection, "POST", "/oauth/token") == 503
        assert up == ["curl", "--request", "DELETE", "$ZOOM_BASE_URL/_sandbox/faults"]
        assert status(connection, up[2], "/_sandbox/faults") == 204
        assert ask(connection, known)["token_type"] == "bearer"


def test_a_port_that_is_taken_is_told_in_one_line(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("sandbox", "--port", str(taken.getsockname()[1]))

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"zoom-async-auth: {os.strerror(errno.EADDRINUSE)}\n"


def test_a_host_that_others_can_reach_is_refused(run: Run) -> None:
    done = run("sandbox", "--host", "192.168.0.1")

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "zoom-async-auth: the sandbox gives tokens to anybody who asks: host must be a loopback address\n"
    )
