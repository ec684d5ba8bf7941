"""What others have published, installed once: the next run finds it."""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.servers.peers import missing

_INSTALLING = 150.0
"""Seconds for npm or pip."""


def node_packages(*packages: str) -> Path:
    """Return a folder in which these npm packages, of these very versions, are installed."""
    npm = shutil.which("npm") or missing("npm")
    options = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact"]

    def fill(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true}\n')
        _install([npm, "install", *options, *packages], folder)

    return _kept("node", packages, fill)


def python_with(*packages: str) -> Path:
    """Return a Python that has these packages, of these very versions, and not ours."""

    def fill(folder: Path) -> None:
        venv.create(folder, symlinks=True)
        python = str(folder / "bin" / "python")
        _install([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *packages], folder)

    return _kept(f"python-{platform.python_version()}", packages, fill) / "bin" / "python"


def _kept(kind: str, packages: Sequence[str], fill: Callable[[Path], None]) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoom_async_auth"
    folder = cache / "+".join([kind, *packages]).replace("/", "_")
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        half_done = Path(tempfile.mkdtemp(dir=cache))
        try:
            fill(half_done)
            with contextlib.suppress(OSError):  # another run was faster
                half_done.rename(folder)
        finally:
            shutil.rmtree(half_done, ignore_errors=True)
    return folder


def _install(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_INSTALLING, check=False)
    if done.returncode:
        missing(f"{command[-1]}: {done.stderr.strip()}")
