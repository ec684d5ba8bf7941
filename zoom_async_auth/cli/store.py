"""`zoom-async-auth store`: looks after a store. It never shows a secret."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from zoom_async_auth.cli.keychain import NoKeyring, look_into_keyring
from zoom_async_auth.cli.place import KEYS, Address, address_of, keys_of
from zoom_async_auth.cli.terminal import TROUBLE, note, tell, tell_json
from zoom_async_auth.errors import ConfigurationError, StoreError
from zoom_async_auth.stores.base import Browsable, Reading, Store
from zoom_async_auth.stores.urls import store_at

_PAGE = 500


def run(action: str, *, url: str | None, as_json: bool, key: str = "") -> int:
    """Do what is to be done with the store at `url`, that of the environment, or that of the log-ins."""
    address = address_of(url)
    store = store_at(address.url)  # what it needs and is not installed comes first: no file can help then
    if address.missing:
        raise ConfigurationError(address.told_missing())
    match action:
        case "check":
            work = _check(address, as_json=as_json)
        case "list":
            work = _list(store, as_json=as_json)
        case "forget":
            work = _forget(store, key, as_json=as_json)
        case _:
            work = _rewrap(address, as_json=as_json)
    return asyncio.run(work)


async def _check(address: Address, *, as_json: bool) -> int:
    store = _as_programs_use_it(address, os.environ)
    if isinstance(store, ConfigurationError):
        raise store
    async with store:
        facts = await store.check()
    if as_json:
        tell_json([{"what": fact.what, "ok": fact.ok, "told": fact.told} for fact in facts])
    else:
        for fact in facts:
            tell(f"{'ok' if fact.ok else 'NOT OK':<6}  {fact.what}: {fact.told}")
    return 0 if all(fact.ok for fact in facts) else TROUBLE


async def _list(store: Store, *, as_json: bool) -> int:
    unreadable = 0
    found = False
    async with store:
        async for key in _keys(store):
            try:
                told = summary_of(key, await store.peek(key))
            except StoreError as error:
                told = {"key": key, "state": "unreadable", "why": str(error)}
                unreadable += 1
            if as_json:
                tell_json(told)
            else:
                tell(f"{key}  " + ", ".join(_words(told)))
            found = True
    if not found and not as_json:
        note("there is nobody's token in it")
    return TROUBLE if unreadable else 0


async def _forget(store: Store, key: str, *, as_json: bool) -> int:
    async with store:
        if not await _has(store, key):
            raise ConfigurationError("there is no such key: `list` shows all, as they have to be given")
        await store.forget(key)
    if as_json:
        tell_json({"key": key, "state": "forgotten"})
    else:
        tell("forgotten here; Zoom still takes the token: revoke it there if somebody else may have it")
    return 0


async def _rewrap(address: Address, *, as_json: bool) -> int:
    store = await _encrypted(address, os.environ, quiet=as_json)
    if isinstance(store, ConfigurationError):
        raise store
    counts = {"done": 0, "current": 0, "busy": 0, "unreadable": 0}
    async with store:
        async for key in _keys(store):
            try:
                counts[await store.rewrap(key)] += 1
            except StoreError as error:
                counts["unreadable"] += 1
                sys.stderr.write(f"{key}: {error}\n")
    if as_json:
        tell_json(counts)
    else:
        tell(
            f"{counts['done']} sealed anew, {counts['current']} needed nothing, {counts['busy']} busy (run it again), "
            f"{counts['unreadable']} unreadable"
        )
    return TROUBLE if counts["busy"] or counts["unreadable"] else 0


def _as_programs_use_it(address: Address, environ: Mapping[str, str]) -> Any | ConfigurationError:  # noqa: ANN401
    """Return the store; an EncryptedStore if the environment names keys. The error is returned, as below."""
    keys = keys_of(environ)
    if isinstance(keys, ConfigurationError):
        return keys
    try:
        return store_at(address.url, keys=keys)
    except ConfigurationError as known:
        failure = known.copy()
    return failure


async def _encrypted(address: Address, environ: Mapping[str, str], *, quiet: bool) -> Any | ConfigurationError:  # noqa: ANN401
    """Return an EncryptedStore. The error is returned: the frame here holds keys."""
    keys = keys_of(environ)
    if isinstance(keys, ConfigurationError):
        return keys
    if not keys and address.own:
        found = await look_into_keyring(lock=address.lock(), quiet=quiet)
        if isinstance(found, ConfigurationError):
            return found
        keys = [] if isinstance(found, NoKeyring) or found.key is None else [found.key]
    if not keys:
        return ConfigurationError(f"set {KEYS} to the keys, with commas between them; the first one seals")
    kept_already = {} if address.url.startswith(("sqlite", "postgresql")) else {"allow_rotating": True}
    try:
        return store_at(address.url, keys=keys, **kept_already)
    except ConfigurationError as known:
        failure = known.copy()
    return failure


async def _has(store: Store, key: str) -> bool:
    """Tell whether a key is listed, also one whose record cannot be read."""
    async for known in _keys(store):
        if known >= key:  # they come in order
            return known == key
    return False


async def _keys(store: object) -> AsyncIterator[str]:
    """Yield all keys, page by page."""
    if not isinstance(store, Browsable):
        raise ConfigurationError("this store cannot list its keys")
    after = ""
    while page := await store.keys(after=after, limit=_PAGE):
        for key in page:
            yield key
        after = page[-1]


def summary_of(key: str, reading: Reading) -> dict[str, Any]:
    """Return what may be told of an identity."""
    record = reading.record
    return {
        "key": key,
        "state": _state(reading),
        **({} if record is None or record.cause is None else {"cause": record.cause}),
        "generation": reading.generation,
        "seconds_left": 0.0 if record is None else round(max(0.0, record.expires_at - reading.now), 3),
        "refresh_token": record is not None and record.token is not None and record.token.refresh_token is not None,
        "leased_for": round(reading.lease_left, 3),
        "intents": len(reading.intents),
    }


def _state(reading: Reading) -> str:
    match reading.record:
        case None:
            return "empty"
        case record if record.cause is not None:
            return "dead"
        case record if record.token is None:
            return "forgotten"
        case record:
            return "valid" if record.expires_at > reading.now else "expired"


def _words(told: Mapping[str, Any]) -> Sequence[str]:
    if "why" in told:
        return [f"unreadable: {told['why']}"]
    why = f" ({told['cause']})" if "cause" in told else ""
    words = [f"{told['state']}{why}, generation {told['generation']}"]
    if told["state"] == "valid":
        words.append(f"{told['seconds_left']:.0f} s left")
    if told["refresh_token"]:
        words.append("with a refresh token")
    if told["leased_for"]:
        words.append(f"leased for {told['leased_for']:.0f} s")
    if told["intents"]:
        words.append(f"{told['intents']} spending(s) without a result")
    return words
