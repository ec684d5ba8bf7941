"""What Zoom knows and decides, without HTTP: apps, authorizations, codes, tokens.

client_id, secret        must belong together                   invalid_client
grant type               must be one of the app                 unsupported_grant_type
authorization code       five minutes, one use, its own
                         redirect URI and PKCE challenge        invalid_grant
refresh token            one use: the answer has the next       invalid_grant, "Invalid Token!"
authorizing again        kills all earlier tokens of that person and app
revoking                 kills access and refresh token
an app's own tokens      live side by side
"""

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zoom_async_auth.oauth.authorize import code_challenge
from zoom_async_auth.sandbox.jwt import REFRESH_LIFETIME, Subject, mint

CODE_LIFETIME = 300.0
DEVICE_LIFETIME = 900.0
DEVICE_INTERVAL = 5.0
"""Seconds."""
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

_LOOPBACK = re.compile(
    r"http://(?:127\.0\.0\.1|\[::1\]|localhost):([1-9]\d{0,4})(?:[/?][\w.~!$&'()*+,;=:@%/?-]*)?", re.ASCII
)
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An app as it is registered.

    Attributes:
        client_id: Its name.
        client_secret: None for a public client.
        grants: The grant types that it may use.
        redirect_uris: Where the consent page may send people, to the letter.
        loopback: Whether it may also send them to any port and path of their own host (RFC 8252, section 7.3): to a
            command that has taken a free port, or to a web app that is tried out.
        scope: What its tokens may do, separated by blanks.
        account_id: Of a server-to-server app.
    """

    client_id: str
    client_secret: str | None = field(repr=False)
    grants: frozenset[str]
    redirect_uris: tuple[str, ...] = ()
    loopback: bool = False
    scope: str = "user:read:admin"
    account_id: str = "sandbox-account"

    def may_lead_to(self, redirect_uri: str) -> bool:
        """Tell whether the consent page may send people there."""
        if redirect_uri in self.redirect_uris:
            return True
        found = _LOOPBACK.fullmatch(redirect_uri) if self.loopback else None
        return found is not None and int(found[1]) <= _LAST_PORT


@dataclass(frozen=True, slots=True)
class Refusal:
    """Zoom's error body."""

    status: int
    error: str
    reason: str | None = None

    def body(self) -> dict[str, str]:
        """Return what is sent."""
        return {"error": self.error} if self.reason is None else {"reason": self.reason, "error": self.error}


@dataclass(slots=True, kw_only=True)
class _Code:
    app: App
    user: str
    redirect_uri: str
    challenge: str | None
    expires_at: float


@dataclass(slots=True, kw_only=True)
class _Device:
    app: App
    user_code: str
    expires_at: float
    asked_at: float
    decision: Literal["pending", "allowed", "denied"] = "pending"
    user: str = ""


@dataclass(slots=True, kw_only=True)
class _Chain:
    """What one authorization has led to: the live pair of tokens, and all that were issued or spent before."""

    app: App
    user: str
    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    spent: dict[str, float] = field(default_factory=dict, repr=False)
    issued: list[str] = field(default_factory=list, repr=False)


Answer = dict[str, Any] | Refusal

INVALID_TOKEN = Refusal(400, "invalid_grant", "Invalid Token!")
INVALID_CLIENT = Refusal(401, "invalid_client", "Invalid client_id or client_secret")
BAD_REQUEST = Refusal(400, "invalid_request", "Bad Request")


class Model:
    """Zoom's side. Every method decides and changes at once, so a caller that hangs up changes nothing.

    Args:
        apps: The registered apps.
        now: The clock, in seconds since 1970-01-01 UTC.
        random_bytes: Returns that many random bytes.
        token_lifetime: Seconds that an access token lives.
        reuse_grace: Seconds for which a spent refresh token is still taken. Zoom documents none.
    """

    def __init__(
        self,
        apps: tuple[App, ...],
        *,
        now: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        token_lifetime: float = 3600.0,
        reuse_grace: float = 0.0,
    ) -> None:
        self.token_lifetime = token_lifetime
        self.reuse_grace = reuse_grace
        self._apps = {app.client_id: app for app in apps}
        self._now = now
        self._random_bytes = random_bytes
        self._key = random_bytes(64)
        self._codes: dict[str, _Code] = {}
        self._devices: dict[str, _Device] = {}
        self._chains: dict[tuple[str, str], _Chain] = {}  # by app and person
        self._refreshable: dict[str, _Chain] = {}  # by refresh token, spent ones too
        self._access: dict[str, tuple[App, str, float]] = {}  # token: its app, its user, its expiry
        self._rejected: set[str] = set()

    def app(self, client_id: str) -> App | None:
        """Return the app of this name."""
        return self._apps.get(client_id)

    def client(self, client_id: str, client_secret: str | None) -> App | Refusal:
        """Return the app that has proved to be itself."""
        app = self._apps.get(client_id)
        expected = None if app is None else app.client_secret
        if app is None or (expected is None) != (client_secret is None):
            return INVALID_CLIENT
        if expected is not None and not hmac.compare_digest(expected.encode(), (client_secret or "").encode()):
            return INVALID_CLIENT
        return app

    def token(self, app: App, form: Mapping[str, str]) -> Answer:
        """Answer `POST /oauth/token`."""
        kind = form.get("grant_type")
        if kind is None:
            return BAD_REQUEST
        if kind not in app.grants:
            return Refusal(400, "unsupported_grant_type", "unsupported grant type")
        match kind:
            case "account_credentials":
                known = form.get("account_id") == app.account_id
                return self._own_token(app) if known else BAD_REQUEST
            case "client_credentials":
                return self._own_token(app)
            case "authorization_code":
                return self._redeem(app, form)
            case "refresh_token":
                return self._refresh(app, form.get("refresh_token", ""))
            case _:
                return self._poll(app, form.get("device_code", ""))

    def authorize(self, app: App, user: str, *, redirect_uri: str, challenge: str | None = None) -> str:
        """Return a code, as if `user` had allowed the app on the consent page."""
        code = self._random_text(24)
        self._codes[code] = _Code(
            app=app, user=user, redirect_uri=redirect_uri, challenge=challenge, expires_at=self._now() + CODE_LIFETIME
        )
        return code

    def device(self, app: App) -> dict[str, Any] | Refusal:
        """Answer `POST /oauth/devicecode`, without the addresses."""
        if DEVICE_GRANT not in app.grants:
            return Refusal(400, "unauthorized_client", "The app may not be used on devices")
        device_code = self._random_text(24)
        user_code = "".join("BCDFGHJKLMNPQRSTVWXZ"[byte % 20] for byte in self._random_bytes(8))
        self._devices[device_code] = _Device(
            app=app, user_code=user_code, expires_at=self._now() + DEVICE_LIFETIME, asked_at=float("-inf")
        )
        return {
            "device_code": device_code,
            "user_code": user_code,
            "expires_in": int(DEVICE_LIFETIME),
            "interval": int(DEVICE_INTERVAL),
        }

    def device_app(self, user_code: str) -> App | None:
        """Return the app on the device that waits with this code."""
        device = self._waiting(user_code)
        return None if device is None else device.app

    def decide_device(self, user_code: str, user: str, *, allow: bool) -> bool:
        """Let `user` answer for a device; tell whether there is one with this code."""
        device = self._waiting(user_code)
        if device is None:
            return False
        device.decision, device.user = ("allowed" if allow else "denied"), user
        return True

    def revoke(self, app: App, token: str) -> Answer:
        """Answer `POST /oauth/revoke`: access and refresh token die at once. An unknown token counts as dead."""
        owner, user, _ = self._access.get(token, (None, "", 0.0))
        chain = self._refreshable.get(token)
        if owner is app:
            del self._access[token]
            chain = self._chains.get((app.client_id, user))
        if chain is not None and chain.app is app and token in {chain.access_token, chain.refresh_token}:
            self._kill(chain)
        return {"status": "success"}

    def take_off(self, user: str) -> None:
        """Have a person remove all apps, as on Zoom's own pages: their tokens die, nobody is told."""
        for chain in [chain for chain in self._chains.values() if chain.user == user]:
            self._kill(chain)

    def persons(self, client_id: str) -> list[str]:
        """Return who has authorized an app, and not taken that back."""
        return [chain.user for chain in self._chains.values() if chain.app.client_id == client_id]

    def user_of(self, access_token: str) -> str | None:
        """Return whose token it is, if it is good."""
        _, user, expires_at = self._access.get(access_token, (None, None, 0.0))
        return None if access_token in self._rejected or self._now() >= expires_at else user

    def reject(self, access_token: str) -> None:
        """Have the API refuse this token from now on."""
        self._rejected.add(access_token)

    def _waiting(self, user_code: str) -> _Device | None:
        for device in self._devices.values():
            if device.user_code == user_code and device.decision == "pending" and self._now() < device.expires_at:
                return device
        return None

    def _own_token(self, app: App) -> dict[str, Any]:
        user = "account-owner"
        return self._granted(app, self._mint(app, user, "access_token", self.token_lifetime), user)

    def _redeem(self, app: App, form: Mapping[str, str]) -> Answer:
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.app is not app or self._now() >= code.expires_at:
            return Refusal(400, "invalid_grant", "Invalid authorization code")
        if form.get("redirect_uri") != code.redirect_uri:
            return Refusal(400, "invalid_request", "Redirect URI mismatch")
        if code.challenge is not None and code_challenge(form.get("code_verifier", "")) != code.challenge:
            return Refusal(400, "invalid_grant", "Invalid code verifier")
        return self._authorized(app, code.user)

    def _poll(self, app: App, device_code: str) -> Answer:
        device = self._devices.get(device_code)
        if device is None or device.app is not app:
            return Refusal(400, "invalid_grant", "Invalid device code")
        last, device.asked_at = device.asked_at, self._now()
        if self._now() >= device.expires_at:
            return Refusal(400, "expired_token", "The device code has expired")
        if self._now() - last < DEVICE_INTERVAL:
            return Refusal(400, "slow_down", "Asked too often")
        if device.decision == "pending":
            return Refusal(400, "authorization_pending", "The user has not decided yet")
        del self._devices[device_code]
        if device.decision == "denied":
            return Refusal(400, "access_denied", "The user said no")
        return self._authorized(app, device.user)

    def _authorized(self, app: App, user: str) -> dict[str, Any]:
        earlier = self._chains.get((app.client_id, user))
        if earlier is not None:
            self._kill(earlier)  # "the last token issued is considered valid, and the previous ones are invalidated"
        chain = self._chains[app.client_id, user] = _Chain(app=app, user=user)
        return self._extend(chain)

    def _refresh(self, app: App, token: str) -> Answer:
        chain = self._refreshable.get(token)
        if chain is None or chain.app is not app:
            return INVALID_TOKEN
        if token != chain.refresh_token and self._now() - chain.spent[token] >= self.reuse_grace:
            return INVALID_TOKEN
        return self._extend(chain)

    def _extend(self, chain: _Chain) -> dict[str, Any]:
        if chain.refresh_token:
            chain.spent[chain.refresh_token] = self._now()
        chain.access_token = self._mint(chain.app, chain.user, "access_token", self.token_lifetime)
        chain.refresh_token = self._mint(chain.app, chain.user, "refresh_token", REFRESH_LIFETIME)
        self._refreshable[chain.refresh_token] = chain
        chain.issued.append(chain.access_token)
        return self._granted(chain.app, chain.access_token, chain.user, refresh_token=chain.refresh_token)

    def _kill(self, chain: _Chain) -> None:
        del self._chains[chain.app.client_id, chain.user]
        for token in chain.issued:
            self._access.pop(token, None)
        for token in (chain.refresh_token, *chain.spent):
            del self._refreshable[token]

    def _granted(self, app: App, access_token: str, user: str, *, refresh_token: str | None = None) -> dict[str, Any]:
        self._access[access_token] = app, user, self._now() + self.token_lifetime
        lifetime = self.token_lifetime
        return {
            "access_token": access_token,
            "token_type": "bearer",
            **({} if refresh_token is None else {"refresh_token": refresh_token}),
            "expires_in": int(lifetime) if lifetime == int(lifetime) else lifetime,
            "scope": app.scope,
        }

    def _mint(self, app: App, user: str, token_type: str, lifetime: float) -> str:
        subject = Subject(
            client_id=app.client_id,
            code=self._random_text(24),
            authentication_id=self._random_text(16),
            user_id=user,
            account_id=app.account_id,
        )
        return mint(
            subject,
            token_type=token_type,
            issued_at=int(self._now()),
            lifetime=int(lifetime),
            token_id=self._random_text(16),
            key=self._key,
            key_id="sandbox",
        )

    def _random_text(self, length: int) -> str:
        return urlsafe_b64encode(self._random_bytes(length)).decode().rstrip("=")
