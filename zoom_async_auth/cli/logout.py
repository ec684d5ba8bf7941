"""`zoom-async-auth logout`: a person's tokens are forgotten here, whatever Zoom, the network or the keyring say."""

import asyncio

from zoom_async_auth.cli.terminal import progress, tell, tell_json
from zoom_async_auth.cli.who import Person, person_of
from zoom_async_auth.errors import StoreError, ZoomAuthError
from zoom_async_auth.stores.base import Store
from zoom_async_auth.stores.urls import store_at

_NOT_TOLD = "it was not told"
_TO_DO = "remove the app from your account at Zoom if somebody else may have them"


def run(*, local: bool, as_json: bool, key: str | None, client_id: str | None, store: str | None) -> int:
    """Log out."""
    person = person_of(key=key, client_id=client_id, store=store)
    why_not = asyncio.run(_log_out(person, local=local, quiet=as_json))
    if as_json:
        tell_json({"key": person.key, "revoked": why_not is None, "forgotten": True, "why_not": why_not})
    elif why_not is None:
        tell("logged out: revoked at Zoom, and forgotten here")
    else:
        tell(f"logged out, but only here. Zoom still takes the tokens ({why_not}): {_TO_DO}")
    return 0


async def _log_out(person: Person, *, local: bool, quiet: bool) -> str | None:
    """Return why Zoom did not kill the tokens; None if it did."""
    if person.address.missing:
        raise person.nobody()
    async with store_at(person.address.url) as store:  # as it is: what does not open can be forgotten, too
        if not await _is_kept(person, store):
            raise person.nobody()
        why_not = _NOT_TOLD if local else await _revoked(person, quiet=quiet)
        if why_not is not None:
            await store.forget(person.store_key)
    return why_not


async def _is_kept(person: Person, store: Store) -> bool:
    try:
        record = (await store.peek(person.store_key)).record
    except StoreError as error:
        if error.transient:
            raise
        return True
    return record is not None and record.token is not None


async def _revoked(person: Person, *, quiet: bool) -> str | None:
    try:
        async with person.opened(quiet=quiet) as manager:
            with progress("telling Zoom", quiet=quiet):
                await manager.revoke()
    except ZoomAuthError as error:
        return str(error)
    return None
