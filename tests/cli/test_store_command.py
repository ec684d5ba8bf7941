"""`zoom-async-auth store`: what it tells of a store, and what it does to it, without a secret."""

import asyncio
import json
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from zoom_async_auth import Token
from zoom_async_auth.stores.base import Record, Store
from zoom_async_auth.stores.urls import store_at

Run = Callable[..., subprocess.CompletedProcess[str]]

SECRETS = ("canary-access", "canary-refresh")


@dataclass(frozen=True)
class Kept:
    """A database with what was put there."""

    path: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def put(self, *, keys: tuple[str, ...] = (), **identities: str) -> None:
        """Put a record of each state in there."""
        asyncio.run(self._put(store_at(self.url, keys=keys), identities))

    def content(self) -> str:
        with closing(sqlite3.connect(self.path)) as connection:
            return "\n".join(connection.iterdump())

    async def _put(self, store: Store, identities: dict[str, str]) -> None:
        token = Token(access_token="canary-access", refresh_token="canary-refresh", expires_in=3600.0)
        async with store:
            for key, state in identities.items():
                now = (await store.peek(key)).now
                ends = now if state == "expired" else now + 3600.0
                await store.commit(key, 0, Record(generation=1, token=token, issued_at=now, expires_at=ends), "test")
                match state:
                    case "dead":
                        await store.condemn(key, 1, "invalid_grant")
                    case "forgotten":
                        await store.forget(key)
                    case "busy":
                        await store.begin(key, 1, "somebody", 60.0)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "private" / "tokens.sqlite3")


def test_check_tells_of_each_thing_that_matters(run: Run, kept: Kept) -> None:
    kept.put(a="valid")
    done = run("store", "check", kept.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [
        "ok      answers",
        "ok      has the table",
        "ok      is durable",
        "ok      agrees on the time",
        "ok      can be written",
    ]


def test_check_fails_if_the_keys_open_nothing(run: Run, kept: Kept) -> None:
    """S37: whoever deploys wants to know it before the processes do."""
    right, wrong = (Fernet.generate_key().decode() for _ in range(2))
    kept.put(keys=(right,), a="valid", b="valid", c="forgotten")

    done = run("store", "check", kept.url, ZOOM_STORE_KEYS=right)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "ok      can be read: 2 of 2 tokens looked at open with these keys"

    done = run("store", "check", kept.url, ZOOM_STORE_KEYS=wrong)
    assert (done.returncode, done.stderr) == (1, "")
    told = done.stdout.splitlines()[-1]
    assert told.startswith("NOT OK  can be read: 0 of 2 tokens looked at open with these keys: are they complete?")
    assert not any(secret in done.stdout for secret in (*SECRETS, right, wrong))


def test_check_fails_if_something_is_not_as_it_should_be(run: Run) -> None:
    done = run("store", "check", "redis://127.0.0.1:1", "--json")

    assert (done.returncode, done.stderr) == (1, "")
    assert [(fact["what"], fact["ok"]) for fact in json.loads(done.stdout)] == [("answers", False)]


def test_list_tells_the_state_of_each_identity_and_no_secret(run: Run, kept: Kept) -> None:
    kept.put(a="valid", b="expired", c="dead", d="forgotten", e="busy")
    done = run("store", "list", ZOOM_STORE_URL=kept.url)

    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    assert list(lines) == ["a", "b", "c", "d", "e"]
    assert lines["a"].startswith("valid, generation 1, 3")
    assert lines["a"].endswith("s left, with a refresh token")
    assert lines["b"] == "expired, generation 1, with a refresh token"
    assert lines["c"] == "dead (invalid_grant), generation 1, with a refresh token"
    assert lines["d"] == "forgotten, generation 2"
    assert "leased for" in lines["e"]
    assert lines["e"].endswith("1 spending(s) without a result")
    assert not any(secret in done.stdout for secret in SECRETS)


def test_list_tells_a_script_why_an_identity_is_dead(run: Run, kept: Kept) -> None:
    kept.put(a="valid", b="dead")
    told = [json.loads(line) for line in run("store", "list", kept.url, "--json").stdout.splitlines()]

    assert [line.get("cause") for line in told] == [None, "invalid_grant"]


def test_of_an_empty_store_it_is_said_that_it_is_empty(run: Run, kept: Kept) -> None:
    kept.put(a="valid")
    with closing(sqlite3.connect(kept.path)) as connection, connection:
        connection.execute("DELETE FROM zoom_async_auth_tokens")
    done = run("store", "list", kept.url)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "there is nobody's token in it\n")


def test_a_record_that_cannot_be_read_is_listed_as_such(run: Run, kept: Kept) -> None:
    kept.put(a="valid", b="valid")
    with closing(sqlite3.connect(kept.path)) as connection, connection:
        connection.execute(
            "UPDATE zoom_async_auth_tokens SET payload = replace(payload, '\"format\": 1', '\"format\": 9')"
        )
    done = run("store", "list", kept.url, "--json")

    assert done.returncode == 1
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["state"] for line in told] == ["unreadable", "unreadable"]
    assert "format 9" in told[0]["why"]


def test_forget_leaves_a_tombstone_and_says_what_it_cannot_do(run: Run, kept: Kept) -> None:
    kept.put(a="valid")
    done = run("store", "forget", "a", kept.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Zoom still takes the token" in done.stdout
    assert run("store", "list", kept.url).stdout == "a  forgotten, generation 2\n"

    missing = run("store", "forget", "b", kept.url)
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "there is no such key" in missing.stderr


def test_rewrap_encrypts_all_with_the_first_key_but_what_is_busy(run: Run, kept: Kept) -> None:
    """S37: the old key is not needed afterwards. S49: nothing readable is left in the database."""
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    kept.put(keys=(old,), a="valid", b="busy", c="forgotten")
    kept.put(d="valid")  # of before the encryption
    assert "canary" in kept.content()

    done = run("store", "rewrap", kept.url, ZOOM_STORE_KEYS=f"{new}, {old}\n")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == "2 sealed anew, 1 needed nothing, 1 busy (run it again), 0 unreadable\n"
    again = run("store", "rewrap", kept.url, "--json", ZOOM_STORE_KEYS=f"{new},{old}")
    assert json.loads(again.stdout) == {"done": 0, "current": 3, "busy": 1, "unreadable": 0}
    assert "canary" not in kept.content()
    assert new not in done.stdout + again.stdout


def test_rewrap_without_the_old_key_changes_nothing(run: Run, kept: Kept) -> None:
    """S37: unavailable, never dead."""
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    kept.put(keys=(old,), a="valid")
    before = kept.content()
    done = run("store", "rewrap", kept.url, ZOOM_STORE_KEYS=new)

    assert done.returncode == 1
    assert done.stderr.startswith("a: the stored token is sealed with a key that is not among ours")
    assert done.stdout == "0 sealed anew, 0 needed nothing, 0 busy (run it again), 1 unreadable\n"
    assert kept.content() == before


@pytest.mark.parametrize(
    ("arguments", "variables", "told"),
    [
        (["list"], {"XDG_DATA_HOME": "/nowhere"}, "zoom-async-auth login makes it"),
        (["list"], {"XDG_DATA_HOME": "/dev/null/data"}, "/dev/null is no folder that you may write to"),
        (["list", "mongodb://host"], {}, "a store's URL begins with sqlite:, postgresql: or redis:"),
        (["rewrap", "redis://host"], {}, "set ZOOM_STORE_KEYS"),
        (["rewrap", "redis://host"], {"ZOOM_STORE_KEYS": "hush"}, "keys must be a list of 32 random bytes"),
        (["check", "sqlite:////nowhere/tokens.sqlite3"], {}, "there is no such file yet: /nowhere/tokens.sqlite3;"),
        (["check", "redis://127.0.0.1:1"], {"ZOOM_STORE_KEYS": "a-key"}, "keys must be a list of 32 random bytes each"),
        (["list", "sqlite:////nowhere/tokens.sqlite3"], {}, "there is no such file yet"),
    ],
)
def test_what_cannot_work_is_a_line_that_says_what_to_do(
    run: Run, arguments: list[str], variables: dict[str, str], told: str
) -> None:
    done = run("store", *arguments, **variables)

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("zoom-async-auth: ")
    assert told in done.stderr
    assert "hush" not in done.stderr


def test_a_store_that_does_not_answer_is_no_traceback(run: Run) -> None:
    done = run("store", "list", "redis://:hush@127.0.0.1:1")

    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("zoom-async-auth: ")
    assert len(done.stderr.splitlines()) == 1
    assert "hush" not in done.stderr
