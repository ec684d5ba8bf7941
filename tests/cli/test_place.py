"""Where the command keeps tokens, and with what they are sealed: what is sealed stays sealed."""

import asyncio
import json
import shutil
import sqlite3
import stat
import sys
from base64 import urlsafe_b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import keyring.core
import pytest

from tests.cli.conftest import Call, LogIn, tokens_of
from tests.cli.keyrings import BusyKeyring
from zoom_async_auth import StoreError
from zoom_async_auth.cli import keychain
from zoom_async_auth.cli.keychain import Keychain, look_into_keyring
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.sandbox.model import App, Refusal
from zoom_async_auth.stores.sql import SQLStore

pytestmark = pytest.mark.asyncio(loop_factories=["plain"])

KEY = urlsafe_b64encode(b"k" * 32).decode()
NO_KEYRING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}


async def dump_of(path: Path) -> str:
    def dump() -> str:
        with closing(sqlite3.connect(path)) as connection:
            return "\n".join(connection.iterdump())

    return await asyncio.to_thread(dump)


@pytest.fixture
def alice(zoom: Zoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """She allows every device, as soon as it has a code."""
    ask = zoom.model.device

    def device(app: App) -> dict[str, Any] | Refusal:
        codes = ask(app)
        assert isinstance(codes, dict)
        assert zoom.model.decide_device(codes["user_code"], "alice", allow=True)
        return codes

    monkeypatch.setattr(zoom.model, "device", device)
    monkeypatch.setattr("zoom_async_auth.sandbox.model.DEVICE_INTERVAL", 1.0)


@pytest.mark.usefixtures("alice")
async def test_a_log_in_is_sealed_with_a_key_that_the_keyring_keeps(
    called: Call, zoom: Zoom, person: dict[str, str]
) -> None:
    """S49. And nobody can open it without: neither without a keyring, nor with one that has lost the key."""
    code, shown, errors = await called(person, "login", "--device", "--json")
    assert (code, errors) == (0, "")
    to_show, outcome = (json.loads(line) for line in shown.splitlines())
    assert list(to_show) == ["verification_uri", "verification_uri_complete", "user_code", "expires_in"]
    assert (outcome["key"], outcome["sealed"]) == ("default", True)
    kept = await dump_of(tokens_of(person))
    assert "sealed.1." in kept
    assert "eyJhbGciOi" not in kept
    code, shown, _ = await called(person, "token", "--as-user")
    assert (code, zoom.model.user_of(shown.strip())) == (0, "alice")

    for gone in (NO_KEYRING, {"KEYRING_FILE": f"{person['HOME']}/another.json"}):
        code, shown, errors = await called(person | gone, "token", "--as-user")
        assert (code, shown, errors.count("\n")) == (3, "", 1)
        assert "are sealed with a key in the keyring, and" in errors
        assert "set ZOOM_STORE_KEYS to that key, or log out and in again" in errors
        code, shown, _ = await called(person | gone, "login", "--device", "--key", "another")
        assert (code, shown) == (3, "")  # nor is anything put beside it that is not sealed, or with a new key
    assert not await asyncio.to_thread(Path(person["HOME"], "another.json").exists)
    assert await dump_of(tokens_of(person)) == kept


@pytest.mark.parametrize("lost", ["nothing is there", "a key is lost"])
async def test_logging_out_is_a_way_out_also_without_the_key(
    called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn, lost: str
) -> None:
    await log_in(keys=[KEY])
    without = person | (NO_KEYRING if lost == "nothing is there" else {})
    code, shown, errors = await called(without, "logout")

    assert (code, errors) == (0, "")
    assert shown.startswith("logged out, but only here. Zoom still takes the tokens (the tokens in ")
    assert "eyJhbGciOi" not in await dump_of(tokens_of(person))
    assert "sealed.1." not in await dump_of(tokens_of(person))
    assert (await called(without, "logout"))[0] == 5
    assert zoom.stats == {"authorization_code": {"ok": 1}}


async def test_keys_of_the_environment_come_before_the_keyring(
    called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn
) -> None:
    await log_in(keys=[KEY])
    locked = person | {"PYTHON_KEYRING_BACKEND": "tests.cli.keyrings.LockedKeyring", "ZOOM_STORE_KEYS": KEY}
    code, shown, _ = await called(locked, "token", "--as-user")

    assert (code, zoom.model.user_of(shown.strip())) == (0, "alice")


@pytest.mark.parametrize(
    "command",
    [("login", "--device", "--timeout", "1"), ("token", "--as-user"), ("store", "rewrap")],
    ids=lambda command: command[0],
)
async def test_keys_of_the_environment_without_a_key_are_an_error_and_no_reason_to_seal_nothing(
    called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn, command: tuple[str, ...]
) -> None:
    """As "$NEW,$OLD" gives them, if neither is set."""
    await log_in()
    code, shown, errors = await called(person | {"ZOOM_STORE_KEYS": ","}, *command)

    assert (code, shown) == (3, "")
    assert errors == (
        "zoom-async-auth: ZOOM_STORE_KEYS has no key in it: set it to the keys, with commas between them, or unset it\n"
    )
    assert zoom.stats == {"authorization_code": {"ok": 1}}
    code, shown, _ = await called(person | {"ZOOM_STORE_KEYS": ","}, "doctor", "--as-user")
    assert code == 1
    assert "fail  keyring: ZOOM_STORE_KEYS has no key in it" in shown


async def test_a_store_that_cannot_be_read_for_a_moment_does_not_pass_for_an_empty_one(
    called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else plain tokens would join sealed ones, or a new key of the keyring would take the place of the lost one."""
    await log_in(keys=[KEY])

    async def peek(_store: SQLStore, _key: str) -> None:
        raise StoreError("the database gave no answer")

    monkeypatch.setattr(SQLStore, "peek", peek)
    for where in (NO_KEYRING, {}, {"ZOOM_STORE_URL": f"sqlite:///{tokens_of(person)}"}):
        assert await called(person | where, "login", "--device", "--timeout", "1") == (
            4,
            "",
            "zoom-async-auth: the database gave no answer\n",
        )
    assert zoom.token_requests == 1


async def test_two_first_log_ins_at_once_make_one_key(
    at_home: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both have seen that there is none; the second would make what the first has sealed unreadable."""
    ring = BusyKeyring()
    monkeypatch.setenv("KEYRING_FILE", at_home["KEYRING_FILE"])
    monkeypatch.setattr(keyring.core, "_keyring_backend", ring)
    lock = tmp_path / "data" / "keyring.lock"
    found = await asyncio.gather(*(look_into_keyring(lock=lock, quiet=True) for _ in range(2)))

    assert ring.put == 1
    (kept,) = json.loads(await asyncio.to_thread(Path(at_home["KEYRING_FILE"]).read_text)).values()
    assert [one.key for one in found if isinstance(one, Keychain)] == [kept, kept]


async def test_no_key_is_made_where_others_could_make_two(called: Call, person: dict[str, str]) -> None:
    """The folder would be refused for the tokens, too."""
    folder = tokens_of(person).parent
    await asyncio.to_thread(folder.mkdir, parents=True)
    await asyncio.to_thread(folder.chmod, 0o777)
    code, shown, errors = await called(person, "login", "--device", "--timeout", "1")

    assert (code, shown, errors.count("\n")) == (3, "", 1)
    assert "others may write to the folder" in errors
    assert not await asyncio.to_thread(Path(person["KEYRING_FILE"]).exists)


@pytest.mark.parametrize(
    ("ring", "told"),
    [
        ("LockedKeyring", "the keyring failed, KeyringLocked: unlock it, or set ZOOM_STORE_KEYS"),
        ("HangingKeyring", "the keyring gave no answer within 0.2 s: unlock it, or set ZOOM_STORE_KEYS"),
    ],
)
async def test_a_keyring_that_does_not_open_is_an_error_and_no_reason_to_seal_nothing(
    called: Call, person: dict[str, str], monkeypatch: pytest.MonkeyPatch, ring: str, told: str
) -> None:
    """It is not waited for without end; nothing is asked of Zoom, and no text of the keyring is shown."""
    monkeypatch.setattr(keychain, "PATIENCE", 0.2)
    broken = person | {"PYTHON_KEYRING_BACKEND": f"tests.cli.keyrings.{ring}"}

    assert await called(broken, "login", "--device") == (3, "", f"zoom-async-auth: {told}\n")
    assert not await asyncio.to_thread(tokens_of(person).exists)


async def test_what_was_not_sealed_goes_on_to_work_until_it_is_rewrapped(
    called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn
) -> None:
    """A keyring came later. `store rewrap` seals what is there, with a key that it puts into the keyring."""
    await log_in()
    code, shown, _ = await called(person, "inspect", "--as-user")
    assert "protection  not sealed, as it was from the start" in shown
    assert (await called(person, "token", "--as-user"))[0] == 0
    code, shown, errors = await called(person, "store", "rewrap")
    assert (code, errors) == (0, "")
    assert shown == "1 sealed anew, 0 needed nothing, 0 busy (run it again), 0 unreadable\n"
    assert "eyJhbGciOi" not in await dump_of(tokens_of(person))
    code, shown, _ = await called(person, "inspect", "--as-user")
    assert "protection  sealed with a key in the keyring" in shown
    code, shown, _ = await called(person, "token", "--as-user")
    assert (code, zoom.model.user_of(shown.strip())) == (0, "alice")


async def test_a_store_that_is_named_is_left_to_its_own_keys(
    called: Call, person: dict[str, str], tmp_path: Path, log_in: LogIn
) -> None:
    """Other programs use it, and have no key of this keyring: so `login --store` gives a bot its first tokens."""
    await log_in()
    elsewhere = tmp_path / "bot" / "tokens.sqlite3"
    await asyncio.to_thread(shutil.copytree, tokens_of(person).parent, elsewhere.parent)
    named = person | {"ZOOM_STORE_URL": f"sqlite:///{elsewhere}"}
    code, shown, _ = await called(named, "inspect", "--as-user", "--json")
    assert json.loads(shown)["protection"].startswith("not sealed, ZOOM_STORE_KEYS is not set: what protects the file")
    assert (await called(person, "token", "--store", f"sqlite:///{elsewhere}"))[0] == 0

    assert (await called(named | {"ZOOM_STORE_KEYS": KEY}, "store", "rewrap"))[0] == 0
    assert (await called(named | {"ZOOM_STORE_KEYS": KEY}, "token", "--as-user"))[0] == 0
    code, shown, errors = await called(named, "token", "--as-user")
    assert (code, shown) == (3, "")
    assert errors == (
        "zoom-async-auth: the tokens in that store are sealed: set ZOOM_STORE_KEYS to the key they are sealed with\n"
    )


async def test_a_store_that_fails_does_so_before_a_person_is_troubled(
    called: Call, person: dict[str, str], tmp_path: Path
) -> None:
    """Zoom is not even asked for a code."""
    folder = tmp_path / "shared"
    await asyncio.to_thread(folder.mkdir)
    await asyncio.to_thread(folder.chmod, 0o777)
    change = {"ZOOM_STORE_KEYS": KEY, "ZOOM_STORE_URL": f"sqlite:///{folder}/tokens.sqlite3"}
    for way in ("--device", "--no-browser"):
        code, shown, errors = await called(person | change | {"ZOOM_BASE_URL": "http://127.0.0.1:1"}, "login", way)
        assert (code, shown, errors.count("\n")) == (3, "", 1)
        assert "others may write to the folder" in errors


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("token", "--key", ""), "key must have 1 to 200 characters, none of them a control character"),
        (("exec", "--key", "", "--", "true"), "key must have 1 to 200 characters, none of them a control character"),
        (("token", "--client-id", ""), "--client-id has nothing in it: name the app, or leave the option out"),
        (("inspect", "--store", ""), "the URL of the store has nothing in it: name the store, or leave it out"),
        (("store", "list", ""), "the URL of the store has nothing in it: name the store, or leave it out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_an_option_that_names_nobody_is_refused_and_no_reason_to_take_somebody_elses_token(
    called: Call, zoom: Zoom, person: dict[str, str], arguments: tuple[str, ...], told: str
) -> None:
    """As `--key "$WHOM"` gives it, if that is not set: the app's own token may do more than that of a person."""
    app = {
        "ZOOM_ACCOUNT_ID": zoom.credentials.account_id,
        "ZOOM_CLIENT_ID": zoom.credentials.client_id,
        "ZOOM_CLIENT_SECRET": zoom.credentials.client_secret,
    }

    assert await called(person | app, *arguments) == (3, "", f"zoom-async-auth: {told}\n")
    assert zoom.token_requests == 0


@pytest.mark.parametrize("missing", ["platformdirs", "keyring", "cryptography"])
async def test_what_is_not_installed_is_named(
    called: Call, person: dict[str, str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """The command works without the first two, if a store is named, or without a seal."""
    for name in [
        name for name in sys.modules if name.split(".")[0] == missing or "encrypted" in name or "seal" in name
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    code, shown, errors = await called(person | {"ZOOM_BASE_URL": "http://127.0.0.1:1"}, "login", "--device")

    assert shown == ""
    told = {
        "platformdirs": (3, "or name a store: ZOOM_STORE_URL=sqlite:////path"),
        "keyring": (4, "not sealed, no keyring can be asked (keyring is missing: it comes with the extra [cli] of "),
        "cryptography": (3, " is missing: it comes with the extras [sql,crypto] of zoom_async_auth"),
    }
    assert code == told[missing][0]
    assert told[missing][1] in errors


@pytest.mark.parametrize("command", [("store", "check"), ("store", "list"), ("pool", "top")])
async def test_a_command_that_takes_a_url_is_told_of_a_missing_library_in_words_that_fit(
    called: Call, at_home: dict[str, str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, str]
) -> None:
    """It has no option --store; the variable is right for every command."""
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    code, shown, errors = await called(at_home, *command)

    assert (code, shown) == (3, "")
    assert errors.endswith("or name a store: ZOOM_STORE_URL=sqlite:////path\n")


@pytest.mark.parametrize("command", [("store", "check"), ("store", "rewrap"), ("pool", "top")])
async def test_a_library_that_is_missing_is_told_before_a_file_that_is_missing(
    called: Call, at_home: dict[str, str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, str]
) -> None:
    """Whoever makes the file first is no step further."""
    for name in [name for name in sys.modules if name.startswith("zoom_async_auth.stores.sql")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    code, shown, errors = await called(at_home, *command, "sqlite:////nowhere/tokens.sqlite3")

    assert (code, shown) == (3, "")
    told = "sqlalchemy is missing: it comes with the extras [sql,crypto] of zoom_async_auth"
    assert errors == f"zoom-async-auth: {told}\n"


async def test_a_log_in_makes_all_folders_that_are_missing_as_its_own(called: Call, person: dict[str, str]) -> None:
    """On a new system nobody has made the folder of all programs' data yet; the store makes its own alone."""
    elsewhere = Path(person["HOME"]) / "a" / "b"
    offline = {"ZOOM_BASE_URL": "http://127.0.0.1:1", "XDG_DATA_HOME": str(elsewhere)}
    await called(person | offline, "login", "--device")

    folders = [elsewhere.parent, elsewhere, elsewhere / "zoom-async-auth"]
    assert await asyncio.to_thread(lambda: [stat.S_IMODE(folder.stat().st_mode) for folder in folders]) == [0o700] * 3


async def test_a_log_in_that_cannot_make_its_folder_is_one_line(called: Call, person: dict[str, str]) -> None:
    code, shown, errors = await called(person | {"XDG_DATA_HOME": "/dev/null/data"}, "login", "--device")

    assert (code, shown, errors.count("\n")) == (3, "", 1)
    assert "/dev/null is no folder that you may write to" in errors


async def test_before_anybody_has_logged_in_nothing_is_made(called: Call, person: dict[str, str]) -> None:
    nobody = "zoom-async-auth: nobody has logged in as 'default' to this app: zoom-async-auth login\n"
    for command in ("token", "inspect"):
        assert await called(person, command, "--as-user") == (5, "", nobody)
    for command in ("revoke", "logout"):
        assert await called(person, command) == (5, "", nobody)

    assert not await asyncio.to_thread(Path(person["XDG_DATA_HOME"]).exists)


async def test_a_file_that_others_may_read_is_refused_in_one_line(
    called: Call, person: dict[str, str], log_in: LogIn
) -> None:
    """S34."""
    await log_in()
    await asyncio.to_thread(tokens_of(person).chmod, 0o644)
    code, shown, errors = await called(person, "token", "--as-user")

    assert (code, shown, errors.count("\n")) == (3, "", 1)
    assert "chmod 600 it" in errors


async def test_a_file_that_is_no_database_is_one_line(called: Call, person: dict[str, str], log_in: LogIn) -> None:
    await log_in()
    await asyncio.to_thread(tokens_of(person).write_bytes, b"no database at all" * 100)
    code, shown, errors = await called(person, "token", "--as-user")

    assert (code, shown, errors.count("\n")) == (3, "", 1)
    assert "NOTADB" in errors
