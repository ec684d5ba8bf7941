"""The README is one program: its blocks run in order, and what they define does what the text says."""

import asyncio
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.fernet import Fernet
from prometheus_client import CollectorRegistry
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from yarl import URL

from zoom_async_auth import (
    AuthorizationCodeGrant,
    AuthorizationRequiredError,
    StoredToken,
    TokenManager,
    TokenPool,
    ZoomAuthError,
)
from zoom_async_auth.sandbox import Sandbox, Zoom
from zoom_async_auth.stores.encrypted import EncryptedStore
from zoom_async_auth.stores.sql import SQLStore

README = Path(__file__).parent.parent / "README.md"


def _serve(ready: "queue.SimpleQueue[tuple[Zoom, asyncio.AbstractEventLoop, asyncio.Event]]") -> None:
    async def main() -> None:
        async with Sandbox() as zoom:
            done = asyncio.Event()
            ready.put((zoom, asyncio.get_running_loop(), done))
            await done.wait()

    asyncio.run(main())


@pytest.fixture(scope="module")
def zoom() -> Iterator[Zoom]:
    """A sandbox in a thread of its own: the blocks bring their own event loops."""
    ready: queue.SimpleQueue[tuple[Zoom, asyncio.AbstractEventLoop, asyncio.Event]] = queue.SimpleQueue()
    thread = threading.Thread(target=_serve, args=(ready,))
    thread.start()
    zoom, loop, done = ready.get(timeout=10)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ZOOM_ACCOUNT_ID", zoom.credentials.account_id)
        environment.setenv("ZOOM_CLIENT_ID", zoom.credentials.client_id)
        environment.setenv("ZOOM_CLIENT_SECRET", zoom.credentials.client_secret)
        environment.setenv("ZOOM_BASE_URL", zoom.url)
        yield zoom
    loop.call_soon_threadsafe(done.set)
    thread.join()


@pytest.fixture(scope="module")
def readme(zoom: Zoom) -> dict[str, Any]:
    """Run all blocks in order, and return what they defined."""
    del zoom
    document = Sybil(parsers=[PythonCodeBlockParser()]).parse(README)
    examples = list(document.examples())
    assert len(examples) == 10  # whole programs, with the name of their file, are run in tests/examples
    document.namespace["__name__"] = "readme"
    for example in examples:
        example.evaluate()
    return document.namespace


def test_the_quick_start_gets_an_answer_from_the_api(
    readme: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(readme["main"]())
    assert capsys.readouterr().out == "200\n"


async def test_the_worker_gives_back_what_it_had_no_token_for(
    readme: dict[str, Any], zoom: Zoom, capsys: pytest.CaptureFixture[str]
) -> None:
    async with TokenManager(zoom.credentials, base_url=zoom.url) as manager:
        jobs: asyncio.Queue[str] = asyncio.Queue()
        jobs.put_nowait("one")
        assert await readme["work"](manager, jobs) == []
    with pytest.raises(ZoomAuthError):
        await readme["work"](manager, _full(jobs))
    assert capsys.readouterr().out == ""


def _full(jobs: "asyncio.Queue[str]") -> "asyncio.Queue[str]":
    jobs.put_nowait("another")
    return jobs


async def test_a_token_is_found_in_the_store_of_another_process(
    readme: dict[str, Any], zoom: Zoom, tmp_path: Path
) -> None:
    url, keys = f"sqlite:///{tmp_path}/private/tokens.sqlite3", [Fernet.generate_key().decode()]
    grant = AuthorizationCodeGrant(code=zoom.authorize("alice"), redirect_uri=zoom.redirect_uri)
    store = EncryptedStore(SQLStore(url), keys=keys)
    async with TokenManager(zoom.user_app, base_url=zoom.url, store=store, key="alice") as manager:
        token = await manager.authorize(grant)

    class AtTheSandbox(TokenManager):
        """The README's manager is at Zoom."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, base_url=zoom.url, **options)

    sent = zoom.token_requests
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(readme, "TokenManager", AtTheSandbox)
        assert await readme["token_of"]("alice", zoom.user_app, url, keys) == token.access_token
    assert zoom.token_requests == sent


async def test_a_person_is_connected_by_the_consent_page(readme: dict[str, Any], zoom: Zoom) -> None:
    kept = readme["start_consent"](zoom.user_app, zoom.redirect_uri)
    asked = URL(kept.url)
    assert asked.origin() == URL("https://zoom.us")
    code = zoom.authorize("alice", code_challenge=asked.query["code_challenge"])
    async with TokenManager(zoom.user_app, base_url=zoom.url) as manager:
        await readme["finish_consent"](manager, urlencode({"code": code, "state": asked.query["state"]}), kept)
        assert zoom.model.user_of(await manager.bearer()) == "alice"
        with pytest.raises(AuthorizationRequiredError, match="does not belong to this browser"):
            await readme["finish_consent"](manager, "code=stolen&state=guessed", kept)


async def test_httpx_gets_the_token_where_it_is_allowed(readme: dict[str, Any], zoom: Zoom) -> None:
    async with TokenManager(zoom.credentials, base_url=zoom.url) as manager:
        assert await readme["users"](manager, zoom.url) == 200


async def test_the_tests_that_are_shown_pass(readme: dict[str, Any], zoom: Zoom) -> None:
    async with TokenManager(zoom.credentials, base_url=zoom.url) as manager:
        await readme["test_any_number_of_callers_cost_one_request"](zoom, manager)
    await readme["test_a_person_who_takes_the_app_off_is_asked_again"](zoom)


async def test_a_scrape_shows_the_state_of_the_manager(readme: dict[str, Any]) -> None:
    text = await readme["scraped"](CollectorRegistry())
    assert 'zoom_auth_state{name="default",state="fresh"} 1.0' in text
    assert 'zoom_auth_renewals_total{error="",name="default",outcome="renewed"} 1.0' in text


async def test_a_pool_takes_over_what_another_program_kept(
    readme: dict[str, Any], zoom: Zoom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class AtTheSandbox(TokenPool):
        """The README's pool is at Zoom."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, base_url=zoom.url, **options)

    expires_at = time.time() + 3600
    known = {
        name: StoredToken(access_token=f"access-{name}", refresh_token=f"refresh-{name}", expires_at=expires_at)
        for name in ("alice", "bob")
    }
    url, sent = f"sqlite:///{tmp_path}/private/tokens.sqlite3", zoom.token_requests
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(readme, "TokenPool", AtTheSandbox)
        assert await readme["serve"](zoom.user_app, url, known) == ["access-alice", "access-bob"]
    assert "identities=2" in capsys.readouterr().out
    assert zoom.token_requests == sent
