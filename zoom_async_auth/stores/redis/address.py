"""Which URLs of a Redis store are taken, and what they say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.stores.urls import QUOTE, require_parameters

_FORM: Final = "redis://user:password@host:6379/0"
_KINDS: Final[Mapping[str, type[Connection | UnixDomainSocketConnection]]] = {
    "redis": Connection,
    "valkey": Connection,
    "rediss": SSLConnection,
    "valkeys": SSLConnection,
    "unix": UnixDomainSocketConnection,
}
_PARAMETERS: Final[Mapping[type, frozenset[str]]] = {
    Connection: frozenset({"db"}),
    SSLConnection: frozenset({"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}),
    UnixDomainSocketConnection: frozenset({"db"}),
}


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server is, and who we are there.

    Attributes:
        url: For people: without user and password.
        place: Where the server is, for people: `host:port`, or the path of a socket.
        kind: Of the connection to it.
        options: Of such a connection; a password may be among them.
    """

    url: str
    place: str
    kind: type[Connection | UnixDomainSocketConnection]
    options: Mapping[str, Any] = field(repr=False)


def parsed(url: str) -> Address:
    """Return what a URL says.

    Raises:
        ConfigurationError: No store can use it. The message says what to do, and shows no password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except (ValueError, TypeError, AttributeError):
        raise ConfigurationError(f"the URL of the store cannot be read: {_FORM}") from None
    kind = _KINDS.get(parts.scheme)
    if kind is None:
        raise ConfigurationError(
            f"no RedisStore for such a URL: {_FORM}, rediss:// or unix://; for SQLite and PostgreSQL use SQLStore"
        )
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    require_parameters(parameters, _PARAMETERS[kind])
    if kind is not UnixDomainSocketConnection and "@" in parts.path + parts.fragment:
        raise ConfigurationError(f"the URL of the store has an @ behind the host: {QUOTE}")
    options: dict[str, Any] = {**parameters, **_user(parts)}
    if kind is UnixDomainSocketConnection:
        return _of_socket(parts, options)
    options["db"] = _number(parameters.get("db", parts.path.removeprefix("/") or "0"))
    if not parts.hostname:
        raise ConfigurationError(f"the URL of the store names no host: {_FORM}")
    options |= {"host": unquote(parts.hostname), "port": port or 6379, "socket_keepalive": True}
    if kind is SSLConnection:
        options |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True}  # older redis-py leaves out the name
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{host}:{options['port']}"
    return Address(url=f"{parts.scheme}://{place}/{options['db']}", place=place, kind=kind, options=options)


def _of_socket(parts: SplitResult, options: dict[str, Any]) -> Address:
    if parts.netloc.rpartition("@")[2] or not parts.path:  # what stands there may be the beginning of a password
        raise ConfigurationError("the URL of the store names no socket: unix:///path with three slashes")
    options |= {"path": unquote(parts.path), "db": _number(options.get("db", "0"))}
    return Address(
        url=f"unix://{parts.path}?db={options['db']}",
        place=options["path"],
        kind=UnixDomainSocketConnection,
        options=options,
    )


def _user(parts: SplitResult) -> dict[str, str]:
    given = {"username": parts.username, "password": parts.password}
    return {name: unquote(value) for name, value in given.items() if value}


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ConfigurationError(f"the URL of the store names no database by its number: {_FORM}")
    return int(text)
