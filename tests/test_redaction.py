"""No secret is ever shown: canaries as every secret, every kind of failure, and a search through all that was said.

Rows S5, S6, S7, S8, S9, S48 of the security matrix.
"""

import asyncio
import copy
import gc
import logging
import os
import pickle
import ssl
import subprocess
import sys
import traceback
import warnings
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import zoom_async_auth
from tests.integrations.raw import Behaviour, answers, hangs, raw_server, resets
from zoom_async_auth import (
    AccountCredentialsGrant,
    AuthorizationCodeGrant,
    ClientCredentials,
    DeviceCodeGrant,
    RefreshTokenGrant,
    RenewalPolicy,
    ServerToServer,
    StoredToken,
    Token,
    TokenManager,
    TokenPool,
    UserOAuth,
    ZoomAuthError,
)
from zoom_async_auth.endpoint import AiohttpTransport
from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.events import Event
from zoom_async_auth.oauth.authorize import authorization_request
from zoom_async_auth.oauth.wire import Answer
from zoom_async_auth.stores.memory import MemoryStore

PACKAGE = str(Path(zoom_async_auth.__file__).parent)

CLIENT_ID = "Cl1ntCanaryAAAA"
SECRET = "S3cr3tCanary+%&BBBB"
ACCOUNT = "Acc0untCanaryCCCC"
CODE = "C0deCanaryDDDD"
VERIFIER = "V3rifierCanary" + "E" * 40
ACCESS = "Acc3ssCanaryFFFF"
REFRESH = "R3freshCanaryGGGG"
CANARIES = (CLIENT_ID, SECRET, ACCOUNT, CODE, VERIFIER, ACCESS, REFRESH)

S2S = ServerToServer(account_id=ACCOUNT, client_id=CLIENT_ID, client_secret=SECRET)
USER = UserOAuth(client_id=CLIENT_ID, client_secret=SECRET)
GRANT = AuthorizationCodeGrant(code=CODE, redirect_uri="http://127.0.0.1/callback", code_verifier=VERIFIER)
PAIR = f'{{"access_token":"{ACCESS}","token_type":"bearer","refresh_token":"{REFRESH}","expires_in":3599}}'.encode()

FORMS = tuple(
    form
    for canary in (*CANARIES, f"{CLIENT_ID}:{SECRET}")
    for form in (canary, canary[:8], quote(canary), b64encode(canary.encode()).decode().rstrip("="))
)


def assert_clean(text: str, where: str) -> None:
    for form in FORMS:
        assert form not in text, f"{where} shows a secret"


@dataclass
class Said:
    """Everything that a program could have seen or kept."""

    events: list[Event] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    contexts: list[dict[str, Any]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def check(self) -> None:
        for event in self.events:
            assert_clean(f"{event!r} {event}", f"the event {type(event).__name__}")
            self.errors += [error for error in (getattr(event, "error", None),) if error is not None]
        for error in self.errors:
            for chained in _chain(error):
                assert not type(chained).__module__.startswith("aiohttp"), "an exception of aiohttp can be reached"
                assert_clean(f"{chained!r} {chained} {chained.args} {vars(chained)}", "an exception")
                assert_clean("\n".join(_locals_of(chained)), "a traceback with local variables")
            assert_clean(pickle.dumps(error).decode("latin-1"), "a pickled exception")
        for context in self.contexts:
            assert_clean(repr(context), "the loop's exception handler")
        for text in self.shown:
            assert_clean(text, "a repr")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        error = waiting.pop()
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            yield error
            waiting += [error.__cause__, error.__context__]


def _locals_of(error: BaseException) -> Iterator[str]:
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename.startswith(PACKAGE):
            for name, value in traceback.tb_frame.f_locals.items():
                yield f"{name}={value!r} {value}"
        traceback = traceback.tb_next


class Leaky:
    """A transport whose exceptions show the request, as those of HTTP libraries do."""

    async def send(self, url: str, headers: object, body: bytes, timeout: float) -> Answer:
        raise RuntimeError(url, headers, body, timeout)


class LeakyStore(MemoryStore):
    """A store whose exceptions show what was to be stored, as those of databases do."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    async def commit(self, key: str, sent: int, record: Any, holder: str) -> bool:
        if self.broken:
            raise RuntimeError(key, record.token.access_token, record.token.refresh_token)
        return await super().commit(key, sent, record, holder)


QUICK = RenewalPolicy(timeout=0.1, attempt_timeout=0.1, commit_timeout=0.1, min_interval=0.01)

Scenario = Callable[[Said], Awaitable[None]]


def _served(behaviour: Behaviour) -> Scenario:
    """Use every verb against a server that does this."""

    async def scenario(said: Said) -> None:
        async with raw_server(behaviour) as server:
            for credentials in (S2S, USER, ClientCredentials(client_id=CLIENT_ID, client_secret=SECRET)):
                manager = TokenManager(credentials, base_url=server.url, policy=QUICK, observers=[said.events.append])
                await _use(manager, said)

    return scenario


async def _use(manager: TokenManager, said: Said) -> None:
    async with manager:
        if manager._engine.is_person:
            for grant in (GRANT, StoredToken(access_token=ACCESS, refresh_token=REFRESH, expires_at=0.0)):
                await _noting(manager.authorize(grant), said)
        await _noting(manager.bearer(), said)
        await _noting(manager.token(valid_for=1e6), said)
        await _noting(manager.renew(), said)
        with suppress(ZoomAuthError):
            manager.invalidate(ACCESS)
        said.shown += [repr(manager), repr(manager.health()), repr(vars(manager))]
        await _noting(manager.revoke(), said)


async def _noting(work: Awaitable[object], said: Said) -> None:
    try:
        result = await work
    except ZoomAuthError as error:
        said.errors.append(error)
    else:
        if not isinstance(result, str):  # a token that is handed out on purpose
            said.shown.append(f"{result!r} {result}")


async def _misused(said: Said) -> None:
    """Each error is raised by a frame that held the secret a moment before."""
    manager = TokenManager(S2S)
    pool = TokenPool(S2S, store=MemoryStore(), keep_alive=None)
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    incomplete = {"ZOOM_CLIENT_SECRET": SECRET}
    unusable = {
        **incomplete,
        "ZOOM_CLIENT_ID": CLIENT_ID,
        "ZOOM_ACCOUNT_ID": "account",
        "ZOOM_BASE_URL": "ftp://zoom.us",
    }
    misuses: tuple[Callable[[], object], ...] = (
        lambda: manager.invalidate(ACCESS),
        lambda: pool.invalidate("alice", ACCESS),
        lambda: pool.invalidate("", ACCESS),
        lambda: pool.manager("alice").invalidate(ACCESS),
        lambda: TokenManager.from_env(incomplete),
        lambda: TokenManager.from_env(unusable),
        lambda: AiohttpTransport(proxy=f"http://user:{SECRET}@proxy", ssl_context=unverified),
    )
    for misuse in misuses:
        with pytest.raises(ZoomAuthError) as caught:
            misuse()
        said.errors.append(caught.value)


async def _leaky_transport(said: Said) -> None:
    for credentials in (S2S, USER):
        await _use(TokenManager(credentials, transport=Leaky(), policy=QUICK, observers=[said.events.append]), said)


async def _leaky_store(said: Said) -> None:
    store = LeakyStore()
    handed: list[str] = []

    def rescue(key: str, token: Token) -> None:
        handed.append(key)
        raise RuntimeError(token.access_token, token.refresh_token)

    async with raw_server(answers(PAIR)) as server:
        manager = TokenManager(
            USER,
            base_url=server.url,
            store=store,
            policy=QUICK,
            observers=[said.events.append],
            on_uncommitted=rescue,
        )
        async with manager:
            await _noting(manager.authorize(GRANT), said)
            store.broken = True
            await _noting(manager.renew(), said)
            await _noting(manager.renew(), said)
    assert handed == ["default"]


async def _bad_observer(said: Said) -> None:
    def fail(event: Event) -> None:
        raise RuntimeError(event, ACCESS, SECRET)

    async with raw_server(answers(PAIR)) as server:
        await _use(TokenManager(S2S, base_url=server.url, observers=[fail], policy=QUICK), said)


async def _closed_in_flight(said: Said) -> None:
    async with raw_server(hangs) as server:
        manager = TokenManager(S2S, base_url=server.url, policy=QUICK, observers=[said.events.append])
        await manager.start()
        caller = asyncio.create_task(manager.bearer())
        await server.seen.wait()
        await manager.aclose()
        await _noting(caller, said)


async def _task_dies_unobserved(said: Said) -> None:
    async with (
        raw_server(answers(PAIR, status="500 Oops")) as server,
        TokenManager(S2S, base_url=server.url, policy=QUICK) as manager,
    ):
        task = asyncio.create_task(manager.bearer())
        await asyncio.wait({task})
        del task
        gc.collect()
        assert said.contexts


def _echo(status: str = "400 Bad") -> Behaviour:
    """Answer with everything that was sent, in every field."""
    text = " ".join(
        (CLIENT_ID, SECRET, quote(SECRET), CODE, REFRESH, b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode())
    )
    body = f'{{"error":"{text}","reason":"{text}","error_description":"{text}","code":4733}}'.encode()
    return answers(body, status=status, headers=f"x-zm-trackingid: {SECRET}\r\n")


SCENARIOS: dict[str, Scenario] = {
    "success": _served(answers(PAIR)),
    "error echoes what was sent": _served(_echo()),
    "error echoes with 401": _served(_echo("401 No")),
    "html echoes": _served(answers(f"<html>{SECRET} {REFRESH}".encode(), status="502 Bad")),
    "invalid client": _served(answers(b'{"reason":"Invalid client_id","error":"invalid_client"}', status="400 Bad")),
    "invalid grant": _served(answers(b'{"reason":"Invalid Token!","error":"invalid_grant"}', status="400 Bad")),
    "a field is missing": _served(answers(f'{{"refresh_token":"{REFRESH}","expires_in":0}}'.encode())),
    "a token is malformed": _served(answers(f'{{"access_token":"{ACCESS} {ACCESS}","expires_in":1}}'.encode())),
    "a type is wrong": _served(answers(PAIR.replace(b"bearer", b"mac"))),
    "truncated": _served(answers(PAIR[:-20])),
    "redirect": _served(answers(status="307 Temporary", headers=f"Location: https://evil.example/?t={SECRET}\r\n")),
    "reset": _served(resets(after_reading=True)),
    "hang": _served(hangs),
    "transport shows the request": _leaky_transport,
    "store shows the record": _leaky_store,
    "observer shows everything": _bad_observer,
    "misused": _misused,
    "closed in flight": _closed_in_flight,
    "a task dies unobserved": _task_dies_unobserved,
}


@pytest.mark.asyncio(loop_factories=["debug"])
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
async def test_no_failure_shows_a_secret(scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = Said()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.contexts.append(context))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        await scenario(said)
        await asyncio.sleep(0)

    said.check()
    for record in caplog.records:
        assert_clean(f"{record.getMessage()} {record.__dict__}", f"the log of {record.name}")
        if record.exc_info and record.exc_info[1] is not None:
            for chained in _chain(record.exc_info[1]):
                assert_clean(f"{chained!r}", "a logged exception")
    for warning in warned:
        assert_clean(str(warning.message), "a warning")


def _objects() -> list[object]:
    request = authorization_request(USER, redirect_uri="http://127.0.0.1/callback", randomness=b"x" * 64)
    return [
        S2S,
        USER,
        ClientCredentials(client_id=CLIENT_ID, client_secret=SECRET),
        GRANT,
        AccountCredentialsGrant(account_id=ACCOUNT),
        RefreshTokenGrant(refresh_token=REFRESH),
        DeviceCodeGrant(device_code=CODE),
        Token(access_token=ACCESS, refresh_token=REFRESH, expires_in=1.0),
        StoredToken(access_token=ACCESS, refresh_token=REFRESH, expires_at=1.0),
        request,
    ]


@pytest.mark.parametrize("secretive", _objects(), ids=lambda value: type(value).__name__)
def test_an_object_with_a_secret_hides_it_and_refuses_to_be_pickled(secretive: object) -> None:
    """S5: not in repr, str or format; a copy is the object itself."""
    assert_clean(f"{secretive!r} {secretive} {[secretive]} {secretive!s:>200}", type(secretive).__name__)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="holds a secret and cannot be pickled"):
            pickle.dumps(secretive, protocol)
    assert copy.copy(secretive) is secretive
    assert copy.deepcopy(secretive) is secretive


def test_a_manager_shows_nothing_of_its_credentials() -> None:
    manager = TokenManager(S2S)
    assert_clean(f"{manager!r} {manager} {vars(manager)}", "a manager")


def test_help_shows_no_environment() -> None:
    """A default value is part of a signature, and help() prints it."""
    script = "import pydoc, zoom_async_auth; print(pydoc.plain(pydoc.render_doc(zoom_async_auth.TokenManager)))"
    environment = {**os.environ, "ZOOM_CLIENT_SECRET": "canary-in-the-environment"}
    shown = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)

    assert "from_env" in shown.stdout
    assert "canary" not in shown.stdout


@pytest.mark.parametrize("credentials", [{"client_secret": "canary-of-a-dict"}, None, "canary"])
def test_what_are_no_credentials_are_named_by_their_type(credentials: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"credentials must be ServerToServer, .* not (dict|NoneType|str)"
    ) as raised:
        TokenManager(credentials)
    assert "canary" not in "".join(traceback.format_exception(raised.value))
