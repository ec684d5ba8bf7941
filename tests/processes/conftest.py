"""Places that processes share: each kind of store, on real servers."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.processes.place import Place
from tests.processes.servers import server_of
from tests.stores.postgres import postgres


def place_of(kind: str, folder: Path) -> Place:
    """Return a new place of that kind."""
    match kind:
        case "sqlite":
            return Place(f"sqlite:///{folder}/private/tokens.sqlite3")
        case "postgres":
            return Place(postgres().database())
        case "redis" | "valkey":
            return Place(server_of(kind).url)
        case "encrypted":
            return Place(f"sqlite:///{folder}/sealed/tokens.sqlite3", keys=(_key(),))
        case "layered":
            return Place(postgres().database(), front=server_of("redis").url, keys=(_key(),))
        case _:
            raise ValueError(kind)


def _key() -> str:
    return Fernet.generate_key().decode()


@pytest.fixture
def _nothing_blocks() -> None:
    """What happens here to processes and servers happens in the middle of things: it may block."""
