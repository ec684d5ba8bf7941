"""The clients, installed once, and a sandbox under Zoom's names for each test."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.clients.installed import node_packages, python_with
from tests.clients.stage import Scenery, Stage
from tests.servers.peers import missing
from zoom_async_auth.sandbox import Sandbox


@pytest.fixture(scope="session")
def enter() -> Sequence[str]:
    """The command that runs another one in namespaces of its own, and ends with all that it has started."""
    unshare = shutil.which("unshare") or missing("unshare")
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = [unshare, *as_root, "--mount", "--net", "--pid", "--fork", "--kill-child"]
    mount = shutil.which("mount") or missing("mount")
    trial = [*command, mount, "--bind", "/etc/hosts", "/etc/hosts"]
    tried = subprocess.run(trial, capture_output=True, text=True, check=False)
    if tried.returncode:
        missing(f"permission to make namespaces and to mount in them: {tried.stderr.strip()}")
    return command


@pytest.fixture(scope="session")
def rivet() -> Path:
    """A folder with the client that Zoom publishes itself."""
    if shutil.which("node") is None:
        missing("node")
    return node_packages("@zoom/rivet@0.4.0")


@pytest.fixture(scope="session")
def python() -> str:
    """A Python with the clients of others."""
    return str(python_with("pyzoom==1.0.8", "zoomus==1.2.1", "zoom-python-client==0.2.3"))


@pytest.fixture(scope="session")
def scenery(tmp_path_factory: pytest.TempPathFactory) -> Scenery:
    return Scenery.built(tmp_path_factory.mktemp("scenery"))


@pytest.fixture
async def stage(enter: Sequence[str], scenery: Scenery) -> AsyncIterator[Stage]:
    sandbox = Sandbox()
    async with sandbox as zoom:
        zoom.url = "https://api.zoom.us"  # what the answers say, as Zoom's do
        assert sandbox._runner is not None
        yield Stage(zoom, runner=sandbox._runner, scenery=scenery, enter=enter)
