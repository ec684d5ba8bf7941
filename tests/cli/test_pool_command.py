"""`zoom-async-auth pool top`: what it tells of a fleet's store, look by look, without a key and without a secret."""

import asyncio
import json
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen

import pytest

from tests.cli.conftest import Call
from tests.cli.terminal import terminal
from tests.stores.postgres import PASSWORD, postgres
from zoom_async_auth import Token
from zoom_async_auth.cli import main
from zoom_async_auth.stores.base import Record
from zoom_async_auth.stores.urls import store_at

Run = Callable[..., CompletedProcess[str]]

ONE_LOOP = pytest.mark.asyncio(loop_factories=["plain"])
APP, OTHER_APP = "0a" * 16, "9f" * 16
HIDDEN = ("canary-access", "canary-refresh", "alice", "bob", "carol", PASSWORD)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database that has nothing yet."""
    return f"sqlite:///{tmp_path}/private/tokens.sqlite3"


async def put(url: str, *states: str, app: str = APP, age: float = 10.0) -> None:
    """Put an identity of each state into a store; their tokens live for an hour."""
    token = Token(access_token="canary-access", refresh_token="canary-refresh", expires_in=3600.0)
    async with store_at(url) as store:
        for name, state in zip(("alice", "bob", "carol"), states, strict=False):
            key = f"{app}/{name}"
            seen = await store.peek(key)
            issued_at = seen.now - age
            record = Record(
                generation=seen.generation + 1, token=token, issued_at=issued_at, expires_at=issued_at + 3600
            )
            await store.commit(key, seen.generation, record, "test")
            match state:
                case "dead":
                    await store.condemn(key, record.generation, "invalid_grant")
                case "busy":
                    await store.begin(key, record.generation, "somebody", 60.0)
                case "in doubt":
                    await store.begin(key, record.generation, "somebody", 60.0)
                    await store.release(key, "somebody", doubt=True)


def drop_table(url: str) -> None:
    """Make the next look fail; the one after it finds a new table."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("DROP TABLE zoom_async_auth_tokens")


def table_of(shown: str) -> dict[str, list[str]]:
    """Return what the table says: the figures of each line."""
    return {line[:40].strip().partition(":")[0]: line[40:].split("  ") for line in shown.splitlines()[1:-1]}


@ONE_LOOP
async def test_each_app_of_a_store_has_a_column_of_counts(called: Call, url: str) -> None:
    await put(url, "valid", "busy", "dead")
    await put(url, "valid", "in doubt", app=OTHER_APP, age=3000.0)
    code, shown, said = await called({"ZOOM_STORE_URL": url}, "pool", "top")

    assert (code, said) == (0, "")
    assert shown.splitlines()[0].split() == ["0a0a0a0a", "9f9f9f9f"]
    figures = {name: [cell.strip() for cell in cells if cell.strip()] for name, cells in table_of(shown).items()}
    ages = {name: figures.pop(name) for name in ("oldest intent", "oldest token that can be renewed")}
    assert figures == {
        "identities": ["3", "2"],
        "valid": ["2", "2"],
        "due": ["0", "2"],
        "expired": ["0", "0"],
        "dead": ["1", "0"],
        "empty": ["0", "0"],
        "renewed in the last minute": ["3", "0"],
        "leased": ["1", "0"],
        "with an intent": ["1", "1"],
        "in doubt": ["0", "1"],
    }
    assert [age.split()[1] for age in ages["oldest intent"]] == ["s", "s"]
    assert ages["oldest token that can be renewed"][1] == "50 min"
    assert shown.splitlines()[-1].startswith("seen at ")
    assert not any(hidden in shown for hidden in HIDDEN)


@ONE_LOOP
async def test_a_doubt_is_said_to_be_what_every_outage_brings(called: Call, url: str) -> None:
    """Whoever looks while Zoom is down has not lost these people: most of them get their token when it is back."""
    await put(url, "valid", "in doubt")
    _, shown, _ = await called({}, "pool", "top", url)

    (line,) = (line for line in shown.splitlines() if line.startswith("  in doubt"))
    assert line[:40].rstrip() == "  in doubt: no result, as in an outage"  # and the table keeps its width


@ONE_LOOP
@pytest.mark.parametrize(
    ("age", "told"), [(110.0, "s"), (125.0, "2 min"), (7300.0, "2 h"), (86400.0, "24 h"), (30 * 86400.0, "30 d")]
)
async def test_an_age_is_told_in_the_unit_of_its_size(called: Call, url: str, age: float, told: str) -> None:
    await put(url, "valid", age=age)
    _, shown, _ = await called({}, "pool", "top", url)

    assert shown.splitlines()[-2].endswith(f" {told}")
    assert " - " not in shown.splitlines()[-2]


@ONE_LOOP
async def test_programs_get_a_line_of_json(called: Call, url: str) -> None:
    await put(url, "valid", "in doubt", "dead")
    code, shown, said = await called({}, "pool", "top", url, "--json")

    assert (code, said, shown.count("\n")) == (0, "", 1)
    told = json.loads(shown)
    (app,) = told.pop("apps")
    assert told.keys() == {"at", "failure"}
    assert told["failure"] is None
    assert app.pop("oldest_intent") >= 0
    assert app.pop("oldest_token") >= 10
    assert app == {
        "prefix": f"{APP}/",
        "identities": 3,
        "valid": 2,
        "expired": 0,
        "dead": 1,
        "empty": 0,
        "due": 0,
        "renewed": 3,
        "leased": 0,
        "intents": 1,
        "in_doubt": 1,
    }
    assert not any(hidden in shown for hidden in HIDDEN)


@ONE_LOOP
async def test_a_server_is_asked_and_its_password_is_not_shown(called: Call) -> None:
    url = await asyncio.to_thread(lambda: postgres().database())
    await put(url, "valid", "busy")
    code, shown, said = await called({"ZOOM_STORE_URL": url}, "pool", "top", "--once")

    assert (code, said) == (0, "")
    assert [line.split()[-1] for line in shown.splitlines()[1:3]] == ["2", "2"]
    assert not any(hidden in shown for hidden in HIDDEN)


@ONE_LOOP
async def test_a_store_of_nobody_is_no_failure(called: Call, url: str) -> None:
    async with store_at(url) as store:
        await store.peek("key")

    code, shown, said = await called({}, "pool", "top", url)
    assert (code, said) == (0, "")
    assert shown.startswith("nobody is there, at ")
    assert json.loads((await called({}, "pool", "top", url, "--json"))[1])["apps"] == []


def test_who_says_how_often_gets_one_look_after_the_other(environment: dict[str, str], url: str) -> None:
    """Also where there is no terminal; an interruption is quiet."""
    asyncio.run(put(url, "valid"))
    command = [sys.executable, "-m", "zoom_async_auth", "pool", "top", url, "--json", "--every", "0.1"]
    with Popen(command, env=environment, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=15)

    assert looks[0]["at"] < looks[1]["at"] < looks[2]["at"]
    assert (process.returncode, said) == (130, "")


@ONE_LOOP
async def test_in_a_terminal_the_table_stays_and_follows_the_store(at_home: dict[str, str], url: str) -> None:
    """A store that fails is told of in the table, and asked again."""
    await put(url, "valid", "dead")
    command = [sys.executable, "-m", "zoom_async_auth", "pool", "top", "--every", "0.2"]
    async with terminal({**at_home, "ZOOM_STORE_URL": url}, *command) as screen:
        await screen.until("seen at ")
        await put(url, "valid", "dead", "busy")
        await screen.until("│        3 │")
        await asyncio.to_thread(drop_table, url)
        await screen.until("since then: the database failed")
        await screen.until("nobody is there")
        await put(url, "valid", app="[bold]")
        await screen.until("[bold]")  # and no style
        screen.type("\x03")
        code, shown = await screen.end()

    assert code == 130
    assert shown.count("\x1b[1A") > 10  # one look takes the place of another
    assert "\x1b[1;31m  dead: refused by Zoom" in shown
    assert "\x1b[1;31m  in doubt" not in shown
    assert "Traceback" not in shown
    assert not any(hidden in shown for hidden in HIDDEN)


@ONE_LOOP
@pytest.mark.parametrize("form", ["--once", "--json"])
async def test_in_a_terminal_one_look_and_json_need_nothing_that_moves(
    at_home: dict[str, str], url: str, form: str
) -> None:
    await put(url, "valid")
    command = [sys.executable, "-m", "zoom_async_auth", "pool", "top", url, form]
    async with terminal(at_home, *command) as screen:
        if form == "--json":
            await screen.until('"identities": 1}')
            screen.type("\x03")
        code, shown = await screen.end()

    assert code == (130 if form == "--json" else 0)
    assert "\x1b" not in shown


@ONE_LOOP
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["redis://:hush@127.0.0.1:1"], 3, "RedisStore cannot count its identities: name the database of the pool"),
        (["mongodb://host"], 3, "a store's URL begins with sqlite:, postgresql: or redis:"),
        (["sqlite:////nowhere/tokens.sqlite3"], 3, "there is no such file yet"),
        (["postgresql://user:hush@127.0.0.1:1/name?sslmode=disable"], 4, "127.0.0.1:1 failed: ConnectionRefusedError"),
        (["postgresql://user:hush@127.0.0.1:1/name?sslmode=disable", "--json"], 4, "ConnectionRefusedError"),
    ],
)
async def test_a_store_that_cannot_be_looked_at_is_a_line_that_says_why(
    called: Call, arguments: list[str], code: int, told: str
) -> None:
    ended, shown, said = await called({}, "pool", "top", *arguments)

    assert (ended, shown, said.count("\n")) == (code, "", 1)
    assert told in said
    assert "hush" not in said


def test_a_terminal_without_rich_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    assert main(["pool", "top", url]) == 3
    told = "rich is missing: it comes with the extra [cli] of zoom_async_auth; or look --once"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["bottom"], ["top", "--every", "0"], ["top", "--every", "1", "--once"]])
def test_what_top_does_not_understand_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["pool", *arguments])

    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_top_explains_itself_and_is_completed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["pool", "top", "--help"])
    assert ended.value.code == 0
    assert "Shows no key" in capsys.readouterr().out

    assert main(["completion", "bash"]) == 0
    assert "--every" in capsys.readouterr().out
