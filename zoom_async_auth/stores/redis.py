"""A store in Redis or Valkey: for tokens that can be minted again, and as a fast front of a database.

    <prefix>:{<key>}          a hash: generation, times, cause, lease, intents
    <prefix>:{<key>}:token    the token; gone when it has expired, if nothing can be refreshed with it
    <prefix>:{<key>}:changed  a channel, on which changes are announced

Each operation is one script, so one round trip, and atomic. Times are whole microseconds of the server's clock: numbers
of Lua are exact up to 2**53. Scripts do what the functions of `row.py` do.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import anyio
import redis.asyncio
import redis.asyncio.connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from zoom_async_auth.errors import ConfigurationError, MisuseError, StoreError
from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.oauth.token import Token
from zoom_async_auth.stores import row as rows
from zoom_async_auth.stores.base import Begun, Intent, Reading, Record
from zoom_async_auth.stores.facts import Fact, clock_fact
from zoom_async_auth.stores.records import FORMAT, damaged, token_from_text, token_to_text, unknown_format
from zoom_async_auth.stores.row import Row

_T = TypeVar("_T")

_SCHEMES: Final = ("redis", "rediss", "unix")
_CONNECT_TIMEOUT: Final = 1.0
_ANSWER_TIMEOUT: Final = 2.0
_MOST_CONNECTIONS: Final = 50
_MOST_LISTENERS: Final = 8
"""So many calls of `wait` listen on a connection of their own; the others poll."""
_LOOKS_EVERY: Final = 0.2

_MICRO: Final = 1_000_000
_UNREADABLE: Final = -1
_INTENT: Final = "intent:"
_RISK: Final = (
    "a failover of Redis can lose what it has acknowledged, and with that a person's only refresh token: use SQLStore, "
    "alone or with RedisStore in front of it, or RedisStore(allow_rotating=True)"
)

_ANONYMOUS: Final[dict[str, None]] = (
    {"driver_info": None}
    if hasattr(redis.asyncio.connection, "DriverInfo")
    else {"lib_name": None, "lib_version": None}
)
"""The client would read its own version from disk for each connection, in the event loop, and tell it to the server."""

_PRELUDE: Final = f"""
local time = redis.call('TIME')
local now = time[1] * {_MICRO} + time[2]
local state, fields = {{}}, redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do state[fields[i]] = fields[i + 1] end
local generation = state.generation or '0'
local unreadable = state.format and state.format ~= '{FORMAT}'
local function text(number) return string.format('%.0f', number) end
local function unlease()
    redis.call('HDEL', KEYS[1], 'holder', 'leased_until')
end
local function settle()
    unlease()
    for name in pairs(state) do
        if string.sub(name, 1, {len(_INTENT)}) == '{_INTENT}' then redis.call('HDEL', KEYS[1], name) end
    end
end
local function announce()
    redis.call('PUBLISH', KEYS[1] .. ':changed', '')
end
"""

_PEEK: Final = """
return {text(now), fields, redis.call('GET', KEYS[2])}
"""

_BEGIN: Final = f"""
local wanted, holder, lease, supersede = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local busy = state.holder and state.holder ~= holder and tonumber(state.leased_until) > now
local begun = 0
if not unreadable and generation == wanted and (not busy or supersede == '1') then
    begun = 1
    redis.call('HSET', KEYS[1], 'holder', holder, 'leased_until', text(now + lease))
    local noted = state['{_INTENT}' .. holder]
    if not noted or string.match(noted, '^%d+') ~= generation then
        redis.call('HSET', KEYS[1], '{_INTENT}' .. holder, generation .. ':' .. text(now))
    end
end
return {{begun, text(now), fields, redis.call('GET', KEYS[2])}}
"""

_COMMIT: Final = f"""
local sent, next, key, issued_at, expires_at, cause, token, lasts = unpack(ARGV)
if unreadable then return {_UNREADABLE} end
if generation ~= sent then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'format', '{FORMAT}', 'key', key, 'generation', next,
           'issued_at', issued_at, 'expires_at', expires_at)
if cause ~= '' then redis.call('HSET', KEYS[1], 'cause', cause) end
if token ~= '' then
    redis.call('SET', KEYS[2], token)
    if lasts == '0' then redis.call('PEXPIREAT', KEYS[2], text(math.ceil(expires_at / 1000))) end
end
announce()
return 1
"""

_CONDEMN: Final = f"""
if unreadable then return {_UNREADABLE} end
if not state.generation or generation ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'cause', ARGV[2])
settle()
announce()
return 1
"""

_RELEASE: Final = f"""
if state.holder == ARGV[1] then unlease() end
if ARGV[2] == '0' then redis.call('HDEL', KEYS[1], '{_INTENT}' .. ARGV[1]) end
announce()
"""

_FORGET: Final = f"""
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'format', '{FORMAT}', 'key', ARGV[1], 'generation', text(generation + 1),
           'issued_at', text(now), 'expires_at', text(now))
announce()
"""


@secretive
class RedisStore:
    """Keeps tokens in Redis (7 or later) or Valkey. Its time is the server's.

    Such a server loses what it has not written to disk when it is killed, and what it has not replicated when another
    one takes over: an app's token is then minted again, a person's refresh token is gone. So a manager of a person's
    token refuses it, unless it is told that the loss is acceptable; `LayeredStore` puts it in front of a `SQLStore`
    instead. A server whose `maxmemory-policy` evicts keys without a TTL loses generations and leases, and may not be
    used; `check` tells.

    Args:
        url: `redis://host:6379/0`, `rediss://...` for TLS, `unix:///path`; user and password in it, if there are any.
        allow_rotating: Whether a person's refresh token may be kept here, all the same.
        prefix: What all keys begin with.

    Raises:
        ConfigurationError: The URL is none of these.
    """

    def __init__(self, url: str, *, allow_rotating: bool = False, prefix: str = "zoom_async_auth") -> None:
        scheme, _, rest = url.partition("://")
        scheme = scheme.replace("valkey", "redis")
        if scheme not in _SCHEMES or not rest:
            raise ConfigurationError("the URL must be redis://host:port/number, rediss://... or unix:///path")
        if not prefix.isidentifier():
            raise ConfigurationError("prefix must be letters, digits and underscores")
        self._url = f"{scheme}://{rest}"
        self._shown = _without_password(self._url)
        self._allow_rotating = allow_rotating
        self._prefix = prefix
        self._users = 0
        self._listeners = 0
        self._home: _Home | None = None

    def __repr__(self) -> str:
        return f"RedisStore({self._shown!r})"

    @property
    def durable(self) -> bool:
        """Always False: whether something survives is up to the server's configuration, and to its failover."""
        return False

    @property
    def rotating_risk(self) -> str | None:
        """Why a person's refresh token must not live here alone."""
        return None if self._allow_rotating else _RISK

    async def __aenter__(self) -> Self:
        """Count one more user; connect to nothing."""
        if self._home is not None and self._home.pid != os.getpid():  # after a fork the connections are the parent's
            self._users, self._home = 0, None
        self._users += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Count one user less; the last one closes the connections."""
        self._users -= 1
        if self._users == 0 and self._home is not None:
            home, self._home = self._home, None
            await home.client.aclose()

    async def peek(self, key: str) -> Reading:
        """Look, without taking part.

        Raises:
            StoreError: No answer, or the record cannot be read.
        """
        return _or_raise(await self._peek(key))

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        """Take the lease and write the intent, if the record still has `generation`.

        Raises:
            StoreError: No answer, or the record cannot be read; no lease is kept then.
        """
        answer = await self._run("begin", key, generation, holder, round(lease * _MICRO), int(supersede))
        if isinstance(answer, StoreError):
            raise answer
        begun, *seen = answer
        reading = _reading(seen, key, reader=holder)
        if isinstance(reading, StoreError):
            if begun:
                await self._run("release", key, holder, 0)
            raise reading
        return Begun(reading=reading) if begun else reading

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:  # noqa: ARG002 -- the protocol's
        """Keep `record` if the generation is still `sent`.

        Raises:
            StoreError: It is not known to be kept, or may not be kept here; or what is there cannot be read, and stays.
        """
        return _or_raise(await self._commit(key, sent, record))

    async def condemn(self, key: str, generation: int, cause: str) -> bool:
        """Note that the refresh token of `generation` is dead, if that is current.

        Raises:
            StoreError: It is not known to be noted, or what is there cannot be read, and stays.
        """
        return _or_raise(_done(await self._run("condemn", key, generation, cause)))

    async def release(self, key: str, holder: str, *, doubt: bool) -> None:
        """Give the lease back; drop the intent unless the outcome is in doubt.

        Raises:
            StoreError: It is not known to be given back.
        """
        _or_raise(await self._run("release", key, holder, int(doubt)))

    async def wait(self, key: str, generation: int, timeout: float) -> None:
        """Return when a change of `key` is announced, or seen; after `timeout` seconds at the latest.

        Raises:
            StoreError: No answer.
        """
        with anyio.move_on_after(timeout):
            if self._listeners >= _MOST_LISTENERS:
                await self._poll(key, generation)
                return
            self._listeners += 1
            try:
                await self._listen(key, generation)
            finally:
                self._listeners -= 1

    async def forget(self, key: str) -> None:
        """Leave a tombstone of the next generation, also where the record cannot be read.

        Raises:
            StoreError: It is not known to be forgotten.
        """
        _or_raise(await self._run("forget", key, key))

    async def keys(self, *, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return the next keys, in the order of their code points, `limit` at most; looks at all keys of the database.

        Raises:
            StoreError: No answer.
        """
        start = f"{self._prefix}:{{"

        async def scan() -> tuple[str, ...]:
            found = {name async for name in self._client().scan_iter(match=f"{start}*}}", count=1000)}
            return tuple(sorted(key for name in found if (key := name[len(start) : -1]) > after)[:limit])

        return _or_raise(await _asked(scan()))

    async def check(self) -> tuple[Fact, ...]:
        """Look at all that a manager is going to rely on, for people."""

        async def look() -> tuple[Fact, ...]:
            client = self._client()
            before = time.time()
            seconds, micros = await client.time()
            skew = seconds + micros / _MICRO - (before + time.time()) / 2
            return (*_facts(await client.info()), clock_fact(skew))

        found = await _asked(look())
        if isinstance(found, StoreError):
            return (Fact(what="answers", ok=False, told=str(found)),)
        failure = await self._run("release", "", "nobody", 0)
        written = not isinstance(failure, StoreError)
        return (*found, Fact(what="can be written", ok=written, told="a script ran" if written else str(failure)))

    # Errors are returned: the frames below hold secrets, and a traceback shows frames.

    async def _peek(self, key: str) -> Reading | StoreError:
        seen = await self._run("peek", key)
        return seen if isinstance(seen, StoreError) else _reading(seen, key)

    async def _commit(self, key: str, sent: int, record: Record) -> bool | StoreError:
        token = record.token
        if token is not None and token.refresh_token is not None and not self._allow_rotating:
            return StoreError(f"a refresh token is not kept here: {_RISK}", transient=False)
        return _done(
            await self._run(
                "commit",
                key,
                sent,
                record.generation,
                key,
                round(record.issued_at * _MICRO),
                round(record.expires_at * _MICRO),
                record.cause or "",
                "" if token is None else f"{record.generation}\n{token_to_text(token)}",
                int(token is not None and token.refresh_token is not None),
            )
        )

    async def _run(self, script: str, key: str, *arguments: str | int) -> Any:  # noqa: ANN401 -- a reply, or the error
        state = f"{self._prefix}:{{{key}}}"
        return await _asked(self._opened().scripts[script](keys=[state, f"{state}:token"], args=arguments))

    async def _poll(self, key: str, generation: int) -> None:
        first = now = await self.peek(key)
        while now.generation == generation and (now.lease_left > 0) == (first.lease_left > 0):
            await anyio.sleep(_LOOKS_EVERY)
            now = await self.peek(key)

    async def _listen(self, key: str, generation: int) -> None:
        async with self._client().pubsub() as channel:
            failure = await _asked(channel.subscribe(f"{self._prefix}:{{{key}}}:changed"))
            if isinstance(failure, StoreError):
                raise failure
            while (await self.peek(key)).generation == generation:
                message = await _asked(channel.get_message(ignore_subscribe_messages=True, timeout=_ANSWER_TIMEOUT))
                if isinstance(message, StoreError):
                    raise message
                if message is not None:
                    return

    def _client(self) -> "redis.asyncio.Redis":
        return self._opened().client

    def _opened(self) -> "_Home":
        if self._users == 0:
            raise MisuseError("the store is not open: use async with")
        if self._home is None:
            self._home = _Home(self._url)
        if self._home.loop is not asyncio.get_running_loop() or self._home.pid != os.getpid():
            raise MisuseError("the store is in use on another event loop or in another process: make one for each")
        return self._home


class _Home:
    """A client and its scripts, of one event loop and one process."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.pid = os.getpid()
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            decode_responses=True,
            socket_connect_timeout=_CONNECT_TIMEOUT,
            socket_timeout=_ANSWER_TIMEOUT,
            retry=Retry(NoBackoff(), 0),  # by default a server that is down costs seconds for each call
            max_connections=_MOST_CONNECTIONS,
            timeout=_ANSWER_TIMEOUT,
            **_ANONYMOUS,
        )
        self.client = redis.asyncio.Redis.from_pool(pool)
        sources = {
            "peek": _PEEK,
            "begin": _BEGIN,
            "commit": _COMMIT,
            "condemn": _CONDEMN,
            "release": _RELEASE,
            "forget": _FORGET,
        }
        self.scripts = {name: self.client.register_script(_PRELUDE + source) for name, source in sources.items()}


async def _asked(question: Awaitable[_T]) -> _T | StoreError:
    try:
        return await question
    except (RedisError, OSError, TimeoutError) as foreign:  # its text may show what was sent
        name = type(foreign).__name__
    return StoreError(f"Redis failed: {name}")


def _reading(seen: list[Any], key: str, *, reader: str = "") -> Reading | StoreError:
    now, fields, text = seen
    state: Mapping[str, str] = dict(zip(fields[::2], fields[1::2], strict=True))
    try:
        row = _row(state, text, key)
    except (ValueError, KeyError):
        return damaged()
    return row if isinstance(row, StoreError) else rows.read(row, int(now) / _MICRO, reader=reader)


def _row(state: Mapping[str, str], text: str | None, key: str) -> Row | StoreError:
    record = None
    if "generation" in state:
        if state["format"] != str(FORMAT):
            return unknown_format(state["format"])
        if state["key"] != key:
            return StoreError("Redis answered with another record than was asked for", transient=False)
        generation, _, written = (text or "").partition("\n")
        if text is None:  # there was none, or it has expired
            token: Token | StoreError | None = None
        else:
            token = token_from_text(written) if generation == state["generation"] else damaged()
        if isinstance(token, StoreError):
            return token
        record = Record(
            generation=int(state["generation"]),
            token=token,
            issued_at=int(state["issued_at"]) / _MICRO,
            expires_at=int(state["expires_at"]) / _MICRO,
            cause=state.get("cause"),
        )
    intents = (
        (name.removeprefix(_INTENT), *value.split(":")) for name, value in state.items() if name.startswith(_INTENT)
    )
    return Row(
        record=record,
        holder=state.get("holder", ""),
        leased_until=int(state.get("leased_until", "0")) / _MICRO,
        intents=tuple(
            Intent(holder=holder, generation=int(generation), since=int(since) / _MICRO)
            for holder, generation, since in intents
        ),
    )


def _done(answer: int | StoreError) -> bool | StoreError:
    if isinstance(answer, StoreError):
        return answer
    return damaged() if answer == _UNREADABLE else answer == 1


def _or_raise(outcome: _T | StoreError) -> _T:
    if isinstance(outcome, StoreError):
        raise outcome
    return outcome


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None and parts.username is None and not parts.query:
        return url
    return f"{parts.scheme}://...@{parts.hostname or ''}{parts.path}"


def _facts(info: Mapping[str, Any]) -> tuple[Fact, ...]:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version", info.get("redis_version", "of an unknown version"))
    policy, role = info.get("maxmemory_policy", "unknown"), info.get("role", "unknown")
    to_disk = str(info.get("aof_enabled")) == "1"
    return (
        Fact(what="answers", ok=True, told=f"{name} {version}"),
        Fact(
            what="keeps what has no TTL",
            ok=not str(policy).startswith("allkeys"),
            told=f"maxmemory-policy {policy}",
        ),
        Fact(what="takes writes", ok=role == "master", told=f"its role is {role}"),
        Fact(
            what="writes to disk",
            ok=True,
            told="appendonly yes" if to_disk else "appendonly no: an app's tokens are minted again after a restart",
        ),
    )
