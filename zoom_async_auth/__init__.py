"""A valid Zoom access token at every moment, for asyncio programs.

>>> async with TokenManager(ServerToServer(account_id=..., client_id=..., client_secret=...)) as manager:
...     token = await manager.bearer()
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoom_async_auth.errors import (
        AuthorizationRequiredError,
        ConfigurationError,
        ManagerClosedError,
        MisuseError,
        StoreError,
        TokenUnavailableError,
        ZoomAuthError,
    )
    from zoom_async_auth.manager import TokenManager
    from zoom_async_auth.oauth.credentials import ClientCredentials, ServerToServer, UserOAuth
    from zoom_async_auth.oauth.grants import (
        AccountCredentialsGrant,
        AuthorizationCodeGrant,
        ClientCredentialsGrant,
        DeviceCodeGrant,
        RefreshTokenGrant,
    )
    from zoom_async_auth.oauth.token import StoredToken, Token
    from zoom_async_auth.pool import TokenPool
    from zoom_async_auth.renewal.policy import RenewalPolicy

__all__ = [
    "AccountCredentialsGrant",
    "AuthorizationCodeGrant",
    "AuthorizationRequiredError",
    "ClientCredentials",
    "ClientCredentialsGrant",
    "ConfigurationError",
    "DeviceCodeGrant",
    "ManagerClosedError",
    "MisuseError",
    "RefreshTokenGrant",
    "RenewalPolicy",
    "ServerToServer",
    "StoreError",
    "StoredToken",
    "Token",
    "TokenManager",
    "TokenPool",
    "TokenUnavailableError",
    "UserOAuth",
    "ZoomAuthError",
]

__version__ = "0.1.0"

_HOMES = {
    "zoom_async_auth.errors": (
        "AuthorizationRequiredError",
        "ConfigurationError",
        "ManagerClosedError",
        "MisuseError",
        "StoreError",
        "TokenUnavailableError",
        "ZoomAuthError",
    ),
    "zoom_async_auth.manager": ("TokenManager",),
    "zoom_async_auth.oauth.credentials": ("ClientCredentials", "ServerToServer", "UserOAuth"),
    "zoom_async_auth.oauth.grants": (
        "AccountCredentialsGrant",
        "AuthorizationCodeGrant",
        "ClientCredentialsGrant",
        "DeviceCodeGrant",
        "RefreshTokenGrant",
    ),
    "zoom_async_auth.oauth.token": ("StoredToken", "Token"),
    "zoom_async_auth.pool": ("TokenPool",),
    "zoom_async_auth.renewal.policy": ("RenewalPolicy",),
}


def __getattr__(name: str) -> object:
    """Resolve a public name on first use (PEP 562), so that importing the package costs next to nothing."""
    for home, names in _HOMES.items():
        if name in names:
            value: object = getattr(importlib.import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
