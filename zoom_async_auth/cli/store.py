"""`zoom-async-auth store`: looks after a store. It never shows a secret."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoom_async_auth.errors import ConfigurationError, StoreError
from zoom_async_auth.stores.base import Browsable, Reading, Store
from zoom_async_auth.stores.urls import store_at

URL = "ZOOM_STORE_URL"
KEYS = "ZOOM_STORE_KEYS"
TROUBLE = 1
"""The exit code if something is not as it should be."""

_PAGE = 500


def run(action: str, *, url: str | None, key: str | None, as_json: bool) -> int:
    """Do what is to be done with the store at `url`, or at that of the environment."""
    address = url or os.environ.get(URL)
    if not address:
        raise ConfigurationError(f"name the store: an argument, or {URL} in the environment (best, with a password)")
    _require_file(address)
    match action:
        case "check":
            work = _check(store_at(address), as_json=as_json)
        case "list":
            work = _list(store_at(address), as_json=as_json)
        case "forget":
            work = _forget(store_at(address), key or "", as_json=as_json)
        case _:
            work = _rewrap(_encrypted(address, os.environ), as_json=as_json)
    return asyncio.run(work)


async def _check(store: Any, *, as_json: bool) -> int:  # noqa: ANN401 -- a store with a `check`
    async with store:
        facts = await store.check()
    if as_json:
        _print_json([{"what": fact.what, "ok": fact.ok, "told": fact.told} for fact in facts])
    else:
        for fact in facts:
            _print(f"{'ok' if fact.ok else 'NOT OK':<6}  {fact.what}: {fact.told}")
    return 0 if all(fact.ok for fact in facts) else TROUBLE


async def _list(store: Store, *, as_json: bool) -> int:
    unreadable = 0
    async with store:
        async for key in _keys(store):
            try:
                told = _told(key, await store.peek(key))
            except StoreError as error:
                told = {"key": key, "state": "unreadable", "why": str(error)}
                unreadable += 1
            if as_json:
                _print_json(told)
            else:
                _print(f"{key}  " + ", ".join(_words(told)))
    return TROUBLE if unreadable else 0


async def _forget(store: Store, key: str, *, as_json: bool) -> int:
    async with store:
        if key not in [known async for known in _keys(store)]:
            raise ConfigurationError("there is no such key: `list` shows all, as they have to be given")
        await store.forget(key)
    if as_json:
        _print_json({"key": key, "state": "forgotten"})
    else:
        _print("forgotten here; Zoom still takes the token: revoke it there if somebody else may have it")
    return 0


async def _rewrap(store: Any, *, as_json: bool) -> int:  # noqa: ANN401 -- an EncryptedStore
    counts = {"done": 0, "current": 0, "busy": 0, "unreadable": 0}
    async with store:
        async for key in _keys(store):
            try:
                counts[await store.rewrap(key)] += 1
            except StoreError as error:
                counts["unreadable"] += 1
                sys.stderr.write(f"{key}: {error}\n")
    if as_json:
        _print_json(counts)
    else:
        _print(
            f"{counts['done']} sealed anew, {counts['current']} needed nothing, {counts['busy']} busy (run it again), "
            f"{counts['unreadable']} unreadable"
        )
    return TROUBLE if counts["busy"] or counts["unreadable"] else 0


def _encrypted(url: str, environ: Mapping[str, str]) -> Store:
    keys = [key for key in environ.get(KEYS, "").split(",") if key]
    if not keys:
        raise ConfigurationError(f"set {KEYS} to the keys, with commas between them; the first one seals")
    kept_already = {} if url.startswith(("sqlite", "postgresql")) else {"allow_rotating": True}
    return store_at(url, keys=keys, **kept_already)


def _require_file(url: str) -> None:
    """Raise if it names a file that is not there: a store would make one, where nobody looks for it."""
    scheme, _, path = url.partition("://")
    if scheme.partition("+")[0] == "sqlite" and not Path(path.removeprefix("/")).exists():
        raise ConfigurationError("there is no such file yet: the program that uses it makes it, as its own user")


async def _keys(store: object) -> AsyncIterator[str]:
    """Yield all keys, page by page."""
    if not isinstance(store, Browsable):
        raise ConfigurationError("this store cannot list its keys")
    after = ""
    while page := await store.keys(after=after, limit=_PAGE):
        for key in page:
            yield key
        after = page[-1]


def _told(key: str, reading: Reading) -> dict[str, Any]:
    record = reading.record
    return {
        "key": key,
        "state": _state(reading),
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
    words = [f"{told['state']}, generation {told['generation']}"]
    if told["state"] == "valid":
        words.append(f"{told['seconds_left']:.0f} s left")
    if told["refresh_token"]:
        words.append("with a refresh token")
    if told["leased_for"]:
        words.append(f"leased for {told['leased_for']:.0f} s")
    if told["intents"]:
        words.append(f"{told['intents']} spending(s) without a result")
    return words


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
