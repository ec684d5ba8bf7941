"""S5 to S9, S42, S47, S48: what is shown, and to whom.

The search through all that is said, with canaries, over every kind of failure: tests/test_redaction.py.
"""

import ast
import asyncio
import gc
import logging
import os
import pickle
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import zoom_async_auth
from tests.engine.world import World
from tests.faults.steps import IMPATIENT, LIFE, all_luck, failure_of, failures, person, person_at
from zoom_async_auth import RenewalPolicy, Token, TokenManager, TokenUnavailableError, UserOAuth
from zoom_async_auth.events import RenewalFailed
from zoom_async_auth.sandbox import Zoom

PACKAGE = Path(zoom_async_auth.__file__).parent
UNSEEN = ("reset", "reset-after", "hang", "cut", "truncated", "html", "endless", "gzip-bomb", "redirect=http://x/")


def assert_hidden(text: str, app: UserOAuth, *tokens: Token) -> None:
    """Nothing of a secret: as it is, urlencoded or in base64, not even its first eight characters."""
    secrets = [app.client_id, app.client_secret or "", f"{app.client_id}:{app.client_secret}"]
    secrets += [part for token in tokens for part in (token.access_token, token.refresh_token or "?" * 8)]
    for secret in secrets:
        for form in (secret[:8], quote(secret)[:12], b64encode(secret.encode()).decode()[:12]):
            assert form not in text


async def test_s05_no_object_shows_a_secret_and_none_that_holds_one_is_pickled(world: World) -> None:
    app = world.zoom.user_app
    async with person(world) as manager:
        token = await manager.token()
        grant = world.consent()
        for thing in (app, token, grant, manager, manager.health(), await manager.renew()):
            assert_hidden(f"{thing!r} {thing} {thing!s:>9} {[thing]}", app, token)
        assert_hidden(repr(vars(manager)), app, token)
        for secretive in (app, token, grant):
            with pytest.raises(TypeError, match="holds a secret"):
                pickle.dumps(secretive)


@pytest.mark.parametrize("what", UNSEEN)
async def test_s06_no_failure_leads_to_an_exception_of_aiohttp_or_shows_a_secret(zoom_sandbox: Zoom, what: str) -> None:
    """By cause, by context, by the locals of a traceback; what was pickled comes back without any."""
    told: asyncio.Queue[BaseException] = asyncio.Queue()

    def note(event: object) -> None:
        if isinstance(event, RenewalFailed):
            told.put_nowait(event.error)

    policy = replace(IMPATIENT, attempt_timeout=0.3)
    async with person_at(zoom_sandbox, policy=policy, random=all_luck, observers=[note]) as manager:
        token = await manager.token()
        zoom_sandbox.faults.add(f"refresh_token#1-:{what}")
        manager.invalidate(token)
        for error in (await failure_of(manager), await told.get(), await told.get()):
            for text in _reachable(error):
                assert_hidden(text, zoom_sandbox.user_app, token)
            assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 -- our own


def _reachable(error: BaseException) -> Iterator[str]:
    waiting: list[BaseException | None] = [error]
    while waiting:
        if (one := waiting.pop()) is None:
            continue
        assert not type(one).__module__.startswith("aiohttp")
        waiting += [one.__cause__, one.__context__]
        yield f"{one!r} {one} {vars(one)}"
        traceback = one.__traceback__
        while traceback is not None:
            if Path(traceback.tb_frame.f_code.co_filename).is_relative_to(PACKAGE):
                yield repr(traceback.tb_frame.f_locals)
            traceback = traceback.tb_next


async def test_s07_no_log_at_its_most_talkative_shows_a_secret(
    zoom_sandbox: Zoom, caplog: pytest.LogCaptureFixture
) -> None:
    """The root logger at DEBUG, asyncio in debug mode; warnings are errors in all tests."""
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0  # each step is logged, with the repr of its task
    async with person_at(zoom_sandbox) as manager:
        token = await manager.token()
        for what in ("reset", 'answer=400 {"error":"something_new"}'):
            zoom_sandbox.faults.add(f"refresh_token:{what}")
            manager.invalidate(await manager.bearer())
        renewed = await manager.token()

    assert caplog.records
    assert_hidden(caplog.text, zoom_sandbox.user_app, token, renewed)


async def test_s08_a_task_that_dies_unobserved_gives_a_clean_text(world: World) -> None:
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    async with person(world) as manager:
        token = await manager.token()
        world.zoom.faults.add('refresh_token:answer=401 {"error":"invalid_client"}')
        world.clock.advance(LIFE)
        await asyncio.wait({asyncio.create_task(manager.bearer())})
        gc.collect()

    assert [context["message"] for context in contexts] == ["Task exception was never retrieved"]
    assert_hidden(repr(contexts), world.zoom.user_app, token)


async def test_s09_an_echoed_refresh_token_is_not_shown(world: World) -> None:
    """The field that holds it is dropped, the other one stays."""
    async with person(world) as manager:
        token = await manager.token()
        echo = f'{{"error":"invalid_scope","reason":"no such token: {token.refresh_token}"}}'
        world.zoom.faults.add(f"refresh_token:answer=400 {echo}")
        world.clock.advance(LIFE)
        error = await failure_of(manager)

    assert (error.error, error.reason) == ("invalid_scope", None)
    assert_hidden(f"{error!r} {error}", world.zoom.user_app, token)


async def test_s09_of_a_megabyte_of_html_nothing_is_kept_and_of_a_long_reason_64_characters(world: World) -> None:
    world.zoom.faults.add("any:answer=400 <html>" + "x" * 1_000_000)
    world.zoom.faults.add('any#2:answer=400 {"error":"invalid_scope","reason":"' + "y" * 1000 + '"}')
    async with world.manager() as manager:
        await failure_of(manager)
    first, second = failures(world)

    assert (first.error, first.reason, "x" * 9 in str(first)) == (None, None, False)
    assert second.reason == "y" * 64


async def test_s42_an_error_with_line_breaks_and_escape_sequences_is_one_line(world: World) -> None:
    text = "a\\r\\nb\\u001b[31m\\u2028\\u202ec"
    world.zoom.faults.add(f'any:answer=400 {{"error":"{text}","reason":"{text}","error_description":"{text}"}}')
    async with world.manager() as manager:
        await manager.bearer()
    (error,) = failures(world)

    assert (error.error, error.reason) == ("ab[31mc", "ab[31mc")
    assert str(error).isprintable()


def test_s47_two_commands_start_a_process_and_no_secret_is_taken_from_the_command_line() -> None:
    """So none is passed on: not by inheritance (`exec` and the browser of `login` get none), not by argv."""
    starters = {"subprocess", "multiprocessing", "concurrent", "pty", "webbrowser"}
    started: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
            else:
                continue
            names -= {"multiprocessing.parent_process"}  # asks whether somebody started us
            if found := {name.split(".")[0] for name in names} & starters:
                started.setdefault(path.name, set()).update(found)
    options = (PACKAGE / "cli" / "parser.py").read_text()

    assert started == {"exec.py": {"subprocess"}, "login.py": {"webbrowser"}}
    assert not any(option in options for option in ("--client-secret", "--secret", "--account"))


async def test_s47_the_environment_is_read_and_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZOOM_ACCOUNT_ID", "ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET"):
        monkeypatch.setenv(name, f"value-of-{name}")
    before = dict(os.environ)
    manager = TokenManager.from_env()

    assert dict(os.environ) == before
    assert "value-of" not in repr(vars(manager))


@pytest.mark.parametrize(("what", "field"), [("without=access_token", "access_token"), ("expires-in=0", "expires_in")])
async def test_s48_an_answer_without_a_required_field_is_told_by_its_names_alone(
    world: World, what: str, field: str
) -> None:
    """What is there is a pair of tokens, or half of one."""
    async with person(world, policy=RenewalPolicy(timeout=0.12)) as manager:
        token = await manager.token()
        world.zoom.faults.add(f"refresh_token:{what}")
        world.clock.advance(LIFE)
        error = await failure_of(manager)

    assert type(error) is TokenUnavailableError
    assert str(error).startswith(f"the answer lacks what it must have, in {field} [status=200")
    assert "eyJ" not in str(error)  # how each token of Zoom begins
    assert_hidden(str(error), world.zoom.user_app, token)
