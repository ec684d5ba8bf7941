"""Keyrings of an operating system, for PYTHON_KEYRING_BACKEND: one that works, one that is locked, one that hangs."""

import json
import os
import time
from pathlib import Path
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
