"""What an app of one kind is registered with at Zoom. Validated at construction; nothing of it is ever shown."""

from dataclasses import dataclass, field
from typing import Protocol

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.grants import AccountCredentialsGrant, AppGrant, ClientCredentialsGrant
from zoom_async_auth.oauth.secretive import require_text, secretive


class _Client(Protocol):
    @property
    def client_id(self) -> str: ...
    @property
    def client_secret(self) -> str | None: ...


def _require_client(credentials: _Client) -> None:
    # Basic separates id and secret by the first colon (RFC 7617, section 2).
    require_text("client_id", credentials.client_id, ascii_only=True, forbidden=":")
    if credentials.client_secret is not None:
        require_text("client_secret", credentials.client_secret)


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerToServer:
    """A server-to-server OAuth app: acts for its account, no person involved.

    Attributes:
        account_id: "Account ID" on the app's credentials page.
        client_id: "Client ID" there.
        client_secret: "Client secret" there.
    """

    account_id: str = field(repr=False)
    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)

    def __post_init__(self) -> None:
        require_text("account_id", self.account_id, ascii_only=True)
        require_text("client_secret", self.client_secret)
        _require_client(self)


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """A general app acting as itself, for chatbots (`imchat:bot`). Zoom's ordinary APIs refuse such a token.

    Attributes:
        client_id: "Client ID" on the app's credentials page.
        client_secret: "Client secret" there.
    """

    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)

    def __post_init__(self) -> None:
        require_text("client_secret", self.client_secret)
        _require_client(self)


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class UserOAuth:
    """A general app acting for a person who has authorized it.

    Attributes:
        client_id: "Client ID" on the app's credentials page.
        client_secret: "Client secret" there; None for a public client, which proves itself by PKCE alone.
    """

    client_id: str = field(repr=False)
    client_secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _require_client(self)


Credentials = ServerToServer | ClientCredentials | UserOAuth
"""What a manager or a pool is made with."""


def misfit_of(credentials: object) -> ConfigurationError | None:
    """Return what is wrong with credentials of another type. To be raised where they are no longer a local variable."""
    if isinstance(credentials, Credentials):
        return None
    kind = type(credentials).__name__
    return ConfigurationError(f"credentials must be ServerToServer, ClientCredentials or UserOAuth, not {kind}")


def own_grant(credentials: Credentials) -> AppGrant | None:
    """Return the grant by which an app gets a token in its own name; None if only a person can give one."""
    match credentials:
        case ServerToServer():
            return AccountCredentialsGrant(account_id=credentials.account_id)
        case ClientCredentials():
            return ClientCredentialsGrant()
        case UserOAuth():
            return None
