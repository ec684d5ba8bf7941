"""The origin of a URL (RFC 6454), if secrets may go there: https, or http to this very host."""

import re

from zoom_async_auth.errors import ConfigurationError

ZOOM = "https://zoom.us"
"""Where Zoom's OAuth is, unless somebody says otherwise."""

# An allow-list of characters: user info, backslashes, blanks and controls, on which parsers disagree, match nothing.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9](?:[a-z0-9.\-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>(?:[/?#][!-\[\]-~]*)?)",
    re.ASCII | re.IGNORECASE,
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_DEFAULT_PORTS = {"https": 443, "http": 80}
_LAST_PORT = 65535
_LONGEST_LABEL = 63  # RFC 1035, section 2.3.4: name servers are not asked for longer ones, resolvers raise


def safe_origin(url: str) -> str | None:
    """Return `scheme://host[:port]` in lower case without a default port, or None if no secret may go there."""
    match = _URL.fullmatch(url) if isinstance(url, str) else None
    if match is None:
        return None
    scheme, host = match["scheme"].lower(), match["host"].lower()
    if not all(0 < len(label) <= _LONGEST_LABEL for label in host.split(".")):
        return None
    port = int(match["port"] or _DEFAULT_PORTS[scheme])
    if port > _LAST_PORT or (scheme == "http" and host not in _LOOPBACK):
        return None
    return f"{scheme}://{host}" if port == _DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{port}"


def require_base_url(base_url: str) -> str:
    """Return the origin that `base_url` is.

    Raises:
        ConfigurationError: It is not https (loopback excepted), or it is more than an origin.
    """
    origin = safe_origin(base_url)
    match = None if origin is None else _URL.fullmatch(base_url)
    if origin is None or match is None or match["rest"] not in {"", "/"}:
        raise ConfigurationError(
            "base_url (ZOOM_BASE_URL) must be https://host[:port] without a path; http is for loopback only"
        )
    return origin
