"""A store on a Redis or Valkey server: for tokens that can be had again, for leases, and to wake those who wait.

A change is one script, which the server runs in one step: `scripts.py`.
"""

from collections.abc import Callable
from functools import partial
from heapq import nsmallest
from types import TracebackType
from typing import Final, Self, TypeVar

import anyio

from zoom_async_auth.clock import SystemClock
from zoom_async_auth.errors import StoreError
from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.stores import row as rows
from zoom_async_auth.stores.base import Begun, Reading, Record
from zoom_async_auth.stores.door import Door
from zoom_async_auth.stores.facts import ANSWERS, Fact, clock_fact
from zoom_async_auth.stores.redis.address import parsed
from zoom_async_auth.stores.redis.bell import escaped
from zoom_async_auth.stores.redis.check import facts_of
from zoom_async_auth.stores.redis.home import Home, Work
from zoom_async_auth.stores.redis.row import MICROSECONDS, Answer, begin_arguments, commit_arguments
from zoom_async_auth.stores.redis.scripts import BEGIN, COMMIT, CONDEMN, FORGET, PEEK, RELEASE, Script

_T = TypeVar("_T")

_LOOKS_EVERY: Final = 1.0
_SCANNED_AT_ONCE: Final = 1000
_NOBODY: Final = "nobody"
_WALL: Final = SystemClock().time
_RISK: Final = (
    "a failover of Redis may lose a write that it has acknowledged, and a person's refresh token with it: the person "
    "would have to authorize the app again: use SQLStore, or RedisStore(allow_rotating=True)"
)


@secretive
class RedisStore:
    """Keeps tokens on a Redis (7 or later) or Valkey server. Its time is the server's.

    Replication is asynchronous: a failover may lose a write that was acknowledged. An app's own token is got again
    then, and a lease that is lost costs a request. A person's refresh token would be lost, and the person would have to
    authorize the app again; so it is refused unless `allow_rotating`. SQL is the better home, and this a fast front for
    it: `LayeredStore`.

    An app's token vanishes from the server when it expires; generations stay for ever, so keys must not be evicted
    (maxmemory-policy noeviction or volatile-...). Whoever may read the server's memory, its slow log or its MONITOR
    sees tokens: `EncryptedStore`. All names of keys and channels begin with `prefix` and a colon. A cluster's protocol
    is not spoken: the URL leads to a single primary, or to a proxy.

    Args:
        url: `redis://user:password@host:6379/0`, `rediss://` with TLS (`?ssl_ca_certs=` for a CA of one's own), or
            `unix:///path/to/socket?db=0`. `valkey://` and `valkeys://` mean the same as the first two.
        allow_rotating: Whether the store may be the only home of a person's refresh token, at that risk.
        prefix: What tells these keys from others on the server.

    Raises:
        ConfigurationError: No server has such a URL.
    """

    def __init__(self, url: str, *, allow_rotating: bool = False, prefix: str = "zoom_async_auth") -> None:
        self._address: Final = parsed(url)
        self._allow_rotating: Final = allow_rotating
        self._prefix: Final = prefix
        self._door: Final = Door(lambda: Home(self._address, prefix=prefix))

    def __repr__(self) -> str:
        return f"RedisStore({self._address.url!r})"

    @property
    def durable(self) -> bool:
        """Always False: what is kept may survive, or not; that is up to the server's settings, and to failovers."""
        return False

    @property
    def rotating_risk(self) -> str | None:
        """Why a person's refresh token must not be kept here alone, unless that was allowed."""
        return None if self._allow_rotating else _RISK

    async def __aenter__(self) -> Self:
        """Count one more user; connect to nothing."""
        self._door.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Count one user less; the last one closes the connections."""
        await self._door.leave()

    async def peek(self, key: str) -> Reading:
        """Look; take no lease, write no intent.

        Raises:
            StoreError: No answer, or the record cannot be read.
        """
        return await self._run(PEEK, key, tuple, lambda answer: rows.read(answer.row, answer.now))

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        """Take the lease and write the intent, if the record still has `generation`.

        Raises:
            StoreError: No answer, the server cannot be written, or the record cannot be read.
        """

        def read(answer: Answer) -> Begun | Reading:
            timely = rows.timely(answer.row, answer.now, generation=generation, lease=lease)
            reading = rows.read(timely, answer.now, reader=holder)
            return Begun(reading=reading) if answer.done else reading

        given = begin_arguments(generation, holder, lease, supersede=supersede)
        return await self._run(BEGIN, key, lambda: given, read)

    async def commit(self, key: str, sent: int, record: Record, holder: str) -> bool:  # noqa: ARG002 -- the protocol's
        """Keep `record` if the generation is still `sent`.

        Raises:
            StoreError: It is not known to be kept, what is there cannot be read and stays, or the record has a refresh
                token and that was not allowed.
        """
        if record.token is not None and record.token.refresh_token is not None and not self._allow_rotating:
            raise StoreError(_RISK, transient=False)
        return await self._run(COMMIT, key, lambda: commit_arguments(sent, record), _is_done)

    async def condemn(self, key: str, generation: int, cause: str) -> bool:
        """Note that the refresh token of `generation` is dead, if that is current.

        Raises:
            StoreError: It is not known to be noted, or what is there cannot be read and stays.
        """
        return await self._run(CONDEMN, key, lambda: (generation, cause), _is_done)

    async def release(self, key: str, holder: str, *, doubt: bool) -> None:
        """Give the lease back; drop the intent unless the outcome is in doubt. A damaged record is no obstacle.

        Raises:
            StoreError: It is not known to be given back.
        """
        await self._run(RELEASE, key, lambda: (holder, int(doubt)), _is_done)

    async def wait(self, key: str, generation: int, timeout: float) -> None:
        """Return when the generation, the lease or the intents have changed, or when `timeout` is over.

        A change is announced by the server; if that fails, it is seen within a second or so.

        Raises:
            StoreError: No answer.
            MisuseError: The store was closed.
        """
        name, _ = self._names(key)
        home = self._door.home()
        first: dict[bytes, bytes] | None = None
        with home.bell.listening(name) as rung, anyio.move_on_after(timeout):
            while True:
                rung.clear()
                now: dict[bytes, bytes] = await self._ask(lambda: home.command("HGETALL", name))
                first = now if first is None else first
                if now != first or now.get(b"generation", b"0") != str(generation).encode():
                    return
                await self._door.home().bell.hear(rung, _LOOKS_EVERY)  # unless it was closed in the meantime

    async def forget(self, key: str) -> None:
        """Leave a tombstone of the next generation, also where the record was damaged.

        Where somebody else uses the key, for what is no record at all, that is deleted.

        Raises:
            StoreError: It is not known to be forgotten.
        """
        await self._run(FORGET, key, tuple, _is_done)

    async def keys(self, *, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return the next keys, in the order of their code points, `limit` at most.

        Each page is a look at all keys of the database, whosever they are: few large pages cost less than many.

        Raises:
            StoreError: No answer.
        """
        home = self._door.home()
        begins, ends = f"{self._prefix}:{{", "}"
        look = ("MATCH", f"{escaped(begins)}*{ends}", "COUNT", _SCANNED_AT_ONCE)
        found: list[str] = []
        cursor = None
        while cursor != 0:
            cursor, names = await self._ask(partial(home.command, "SCAN", cursor or 0, *look))
            keys = {name.decode(errors="replace").removeprefix(begins).removesuffix(ends) for name in names}
            found = nsmallest(limit, {*found, *(key for key in keys if key > after)})
        return tuple(found)

    async def check(self) -> tuple[Fact, ...]:
        """Look at all that a manager is going to rely on, for people."""

        async def look() -> tuple[Fact, ...]:
            before = _WALL()
            seconds, microseconds = await home.client.time()
            skew = seconds + microseconds / MICROSECONDS - (before + _WALL()) / 2
            return (*await facts_of(home.client, rotating=self._allow_rotating), clock_fact(skew))

        async def write() -> StoreError | None:
            names, lease = self._names(_NOBODY), begin_arguments(0, "check", 1.0, supersede=False)
            for script, given in ((BEGIN, lease), (RELEASE, ("check", 0))):
                answer = await home.run(script, names, _NOBODY, *given)
                if isinstance(answer, StoreError):
                    return answer
            return None

        home = self._door.home()
        found = await home.see_through(look)
        if isinstance(found, StoreError):
            return (Fact(what=ANSWERS, ok=False, told=str(found)),)
        failure = await home.see_through(write)
        return (*found, Fact(what="can be written", ok=failure is None, told=str(failure or "a lease, and given back")))

    async def _run(
        self,
        script: Script,
        key: str,
        arguments: Callable[[], tuple[str | float, ...]],
        read: Callable[[Answer], _T],
    ) -> _T:
        """Run a script; its arguments are made where no frame is that raises, because they may be secret."""
        home = self._door.home()

        async def work() -> _T | StoreError:
            answer = await home.run(script, self._names(key), key, *arguments())
            return answer if isinstance(answer, StoreError) else read(answer)

        return await self._ask(work)

    async def _ask(self, work: Work[_T]) -> _T:
        outcome = await self._door.home().see_through(work)
        if isinstance(outcome, StoreError):
            raise outcome  # here, where no frame has a secret
        return outcome

    def _names(self, key: str) -> tuple[str, str]:
        """Return what the hash and the token of a key are called."""
        name = f"{self._prefix}:{{{key}}}"
        return name, f"{name}:token"


def _is_done(answer: Answer) -> bool:
    return answer.done
