"""The way to Zoom, step by step: name, connection, certificate, and the time that the server says it is. It blocks."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from zoom_async_auth.cli.findings import Finding, fail, ok, warn
from zoom_async_auth.clock import SystemClock

_PATIENCE = 10.0
_DAY = 24 * 3600.0
_SOON = 14 * _DAY
_LARGE_SKEW, _LARGEST_SKEW = 30.0, 300.0
"""Seconds. Beyond the second one, signatures of webhooks are refused, and soon certificates are, too."""
_EXPIRED, _OTHER_NAME = 10, 62
"""Of OpenSSL, X509_V_ERR_*."""
_WALL = SystemClock().time


def reach(base_url: str) -> list[Finding]:
    """Go the way as far as it goes, and return what was found on it."""
    return list(_steps(base_url))


def _steps(base_url: str) -> Iterator[Finding]:
    parts = urlsplit(base_url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        known = {found[4][0] for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        yield fail("name", f"{host} is not found ({_reason(error)})", "check ZOOM_BASE_URL, the network and its DNS")
        return
    yield ok("name", f"{host} has {len(known)} address{'es' if len(known) > 1 else ''}")
    connection = (
        HTTPSConnection(host, port, timeout=_PATIENCE, context=ssl.create_default_context())
        if secure
        else HTTPConnection(host, port, timeout=_PATIENCE)
    )
    with closing(connection):
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            yield fail("certificate", str(error.verify_message or "is not valid"), _remedy(error))
            return
        except OSError as error:
            kind = "certificate" if isinstance(error, ssl.SSLError) else "connection"
            yield fail(kind, f"none to {host}:{port} ({_reason(error)})", "check the network, its firewall and proxy")
            return
        connected = connection.sock
        if isinstance(connected, ssl.SSLSocket):
            yield _certificate(connected)
        else:
            yield ok("connection", f"{host}:{port} on this host, without TLS")
        yield _clock(connection)


def _certificate(connected: ssl.SSLSocket) -> Finding:
    ends = (connected.getpeercert() or {}).get("notAfter")
    left = ssl.cert_time_to_seconds(str(ends)) - _WALL()
    told = f"valid for {left / _DAY:.0f} days, {connected.version()}"
    if left < _SOON:
        return warn("certificate", told, "whoever runs the server, or a proxy in between, has to renew it")
    return ok("certificate", told)


def _remedy(error: ssl.SSLCertVerificationError) -> str:
    match error.verify_code:
        case code if code == _EXPIRED:
            return "is this host's clock right? If so, whoever runs the server has to renew it"
        case code if code == _OTHER_NAME:
            return "somebody else answers under this name: check ZOOM_BASE_URL and DNS"
        case _:
            return "if a proxy of yours reads along, SSL_CERT_FILE has to name its certificate authority"


def _clock(connection: HTTPConnection) -> Finding:
    before = _WALL()
    try:
        connection.request("HEAD", "/oauth/token", headers={"Connection": "close"})
        date = connection.getresponse().getheader("Date")
        moment = None if date is None else parsedate_to_datetime(date).timestamp()
    except (OSError, HTTPException) as error:
        return fail("answer", f"there is none ({type(error).__name__})", "is it Zoom that listens there, or a proxy?")
    except ValueError:
        moment = None
    if moment is None:
        return warn("clock", "the server does not say what time it is", "see for yourself that this host's is right")
    skew = (before + _WALL()) / 2 - (moment + 0.5)  # its seconds are whole
    told = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server's"
    if abs(skew) <= _LARGE_SKEW:
        return ok("clock", told)
    return (fail if abs(skew) > _LARGEST_SKEW else warn)("clock", told, "set this host's clock, best by NTP")


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
