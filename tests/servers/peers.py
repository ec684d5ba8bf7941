"""Authorization servers that others wrote, each in a process of its own on a free port of loopback."""

import contextlib
import importlib.util
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import NoReturn

import aiohttp
import pytest

from tests.servers import django_toolkit
from zoom_async_auth import ClientCredentials, UserOAuth

OIDC_PROVIDER = "oidc-provider@9.13.3"

REDIRECT_URI = "https://app.example/callback"
PERSON = "alice"
PASSWORD = "wonderland"
_SECRET = "a-secret-of-letters-without-a-need-to-be-quoted"

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
_INSTALLING = 150.0
"""Seconds for npm."""
_STARTING = 60.0
"""Seconds for a server, on a machine that is busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server that runs.

    Attributes:
        url: Its origin.
        robot: An app that acts for itself.
        person: An app that acts for a person who comes with a browser.
        device: An app that acts for a person whose browser is elsewhere.
    """

    url: str
    robot: ClientCredentials
    person: UserOAuth
    device: UserOAuth

    @property
    def passport(self) -> Mapping[str, str]:
        """What the person can fill in, by the fields of either server's page."""
        return {"username": PERSON, "login": PERSON, "password": PASSWORD}

    async def is_alive(self, token: str) -> bool:
        """Ask the server whether a token works (RFC 7662)."""
        basic = aiohttp.encode_basic_auth(self.person.client_id, _SECRET)
        async with (
            aiohttp.ClientSession(headers={"Authorization": basic}) as session,
            session.post(f"{self.url}/oauth/introspect", data={"token": token}) as response,
        ):
            assert response.status == HTTPStatus.OK
            active: bool = (await response.json())["active"]
            return active


def missing(component: str) -> NoReturn:
    """Skip on a machine that lacks something; in CI nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"CI lacks {component}")
    pytest.skip(f"there is no {component}")


@contextlib.contextmanager
def oidc_provider(folder: Path) -> Iterator[Peer]:
    """Run oidc-provider, which Node.js needs and npm installs once."""
    client_id = "all-grants"
    node = shutil.which("node") or missing("node")
    command = [node, str(_HERE / "oidc_provider.mjs"), client_id, _SECRET, REDIRECT_URI]
    with _running(command, cwd=_installed(OIDC_PROVIDER), log=folder / "oidc-provider.log") as url:
        user = UserOAuth(client_id=client_id, client_secret=_SECRET)
        yield Peer(
            url=url,
            robot=ClientCredentials(client_id=client_id, client_secret=_SECRET),
            person=user,
            device=user,
        )


@contextlib.contextmanager
def django_oauth_toolkit(folder: Path) -> Iterator[Peer]:
    """Run django-oauth-toolkit on this Python, with its database in `folder`."""
    if importlib.util.find_spec("oauth2_provider") is None:
        missing("django-oauth-toolkit")
    database = str(folder / "django.sqlite3")
    command = [sys.executable, "-m", django_toolkit.__name__, database, REDIRECT_URI, _SECRET, PERSON, PASSWORD]
    with _running(command, cwd=_ROOT, log=folder / "django.log") as url:
        yield Peer(
            url=url,
            robot=ClientCredentials(client_id="robot", client_secret=_SECRET),
            person=UserOAuth(client_id="person", client_secret=_SECRET),
            device=UserOAuth(client_id="device", client_secret=_SECRET),
        )


def _installed(package: str) -> Path:
    """Return the folder in which an npm package of this very version is installed; the next run finds it there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoom_async_auth"
    folder = cache / package
    if not folder.exists():
        npm = shutil.which("npm") or missing("npm")
        cache.mkdir(parents=True, exist_ok=True)
        half_done = Path(tempfile.mkdtemp(dir=cache))
        try:
            _install(npm, package, half_done)
            with contextlib.suppress(OSError):  # another run was faster
                half_done.rename(folder)
        finally:
            shutil.rmtree(half_done, ignore_errors=True)
    return folder


def _install(npm: str, package: str, folder: Path) -> None:
    (folder / "package.json").write_text('{"private": true}\n')
    options = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact"]
    done = subprocess.run(
        [npm, "install", *options, package],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_INSTALLING,
        check=False,
    )
    if done.returncode:
        missing(f"{package}: npm says {done.stderr.strip()}")


@contextlib.contextmanager
def _running(command: Sequence[str], *, cwd: Path, log: Path) -> Iterator[str]:
    """Run a server; its first line is its URL."""
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], _STARTING)
            url = process.stdout.readline().strip() if ready else ""
            if not url:
                pytest.fail(f"the server did not start: {log.read_text()}")
            yield url
        finally:
            process.kill()
