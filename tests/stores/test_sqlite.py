"""What a file can do to a store, and what is done for it: owners, modes, links, disks. The rest is in test_sql.py."""

import asyncio
import contextlib
import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zoom_async_auth import StoreError, Token
from zoom_async_auth.stores.base import Begun, Record
from zoom_async_auth.stores.sql import SQLStore
from zoom_async_auth.stores.sql.private_file import make_private

ONE_LOOP = pytest.mark.asyncio(loop_factories=["plain"])

AS_ROOT = os.geteuid() == 0
NOBODY = 65534
LEASE = 20.0


def a_record(generation: int, *, access_token: str = "access", refresh_token: str = "refresh") -> Record:
    token = Token(access_token=access_token, refresh_token=refresh_token, expires_in=3600.0)
    return Record(generation=generation, token=token, issued_at=1e9, expires_at=1e9 + 3600)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "tokens.db"


@pytest.fixture
def store(path: Path) -> SQLStore:
    return SQLStore(f"sqlite:///{path}")


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {found.name: f"{stat.S_IMODE(found.stat().st_mode):o}" for found in (folder, *folder.iterdir())}


def refusal_of(store: SQLStore) -> str:
    """Return why the store refused its file; it goes on to refuse, and waiting does not help."""

    async def use() -> set[str]:
        async with store:
            refusals = [await begin(store), await begin(store)]
        assert not any(refusal.transient for refusal in refusals)
        return set(map(str, refusals))

    async def begin(store: SQLStore) -> StoreError:
        with pytest.raises(StoreError) as caught:
            await store.begin("key", 0, "one", LEASE)
        return caught.value

    (told,) = asyncio.run(use())
    return told


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
@ONE_LOOP
async def test_s32_the_file_and_what_lies_beside_it_are_the_users_alone(path: Path, store: SQLStore, mask: int) -> None:
    with umask(mask):
        async with store:
            await store.commit("key", 0, a_record(1), "one")
            assert await asyncio.to_thread(modes, path.parent) == {
                "folder": "700",
                "tokens.db": "600",
                "tokens.db-wal": "600",
                "tokens.db-shm": "600",
            }


def test_a_folder_that_is_missing_above_that_of_the_file_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    """It is a typing error, mostly: a store that is made elsewhere is an empty one, and the tokens are missed."""
    told = refusal_of(SQLStore(f"sqlite:///{tmp_path}/missing/folder/tokens.db"))

    assert told == f"there is no folder '{tmp_path}/missing': correct the path of the store's file, or make that folder"
    assert not list(tmp_path.iterdir())


@ONE_LOOP
async def test_s32_a_file_that_is_gone_is_made_anew_by_us_and_not_by_sqlite(path: Path, store: SQLStore) -> None:
    """Which would give it the mode of the umask."""
    with umask(0):
        async with store:
            await store.peek("key")
            await asyncio.to_thread(path.unlink)
            await store.peek("key")
            assert (await asyncio.to_thread(modes, path.parent))["tokens.db"] == "600"


@ONE_LOOP
async def test_a_file_that_took_the_place_of_the_open_one_is_the_one_that_counts(path: Path, store: SQLStore) -> None:
    """A backup that was put back: a process that goes on with the old file would write to where nobody reads (S36)."""
    async with store, SQLStore(f"sqlite:///{path}") as other:
        await store.commit("key", 0, _record(1), "one")
        async with SQLStore(f"sqlite:///{path}") as closing:  # the last one to leave writes the log into the file
            await closing.peek("key")
        await asyncio.to_thread(_backup, path, path.with_name("backup.db"))
        await store.commit("key", 1, _record(2), "one")
        for name in ("tokens.db-wal", "tokens.db-shm"):
            await asyncio.to_thread(path.with_name(name).unlink)
        await asyncio.to_thread(path.with_name("backup.db").replace, path)
        assert (await other.peek("key")).generation == 1
        assert (await store.peek("key")).generation == 1
        assert await store.commit("key", 1, _record(3), "one") is True
        assert (await other.peek("key")).generation == 3


def _backup(path: Path, target: Path) -> None:
    target.touch(0o600)
    with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


def _record(generation: int) -> Record:
    token = Token(access_token="access", refresh_token="refresh", expires_in=3600.0)
    return Record(generation=generation, token=token, issued_at=1.0, expires_at=3601.0)


PLANTS: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda path, target: path.symlink_to(target),
    "link to nothing": lambda path, target: path.symlink_to(target.with_name("nothing")),
    "hard link": lambda path, target: path.hardlink_to(target),
    "fifo": lambda path, _target: os.mkfifo(path, 0o600),
    "folder": lambda path, _target: path.mkdir(0o700),
}


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_s33_what_is_no_file_of_ours_is_refused_and_its_target_untouched(
    path: Path, store: SQLStore, plant: Callable[[Path, Path], object], suffix: str, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    target.chmod(0o600)
    path.parent.mkdir(0o700)
    plant(path.with_name(path.name + suffix), target)

    told = refusal_of(store)

    assert "is a link, a folder or a device" in told or "has another name" in told
    assert target.read_text() == "precious"
    assert not target.with_name("nothing").exists()


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_s34_a_file_that_others_may_read_is_refused(path: Path, store: SQLStore, mode: int) -> None:
    """Not tightened in silence: they may have read it."""
    path.parent.mkdir(0o700)
    path.touch()
    path.chmod(mode)

    assert "chmod 600" in refusal_of(store)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_s34_a_folder_that_others_may_write_to_is_refused(path: Path, store: SQLStore, mode: int) -> None:
    """A sticky one as well: SQLite creates its -wal anew, through any link that lies there then."""
    path.parent.mkdir()
    path.parent.chmod(mode)

    assert "chmod 700" in refusal_of(store)
    assert not path.exists()


@pytest.mark.skipif(not AS_ROOT, reason="only root can give a file away")
def test_s34_a_file_or_a_folder_of_another_user_is_refused(path: Path, store: SQLStore) -> None:
    path.parent.mkdir(0o700)
    path.touch(0o600)
    os.chown(path, NOBODY, NOBODY)
    assert "chown" in refusal_of(store)

    path.unlink()
    os.chown(path.parent, NOBODY, NOBODY)
    assert "belongs to another user" in refusal_of(store)


def test_a_path_that_cannot_become_a_file_stays_an_error_until_somebody_changes_it(tmp_path: Path) -> None:
    """Not one that goes away by itself, as a lack of descriptors does."""
    (tmp_path / "file").touch()
    refusal = make_private(f"{tmp_path}/file/tokens.db")
    assert refusal is not None
    assert not refusal.transient
    assert str(refusal).endswith(
        "Not a directory; let the user that runs this program write to its folder, or name a file elsewhere"
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        passing = make_private(f"{tmp_path}/tokens.db")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert passing is not None
    assert passing.transient


def test_the_locks_on_a_file_outlive_another_store_of_the_same_process(path: Path, store: SQLStore) -> None:
    """To open a file and close it again would drop the locks that this process has on it otherwise (fcntl)."""

    async def use(store: SQLStore) -> None:
        async with store:
            await store.commit("key", 0, a_record(1), "one")

    asyncio.run(use(store))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode = DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        assert make_private(str(path), f"{path}-wal", f"{path}-shm") is None
        program = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "database is locked" in other.stderr


@contextlib.contextmanager
def disk_that_takes(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size`: a write fails, as on a disk that is full or broken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@ONE_LOOP
async def test_f60_a_write_that_fails_leaves_the_old_record(path: Path, store: SQLStore) -> None:
    """And the store writes again when the disk does."""
    async with store:
        await store.commit("key", 0, a_record(1), "one")
        wal = path.with_name(f"{path.name}-wal")
        with disk_that_takes((await asyncio.to_thread(wal.stat)).st_size):
            with pytest.raises(StoreError, match=r"SQLITE_(FULL|IOERR)"):
                await store.begin("key", 1, "one", LEASE)
            with pytest.raises(StoreError, match=r"SQLITE_(FULL|IOERR)"):
                await store.commit("key", 1, a_record(2), "one")
            reading = await store.peek("key")
        assert (reading.record, reading.intents) == (a_record(1), ())
        assert await store.commit("key", 1, a_record(2), "one") is True


@ONE_LOOP
async def test_f60_a_database_that_is_full_leaves_the_old_record(store: SQLStore) -> None:
    async with store:
        await store.commit("key", 0, a_record(1), "one")
        async with store._door.home()._engine.connect() as connection:  # the only one there is
            await connection.exec_driver_sql("PRAGMA max_page_count = 2")
        with pytest.raises(StoreError, match="SQLITE_FULL"):
            await store.commit("key", 1, a_record(2, refresh_token="x" * 16_000), "one")
        assert (await store.peek("key")).record == a_record(1)
        async with store._door.home()._engine.connect() as connection:
            await connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        assert await store.commit("key", 1, a_record(2, refresh_token="x" * 16_000), "one") is True


@pytest.fixture
def folder_of_somebody() -> Iterator[Path]:
    """Be a user whom modes hold back, as root is not, and have a folder of one's own."""
    folder = Path(tempfile.mkdtemp())
    if AS_ROOT:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    yield folder
    if AS_ROOT:
        os.seteuid(0)
    shutil.rmtree(folder)


@ONE_LOOP
async def test_f62_a_file_that_cannot_be_written_is_found_by_begin(folder_of_somebody: Path) -> None:
    path = folder_of_somebody / "tokens.db"
    async with SQLStore(f"sqlite:///{path}") as store:
        await store.commit("key", 0, a_record(1), "one")
    await asyncio.to_thread(path.chmod, 0o400)
    async with store:
        assert (await store.peek("key")).generation == 1
        with pytest.raises(StoreError, match="SQLITE_READONLY"):
            await store.begin("key", 1, "one", LEASE)
        facts = await store.check()
    assert [fact.what for fact in facts if not fact.ok] == ["can be written"]


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_f59_a_file_that_is_damaged_is_left_as_it_is(path: Path, store: SQLStore, content: bytes) -> None:
    path.parent.mkdir(0o700)
    path.touch(0o600)
    path.write_bytes(content)

    assert "SQLITE_NOTADB" in refusal_of(store)
    assert path.read_bytes() == content


@ONE_LOOP
async def test_f59_text_that_is_no_text_is_damaged(path: Path, store: SQLStore) -> None:
    """sqlite3 says so by an error that shows it."""
    async with store:
        await store.commit("key", 0, a_record(1), "one")
        with contextlib.closing(await asyncio.to_thread(sqlite3.connect, path, check_same_thread=False)) as past:
            await asyncio.to_thread(past.execute, "UPDATE zoom_async_auth_tokens SET payload = CAST(X'7BFF' AS TEXT)")
            await asyncio.to_thread(past.commit)
        with pytest.raises(StoreError, match="damaged") as caught:
            await store.peek("key")
        assert not caught.value.transient


@pytest.mark.parametrize("column", ["generation", "issued_at", "expires_at", "leased_until", "payload", "holder"])
@ONE_LOOP
async def test_f59_a_column_of_another_type_is_damaged(path: Path, store: SQLStore, column: str) -> None:
    """A column of SQLite takes anything."""
    async with store:
        await store.commit("key", 0, a_record(1), "one")
        with contextlib.closing(await asyncio.to_thread(sqlite3.connect, path, check_same_thread=False)) as past:
            await asyncio.to_thread(past.execute, f"UPDATE zoom_async_auth_tokens SET {column} = X'00'")  # noqa: S608
            await asyncio.to_thread(past.commit)
        with pytest.raises(StoreError, match="damaged"):
            await store.commit("key", 1, a_record(2), "one")
        if column == "generation":
            with pytest.raises(StoreError, match="damaged"):
                await store.forget("key")


@ONE_LOOP
async def test_what_is_forgotten_is_gone_from_the_file(path: Path, store: SQLStore) -> None:
    async with store:
        await store.commit("key", 0, a_record(1, refresh_token="canary" * 2000), "one")
        await store.commit("key", 1, a_record(2, access_token="canary"), "one")
        await store.forget("key")

    assert await asyncio.to_thread(os.listdir, path.parent) == ["tokens.db"]
    assert b"canary" not in await asyncio.to_thread(path.read_bytes)


@ONE_LOOP
async def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    async with SQLStore(f"sqlite:///{tmp_path}/a b#c/tokens.db") as store:
        assert isinstance(await store.begin("key", 0, "one", LEASE), Begun)

    folder = tmp_path / "a b#c"
    assert await asyncio.to_thread(os.listdir, tmp_path) == [folder.name]
    assert (await asyncio.to_thread((folder / "tokens.db").stat)).st_size > 0
