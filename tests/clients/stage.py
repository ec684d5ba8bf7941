"""Where published clients take a sandbox for Zoom."""

import asyncio
import json
import os
import shlex
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import trustme
from aiohttp import web

from zoom_async_auth.sandbox import Zoom

HERE = Path(__file__).parent
NAMES = ("zoom.us", "api.zoom.us")
"""What the clients know Zoom by."""

_PATIENCE = 45.0
"""Seconds for a client, on a machine that is busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenery:
    """What makes a client believe that it is out in the world.

    Attributes:
        tls: With a certificate for Zoom's names.
        hosts: A file that leads these names to this host.
        variables: Have a client trust the certificate, and open a browser with somebody at it.
    """

    tls: ssl.SSLContext
    hosts: Path
    variables: Mapping[str, str]

    @classmethod
    def built(cls, folder: Path) -> Self:
        """Make all that, with its files in a folder."""
        authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*NAMES).configure_cert(tls)
        trusted, hosts = folder / "authority.pem", folder / "hosts"
        authority.cert_pem.write_to_path(str(trusted))
        hosts.write_text(f"127.0.0.1 localhost {' '.join(NAMES)}\n")
        person = shlex.join([sys.executable, str(HERE / "person.py")])
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            # Each looks for authorities elsewhere: requests, OpenSSL, Node.js.
            **dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"), str(trusted)),
            "PERSON": person,
            "BROWSER": f"{person} %s &",
        }
        return cls(tls=tls, hosts=hosts, variables=variables)


class Stage:
    """A sandbox under Zoom's names.

    Args:
        zoom: The sandbox.
        runner: What serves it.
        scenery: What the clients see around it.
        enter: The command that runs another one in namespaces of its own.
    """

    def __init__(self, zoom: Zoom, *, runner: web.AppRunner, scenery: Scenery, enter: Sequence[str]) -> None:
        self.zoom = zoom
        self._runner = runner
        self._scenery = scenery
        self._enter = [*enter, sys.executable, str(HERE / "elsewhere.py")]

    async def run(self, *command: str, cwd: Path | None = None, variables: Mapping[str, str]) -> Any:
        """Run a client; return what it says in the end, which is JSON."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(_PATIENCE)
            process = await asyncio.create_subprocess_exec(
                *(*self._enter, str(theirs.fileno()), str(self._scenery.hosts), *command),
                cwd=cwd,
                env={**self._scenery.variables, **variables},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=[theirs.fileno()],
            )
            theirs.close()
            try:
                listener = await asyncio.to_thread(_received, ours)
                if listener is not None:
                    await web.SockSite(self._runner, listener, ssl_context=self._scenery.tls).start()
                async with asyncio.timeout(_PATIENCE):
                    said, complained = await process.communicate(b"\n")  # the Enter that some ask for
            finally:
                if process.returncode is None:
                    process.kill()  # and all that it has started
                    await process.wait()
        assert process.returncode == 0, complained.decode()
        return json.loads(said.decode().splitlines()[-1])


def _received(channel: socket.socket) -> socket.socket | None:
    """Return the socket that listens in there; None if the command has ended before."""
    _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    return socket.socket(fileno=descriptors[0]) if descriptors else None
