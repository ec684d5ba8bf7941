"""Keyrings of an operating system, for PYTHON_KEYRING_BACKEND: one that works, and others that do not quite."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import ClassVar

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked


class FileKeyring(KeyringBackend):
    """Keeps passwords in the file that KEYRING_FILE names."""

    priority: ClassVar[float] = 5.0  # pyright: ignore[reportIncompatibleVariableOverride]

    def get_password(self, service: str, username: str) -> str | None:
        return self._kept().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._file.write_text(json.dumps({**self._kept(), f"{service}/{username}": password}))

    @property
    def _file(self) -> Path:
        return Path(os.environ["KEYRING_FILE"])

    def _kept(self) -> dict[str, str]:
        kept: dict[str, str] = json.loads(self._file.read_text()) if self._file.exists() else {}
        return kept


class LockedKeyring(FileKeyring):
    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked(f"the secret of {service} and {username} is locked")


class HangingKeyring(FileKeyring):
    def get_password(self, service: str, username: str) -> str | None:
        time.sleep(30.0)  # as one without a daemon does
        return super().get_password(service, username)


class BusyKeyring(FileKeyring):
    """Two look into it at the same time: who finds nothing waits for the other one to see that, too, if it can.

    Attributes:
        put: How many passwords it was given.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of keyring
        self.put = 0
        self._both = Barrier(2)

    def get_password(self, service: str, username: str) -> str | None:
        found = super().get_password(service, username)
        if found is None:
            with suppress(BrokenBarrierError):
                self._both.wait(1.0)
        return found

    def set_password(self, service: str, username: str, password: str) -> None:
        self.put += 1
        super().set_password(service, username, password)
