"""`zoom-async-auth inspect`: what is known of a token, and never the token itself."""

import asyncio
import os
from typing import Any

from zoom_async_auth.cli.claims import claims_of
from zoom_async_auth.cli.store import summary_of
from zoom_async_auth.cli.terminal import progress, tell, tell_json
from zoom_async_auth.cli.who import Person, named_person, opened
from zoom_async_auth.clock import SystemClock
from zoom_async_auth.oauth.token import Token

_WALL = SystemClock().time


def run(*, as_json: bool, **whose: Any) -> int:  # noqa: ANN401 -- of `named_person`
    """Show what is known: of a new token of the app, or of that which is kept of a person, as it is."""
    person = named_person(**whose)
    shown = asyncio.run(_own(quiet=as_json) if person is None else _kept(person, quiet=as_json))
    if as_json:
        tell_json(shown)
    else:
        claims = shown.pop("claims")
        for name, value in {**shown, **({"claims": "none, it is opaque"} if claims is None else claims)}.items():
            tell(f"{name.replace('_', ' '):>16}  {_words(value)}")
    return 0


async def _own(*, quiet: bool) -> dict[str, Any]:
    async with opened(None, quiet=quiet) as manager:
        with progress("asking for a token", quiet=quiet):
            token = await manager.token()
        left = manager.health().seconds_left
    kind = "server-to-server" if os.environ.get("ZOOM_ACCOUNT_ID") else "client credentials"
    return {"app": kind, "seconds_left": int(left), **_told(token)}


async def _kept(person: Person, *, quiet: bool) -> dict[str, Any]:
    place, reading, token = await person.kept(quiet=quiet)
    where = {"kept_in": place.address.shown(), "protection": place.protection()}
    return {"app": "user", **summary_of(person.key, reading), **where, **_told(token)}


def _told(token: Token) -> dict[str, Any]:
    return {
        "scope": sorted(token.scope),
        "api_url": token.api_url,
        "length": len(token.access_token),
        "claims": claims_of(token.access_token, now=_WALL()),
    }


def _words(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case None:
            return "not told"
        case list():
            return ", ".join(map(str, value)) or "none"
        case _:
            return str(value)
