"""One attempt to connect, bound to the browser that began it, and kept by nobody but that browser.

The cookie has a nonce and a date. State and PKCE verifier follow from them, from a secret of the app, and from the
person who is logged in at the app: so any of many processes can check a callback, and the cookie alone is worth
nothing. Each attempt has a cookie of its own, named after its state, so that two tabs do not disturb each other.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from zoom_async_auth.oauth.authorize import AuthorizationRequest, authorization_request, derived_randomness, state_of
from zoom_async_auth.oauth.credentials import UserOAuth

LIFETIME: Final = 600.0
"""Seconds between "connect" and the callback: to log in at Zoom, perhaps with a second factor, and to decide."""
NONCE_BYTES: Final = 16

_MOST_AT_ONCE = 8  # cookies; each request carries all of them, and servers refuse headers of 8 KiB
_NAME = "zoom-connect-"
_VALUE = re.compile(r"(?P<expires>[0-9]{1,12})\.(?P<nonce>[0-9a-f]{32})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt that the browser has begun.

    Attributes:
        cookie: The name of its cookie.
        expires: When it is over, in seconds since 1970-01-01 UTC.
        request: What its callback is compared with.
    """

    cookie: str
    expires: int
    request: AuthorizationRequest


class Attempts:
    """Makes attempts, and finds them again.

    Args:
        credentials: The app.
        redirect_uri: Where the callback arrives.
        base_url: Of the authorize page.
        secret: Known to all processes of the app, and to nobody else.
        secure: Whether the browser speaks https with us.
    """

    def __init__(
        self, credentials: UserOAuth, *, redirect_uri: str, base_url: str, secret: bytes, secure: bool
    ) -> None:
        self._credentials = credentials
        self._redirect_uri = redirect_uri
        self._base_url = base_url
        self._secret = secret
        # With the prefix, no other host of the domain can set or overwrite the cookie (RFC 6265bis, section 4.1.3.2).
        self._name = f"__Host-{_NAME}" if secure else _NAME
        self._attributes = f"Path=/; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"

    def begin(self, key: str, cookies: str, *, nonce: bytes, now: float) -> tuple[str, tuple[str, ...]]:
        """Return where to send the browser, and the values of `Set-Cookie` that go along.

        Args:
            key: That of the person who is logged in at the app.
            cookies: The browser's `Cookie` header.
            nonce: `NONCE_BYTES` that nobody can guess.
            now: Seconds since 1970-01-01 UTC.
        """
        expires = int(now + LIFETIME)
        request = self._request(key, nonce.hex(), expires)
        name = self._name + _label(request.state)
        kept = f"{name}={expires}.{nonce.hex()}; Max-Age={LIFETIME:.0f}; {self._attributes}"
        known = sorted(self._known(cookies), key=lambda known: known[1])
        surplus = known[: max(0, len(known) - _MOST_AT_ONCE + 1)]
        return request.url, (kept, *(self.ended(name) for name, _, _ in surplus))

    def find(self, key: str, cookies: str, query: str, *, now: float) -> Attempt | None:
        """Return the attempt that a callback claims to answer, if this browser has begun it and it is not over.

        Whether the state fits is for `read_callback` to say: another person's does not.
        """
        state = state_of(query)
        if state is None:
            return None
        name = self._name + _label(state)
        for known, expires, nonce in self._known(cookies):
            if known == name and now < expires:
                return Attempt(cookie=name, expires=expires, request=self._request(key, nonce, expires))
        return None

    def ended(self, cookie: str) -> str:
        """Return the `Set-Cookie` that takes a cookie back."""
        return f"{cookie}=; Max-Age=0; {self._attributes}"

    def _request(self, key: str, nonce: str, expires: int) -> AuthorizationRequest:
        bound = (self._credentials.client_id, self._redirect_uri, self._base_url, key, nonce, str(expires))
        return authorization_request(
            self._credentials,
            redirect_uri=self._redirect_uri,
            randomness=derived_randomness(self._secret, bound),
            base_url=self._base_url,
        )

    def _known(self, cookies: str) -> Iterator[tuple[str, int, str]]:
        """Yield name, end and nonce of each attempt that the browser knows."""
        for pair in cookies.split(";"):
            name, _, value = pair.strip().partition("=")
            match = _VALUE.fullmatch(value)
            if name.startswith(self._name) and match is not None:
                yield name, int(match["expires"]), match["nonce"]


def _label(state: str) -> str:
    return sha256(state.encode(errors="replace")).hexdigest()[:16]
