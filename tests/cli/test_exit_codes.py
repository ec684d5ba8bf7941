"""How the command ends when it is neither done nor a matter of tokens."""

import os
import subprocess
import sys

import pytest

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
