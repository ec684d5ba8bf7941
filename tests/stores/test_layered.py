"""Two stores as one keep what every store promises; the front shows what the record has, and no more than it should."""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any

import pytest

from tests.engine.world import FaultyStore, turns
from zoom_async_auth import Token
from zoom_async_auth.errors import MisuseError
from zoom_async_auth.stores.base import Begun, Reading, Record, Store
from zoom_async_auth.stores.encrypted import EncryptedStore, Rewrapped
from zoom_async_auth.stores.layered import LayeredStore
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.stores.records import token_to_text
from zoom_async_auth.stores.row import Row
from zoom_async_auth.stores.survey import can_survey
from zoom_async_auth.testing import STORE_PROMISES, ManualClock, StorePromise

OLD, NEW = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2))
KEY = "namespace/alice"
LIFE = 3600.0


def _encrypted(store: Store) -> EncryptedStore:
    return EncryptedStore(store, keys=[OLD])


def _elsewhen(store: Callable[..., MemoryStore] = MemoryStore) -> MemoryStore:
    """Return a store with a clock that is far from all others."""
    return store(clock=ManualClock(lambda: 1e9 + asyncio.get_running_loop().time()))


COMPOSITIONS: dict[str, Callable[[], Store]] = {
    "two": lambda: LayeredStore(MemoryStore(), _elsewhen()),
    "encrypted each": lambda: LayeredStore(_encrypted(MemoryStore()), _encrypted(_elsewhen())),
    "encrypted both": lambda: _encrypted(LayeredStore(_elsewhen(), MemoryStore())),
    "without a front": lambda: LayeredStore(MemoryStore(), _broken(MemoryStore())),
}


def _broken(inner: Store) -> FaultyStore:
    front = FaultyStore(inner)
    front.down = {"peek", "begin", "commit", "condemn", "release", "wait", "forget"}
    return front


@pytest.mark.asyncio(loop_factories=["plain"])
@pytest.mark.parametrize("compose", COMPOSITIONS.values(), ids=COMPOSITIONS)
@pytest.mark.parametrize("promise", STORE_PROMISES, ids=lambda promise: promise.__name__)
async def test_two_layers_keep_the_promises_of_one_store(promise: StorePromise, compose: Callable[[], Store]) -> None:
    async with compose() as store:
        await promise(store, store, "key")


class Layers:
    """A record and a front whose clocks stand, 1000 s apart, and the store of both."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.other_clock = ManualClock()
        self.other_clock.advance(1000.0)
        self.kept = MemoryStore(clock=self.clock)
        self.shown = MemoryStore(clock=self.other_clock)
        self.record = FaultyStore(self.kept)
        self.front = FaultyStore(self.shown)
        self.store = LayeredStore(self.record, self.front)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.other_clock.advance(seconds)

    def token(self, generation: int, **changes: Any) -> Record:
        now = self.clock.monotonic()
        token = Token(access_token=f"access-{generation}", refresh_token=f"R3fresh-{generation}", expires_in=LIFE)
        record = Record(generation=generation, token=token, issued_at=now, expires_at=now + LIFE)
        return replace(record, **changes)

    def row(self) -> Row:
        return self.shown._entry(KEY).row

    def in_front(self) -> tuple[int, str | None]:
        """Return the generation and the access token that the front shows."""
        record = self.row().record
        token = None if record is None else record.token
        return self.row().generation, None if token is None else token.access_token


@pytest.fixture
def layers() -> Layers:
    return Layers()


def _seen(record: Record) -> Record:
    """Return a record as a peek shows it."""
    assert record.token is not None
    return replace(record, token=replace(record.token, refresh_token=None))


async def test_a_valid_token_is_found_without_asking_the_record(layers: Layers) -> None:
    """In the record's time, though the front's clock is another one."""
    record = layers.token(1)
    assert await layers.store.commit(KEY, 0, record, "one")
    layers.advance(100.0)
    layers.record.calls.clear()
    assert await layers.store.peek(KEY) == Reading(record=_seen(record), now=100.0)
    assert layers.record.calls == []


async def test_the_front_has_no_refresh_token_no_lease_and_no_intent(layers: Layers) -> None:
    """Whatever comes to pass: it may be a cache that many read."""
    store = layers.store
    for generation in (1, 2):
        assert isinstance(await store.begin(KEY, generation - 1, "one", 20.0), Begun)
        await store.commit(KEY, generation - 1, layers.token(generation), "one")
        await store.begin(KEY, generation, "one", 20.0)
        await store.release(KEY, "one", doubt=True)
        await store.begin(KEY, generation - 1, "other", 20.0)
        row = layers.row()
        assert row.record is not None
        assert row.record.token is not None
        assert "R3fresh" not in token_to_text(row.record.token)
        assert row == Row(record=row.record)


async def test_a_lease_and_its_intent_are_the_records(layers: Layers) -> None:
    await layers.store.commit(KEY, 0, layers.token(1), "one")
    begun = await layers.store.begin(KEY, 1, "one", 20.0)
    assert begun == Begun(reading=Reading(record=layers.token(1), now=0.0))
    assert layers.kept._entries[KEY].row.holder == "one"


@pytest.mark.parametrize("verb", ["commit", "forget"])
async def test_a_tombstone_takes_the_place_of_the_token_in_front(layers: Layers, verb: str) -> None:
    """Or a process that starts would serve what was revoked."""
    await layers.store.commit(KEY, 0, layers.token(1), "one")
    if verb == "forget":
        await layers.store.forget(KEY)
    else:
        await layers.store.commit(KEY, 1, layers.token(2, token=None), "one")
    assert layers.in_front() == (2, None)
    reading = await layers.store.peek(KEY)
    assert (reading.generation, reading.record and reading.record.token) == (2, None)


async def test_a_tombstone_in_front_is_not_the_last_word(layers: Layers) -> None:
    """Somebody authorized again, and the front was not told."""
    await layers.store.forget(KEY)
    layers.front.down = {"commit"}
    await layers.store.commit(KEY, 1, layers.token(2), "one")
    assert (await LayeredStore(layers.record, layers.front).peek(KEY)).record == layers.token(2)


async def test_a_dead_authorization_is_looked_up_in_the_record(layers: Layers) -> None:
    """So that nobody takes a lease to hear of it."""
    await layers.store.commit(KEY, 0, layers.token(1), "one")
    assert not await layers.store.condemn(KEY, 0, "invalid_grant")
    assert await layers.store.condemn(KEY, 1, "invalid_grant")
    assert (await layers.store.peek(KEY)).record == layers.token(1, cause="invalid_grant")


async def test_an_expired_token_in_front_is_looked_up_in_the_record(layers: Layers) -> None:
    await layers.store.commit(KEY, 0, layers.token(1), "one")
    record = layers.token(1)
    layers.advance(LIFE)
    assert (await layers.store.peek(KEY)).record == record
    layers.front.down = {"commit"}
    await layers.store.commit(KEY, 1, layers.token(2), "one")
    assert (await LayeredStore(layers.record, layers.front).peek(KEY)).record == layers.token(2)


async def test_a_front_that_was_emptied_is_filled_by_who_looks(layers: Layers) -> None:
    await layers.store.commit(KEY, 0, layers.token(1), "one")
    layers.shown._entries.clear()
    assert (await layers.store.peek(KEY)).record == layers.token(1)
    assert layers.in_front() == (1, "access-1")
    assert (await layers.store.peek(KEY)).record == _seen(layers.token(1))


async def test_a_token_that_alone_was_evicted_from_the_front_is_shown_again(layers: Layers) -> None:
    """As `maxmemory-policy volatile-...` does: the token goes, its generation stays."""
    await layers.store.commit(KEY, 0, layers.token(1), "one")
    await layers.shown.commit(KEY, 1, replace(layers.token(1), token=None), "the server")
    assert layers.in_front() == (1, None)
    assert (await layers.store.peek(KEY)).record == layers.token(1)
    assert layers.in_front() == (1, "access-1")


async def test_who_looks_at_an_expired_token_whose_front_was_evicted_writes_nothing(layers: Layers) -> None:
    await layers.store.commit(KEY, 0, layers.token(1), "one")
    await layers.shown.commit(KEY, 1, replace(layers.token(1), token=None), "the server")
    layers.advance(LIFE)
    layers.front.calls.clear()
    await layers.store.peek(KEY)
    assert set(layers.front.calls) == {"peek"}


class _Replica(MemoryStore):
    """A record whose peek lags: it shows what there was first."""

    first: Reading | None = None

    async def peek(self, key: str) -> Reading:
        self.first = self.first or await super().peek(key)
        return self.first


async def test_a_look_that_lags_does_not_bring_the_front_back(layers: Layers) -> None:
    """A replica behind the record does not know better than the front."""
    record = _Replica(clock=layers.clock)
    store = LayeredStore(record, layers.front)
    await record.commit(KEY, 0, layers.token(1), "one")
    assert (await store.peek(KEY)).generation == 1
    await store.commit(KEY, 1, layers.token(2), "one")
    layers.advance(LIFE)
    await store.peek(KEY)
    assert layers.in_front() == (2, "access-2")


async def test_a_front_that_lags_is_told_by_who_notices(layers: Layers) -> None:
    """Whoever believed it hears otherwise from the record."""
    await layers.store.commit(KEY, 0, layers.token(1), "one")
    await layers.kept.commit(KEY, 1, layers.token(2), "elsewhere")
    assert (await layers.store.peek(KEY)).generation == 1
    assert isinstance(await layers.store.begin(KEY, 1, "one", 20.0), Reading)
    assert layers.in_front() == (2, "access-2")


async def test_a_commit_that_comes_too_late_has_the_front_told_of_what_came_before(layers: Layers) -> None:
    await layers.store.commit(KEY, 0, layers.token(1), "one")
    await layers.kept.commit(KEY, 1, layers.token(2), "elsewhere")
    assert not await layers.store.commit(KEY, 1, layers.token(2, token=None), "one")
    assert layers.in_front() == (2, "access-2")


class _Held(FaultyStore):
    """A front whose next commit waits."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.held: asyncio.Event | None = None

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:
        held, self.held = self.held, None
        if held is not None:
            await held.wait()
        return await super().commit(key, sent, record, holder)


async def test_a_newer_token_in_front_is_not_replaced_by_an_older_one(layers: Layers) -> None:
    """The first writer has seen an empty front, and is overtaken before it writes."""
    front = _Held(layers.shown)
    front.held = go_on = asyncio.Event()
    store = LayeredStore(layers.record, front)
    first = asyncio.ensure_future(store.commit(KEY, 0, layers.token(1), "one"))
    await turns()
    assert front.held is None
    assert await store.commit(KEY, 1, layers.token(2), "two")
    assert layers.in_front() == (2, "access-2")
    go_on.set()
    assert await first
    assert layers.in_front() == (2, "access-2")


async def test_a_change_that_the_front_missed_is_not_forgotten_because_an_earlier_one_got_through(
    layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The front is told of a token; while its answer is on its way it goes down, and the token is forgotten."""
    monkeypatch.setattr("zoom_async_auth.stores.layered.PAUSE", 0.0)
    front = _Held(layers.shown)
    store = LayeredStore(layers.record, front)
    answered = asyncio.Event()

    async def commit(*what: Any) -> bool:
        kept = await MemoryStore.commit(layers.shown, *what)
        await answered.wait()
        return kept

    layers.shown.commit = commit  # type: ignore[method-assign, assignment]
    first = asyncio.ensure_future(store.commit(KEY, 0, layers.token(1), "one"))
    await turns()
    assert layers.in_front() == (1, "access-1")
    front.down = {"peek", "commit"}
    await store.forget(KEY)
    front.down = set()
    answered.set()
    assert await first
    assert (await store.peek(KEY)).generation == 2


async def test_who_was_overtaken_by_an_older_one_writes_again(layers: Layers) -> None:
    """Of two who write at once, the newer one stays, in whatever order they come."""
    front = _Held(layers.shown)
    await layers.kept.commit(KEY, 0, layers.token(1), "elsewhere")
    front.held = go_on = asyncio.Event()
    newer = asyncio.ensure_future(LayeredStore(layers.record, front).commit(KEY, 1, layers.token(2), "two"))
    await turns()
    assert front.held is None
    older = replace(_seen(layers.token(1)), expires_at=LIFE + 1000.0)
    assert await layers.shown.commit(KEY, 0, older, "layered")
    go_on.set()
    assert await newer
    assert layers.in_front() == (2, "access-2")


async def test_a_front_follows_a_record_that_went_back(layers: Layers) -> None:
    """A backup was restored: what was shown since is dead once somebody authorizes again."""
    await layers.store.commit(KEY, 0, layers.token(1), "one")
    backup = layers.kept._entries[KEY].row
    for generation in (2, 3):
        await layers.store.commit(KEY, generation - 1, layers.token(generation), "one")
    layers.kept._entries[KEY].row = backup
    authorized = layers.token(2, token=Token(access_token="authorized", expires_in=LIFE))
    assert await layers.store.commit(KEY, 1, authorized, "one")
    assert layers.in_front() == (2, "authorized")


async def test_a_record_of_the_same_generation_takes_its_place(layers: Layers) -> None:
    """Tokens of an app that came at once have the same number."""
    await layers.store.commit(KEY, 0, layers.token(1), "one")
    other = layers.token(1, token=Token(access_token="other", expires_in=LIFE))
    await layers.store.commit(KEY, 1, other, "one")
    assert layers.in_front() == (1, "other")


async def test_the_front_follows_a_rewrap(layers: Layers) -> None:
    """Or the key that is retired would still be needed to read it."""
    await EncryptedStore(layers.store, keys=[OLD]).commit(KEY, 0, layers.token(1), "one")
    assert await EncryptedStore(layers.store, keys=[NEW, OLD]).rewrap(KEY) is Rewrapped.DONE
    layers.record.calls.clear()
    reading = await EncryptedStore(layers.store, keys=[NEW]).peek(KEY)
    assert reading.record == _seen(layers.token(1))
    assert layers.record.calls == []


async def test_what_cannot_be_read_in_front_is_replaced(layers: Layers) -> None:
    """Its key is gone: the record has what it was, and the front is not left alone for it."""
    await LayeredStore(layers.record, EncryptedStore(layers.front, keys=[OLD])).commit(KEY, 0, layers.token(1), "one")
    store = LayeredStore(layers.record, EncryptedStore(layers.front, keys=[NEW]))
    assert (await store.peek(KEY)).record == layers.token(1)
    assert await store.commit(KEY, 1, layers.token(2), "one")
    layers.record.calls.clear()
    assert (await store.peek(KEY)).record == _seen(layers.token(2))
    assert layers.record.calls == []


async def test_a_front_that_is_down_is_as_if_it_were_absent(layers: Layers) -> None:
    """Nothing fails, and it is not asked again by each call."""
    layers.front.down = {"peek", "commit", "forget", "wait"}
    store = layers.store
    assert await store.commit(KEY, 0, layers.token(1), "one")
    assert (await store.peek(KEY)).record == layers.token(1)
    assert await store.condemn(KEY, 1, "invalid_grant")
    await store.wait(KEY, 1, 0.01)
    await store.forget(KEY)
    assert (await store.peek(KEY)).generation == 2
    assert layers.front.calls == ["peek"]
    assert layers.in_front() == (0, None)


async def test_a_record_that_is_down_after_a_commit_does_not_undo_it(layers: Layers) -> None:
    layers.record.down = {"begin"}
    assert await layers.store.commit(KEY, 0, layers.token(1), "one")


async def test_a_wait_ends_when_the_front_changes(layers: Layers) -> None:
    """The database is not asked meanwhile."""
    await layers.store.commit(KEY, 0, layers.token(1), "one")
    waiting = asyncio.ensure_future(layers.store.wait(KEY, 1, 60.0))
    await turns()
    assert layers.front.calls[-1] == "wait"
    await layers.store.commit(KEY, 1, layers.token(2), "one")
    await asyncio.wait_for(waiting, 0.5)
    assert "wait" not in layers.record.calls


@pytest.mark.parametrize("trouble", ["lags", "fails"])
async def test_a_wait_goes_on_at_the_record_if_the_front_lags_or_fails(layers: Layers, trouble: str) -> None:
    """A front that lags would end each wait at once."""
    await layers.store.commit(KEY, 0, layers.token(1), "one")
    if trouble == "fails":
        layers.front.down = {"wait"}
    else:
        await layers.kept.commit(KEY, 1, layers.token(2), "elsewhere")
    await layers.store.wait(KEY, 1 if trouble == "fails" else 2, 0.01)
    assert layers.record.calls[-1] == "wait"


async def test_both_are_entered_and_left(layers: Layers) -> None:
    async with layers.store:
        assert (layers.record.users, layers.front.users) == (1, 1)
    assert (layers.record.users, layers.front.users) == (0, 0)


async def test_a_front_that_does_not_close_does_not_keep_the_record_open(layers: Layers) -> None:
    class Stubborn(MemoryStore):
        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
        ) -> None:
            raise ConnectionError("gone")

    async with LayeredStore(layers.record, Stubborn()):
        pass
    assert layers.record.users == 0


async def test_the_record_decides_what_the_two_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A front in memory is fine for a person's token that a database keeps."""
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    durable = FaultyStore(MemoryStore(), durable=True)
    assert LayeredStore(durable, MemoryStore()).durable
    assert LayeredStore(durable, MemoryStore()).rotating_risk is None
    assert not LayeredStore(MemoryStore(), durable).durable
    assert LayeredStore(MemoryStore(), durable).rotating_risk == MemoryStore().rotating_risk is not None
    with pytest.raises(MisuseError, match="FaultyStore cannot list its keys"):
        await LayeredStore(durable, MemoryStore()).keys()
    assert not can_survey(LayeredStore(durable, MemoryStore()))
    with pytest.raises(MisuseError, match="FaultyStore cannot count its identities"):
        await LayeredStore(durable, MemoryStore()).survey()
