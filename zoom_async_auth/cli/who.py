"""Whose token a command is about: the app's own, or that of a person who has logged in.

A person's login belongs to the app: the same ZOOM_CLIENT_ID (or --client-id) and ZOOM_BASE_URL find it again.
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from zoom_async_auth.cli.place import Address, Place, address_of, place_at
from zoom_async_auth.errors import AuthorizationRequiredError, ConfigurationError, recast
from zoom_async_auth.identity import DEFAULT_KEY, prefix_of, require_key
from zoom_async_auth.manager import TokenManager
from zoom_async_auth.oauth.credentials import UserOAuth
from zoom_async_auth.oauth.origin import ZOOM, require_base_url
from zoom_async_auth.oauth.token import Token
from zoom_async_auth.renewal.policy import RenewalPolicy
from zoom_async_auth.stores.base import Reading

PATIENCE = RenewalPolicy(timeout=10.0)
"""A person sits in front of it, or a script that has a retry of its own."""
LOG_IN = "zoom-async-auth login"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person's identity, and where it is kept.

    Attributes:
        app: What people log in to.
        base_url: Where.
        key: Whose login it is.
        address: Which store keeps it.
    """

    app: UserOAuth
    base_url: str
    key: str
    address: Address

    @property
    def store_key(self) -> str:
        """What the tokens are kept under."""
        return prefix_of(self.app, self.base_url) + self.key

    def nobody(self) -> AuthorizationRequiredError:
        """Return what is said if there is no login."""
        return AuthorizationRequiredError(f"nobody has logged in as {self.key!r} to this app: {LOG_IN}")

    async def place(self, *, create: bool = False, quiet: bool) -> Place:
        """Return the store, and what opens it; see `place_at`."""
        return await place_at(self.address, self.store_key, create=create, quiet=quiet)

    def manager(self, place: Place) -> TokenManager:
        """Return a manager of this identity."""
        return TokenManager(self.app, store=place.store, key=self.key, base_url=self.base_url, policy=PATIENCE)

    async def kept(self, *, quiet: bool) -> tuple[Place, Reading, Token]:
        """Return where the log-in is kept, and what is.

        Raises:
            AuthorizationRequiredError: Nobody has.
            ConfigurationError, StoreError: As for `place_at`.
        """
        if self.address.missing:
            raise self.nobody()
        place = await self.place(quiet=quiet)
        async with place.store:
            reading = await place.store.peek(self.store_key)
        if reading.record is None or reading.record.token is None:
            raise self.nobody()
        return place, reading, reading.record.token

    @asynccontextmanager
    async def opened(self, *, quiet: bool) -> AsyncIterator[TokenManager]:
        """Open the manager of somebody who has logged in.

        Raises:
            AuthorizationRequiredError: Nobody has, or Zoom does not renew the log-in any more.
            ConfigurationError, StoreError: As for `place_at`.
        """
        place, *_ = await self.kept(quiet=quiet)
        async with self.manager(place) as manager:
            try:
                yield manager
            except AuthorizationRequiredError as refused:
                failure = recast(refused, AuthorizationRequiredError, f"{refused.args[0]}: {LOG_IN}")
            else:
                return
        raise failure


def person_of(*, key: str | None, client_id: str | None, store: str | None) -> Person:
    """Return the person that options and environment name.

    Raises:
        ConfigurationError: They name no app, or cannot be right.
    """
    app = _app_of(client_id, os.environ)
    if isinstance(app, ConfigurationError):
        raise app
    key = require_key(DEFAULT_KEY if key is None else key)
    return Person(app=app, base_url=base_url_of(os.environ), key=key, address=address_of(store))


def names_person(*, as_user: bool, key: str | None, client_id: str | None, store: str | None) -> bool:
    """Tell whether a person is meant. An empty value says so, too: `--key "$WHOM"` must not mean the app itself."""
    return as_user or any(option is not None for option in (key, client_id, store))


def named_person(*, as_user: bool, key: str | None, client_id: str | None, store: str | None) -> Person | None:
    """Return the person that is meant; None if nothing says that one is, so that it is the app itself.

    Raises:
        ConfigurationError: As for `person_of`.
    """
    if names_person(as_user=as_user, key=key, client_id=client_id, store=store):
        return person_of(key=key, client_id=client_id, store=store)
    return None


@asynccontextmanager
async def opened(person: Person | None, *, quiet: bool) -> AsyncIterator[TokenManager]:
    """Open the manager of a person, or that of the app."""
    async with TokenManager.from_env(policy=PATIENCE) if person is None else person.opened(quiet=quiet) as manager:
        yield manager


def base_url_of(environ: Mapping[str, str]) -> str:
    """Return which Zoom it is.

    Raises:
        ConfigurationError: ZOOM_BASE_URL is no origin, or not a safe one.
    """
    return require_base_url(environ.get("ZOOM_BASE_URL") or ZOOM)


def _app_of(client_id: str | None, environ: Mapping[str, str]) -> UserOAuth | ConfigurationError:
    """The error is returned: the frame here holds the secret."""
    try:
        if client_id == "":
            return ConfigurationError("--client-id has nothing in it: name the app, or leave the option out")
        if not (known := client_id or environ.get("ZOOM_CLIENT_ID")):
            return ConfigurationError("set ZOOM_CLIENT_ID: see the app's credentials page at Zoom")
        return UserOAuth(client_id=known, client_secret=environ.get("ZOOM_CLIENT_SECRET") or None)
    except ConfigurationError as error:
        failure = error.copy()
    return failure
