"""Whether an app should be sent requests now, and if not, when again: for any web framework."""

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Final

from zoom_async_auth.errors import ManagerClosedError, MisuseError, StoreError, ZoomAuthError
from zoom_async_auth.integrations.pages import Reply, json_reply
from zoom_async_auth.manager import TokenManager
from zoom_async_auth.pool import PoolHealth, TokenPool
from zoom_async_auth.renewal.health import Health

Opens = Callable[[], AbstractAsyncContextManager[TokenManager | TokenPool]]
"""Makes what an app opens when it starts, and closes when it ends."""

_RETRY_AFTER: Final = 10.0  # seconds, where nothing is known


def require_maker(opens: object) -> None:
    """Raise `MisuseError` unless `opens` can be called: an app that starts again needs another manager."""
    if not callable(opens):
        raise MisuseError(
            f"pass a callable that makes a {type(opens).__name__}, not an object: TokenManager.from_env, without ()"
        )


def health_reply(health: Health | PoolHealth) -> Reply:
    """Answer a readiness probe: 200 if requests should be sent here, else 503.

    An app that waits for a person's consent is ready for that: out of service it would wait for ever. A pool whose app
    Zoom holds back has tokens that live on.
    """
    if isinstance(health, Health):
        fit, told = health.ready or health.state in {"unauthorized", "dead"}, _told(health)
    else:
        fit, told = health.ready or health.last_error is not None, _told_of_pool(health)
    return json_reply(HTTPStatus.OK if fit else HTTPStatus.SERVICE_UNAVAILABLE, told)


def _told(health: Health) -> dict[str, object]:
    return {
        "state": health.state,
        "ready": health.ready,
        "durable": health.durable,
        "generation": health.generation,
        "seconds_left": health.seconds_left,
        "next_attempt": health.next_attempt,
        "last_error": _text_of(health.last_error),
    }


def _told_of_pool(pool: PoolHealth) -> dict[str, object]:
    return {  # not `dead_keys`: they are customers' names
        "ready": pool.ready,
        "identities": pool.identities,
        "waiting": pool.waiting,
        "rate": pool.rate,
        "suspended": pool.suspended,
        "dead": pool.dead,
        "last_error": _text_of(pool.last_error),
    }


def _text_of(error: ZoomAuthError | None) -> str | None:
    return None if error is None else str(error)


def is_temporary(error: ZoomAuthError) -> bool:
    """Tell whether a visitor should come back: what is closed here is open elsewhere, or in a moment."""
    return error.transient or isinstance(error, ManagerClosedError)


def unavailable(error: ZoomAuthError) -> str:
    """Return what a visitor is told for whom there is no token at the moment."""
    if isinstance(error, StoreError):
        return "No token at the moment: our store does not answer"
    return "Zoom is not available"


def retry_after(error: ZoomAuthError) -> str:
    """Return the value of a `Retry-After` header."""
    return str(max(1, math.ceil(_RETRY_AFTER if error.retry_after is None else error.retry_after)))
