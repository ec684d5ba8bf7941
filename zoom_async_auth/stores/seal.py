"""How a secret is sealed: AES-256-GCM, bound to the place that it was made for.

    sealed.1.<key id>.<nonce and ciphertext, in URL-safe base64 without padding>

Keys are 32 random bytes, from which a key for this purpose alone is derived: whoever else uses the same ones (a
MultiFernet) does not meet us. Nonces are random, so one key should seal 2**32 texts at most (NIST SP 800-38D, section
8.3): a hundred thousand people who renew once an hour take two years for that.
"""

import base64
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from zoom_async_auth.errors import ConfigurationError, StoreError
from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.stores.base import SEALED

_SEALED: Final = re.compile(r"sealed\.1\.(?P<key>[0-9a-f]{16})\.(?P<data>[A-Za-z0-9_-]+)")
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{43}=")
_NONCE: Final = 12  # bytes

_HOW_TO = "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
_WAY_OUT = "or forget this identity and authorize again"


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    id: str
    cipher: AESGCM = field(repr=False)


@secretive
class Keyring:
    """Seals with the first of its keys, opens with each of them.

    Args:
        keys: Each 32 bytes in URL-safe base64, as `Fernet.generate_key()` makes them; text or bytes.

    Raises:
        ConfigurationError: There is none, one is something else, or one is there twice.
    """

    def __init__(self, keys: Iterable[str | bytes]) -> None:
        known = [_key(text) for text in keys]
        if not known:
            raise ConfigurationError(f"keys is empty: make one with {_HOW_TO}")
        self._first = known[0]
        self._keys = {key.id: key for key in known}
        if len(self._keys) < len(known):
            raise ConfigurationError("keys has the same key twice: leave one of them out")

    def seal(self, text: str, place: bytes) -> str:
        """Return `text` as only `open` can read it, and only with the same `place`."""
        nonce = secrets.token_bytes(_NONCE)
        data = nonce + self._first.cipher.encrypt(nonce, text.encode(), place)
        return f"sealed.1.{self._first.id}.{base64.urlsafe_b64encode(data).decode().rstrip('=')}"

    def is_newest(self, sealed: str) -> bool:
        """Tell whether `sealed` was sealed with the first key."""
        match = _SEALED.fullmatch(sealed)
        return match is not None and match["key"] == self._first.id

    def open(self, sealed: str, place: bytes) -> str | StoreError:
        """Return what was sealed; the error is returned, because the frames here hold secrets."""
        match = _SEALED.fullmatch(sealed)
        if match is None:
            return _foreign(sealed)
        key = self._keys.get(match["key"])
        if key is None:
            return StoreError(
                f"the stored token is sealed with a key that is not among ours, its id is {match['key']}: add that "
                f"key, {_WAY_OUT}",
                transient=False,
            )
        try:
            data = base64.urlsafe_b64decode(match["data"] + "=" * (-len(match["data"]) % 4))
            return key.cipher.decrypt(data[:_NONCE], data[_NONCE:], place).decode()
        except (InvalidTag, ValueError):
            pass
        return StoreError(
            "the stored token does not open: it was moved here from another identity or another generation, or it is "
            f"damaged: restore the row, {_WAY_OUT}",
            transient=False,
        )


def is_sealed(text: str) -> bool:
    """Tell whether `text` was sealed, by whatever version and key."""
    return text.startswith(SEALED)


def _foreign(text: str) -> StoreError:
    if is_sealed(text):
        reason = f"is damaged, or was sealed by a newer version: upgrade, restore the row, {_WAY_OUT}"
    else:
        reason = f"is not encrypted: encrypt it with rewrap, if it is known to be yours, {_WAY_OUT}"
    return StoreError(f"the stored token {reason}", transient=False)


def _key(text: object) -> _Key:
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    if not isinstance(text, str) or _KEY.fullmatch(text) is None:
        raise ConfigurationError(f"keys must be a list of 32 random bytes each, in URL-safe base64: {_HOW_TO}")
    raw = base64.urlsafe_b64decode(text)
    return _Key(
        id=hmac.digest(raw, b"zoom_async_auth: key id", "sha256").hex()[:16],
        cipher=AESGCM(hmac.digest(raw, b"zoom_async_auth: AES-256-GCM", "sha256")),
    )
