"""Where the command keeps tokens, and with what they are sealed there.

    a store that is named           --store or ZOOM_STORE_URL: yours to share with other programs and hosts, so
                                    sealed with ZOOM_STORE_KEYS or, if that is not set, not at all
    a file in the data folder       sealed with ZOOM_STORE_KEYS or, if that is not set, with a key in the keyring of
                                    the operating system; where there is none, protected by its mode alone

What is there decides whether it is sealed: sealed tokens without their key are an error, and never joined by plain
ones. Plain ones stay plain until `zoom-async-auth store rewrap`.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from importlib import import_module
from pathlib import Path
from typing import Any, Final, assert_never

from zoom_async_auth.cli.keychain import Keychain, NoKeyring, look_into_keyring
from zoom_async_auth.errors import ConfigurationError, StoreError
from zoom_async_auth.extras import told_missing
from zoom_async_auth.stores.base import Browsable, Store
from zoom_async_auth.stores.urls import store_at

URL: Final = "ZOOM_STORE_URL"
KEYS: Final = "ZOOM_STORE_KEYS"

_LOOKED_AT: Final = 20
_SEALED: Final = "sealed."  # how each text of an EncryptedStore begins; that module needs cryptography


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Which store it is.

    Attributes:
        url: Of the store; it may have a password in it.
        path: Of the file, if it is one.
        own: Whether it is the file in the data folder.
        missing: Whether it is a file that is not there yet. A store would make one, where nobody looks for it.
        obstacle: Why that could not be made, in words, if it can be told without trying.
    """

    url: str
    path: Path | None
    own: bool
    missing: bool
    obstacle: str | None = None

    def shown(self) -> str:
        """Return what may be told of it."""
        return str(self.path) if self.path is not None else f"{self.url.partition(':')[0]}: of {URL} or --store"

    def told_missing(self) -> str:
        """Say so; nothing but the program that needs the file should make it."""
        maker = "zoom-async-auth login" if self.own else "the program that uses it"
        return self.obstacle or f"there is no such file yet: {self.path}; {maker} makes it, as its own user"

    def lock(self) -> Path | None:
        """Return what is locked while a key is made in the keyring; None: it is not sealed with one."""
        return self.path.with_name("keyring.lock") if self.own and self.path is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A store, ready to be used.

    Attributes:
        store: The store; it seals, if anything does.
        address: Which one it is.
        sealed_with: What seals it, in words; None: nothing does.
        why_not: Why nothing seals it, in words.
    """

    store: Store
    address: Address
    sealed_with: str | None = None
    why_not: str | None = None

    def protection(self) -> str:
        """Say what protects the tokens."""
        if self.sealed_with is not None:
            return f"sealed with {self.sealed_with}"
        if self.address.path is not None:
            return f"not sealed, {self.why_not}: what protects the file is its mode, 0600 in a folder with 0700"
        return f"not sealed, {self.why_not}"


class Content(Enum):
    """What a store has."""

    NOTHING = auto()
    PLAIN = auto()
    SEALED = auto()


def address_of(url: str | None) -> Address:
    """Return which store is meant.

    Raises:
        ConfigurationError: None is named, and nobody knows where the data folder is; or one without a name.
    """
    if url == "":  # of a variable that is not set; another store than the one that was meant would be taken
        raise ConfigurationError("the URL of the store has nothing in it: name the store, or leave it out")
    url = url or os.environ.get(URL)
    if url:
        scheme, _, path = url.partition("://")
        is_file = scheme.partition("+")[0] == "sqlite" and path.startswith("/")
        return _address(url, Path(path.removeprefix("/")) if is_file else None, own=False)
    try:
        platformdirs: Any = import_module("platformdirs")
    except ModuleNotFoundError:
        platformdirs = None
    if platformdirs is None:
        raise ConfigurationError(f"{told_missing('platformdirs', 'cli')}; or name a store: {URL}=sqlite:////path")
    path = platformdirs.user_data_path("zoom-async-auth", appauthor=False) / "tokens.sqlite3"
    return _address(f"sqlite:///{path}", path, own=True)


def _address(url: str, path: Path | None, *, own: bool) -> Address:
    if path is None or path.exists():
        return Address(url=url, path=path, own=own, missing=False)
    return Address(url=url, path=path, own=own, missing=True, obstacle=_obstacle(path))


def _obstacle(path: Path) -> str | None:
    folder = next(folder for folder in path.parents if folder.exists())
    fit = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return None if fit else f"{path} cannot be made: {folder} is no folder that you may write to"


def _make_room(path: Path) -> None:
    """Make what is missing above the data folder, as its owner's alone: on a new system, nobody has made it yet."""
    failure = None
    try:
        for folder in reversed(path.parent.parents):
            folder.mkdir(0o700, exist_ok=True)
    except OSError as known:
        failure = f"{path} cannot be made: {known.strerror or type(known).__name__}"
    if failure is not None:
        raise ConfigurationError(_obstacle(path) or failure)


async def place_at(address: Address, key: str, *, create: bool = False, quiet: bool = False) -> Place:
    """Return the store, with what opens the tokens there, or seals the first one.

    Args:
        address: Which store.
        key: The one of the store that the command is about; others are looked at, too.
        create: Whether tokens are about to be kept there.
        quiet: Whether nothing is shown while it takes long.

    Raises:
        ConfigurationError: What is there is sealed, and the key is not to be had; or the data folder cannot be made.
        StoreError: The store does not answer, so nobody knows whether what is there is sealed.
    """
    if create and address.own and address.path is not None:
        await asyncio.to_thread(_make_room, address.path)
    outcome = await _place_at(address, key, create=create, quiet=quiet)
    if isinstance(outcome, ConfigurationError):
        raise outcome
    return outcome


def keys_of(environ: Mapping[str, str]) -> list[str] | ConfigurationError:
    """Return the keys that the environment names; the list is empty if they are not set."""
    named = environ.get(KEYS, "")
    keys = [key.strip() for key in named.split(",") if key.strip()]
    if named and not keys:  # "$NEW,$OLD", and neither is set
        return ConfigurationError(f"{KEYS} has no key in it: set it to the keys, with commas between them, or unset it")
    return (_unfit(keys) if keys else None) or keys


def _unfit(keys: Sequence[str]) -> ConfigurationError | None:
    """Return why nothing can be sealed with these keys, if so."""
    try:
        import_module("zoom_async_auth.stores.seal").Keyring(keys)
    except ConfigurationError as known:
        return ConfigurationError(f"{KEYS}, with commas between them: {known}")
    except ModuleNotFoundError as missing:
        return ConfigurationError(told_missing(str(missing.name), "crypto"))
    return None


def is_secret(variable: str) -> bool:
    """Tell whether a variable of the environment is ours alone: a command that we start gets none of these.

    The URL of a store may have a password in it.
    """
    return variable in {URL, KEYS} or (variable.startswith("ZOOM_") and "SECRET" in variable)


async def _content_of(store: Store, key: str) -> Content:
    """Tell whether a store has tokens, and whether they are sealed: one sealed one is enough."""
    content = Content.NOTHING
    async with store:
        for known in dict.fromkeys([key, *await _keys(store)]):
            try:
                record = (await store.peek(known)).record
            except StoreError as error:
                if error.transient:  # it would pass for nothing, and plain tokens might join sealed ones
                    raise
                continue  # one record that cannot be read is no reason to read none
            if record is not None and record.token is not None:
                if record.token.access_token.startswith(_SEALED):
                    return Content.SEALED
                content = Content.PLAIN
    return content


async def _keys(store: object) -> tuple[str, ...]:
    return await store.keys(limit=_LOOKED_AT) if isinstance(store, Browsable) else ()


# Errors are returned: the frames below hold keys, and a traceback shows frames.


async def _place_at(address: Address, key: str, *, create: bool, quiet: bool) -> Place | ConfigurationError:
    place = Place(store=store_at(address.url), address=address, why_not=f"{KEYS} is not set")
    keys = keys_of(os.environ)
    if isinstance(keys, ConfigurationError):
        return keys
    if keys:
        return _sealing(place, keys, f"the keys of {KEYS}")
    content = Content.NOTHING if address.missing else await _content_of(place.store, key)
    if address.own:
        return await _own_place(place, content, create=create, quiet=quiet)
    if content is Content.SEALED:
        return ConfigurationError(f"the tokens in that store are sealed: set {KEYS} to the key they are sealed with")
    return place


async def _own_place(place: Place, content: Content, *, create: bool, quiet: bool) -> Place | ConfigurationError:
    """Return the file in the data folder, with what the keyring has for it."""
    if content is Content.PLAIN:
        return replace(place, why_not="as it was from the start (store rewrap seals it, if there is a keyring)")
    if content is Content.NOTHING and not create:
        return place
    found = await look_into_keyring(lock=place.address.lock() if content is Content.NOTHING else None, quiet=quiet)
    match found:
        case ConfigurationError():
            return found
        case NoKeyring(why=why) if content is Content.NOTHING:
            return replace(place, why_not=why)
        case NoKeyring(why=why):
            reason = why
        case Keychain(name=name, key=str() as key):
            return _sealing(place, [key], f"a key in the keyring ({name})")
        case Keychain(name=name):
            reason = f"{name} has no such key any more"
        case _:
            assert_never(found)
    return ConfigurationError(
        f"the tokens in {place.address.shown()} are sealed with a key in the keyring, and {reason}: "
        f"set {KEYS} to that key, or log out and in again"
    )


def _sealing(place: Place, keys: Sequence[str], told: str) -> Place | ConfigurationError:
    try:
        return replace(place, store=store_at(place.address.url, keys=keys), sealed_with=told)
    except ConfigurationError as known:
        failure = known.copy()
    return failure
