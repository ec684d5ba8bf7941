"""The key in the keyring of the operating system, with which tokens are sealed where no other key is named.

Errors are returned: the frames here hold the key, and a traceback shows frames.
"""

import base64
import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from zoom_async_auth.cli.aside import aside
from zoom_async_auth.cli.terminal import progress
from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.extras import told_missing
from zoom_async_auth.oauth.secretive import secretive

SERVICE, NAME = "zoom-async-auth", "key of the token store"

PATIENCE = 60.0
"""Seconds: a person may have to unlock the keyring, and some keyrings never answer."""
_WAY_OUT = "unlock it, or set ZOOM_STORE_KEYS"


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class Keychain:
    """A keyring, and our key in it, if there is one."""

    name: str
    key: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoKeyring:
    """There is none, and why."""

    why: str


async def look_into_keyring(*, lock: Path | None = None, quiet: bool) -> Keychain | NoKeyring | ConfigurationError:
    """Return the keyring of this system, or why it cannot be used.

    Args:
        lock: The file that is locked while a key is made, if there is none; None: none is made.
        quiet: Whether nothing is shown while it takes long.
    """
    try:
        with progress("waiting for the keyring: does it want to be unlocked?", quiet=quiet):
            return await aside(partial(_look, lock), within=PATIENCE)
    except TimeoutError:
        return ConfigurationError(f"the keyring gave no answer within {PATIENCE:g} s: {_WAY_OUT}")


def _look(lock: Path | None) -> Keychain | NoKeyring | ConfigurationError:
    try:
        keyring: Any = import_module("keyring")
    except ModuleNotFoundError:
        return NoKeyring(f"no keyring can be asked ({told_missing('keyring', 'cli')})")
    try:
        ring = keyring.get_keyring()
        if ring.priority <= 0:  # stands for none at all
            return NoKeyring("this system has no keyring")
        key = ring.get_password(SERVICE, NAME)
        if key is None and lock is not None:
            key = _made(ring, lock)
            if isinstance(key, ConfigurationError):
                return key
        return Keychain(name=str(ring.name), key=key)
    except Exception as foreign:  # noqa: BLE001 -- a keyring may raise anything; only its class is told
        kind = type(foreign).__name__
    if kind == "NoKeyringError":
        return NoKeyring("this system has no keyring")
    return ConfigurationError(f"the keyring failed, {kind}: {_WAY_OUT}")


def _made(ring: Any, lock: Path) -> str | ConfigurationError:  # noqa: ANN401 -- a keyring
    """Make the key, unless another process has just done so: no keyring can look and put in one step."""
    private_file: Any = import_module("zoom_async_auth.stores.sql.private_file")  # it loads SQLAlchemy
    if refusal := private_file.make_private(str(lock)):
        return ConfigurationError(str(refusal))
    with closing(sqlite3.connect(lock, timeout=PATIENCE, isolation_level=None)) as held:
        held.execute("BEGIN EXCLUSIVE")  # until it is closed, or this process has ended
        if ring.get_password(SERVICE, NAME) is None:
            ring.set_password(SERVICE, NAME, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        key: str | None = ring.get_password(SERVICE, NAME)
    return key or ConfigurationError("the keyring did not keep the key that it was given: set ZOOM_STORE_KEYS")
