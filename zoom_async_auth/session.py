"""An aiohttp session on Zoom's API for one identity: its requests go where the identity's token says the API is.

What the token says comes from a server's answer: it counts if it is a host of Zoom's.
"""

from typing import Any

import aiohttp
from yarl import URL

from zoom_async_auth.bearer import BearerMiddleware, BearerSource, may_carry_bearer, origin_of
from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.origin import ZOOM
from zoom_async_auth.renewal.engine import Engine

_API_OF = {ZOOM: "https://api.zoom.us", "https://zoomgov.com": "https://api.zoomgov.com"}


def api_url_of(base_url: str, told: str | None) -> URL:
    """Return the origin of an account's API: what was told, if it is Zoom's, else what belongs to `base_url`.

    Args:
        base_url: Of the OAuth endpoints, where the token came from.
        told: The `api_url` that came with the token; None if there was none, or there is no token.
    """
    url = None if told is None else URL(told).origin()
    return url if url is not None and may_carry_bearer(url) else URL(_API_OF.get(base_url, base_url))


def routed(url: URL, *, base: URL, api_url: URL) -> URL:
    """Return where a session's request for `url` goes: what was meant for its `base` goes to `api_url`."""
    return url if api_url == base or url.origin() != base else api_url.join(url.relative())


def session_of(source: BearerSource, engine: Engine, key: str, /, **options: Any) -> aiohttp.ClientSession:  # noqa: ANN401 -- of ClientSession
    """Return a session that sends the bearer of `source`; the caller closes it.

    Args:
        source: Gives the token of `key`.
        engine: Holds that token, if there is one; asked anew for each request.
        key: Whose token it is.
        options: Further arguments of `aiohttp.ClientSession`.

    Raises:
        ConfigurationError: A `base_url` is among them.
        MisuseError, ManagerClosedError: The engine is not open, or belongs to another loop or process.
    """
    engine.require_open()
    if "base_url" in options:
        raise ConfigurationError(
            "a session's base_url is the token's api_url; for another one make an aiohttp.ClientSession(base_url, "
            "middlewares=[BearerMiddleware(manager)])"
        )

    def api_url() -> URL:
        slot = engine.slots.get(key)
        held = None if slot is None else slot.held
        return api_url_of(engine.base_url, None if held is None else held.token.api_url)

    base = api_url()
    bearer = BearerMiddleware(
        source,
        allowed=(origin_of(URL(engine.base_url)),),
        route=lambda url: routed(url, base=base, api_url=api_url()),
    )
    return aiohttp.ClientSession(base, middlewares=(*options.pop("middlewares", ()), bearer), **options)
