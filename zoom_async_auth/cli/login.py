"""`zoom-async-auth login`: a person allows the app in a browser, here or elsewhere; the tokens are kept.

The browser comes back to a server on 127.0.0.1, which waits for one answer. With `--device` there is no browser on this
host: a code is shown, to be typed in on any other device.
"""

import asyncio
import os
import webbrowser
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from functools import partial
from threading import Thread

from zoom_async_auth.cli.place import is_secret
from zoom_async_auth.cli.receiver import Receiver
from zoom_async_auth.cli.terminal import note, progress, tell, tell_json
from zoom_async_auth.cli.who import Person, person_of
from zoom_async_auth.errors import AuthorizationRequiredError, ZoomAuthError
from zoom_async_auth.manager import TokenManager
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant
from zoom_async_auth.oauth.token import Token
from zoom_async_auth.oauth.wire import DeviceCode

_PATIENCE = 300.0
"""Seconds that a person has in a browser."""


def run(
    *,
    device: bool,
    browser: bool,
    port: int,
    path: str,
    timeout: float | None,
    as_json: bool,
    key: str | None,
    client_id: str | None,
    store: str | None,
) -> int:
    """Log a person in."""
    person = person_of(key=key, client_id=client_id, store=store)
    if os.environ.get("ZOOM_ACCOUNT_ID"):
        note("zoom-async-auth: ZOOM_ACCOUNT_ID is not used: nobody can log in to a server-to-server app")
    way: Callable[[TokenManager], Awaitable[Token]]
    if device:
        way = partial(_on_a_device, quiet=as_json)
    else:
        way = partial(_in_a_browser, person, open_it=browser, port=port, path=path, quiet=as_json)
    asyncio.run(_login(person, way, timeout=timeout if device else timeout or _PATIENCE, quiet=as_json))
    return 0


async def _login(
    person: Person, way: Callable[[TokenManager], Awaitable[Token]], *, timeout: float | None, quiet: bool
) -> None:
    place = await person.place(create=True, quiet=quiet)
    if place.sealed_with is None:
        note(f"zoom-async-auth: the tokens are {place.protection()}")
    async with place.store:
        await place.store.peek(person.store_key)  # a store that fails does so before a person is troubled
    async with person.manager(place) as manager:
        try:
            async with asyncio.timeout(timeout):
                token = await way(manager)
        except TimeoutError:
            token = None
    if token is None:
        raise AuthorizationRequiredError(f"nobody answered within {timeout:g} s: log in again, or raise --timeout")
    shown = {
        "key": person.key,
        "expires_in": token.expires_in,
        "scope": sorted(token.scope),
        "kept_in": place.address.shown(),
        "sealed": place.sealed_with is not None,
    }
    if quiet:
        tell_json(shown)
    else:
        sealed = "" if place.sealed_with is None else f", {place.protection()}"
        tell(f"logged in as {person.key!r}; the tokens are kept in {place.address.shown()}{sealed}")


async def _in_a_browser(
    person: Person, manager: TokenManager, *, open_it: bool, port: int, path: str, quiet: bool
) -> Token:
    async with Receiver(person.app, base_url=person.base_url, port=port, path=path) as receiver:
        if quiet:
            tell_json({"open": receiver.url})
        else:
            note(f"Log in on this page, in a browser on this host:\n\n  {receiver.url}\n")
        if open_it:
            _open(receiver.url)
        with progress("waiting for the browser (Ctrl-C gives up)", quiet=quiet):
            outcome = await receiver.answer()
        with progress("asking for the tokens", quiet=quiet):
            token = outcome if isinstance(outcome, ZoomAuthError) else await _authorized(manager, outcome)
        if isinstance(token, ZoomAuthError):
            receiver.conclude("Not logged in", f"{token.args[0]}. You can close this page.")
        else:
            receiver.conclude("You are logged in", "You can close this page and go back to the terminal.")
    if isinstance(token, ZoomAuthError):
        raise token.copy()
    return token


async def _authorized(manager: TokenManager, grant: AuthorizationCodeGrant) -> Token | ZoomAuthError:
    try:
        return await manager.authorize(grant)
    except ZoomAuthError as error:
        failure = error.copy()
    return failure


async def _on_a_device(manager: TokenManager, *, quiet: bool) -> Token:
    with ExitStack() as shown:

        def show(code: DeviceCode) -> None:
            if quiet:
                tell_json(
                    {
                        "verification_uri": code.verification_uri,
                        "verification_uri_complete": code.verification_uri_complete,
                        "user_code": code.user_code,
                        "expires_in": code.expires_in,
                    }
                )
            else:
                note(f"On any device, open\n\n  {code.verification_uri}\n\nand type in\n\n  {code.user_code}\n")
            shown.enter_context(progress("waiting until it is allowed there (Ctrl-C gives up)", quiet=quiet))

        return await manager.authorize_device(show)


def _open(url: str) -> None:
    """Start the browser. It may block for as long as it is open; it gets none of our secrets."""
    for name in [*filter(is_secret, os.environ)]:
        del os.environ[name]

    def start() -> None:
        with suppress(webbrowser.Error, OSError, ValueError):  # the address is on the screen
            webbrowser.open(url)

    Thread(target=start, daemon=True).start()
