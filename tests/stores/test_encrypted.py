"""The encrypting store keeps what every store promises, and no secret in the one within."""

import asyncio
import base64
import copy
import pickle
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

import zoom_async_auth
from tests.engine.world import FaultyStore
from zoom_async_auth import ConfigurationError, StoreError, Token
from zoom_async_auth.errors import MisuseError
from zoom_async_auth.stores.base import Begun, Reading, Record
from zoom_async_auth.stores.encrypted import EncryptedStore, Rewrapped
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.stores.records import token_to_text
from zoom_async_auth.stores.sql import SQLStore
from zoom_async_auth.stores.survey import can_survey
from zoom_async_auth.testing import STORE_PROMISES, StorePromise

PACKAGE = str(Path(zoom_async_auth.__file__).parent)
OLD, NEW, OTHER = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))
KEY = "namespace/alice"
ACCESS = "Acc3ssCanaryFFFF"
REFRESH = "R3freshCanaryGGGG"
TOKEN = Token(
    access_token=ACCESS,
    refresh_token=REFRESH,
    expires_in=3600.0,
    scope=frozenset({"user:read:user", "meeting:write"}),
    api_url="https://api.zoom.us",
)


def _record(generation: int = 1, token: Token | None = TOKEN) -> Record:
    return Record(generation=generation, token=token, issued_at=0.0, expires_at=3600.0)


def _row(inner: MemoryStore, key: str = KEY) -> Record:
    record = inner._entries[key].row.record
    assert record is not None
    return record


def _tamper(inner: MemoryStore, record: Record, key: str = KEY) -> None:
    entry = inner._entry(key)
    entry.row = replace(entry.row, record=record)


def _sealed(record: Record) -> Token:
    assert record.token is not None
    return record.token


async def _filled(inner: MemoryStore, *, keys: tuple[str, ...] = (OLD,)) -> EncryptedStore:
    store = EncryptedStore(inner, keys=keys)
    assert await store.commit(KEY, 0, _record(), "one")
    return store


async def _refused(store: EncryptedStore, key: str = KEY) -> str:
    """Return what is said of a record that does not open, however it is looked at; it has to stay as it was."""
    inner = store._inner
    assert isinstance(inner, MemoryStore)
    before = inner._entries[key].row
    said = set()
    for ask in (
        store.peek(key),
        store.begin(key, before.generation, "me", 20.0),
        store.begin(key, before.generation, "me", 20.0, supersede=True),
        store.begin(key, before.generation + 1, "me", 20.0),
    ):
        with pytest.raises(StoreError) as caught:
            await ask
        assert not caught.value.transient
        assert caught.value.__context__ is None
        said.add(str(caught.value))
    assert inner._entries[key].row == before
    assert len(said) == 1
    return said.pop()


@pytest.mark.parametrize("promise", STORE_PROMISES, ids=lambda promise: promise.__name__)
async def test_the_encrypting_store_keeps_its_promises(promise: StorePromise) -> None:
    """Also between two processes in the middle of a change of keys."""
    inner = MemoryStore()
    async with EncryptedStore(inner, keys=[NEW, OLD]) as one, EncryptedStore(inner, keys=[OLD, NEW]) as other:
        await promise(one, other, "key")


async def test_s49_a_dump_of_the_store_shows_no_token() -> None:
    """S49: neither as it is, nor encoded; and what is sealed twice does not look the same."""
    inner = MemoryStore()
    store = await _filled(inner)
    await store.commit("namespace/bob", 0, _record(), "one")
    await store.begin(KEY, 1, "one", 20.0)
    await store.condemn(KEY, 1, "invalid_grant")
    dump = " ".join(
        f"{entry.row!r} {token_to_text(_sealed(_row(inner, key)))}" for key, entry in inner._entries.items()
    )
    for secret in (ACCESS, REFRESH, OLD):
        for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("="), secret.encode().hex()):
            assert form not in dump
    assert dump.count("sealed.1.") == 4
    assert _sealed(_row(inner)).access_token != _sealed(_row(inner, "namespace/bob")).access_token


async def test_what_is_no_secret_stays_readable_within() -> None:
    """Whoever looks after the store sees when a token expires, and that there is a refresh token."""
    inner = MemoryStore()
    store = await _filled(inner)
    assert replace(_row(inner), token=replace(_sealed(_row(inner)), access_token=ACCESS, refresh_token=REFRESH)) == (
        _record()
    )
    await store.commit(KEY, 1, _record(2, Token(access_token=ACCESS, expires_in=60.0)), "one")
    assert _sealed(_row(inner)).refresh_token is None


async def test_what_was_sealed_by_an_earlier_version_opens() -> None:
    """The format does not change under a deployment."""
    inner = MemoryStore()
    written = "sealed.1.53533cb025e42427.xF020j0suf9FMievbklfJCiPMJSWPK1yurDS6PemXE1obD81g7Ho0zwEqac"
    renewable = "sealed.1.53533cb025e42427.-4QkdSkcJIMKP3xc-XFwMV9Tce6jMm9olcOtElkkNp1ev4fYxhmD2scw_lRj"
    _tamper(inner, _record(token=replace(TOKEN, access_token=written, refresh_token=renewable)))
    assert (await EncryptedStore(inner, keys=[OLD]).peek(KEY)).record == _record()


async def test_s35_a_ciphertext_that_was_copied_to_another_identity_does_not_open() -> None:
    """S35: or whoever writes to the database gets Alice's meetings with Bob's key."""
    inner = MemoryStore()
    store = await _filled(inner)
    _tamper(inner, _row(inner), "namespace/bob")
    assert "moved here from another identity" in await _refused(store, "namespace/bob")


async def test_s36_a_ciphertext_of_another_generation_does_not_open() -> None:
    """S36: an old refresh token under a new number would be spent again."""
    inner = MemoryStore()
    store = await _filled(inner)
    _tamper(inner, replace(_row(inner), generation=2))
    assert "another generation" in await _refused(store)


async def test_a_whole_older_row_that_was_put_back_opens() -> None:
    """It is what it was: only who has seen a newer one can tell."""
    inner = MemoryStore()
    store = await _filled(inner)
    backup = _row(inner)
    await store.commit(KEY, 1, _record(2), "one")
    _tamper(inner, backup)
    assert (await store.peek(KEY)).record == _record()


@pytest.mark.parametrize(
    "change",
    [
        lambda token: replace(token, access_token=token.refresh_token, refresh_token=token.access_token),
        lambda token: replace(token, refresh_token=token.access_token),
        lambda token: replace(token, api_url="https://evil.example"),
        lambda token: replace(token, scope=token.scope | {"account:write"}),
        lambda token: replace(token, token_type="mac"),
        lambda token: replace(token, access_token=token.access_token[:-1]),
        lambda token: replace(token, access_token=token.access_token[:-4]),
        lambda token: replace(token, access_token=token.access_token[:40]),
        lambda token: replace(token, access_token=token.access_token[:34] + "A" * 20),
        lambda token: replace(token, access_token=token.access_token.replace("sealed.1", "sealed.2")),
        lambda token: replace(token, access_token=token.access_token.replace("sealed.1", "sealed.")),
        lambda token: replace(token, refresh_token=token.refresh_token + "="),
        lambda token: replace(token, refresh_token=REFRESH),
    ],
)
async def test_what_was_changed_does_not_open(change: Any) -> None:
    inner = MemoryStore()
    store = await _filled(inner)
    _tamper(inner, replace(_row(inner), token=change(_sealed(_row(inner)))))
    await _refused(store)


async def test_no_character_of_a_sealed_text_can_be_changed() -> None:
    inner = MemoryStore()
    store = await _filled(inner)
    token, record = _sealed(_row(inner)), _row(inner)
    sealed = token.access_token
    for place, character in enumerate(sealed[:-1]):  # the last one has bits that mean nothing
        changed = sealed[:place] + ("A" if character != "A" else "B") + sealed[place + 1 :]
        _tamper(inner, replace(record, token=replace(token, access_token=changed)))
        with pytest.raises(StoreError):
            await store.peek(KEY)


async def test_an_unknown_key_is_named_by_its_id() -> None:
    """S37: the one who looks after it has to find out which key is missing."""
    inner = MemoryStore()
    await _filled(inner)
    said = await _refused(EncryptedStore(inner, keys=[NEW, OTHER]))
    assert f"its id is {_sealed(_row(inner)).access_token.split('.')[2]}: add that key" in said


async def test_what_is_not_encrypted_is_refused() -> None:
    """A token that somebody put there would be believed."""
    inner = MemoryStore()
    await inner.commit(KEY, 0, _record(), "one")
    assert "is not encrypted: encrypt it with rewrap" in await _refused(EncryptedStore(inner, keys=[OLD]))


async def test_what_a_newer_version_sealed_is_left_to_it() -> None:
    inner = MemoryStore()
    store = await _filled(inner)
    _tamper(inner, replace(_row(inner), token=replace(TOKEN, access_token="sealed.2.new", refresh_token=None)))
    assert "upgrade" in await _refused(store)


async def test_a_lease_on_what_does_not_open_is_given_back_with_the_doubt_of_its_holder() -> None:
    """A refresh token was sent before the key was lost: that stays noted."""
    inner = MemoryStore()
    await _filled(inner)
    await inner.begin(KEY, 1, "me", 20.0)
    await inner.release(KEY, "me", doubt=True)
    with pytest.raises(StoreError):
        await EncryptedStore(inner, keys=[NEW]).begin(KEY, 1, "me", 20.0)
    row = inner._entries[KEY].row
    assert (row.holder, [(intent.holder, intent.generation) for intent in row.intents]) == ("", [("me", 1)])


async def test_a_lease_that_cannot_be_given_back_does_not_hide_the_reason() -> None:
    inner = MemoryStore()
    await _filled(inner)
    faulty = FaultyStore(inner)
    faulty.down = {"release"}
    with pytest.raises(StoreError, match="add that key"):
        await EncryptedStore(faulty, keys=[NEW]).begin(KEY, 1, "me", 20.0)


async def test_what_does_not_open_can_be_forgotten() -> None:
    """The way out."""
    inner = MemoryStore()
    await _filled(inner)
    store = EncryptedStore(inner, keys=[NEW])
    await store.forget(KEY)
    reading = await store.peek(KEY)
    assert reading.generation == 2
    assert reading.record is not None
    assert reading.record.token is None


async def test_s37_an_old_key_is_replaced_by_the_first_one() -> None:
    """S37: afterwards the old one can go; nobody who reads meanwhile notices."""
    inner = MemoryStore()
    await _filled(inner)
    both = EncryptedStore(inner, keys=[NEW, OLD])
    assert (await both.peek(KEY)).record == _record()
    assert await both.rewrap(KEY) is Rewrapped.DONE
    assert await both.rewrap(KEY) is Rewrapped.CURRENT

    reading = await EncryptedStore(inner, keys=[NEW]).begin(KEY, 1, "me", 20.0)
    assert isinstance(reading, Begun)
    assert (reading.reading.record, reading.reading.intents) == (_record(), ())
    with pytest.raises(StoreError):
        await EncryptedStore(inner, keys=[OLD]).peek(KEY)


async def test_a_dead_authorization_is_still_dead_under_the_next_key() -> None:
    inner = MemoryStore()
    await (await _filled(inner)).condemn(KEY, 1, "invalid_grant")
    both = EncryptedStore(inner, keys=[NEW, OLD])
    assert await both.rewrap(KEY) is Rewrapped.DONE
    assert (await both.peek(KEY)).record == replace(_record(), cause="invalid_grant")


async def test_what_is_not_encrypted_is_encrypted_by_rewrap() -> None:
    """For a deployment that turns it on later."""
    inner = MemoryStore()
    await inner.commit(KEY, 0, _record(), "one")
    store = EncryptedStore(inner, keys=[OLD])
    assert await store.rewrap(KEY) is Rewrapped.DONE
    assert (await store.peek(KEY)).record == _record()
    assert REFRESH not in token_to_text(_sealed(_row(inner)))


@pytest.mark.parametrize("mixed", [{"access_token": ACCESS}, {"refresh_token": REFRESH}])
async def test_what_is_half_encrypted_is_not_mended_by_rewrap(mixed: dict[str, str]) -> None:
    inner = MemoryStore()
    store = await _filled(inner)
    _tamper(inner, replace(_row(inner), token=replace(_sealed(_row(inner)), **mixed)))  # type: ignore[arg-type]
    before = inner._entries[KEY].row
    for keys in ([OLD], [NEW, OLD]):
        with pytest.raises(StoreError, match="is not encrypted"):
            await EncryptedStore(inner, keys=keys).rewrap(KEY)
    await _refused(store)
    assert inner._entries[KEY].row == before


async def test_what_is_damaged_is_noticed_by_rewrap_also_under_the_first_key() -> None:
    """So that a run of it says which rows need somebody."""
    inner = MemoryStore()
    store = await _filled(inner)
    _tamper(inner, replace(_row(inner), generation=2))
    with pytest.raises(StoreError, match="does not open"):
        await store.rewrap(KEY)


async def test_there_is_nothing_to_rewrap_without_a_token() -> None:
    inner = MemoryStore()
    store = EncryptedStore(inner, keys=[NEW])
    assert await store.rewrap(KEY) is Rewrapped.CURRENT
    await store.forget(KEY)
    assert await store.rewrap(KEY) is Rewrapped.CURRENT
    assert _row(inner).generation == 1


async def test_who_renews_is_not_disturbed_by_rewrap() -> None:
    """Its lease, and the note that its refresh token may be spent, are as they were."""
    inner = MemoryStore()
    await _filled(inner)
    both = EncryptedStore(inner, keys=[NEW, OLD])
    await both.begin(KEY, 1, "me", 20.0)
    for _ in ("under way", "in doubt"):
        before = inner._entries[KEY].row
        assert await both.rewrap(KEY) is Rewrapped.BUSY
        assert inner._entries[KEY].row == before
        await both.release(KEY, "me", doubt=True)
    assert await both.commit(KEY, 1, _record(2), "me")
    assert await both.rewrap(KEY) is Rewrapped.CURRENT


class _Interposed(MemoryStore):
    """A store where something happens right before an operation."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[str, Any] = {}

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        if generation > 0 and "begin" in self.before:
            await self.before.pop("begin")()
        return await super().begin(key, generation, holder, lease, supersede=supersede)

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:
        if "commit" in self.before:
            await self.before.pop("commit")()
        return await super().commit(key, sent, record, holder)


@pytest.mark.parametrize("moment", ["begin", "commit"])
async def test_a_renewal_that_comes_in_between_is_not_overwritten_by_rewrap(moment: str) -> None:
    """Its token is the only live one."""
    inner = _Interposed()
    store = await _filled(inner)
    inner.before[moment] = lambda: store.commit(KEY, 1, _record(2), "late")
    assert await EncryptedStore(inner, keys=[NEW, OLD]).rewrap(KEY) is Rewrapped.BUSY
    assert (await store.peek(KEY)).record == _record(2)
    assert inner._entries[KEY].row.holder == ""


async def test_a_doubt_that_comes_in_between_is_kept_by_rewrap() -> None:
    inner = _Interposed()
    store = await _filled(inner)

    async def fail() -> None:
        await store.begin(KEY, 1, "me", 20.0)
        await store.release(KEY, "me", doubt=True)

    inner.before["begin"] = fail
    assert await EncryptedStore(inner, keys=[NEW, OLD]).rewrap(KEY) is Rewrapped.BUSY
    row = inner._entries[KEY].row
    assert (row.holder, [intent.holder for intent in row.intents]) == ("", ["me"])


async def test_a_rewrap_that_is_cancelled_leaves_no_lease_and_no_intent() -> None:
    inner = _Interposed()
    await _filled(inner)
    task = asyncio.ensure_future(EncryptedStore(inner, keys=[NEW, OLD]).rewrap(KEY))
    hanging = asyncio.Event()
    inner.before["commit"] = hanging.wait
    await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    row = inner._entries[KEY].row
    assert (row.holder, row.intents) == ("", ())


async def test_a_rewrap_without_the_old_key_leaves_no_lease_and_no_intent() -> None:
    inner = MemoryStore()
    await _filled(inner)
    before = inner._entries[KEY].row
    with pytest.raises(StoreError, match="add that key"):
        await EncryptedStore(inner, keys=[NEW]).rewrap(KEY)
    assert inner._entries[KEY].row == before


async def test_a_token_that_is_too_long_to_be_sealed_is_an_error_that_does_not_show_it() -> None:
    inner = MemoryStore()
    store = await _filled(inner)
    longest = replace(TOKEN, access_token="x" * 12_000, refresh_token="y" * 12_000)
    assert await store.commit(KEY, 1, _record(2, longest), "one")
    assert (await store.peek(KEY)).record == _record(2, longest)
    with pytest.raises(StoreError, match="too long") as caught:
        await store.commit(KEY, 2, _record(3, replace(TOKEN, access_token="x" * 16_000)), "one")
    assert not caught.value.transient
    assert "xxxx" not in "".join(_shown(caught.value))
    assert _row(inner).generation == 2


async def test_an_error_of_the_store_within_can_show_what_is_sealed_only() -> None:
    """Databases put what they were given into their errors."""

    class Leaky(MemoryStore):
        async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:
            raise RuntimeError(key, sent, holder, _sealed(record).access_token, _sealed(record).refresh_token)

    with pytest.raises(RuntimeError) as caught:
        await EncryptedStore(Leaky(), keys=[OLD]).commit(KEY, 0, _record(), "one")
    shown = "".join(_shown(caught.value))
    assert "sealed.1." in shown
    for secret in (ACCESS, REFRESH, OLD[:8]):
        assert secret not in shown


def _shown(error: BaseException) -> Iterator[str]:
    """Yield what a traceback with local variables shows of the package."""
    yield repr(error)
    assert error.__context__ is None
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename.startswith(PACKAGE):
            yield from (f"{name}={value!r}" for name, value in traceback.tb_frame.f_locals.items())
        traceback = traceback.tb_next


def test_keys_of_fernet_are_keys_as_text_and_as_bytes() -> None:
    """What a deployment with a MultiFernet has is used again."""
    generated = Fernet.generate_key()
    EncryptedStore(MemoryStore(), keys=[generated])
    with pytest.raises(ConfigurationError, match="the same key twice"):
        EncryptedStore(MemoryStore(), keys=[generated, generated.decode()])
    with pytest.raises(ConfigurationError, match="keys is empty"):
        EncryptedStore(MemoryStore(), keys=[])


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "s3cr3t-canary",
        "s3cr3t-canary" + "A" * 31,
        OLD[:-1],
        f"{OLD}\n",
        b"s3cr3t-canary\xff",
        b"\x01" * 32,
        7,
        None,
    ],
)
def test_anything_else_is_refused_without_being_shown(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Fernet\.generate_key") as caught:
        EncryptedStore(MemoryStore(), keys=[OLD, wrong])
    shown = "".join(_shown(caught.value))
    for secret in ("s3cr3t", OLD[:-1], "\\x01"):
        assert secret not in shown


def test_a_string_instead_of_a_list_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigurationError, match="a list") as caught:
        EncryptedStore(MemoryStore(), keys=OLD)
    assert OLD[:8] not in "".join(_shown(caught.value))


def test_the_store_shows_no_key_and_is_not_pickled() -> None:
    """S5."""
    store = EncryptedStore(MemoryStore(), keys=[OLD, NEW])
    assert OLD[:8] not in f"{store!r} {vars(store)} {vars(store._keyring)} {list(store._keyring._keys.values())}"
    for secretive in (store, store._keyring, store._keyring._first):
        with pytest.raises(TypeError, match="holds a secret and cannot be pickled"):
            pickle.dumps(secretive)
        assert copy.deepcopy(secretive) is secretive


async def _many(*keys: str, count: int = 16) -> MemoryStore:
    inner = MemoryStore()
    store = EncryptedStore(inner, keys=keys)
    for number in range(count):
        await store.commit(f"namespace/{number:02}", 0, _record(), "one")
    await inner.forget("namespace/00")
    return inner


async def test_a_check_reads_tokens_with_the_keys() -> None:
    """What has no token needs no key; a look at a hundred thousand would take minutes."""
    (fact,) = await EncryptedStore(await _many(OLD, count=40), keys=[NEW, OLD]).check()
    assert (fact.what, fact.ok, fact.told) == ("can be read", True, "19 of 19 tokens looked at open with these keys")


async def test_a_check_with_other_keys_fails() -> None:
    """S37: it passed, and no token could be read."""
    (fact,) = await EncryptedStore(await _many(OLD, count=17), keys=[NEW]).check()
    assert (fact.what, fact.ok) == ("can be read", False)
    assert fact.told.startswith(
        "0 of 16 tokens looked at open with these keys: are they complete? The first that does not: the stored token "
        "is sealed with a key that is not among ours"
    )


async def test_a_check_counts_what_is_damaged_as_unreadable() -> None:
    inner = await _many(OLD, count=5)
    _tamper(inner, replace(_row(inner, "namespace/01"), generation=2), "namespace/01")
    (fact,) = await EncryptedStore(inner, keys=[OLD]).check()
    assert not fact.ok
    assert fact.told.startswith("3 of 4 tokens looked at open with these keys: are they complete? The first that does ")


async def test_a_check_of_a_store_without_tokens_has_nothing_to_read() -> None:
    (fact,) = await EncryptedStore(MemoryStore(), keys=[OLD]).check()
    assert (fact.ok, fact.told) == (True, "there is no token yet that these keys would have to open")


async def test_a_check_of_a_store_that_fails_or_cannot_list_its_keys_says_what_is_known() -> None:
    class Failing(MemoryStore):
        async def peek(self, key: str) -> Reading:
            raise StoreError(f"no answer about {key}")

    failing = Failing()
    await EncryptedStore(failing, keys=[OLD]).commit(KEY, 0, _record(), "one")
    (fact,) = await EncryptedStore(failing, keys=[OLD]).check()
    assert (fact.what, fact.ok, fact.told) == ("can be read", False, f"no answer about {KEY}")
    assert await EncryptedStore(FaultyStore(MemoryStore()), keys=[OLD]).check() == ()


async def test_a_check_tells_what_the_store_within_finds_first(tmp_path: Path) -> None:
    async with EncryptedStore(SQLStore(f"sqlite:///{tmp_path}/private/tokens.db"), keys=[OLD]) as store:
        assert [fact.what for fact in await store.check()][-2:] == ["can be written", "can be read"]
    async with EncryptedStore(SQLStore(f"sqlite:///{tmp_path}/missing/private/tokens.db"), keys=[OLD]) as store:
        assert [fact.what for fact in await store.check()] == ["answers"]


async def test_what_the_store_within_says_of_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    inner = MemoryStore()
    assert EncryptedStore(inner, keys=[OLD]).rotating_risk == inner.rotating_risk is not None
    assert EncryptedStore(MemoryStore(allow_rotating=True), keys=[OLD]).rotating_risk is None
    assert not EncryptedStore(inner, keys=[OLD]).durable
    plain = FaultyStore(inner, durable=True)
    assert EncryptedStore(plain, keys=[OLD]).durable
    assert EncryptedStore(plain, keys=[OLD]).rotating_risk is None
    with pytest.raises(MisuseError, match="FaultyStore cannot list its keys"):
        await EncryptedStore(plain, keys=[OLD]).keys()
    assert not can_survey(EncryptedStore(plain, keys=[OLD]))
    with pytest.raises(MisuseError, match="FaultyStore cannot count its identities"):
        await EncryptedStore(plain, keys=[OLD]).survey()
    async with EncryptedStore(plain, keys=[OLD]):
        assert plain.users == 1
    assert plain.users == 0
