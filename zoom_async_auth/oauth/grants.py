"""One frozen dataclass per grant: what is asked of the token endpoint, and the form that says so (RFC 6749)."""

import re
from dataclasses import dataclass, field

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.secretive import require_text, secretive
from zoom_async_auth.oauth.token import is_refresh_token

_CODE_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCredentialsGrant:
    """Asks for a server-to-server app's token (Zoom, "Server-to-Server OAuth")."""

    account_id: str = field(repr=False)

    def __post_init__(self) -> None:
        require_text("account_id", self.account_id, ascii_only=True)

    def form(self) -> dict[str, str]:
        """Return the fields of the request body."""
        return {"grant_type": "account_credentials", "account_id": self.account_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentialsGrant:
    """Asks for an app's own token (RFC 6749, section 4.4)."""

    def form(self) -> dict[str, str]:
        """Return the fields of the request body."""
        return {"grant_type": "client_credentials"}


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCodeGrant:
    """Spends the code that the consent page sent to the redirect URI (RFC 6749, section 4.1.3).

    Attributes:
        code: The `code` parameter of the callback; lives five minutes and works once.
        redirect_uri: Exactly the one that the authorize URL had.
        code_verifier: The PKCE verifier that belongs to that URL (RFC 7636), if it had a challenge.
    """

    code: str = field(repr=False)
    redirect_uri: str
    code_verifier: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require_text("code", self.code)
        require_text("redirect_uri", self.redirect_uri)
        if self.code_verifier is not None and not _CODE_VERIFIER.fullmatch(self.code_verifier):
            raise ConfigurationError("code_verifier must be 43 to 128 unreserved characters (RFC 7636, section 4.1)")

    def form(self) -> dict[str, str]:
        """Return the fields of the request body."""
        fields = {"grant_type": "authorization_code", "code": self.code, "redirect_uri": self.redirect_uri}
        if self.code_verifier is not None:
            fields["code_verifier"] = self.code_verifier
        return fields


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshTokenGrant:
    """Spends a refresh token (RFC 6749, section 6)."""

    refresh_token: str = field(repr=False)

    def __post_init__(self) -> None:
        if not is_refresh_token(self.refresh_token):
            raise ConfigurationError("refresh_token is not a refresh token (RFC 6749, appendix A.17): paste it whole")

    def form(self) -> dict[str, str]:
        """Return the fields of the request body."""
        return {"grant_type": "refresh_token", "refresh_token": self.refresh_token}


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCodeGrant:
    """Asks whether the person has typed the user code in by now (RFC 8628, section 3.4)."""

    device_code: str = field(repr=False)

    def __post_init__(self) -> None:
        require_text("device_code", self.device_code)

    def form(self) -> dict[str, str]:
        """Return the fields of the request body."""
        return {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": self.device_code}


AppGrant = AccountCredentialsGrant | ClientCredentialsGrant
"""Asked for by an app in its own name: as often as it likes, nothing is spent."""

PersonalGrant = AuthorizationCodeGrant | RefreshTokenGrant | DeviceCodeGrant
"""Stands for a person's consent, and is spent by its first use."""

Grant = AppGrant | PersonalGrant
