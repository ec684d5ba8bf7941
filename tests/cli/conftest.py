"""What the tests of the command share: its environment, and a run in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import zoom_async_auth

PACKAGE = Path(zoom_async_auth.__file__).parent


@pytest.fixture
def environment() -> dict[str, str]:
    """The command finds this very package, and no credentials; a warning is an error."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ZOOM_")}
    return {**kept, "PYTHONPATH": str(PACKAGE.parent), "PYTHONWARNINGS": "error", "PYTHONDEVMODE": ""}


@pytest.fixture
def run(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command to its end."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "zoom_async_auth", *arguments]
        return subprocess.run(command, env=environment | more, capture_output=True, encoding="utf-8", check=False)

    return run
