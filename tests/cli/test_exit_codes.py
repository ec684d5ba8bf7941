"""How the command ends when it is neither done nor a matter of tokens."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_store_command import Kept
from zoom_async_auth.cli import main, token


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break in another way there")
@pytest.mark.parametrize("arguments", [("completion", "bash"), ("doctor",)], ids=lambda given: given[0])
def test_who_stops_reading_ends_it_without_a_word(at_home: dict[str, str], arguments: tuple[str, ...]) -> None:
    """As `head` does; 141 is what a shell makes of it (128 + SIGPIPE), so `set -o pipefail` knows it."""
    command = [sys.executable, "-m", "zoom_async_auth"]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*command, *arguments], env=at_home, stdout=write, stderr=subprocess.PIPE, encoding="utf-8", check=False
        )
    finally:
        os.close(write)

    assert (done.returncode, done.stderr) == (141, "")


def test_what_the_system_refuses_is_told_with_the_name_of_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A data folder without access, for one."""

    def run(**_: object) -> int:
        raise PermissionError(13, "Permission denied", "/data/tokens.sqlite3")

    monkeypatch.setattr(token, "run", run)

    assert main(["token"]) == 3
    assert capsys.readouterr().err == "zoom-async-auth: Permission denied: /data/tokens.sqlite3\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such shells")
@pytest.mark.parametrize(
    ("redirection", "outcome"),
    [
        (">&-", (3, "", "zoom-async-auth: the output is closed: there is nowhere to write to\n")),
        ("2>&-", (3, "", "")),
        (">&- 2>&-", (3, "", "")),
    ],
)
def test_where_there_is_nothing_to_write_to_there_is_no_traceback(
    at_home: dict[str, str], redirection: str, outcome: tuple[int, str, str]
) -> None:
    """As some daemons start what they start. No socket or file of ours may take the number of what is closed."""
    command = ["sh", "-c", f'exec "$0" -m zoom_async_auth token {redirection}', sys.executable]
    done = subprocess.run(command, env=at_home, capture_output=True, encoding="utf-8", check=False)

    assert (done.returncode, done.stdout, done.stderr) == outcome


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such shells")
def test_what_has_nothing_to_say_needs_no_stderr(at_home: dict[str, str]) -> None:
    command = ["sh", "-c", 'exec "$0" -m zoom_async_auth completion bash 2>&-', sys.executable]
    done = subprocess.run(command, env=at_home, capture_output=True, encoding="utf-8", check=False)

    assert done.returncode == 0
    assert "zoom-async-auth" in done.stdout


def test_what_a_terminal_has_no_signs_for_is_shown_by_its_number(at_home: dict[str, str], tmp_path: Path) -> None:
    """A person's name is no reason to fail."""
    kept = Kept(tmp_path / "private" / "tokens.sqlite3")
    kept.put(paweł="valid")
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "zoom_async_auth", "store"]
    listed = subprocess.run([*command, "list", kept.url], env=at_home | ascii_only, capture_output=True, check=False)
    refused = subprocess.run(
        [*command, "list", f"sqlite:///{tmp_path}/ł"], env=at_home | ascii_only, capture_output=True, check=False
    )

    assert (listed.returncode, listed.stderr) == (0, b"")
    assert listed.stdout.startswith(b"pawe\\u0142  valid, generation 1")
    assert refused.returncode == 3
    assert b"there is no such file yet: " in refused.stderr
    assert b"\\u0142" in refused.stderr


def test_what_asyncio_says_of_an_error_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its tuple is of no use to anybody. Who looks up names has error numbers of its own."""
    errors: list[OSError] = [
        OSError(
            errno.EADDRINUSE, "error while attempting to bind on address ('127.0.0.1', 80): address already in use"
        ),
        socket.gaierror(errno.ENOEXEC, "nodename nor servname provided, or not known"),
        OSError("of a library"),
    ]

    def run(**_: object) -> int:
        raise errors.pop(0)

    monkeypatch.setattr(token, "run", run)

    assert [main(["token"]) for _ in range(3)] == [3, 3, 3]
    assert capsys.readouterr().err == (
        f"zoom-async-auth: {os.strerror(errno.EADDRINUSE)}\n"
        "zoom-async-auth: nodename nor servname provided, or not known\n"
        "zoom-async-auth: OSError\n"
    )
