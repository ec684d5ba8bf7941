"""Everything that a store writes to disk, searched for tokens (S49)."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.processes.servers import server_of
from zoom_async_auth import Token
from zoom_async_auth.stores.base import Record, Store
from zoom_async_auth.stores.encrypted import EncryptedStore
from zoom_async_auth.stores.redis import RedisStore
from zoom_async_auth.stores.sql import SQLStore

CANARIES = (b"canary-access-token", b"canary-refresh-token")


def _opened(kind: str, folder: Path) -> tuple[Store, Path]:
    """Return a store, and the folder in which all that it keeps ends up."""
    if kind == "sqlite":
        return SQLStore(f"sqlite:///{folder}/private/tokens.sqlite3"), folder
    server = server_of(kind)
    if kind == "postgres":
        return SQLStore(server.database()), server.folder  # type: ignore[union-attr]
    return RedisStore(server.url, allow_rotating=True), server.folder


async def _kept(store: Store, marker: str) -> None:
    """Go through all that writes, with tokens that can be told from others."""
    token = Token(
        access_token=f"canary-access-token-{marker}", refresh_token=f"canary-refresh-token-{marker}", expires_in=3600.0
    )
    async with store:
        key = f"app/{marker}"
        now = (await store.peek(key)).now
        for generation in range(3):
            await store.begin(key, generation, "holder", 10.0)
            record = Record(generation=generation + 1, token=token, issued_at=now, expires_at=now + 3600.0)
            assert await store.commit(key, generation, record, "holder")
        await store.begin(key, 3, "holder", 10.0)
        await store.release(key, "holder", doubt=True)
        await store.condemn(key, 3, "invalid_grant")
        assert (await store.peek(key)).record is not None


def _files(folder: Path) -> Iterator[bytes]:
    for path in folder.rglob("*"):
        if path.is_file() and "install" not in path.parts:
            yield path.read_bytes()


def _found(folder: Path, marker: str) -> list[bytes]:
    canaries = [canary + b"-" + marker.encode() for canary in CANARIES]
    contents = list(_files(folder))
    return [canary for canary in canaries if any(canary in content for content in contents)]


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis", "valkey"])
async def test_nothing_on_disk_shows_a_token_that_was_sealed(tmp_path: Path, kind: str) -> None:
    """Not the file or its log, not the database or its journal. The same search finds what was not sealed."""
    store, folder = await asyncio.to_thread(_opened, kind, tmp_path)
    await _kept(EncryptedStore(store, keys=[Fernet.generate_key()]), "sealed")
    assert await asyncio.to_thread(_found, folder, "sealed") == []

    await _kept(store, "open")
    if kind == "postgres":
        await asyncio.to_thread(server_of("postgres").sql, "CHECKPOINT")  # type: ignore[union-attr]
    assert len(await asyncio.to_thread(_found, folder, "open")) == 2
