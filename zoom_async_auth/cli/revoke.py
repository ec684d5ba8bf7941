"""`zoom-async-auth revoke`: Zoom kills a person's tokens, and they are forgotten here. Or all stays as it was."""

import asyncio

from zoom_async_auth.cli.terminal import progress, tell, tell_json
from zoom_async_auth.cli.who import Person, person_of


def run(*, as_json: bool, key: str | None, client_id: str | None, store: str | None) -> int:
    """Revoke."""
    person = person_of(key=key, client_id=client_id, store=store)
    asyncio.run(_revoke(person, quiet=as_json))
    if as_json:
        tell_json({"key": person.key, "revoked": True, "forgotten": True})
    else:
        tell("revoked at Zoom, and forgotten here")
    return 0


async def _revoke(person: Person, *, quiet: bool) -> None:
    async with person.opened(quiet=quiet) as manager:
        with progress("telling Zoom", quiet=quiet):
            await manager.revoke()
