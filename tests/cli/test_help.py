"""What the command says about itself, and what it does not understand."""

import subprocess
import sys
from importlib.metadata import entry_points, version

import pytest

from zoom_async_auth.cli import main

_WATCHED_HELP = """
import sys
from zoom_async_auth.cli import main
try:
    main(["--help"])
finally:
    print(sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"zoom-async-auth {version('zoom_async_auth')}\n"


def test_help_lists_the_commands_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())

    assert ended.value.code == 0
    for command in ("login log a person in", "demo show the manager", "sandbox serve Zoom's OAuth", "token print a"):
        assert command in text
    assert (
        "exit codes: 0 done, 1 the demo, a store command or the doctor found something wrong, 2 wrong arguments, 3 "
        "wrong configuration, 4 no token now (try later), 5 a person has to log in, 126 and 127 exec could not run the "
        "command, 130 interrupted, 141 nobody reads the output; exec ends with the code of its command"
    ) in text


COMMANDS = [
    "login",
    "token",
    "exec",
    "inspect",
    "revoke",
    "logout",
    "doctor",
    "store",
    "pool",
    "demo",
    "sandbox",
    "completion",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    assert ended.value.code == 0
    assert f"zoom-async-auth {command}" in capsys.readouterr().out


def test_help_loads_nothing_that_a_command_needs(environment: dict[str, str]) -> None:
    """So it answers at once."""
    command = [sys.executable, "-c", _WATCHED_HELP]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert "usage: zoom-async-auth" in done.stdout
    assert "'argparse'" in done.stderr
    for heavy in ("aiohttp", "anyio", "asyncio", "rich", "yarl"):
        assert f"'{heavy}'" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["token", "--json", "--header"],
        ["token", "--secret", "x"],
        ["login", "--client-secret", "x"],
        ["login", "--port", "65536"],
        ["login", "--path", "callback"],
        ["login", "--path", "/callback?x=1"],
        ["login", "--timeout", "0"],
        ["exec"],
        ["exec", "--valid-for", "-1", "--", "true"],
        ["exec", "ls", "-l"],  # without --, whose option is it?
        ["completion", "cmd.exe"],
        ["demo", "--seconds", "7.9"],
        ["demo", "--seconds", "inf"],
        ["demo", "--seconds", "soon"],
        ["demo", "--callers", "0"],
        ["demo", "--callers", "many"],
        ["demo", "--callers", "1.5", "--help"],  # whoever takes it shows the help, and starts no demo
        ["sandbox", "--port", "65536"],
        ["sandbox", "--port", "-1"],
        ["sandbox", "--port", "٣"],
        ["sandbox", "--token-lifetime", "0"],
        ["sandbox", "--token-lifetime", "nan"],
        ["sandbox", "--latency", "-1"],
    ],
)
def test_what_it_does_not_understand_is_a_usage_error(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Before anything is started: the reason on stderr, exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr()

    assert (ended.value.code, shown.out) == (2, "")
    assert "error: " in shown.err


def test_the_command_is_installed_under_its_name() -> None:
    (script,) = entry_points(group="console_scripts", name="zoom-async-auth")

    assert script.load() is main
