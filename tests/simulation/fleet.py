"""Processes that share a Zoom and a store, and a book in which everything is noted that should not be.

handed out      what a caller got had not expired at Zoom; nor was it one that the same process had seen rejected.
the live token  the refresh token that Zoom would take is in the store; or in the memory of a living process, as a
                token that is not stored yet or as an exchange in flight; or an open intent in the store covers it.
                Excepted is what nobody here ever heard of: after an answer got lost, or a process was killed, the
                store may instead say that the grant is dead, or revoked; and what was dropped for the sake of a
                revocation, if that could not be told to Zoom. A new authorization whose answer got lost is
                no chain of ours: the caller is told, the store goes on with the old one. Nor can anybody here tell
                which of two that were sent in the same instant killed the other.
buried alive    a process declares a grant dead only if Zoom would take neither the stored refresh token nor one that
                the process itself has yet to store; or if another one stores it in the same instant, having been
                suspended until nobody waited for it any more.
in flight       one refresh token is never on the wire twice, unless the lease of the first has lapsed or was taken over
                by an authorization or a revocation.
budget          a process sends no refresh within `min_interval` of asking for a token that it got; and nothing while
                Zoom has asked it to wait.
the end         once all trouble is over, everybody who waits gets an answer, and a new process a good token, if the
                store holds what Zoom takes; else the person is asked.
"""

import asyncio
import itertools
import json
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl

from tests.engine.world import FaultyStore, World
from tests.simulation.distance import DISTANCE, FarStore, FarWire, key_of, live
from zoom_async_auth import (
    AuthorizationRequiredError,
    RenewalPolicy,
    Token,
    TokenManager,
    TokenUnavailableError,
    ZoomAuthError,
)
from zoom_async_auth.events import Authorized, Event, GrantDied, LateTokenDropped, TokenRenewed
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.renewal.policy import STORE_POLL
from zoom_async_auth.stores.row import Row
from zoom_async_auth.testing import ManualClock

Fault = Literal["lost before", "lost after", "429", "500", "html"]

POLICY = RenewalPolicy()
RETRY_AFTER = 60.0
AUTHORIZING = "authorization_code"
OK = 200
OPERATIONS = {"peek", "begin", "commit", "condemn", "release", "wait", "forget"}
PATIENCE = 300.0
"""Virtual seconds after which each call has an answer."""
LONG = 2 * 3600.0
"""Virtual seconds after which every doubt, pause and lease is over."""
ROUNDING = 1e-6

INSTEAD: dict[Fault, Answer] = {
    "429": Answer(status=429, headers={"Retry-After": f"{RETRY_AFTER:g}"}, body=b""),
    "500": Answer(status=500, headers={}, body=b"<html>upstream trouble</html>"),
    "html": Answer(status=200, headers={"Content-Type": "text/html"}, body=b"<html>log in</html>"),
}


class Host:
    """What all processes share: Zoom, the store, and the book in which everything is noted that should not be."""

    def __init__(self) -> None:
        self.world = World(luck=0.5)
        self.memory = self.world.store()
        self.clock = ManualClock(self.world.clock.monotonic)  # its wall can be stepped; Zoom's and the store's cannot
        self.processes: list[Process] = []
        self.numbers = itertools.count(1)
        self.faults: list[Fault] = []
        self.wrong: list[str] = []
        self.log: list[str] = []
        self.minted: set[str] = set()
        self.lost: list[object] = []  # chains of which an answer was lost
        self.unheard: list[object] = []  # chains of which the first answer was lost
        self.woken_at = float("-inf")  # when a process last heard from Zoom after all doubt was over: it was suspended
        self.outranked_at = float("-inf")  # when an authorization or a revocation was last begun

    @property
    def now(self) -> float:
        return self.world.clock.monotonic()

    def chain(self) -> object | None:
        """Return Zoom's chain of alice, if there is a live one."""
        return next(iter(self.world.zoom.model._chains.values()), None)

    def row(self) -> Row:
        return self.memory._entry(key_of(self.world)).row

    def stored(self) -> Token | None:
        record = self.row().record
        return None if record is None else record.token

    def object_to(self, what: str) -> None:
        """Note what should not be."""
        self.wrong.append(what)
        self.note(f"WRONG: {what}")

    def note(self, what: str) -> None:
        """Note what happened."""
        self.log.append(f"{self.now:10.3f} s  {what}")

    def assert_nothing_is_wrong(self) -> None:
        """Tell what was wrong, and what led to it."""
        self.check_chain()
        assert not self.wrong, "\n".join(self.log)

    async def process(self, which: int) -> "Process":
        """Return that process; start it if it does not run."""
        while len(self.processes) <= which:
            process = Process(self)
            self.processes.append(process)
            await process.manager.start()
        return self.processes[which]

    def mend_the_store(self) -> None:
        """Have it answer everybody again."""
        for process in self.processes:
            process.store.down.clear()
            process.store.silent.clear()
            process.store.slow.clear()

    async def end(self) -> None:
        """End all trouble; see that everybody gets an answer, and a new process a good token or the reason."""
        self.faults.clear()
        self.world.zoom.latency = 0.1
        self.mend_the_store()
        if callers := [caller for process in self.processes for caller in process.callers]:
            _, hanging = await asyncio.wait(callers, timeout=PATIENCE)
            assert not hanging
        self.world.clock.advance(LONG)
        await asyncio.sleep(2 * STORE_POLL)
        for process in [*self.processes]:
            await process.close()
        held = self.stored()
        last = await self.process(0)
        try:
            access_token = await last.manager.bearer()
            if not self.world.is_good(access_token):  # killed by an authorization that nobody here heard of
                last.manager.invalidate(access_token)
                access_token = await last.manager.bearer()
        except AuthorizationRequiredError:
            assert held is None or held.refresh_token != live(self.world)
        else:
            assert self.world.is_good(access_token)
        await last.close()
        self.assert_nothing_is_wrong()

    def on_the_wire(self) -> list[tuple[str, float]]:
        return [sent for process in self.processes for sent in process.on_the_wire.values()]

    def generation(self) -> int:
        record = self.row().record
        return 0 if record is None else record.generation

    def note_loss(self, before: object | None, *, authorizing: bool) -> None:
        """Note that nobody here heard of what Zoom did to the chain that was live before."""
        chain = self.chain()
        if not authorizing and before is not None:
            self.lost.append(before)
        elif authorizing and chain is not None and chain is not before:
            self.unheard.append(chain)

    def check_chain(self) -> None:
        """Note it if the live refresh token is nowhere."""
        token, chain = live(self.world), self.chain()
        if chain is None or chain in self.unheard:
            return
        row = self.row()
        held = self.stored()
        slots = [process.manager._slot for process in self.processes]
        kept = (
            (held is not None and held.refresh_token == token)
            or any(known.pending is not None and known.pending.token.refresh_token == token for known in slots)
            or any(process.manager._engine._means.writers for process in self.processes)
            or any(intent.generation == self.generation() for intent in row.intents)
        )
        reported = held is None or (row.record is not None and row.record.cause is not None)
        if not kept and not (chain in self.lost and reported):
            self.object_to("the live refresh token is lost")

    def check_handed_out(self, access_token: str) -> None:
        """Note it if a token was handed out that had expired, or that never was one."""
        known = self.world.zoom.model._access.get(access_token)
        if known is not None and self.world.clock.time() >= known[2]:
            self.object_to("an expired token was handed out")
        if access_token not in self.minted:
            self.object_to("a token was handed out that Zoom never gave")


class Process:
    """One manager, its callers, and its lines to Zoom and the store."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.name = f"process {next(host.numbers)}"
        self.store = FaultyStore(host.memory)
        self.callers: list[asyncio.Task[Any]] = []
        self.rejected: set[str] = set()
        self.latest: str | None = None
        self.on_the_wire: dict[int, tuple[str, float]] = {}  # refresh tokens or grant types, and when they were sent
        self.renewed_at = float("-inf")
        self.paused_until = float("-inf")
        self._wire = FarWire(host.world.wire)
        self._numbers = 0
        self._asked_at = float("-inf")
        self.manager: TokenManager = host.world.personal(
            store=FarStore(self.store), transport=self, clock=host.clock, observers=[self._observe], policy=POLICY
        )

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        """Send a request, unless a fault is due; look whether it should be sent at all."""
        form = dict(parse_qsl(body.decode()))
        fault = self.host.faults.pop(0) if self.host.faults else None
        if fault == "html" and url.endswith("/revoke"):
            fault = None  # 200 counts there, whatever the body says
        self._check_budget(form)
        self._numbers += 1
        number = self._numbers
        what = f"{self.name}: {form.get('grant_type', 'revocation')} {number}"
        self.host.note(f"{what} is sent, {fault or 'no fault'}")
        kind = form.get("grant_type", "revocation")
        tied = kind == AUTHORIZING and (kind, self.host.now) in self.host.on_the_wire()
        self.on_the_wire[number] = form.get("refresh_token", kind), self.host.now
        try:
            if fault is None or fault == "lost after":
                answer = await self._ask_zoom(url, headers, body, timeout, lost=fault is not None)
                if tied:
                    self.host.note_loss(None, authorizing=True)
                return answer
            await asyncio.sleep(DISTANCE)
            if fault == "lost before":
                raise TokenUnavailableError("no answer from the token endpoint: ClientOSError", in_doubt=True)
            if fault == "429":
                self.paused_until = self.host.now + RETRY_AFTER
            return INSTEAD[fault]
        finally:
            _, sent_at = self.on_the_wire.pop(number)
            if self.host.now > sent_at + POLICY.doubt:
                self.host.woken_at = self.host.now
            self.host.note(f"{what} has ended")

    async def _ask_zoom(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout: float, *, lost: bool
    ) -> Answer:
        before = self.host.chain()
        answered = False
        asked_at = self.host.now
        try:
            answer = await self._wire.send(url, headers, body, timeout)
            answered = not lost
        finally:  # also when it is cancelled, because it took too long
            if not answered:
                self.host.note_loss(before, authorizing=AUTHORIZING.encode() in body)
        if lost:
            raise TokenUnavailableError("no answer from the token endpoint: ServerDisconnectedError", in_doubt=True)
        if url.endswith("/token") and answer.status == OK:
            self.host.minted.add(json.loads(answer.body)["access_token"])
            self._asked_at = asked_at
        self.host.check_chain()
        return answer

    def _check_budget(self, form: Mapping[str, str]) -> None:
        host = self.host
        if host.now < self.paused_until - ROUNDING:
            host.object_to("a request was sent while Zoom wanted a pause")
        if form.get("grant_type") != "refresh_token":
            return
        if host.now < self.renewed_at + POLICY.min_interval - ROUNDING:
            host.object_to("a refresh was sent below the floor")
        for token, sent_at in host.on_the_wire():
            lapsed = host.now >= sent_at + POLICY.attempt_timeout - ROUNDING or host.outranked_at >= sent_at
            if token == form["refresh_token"] and not lapsed:
                host.object_to("a refresh token is on the wire twice")

    def _observe(self, event: Event) -> None:
        host = self.host
        host.note(f"{self.name}: {event}")
        host.check_chain()
        if isinstance(event, TokenRenewed | Authorized):
            self.renewed_at = self._asked_at  # as a record tells it to the fleet
        if isinstance(event, LateTokenDropped) and not event.revoked:
            host.note_loss(host.chain(), authorizing=False)
        if isinstance(event, GrantDied) and host.now > host.woken_at + 4 * DISTANCE:
            pending = self.manager._slot.pending
            ours = [token for token in (host.stored(), None if pending is None else pending.token) if token is not None]
            if live(host.world) in [token.refresh_token for token in ours]:
                host.object_to("a living grant was declared dead")

    # What it does.

    async def ask(self) -> None:
        """Get a token, as a caller does."""
        try:
            token = await self.manager.bearer()
        except ZoomAuthError:
            return
        self.latest = token
        self.host.check_handed_out(token)
        if token in self.rejected:
            self.host.object_to("a token was handed out that this process had seen rejected")

    async def attempt(self, verb: Callable[[], Awaitable[object]]) -> None:
        """Do something that may fail."""
        try:
            await verb()
        except ZoomAuthError:
            return

    def call(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a caller."""
        self.callers = [caller for caller in self.callers if not caller.done()]
        self.callers.append(asyncio.create_task(work))

    def reject(self) -> None:
        """Have Zoom's API refuse the token that was handed out last, and say so."""
        if self.latest is None:
            return
        self.host.world.zoom.reject(self.latest)
        if self.manager.invalidate(self.latest):
            self.rejected.add(self.latest)

    def cancel(self, number: int) -> None:
        """Cancel that many callers."""
        for caller in self.callers[:number]:
            caller.cancel()

    async def close(self) -> None:
        """End in order; what cannot be stored by then is lost with the process."""
        await self.manager.aclose()
        await self._end()

    async def kill(self) -> None:
        """End at once: nothing reaches the store or Zoom any more."""
        self.store.down |= OPERATIONS
        tasks: list[asyncio.Task[Any]] = [*self.callers, *self.manager._engine.crew._tasks]
        if self.manager._engine._supervisor is not None:
            tasks.append(self.manager._engine._supervisor)
        if self.manager._engine._means.writers:
            self.host.note_loss(self.host.chain(), authorizing=False)
        for task in tasks:
            task.cancel()
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            await asyncio.wait(tasks)
        await self._end()

    async def _end(self) -> None:
        if (pending := self.manager._slot.pending) is not None:
            outranked = self.host.generation() != pending.sent
            self.host.note_loss(None if outranked else self.host.chain(), authorizing=outranked)
        self.host.processes.remove(self)
        if self.callers:
            _, hanging = await asyncio.wait(self.callers, timeout=PATIENCE)
            if hanging:
                self.host.object_to("a caller of a closed process hangs")
