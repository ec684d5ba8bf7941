"""The README's FastAPI app whose customers each connect an account, with two workers."""

import asyncio
import json
import re
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from cryptography.fernet import Fernet
from yarl import URL

from tests.examples.browser import Browser
from tests.examples.programs import Running, copied, environment, free_port, listening, running
from zoom_async_auth.sandbox import Sandbox

pytestmark = [pytest.mark.asyncio(loop_factories=["plain"]), pytest.mark.timeout(180)]

WORKERS = 2
VISITS = 10
"""At a time: more than one worker takes on."""
SERVE = ("-m", "uvicorn", "saas:app", "--workers", f"{WORKERS}", "--timeout-worker-healthcheck", "60")
WHO_ANSWERS = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"who": {"format": "worker %(process)d: %(message)s"}},
    "handlers": {"who": {"class": "logging.StreamHandler", "formatter": "who"}},
    "loggers": {"uvicorn.access": {"handlers": ["who"], "level": "INFO", "propagate": False}},
}
"""The server's log: each visit, and the process that took it."""


@asynccontextmanager
async def _browser(home: URL) -> AsyncIterator[Browser]:
    """Open a browser with cookies of its own. Each visit has a connection of its own, so any worker may take it."""
    connector, jar = aiohttp.TCPConnector(force_close=True), aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session:
        yield Browser(session, home)


async def _connects(browser: Browser, user: str) -> str:
    """Allow the app to act for `user`, not faster than a person; return what is shown then."""
    consent, _ = await browser.opens()
    await asyncio.sleep(0.1)
    return await browser.sends(consent, **consent.query, user=user, decision="allow")


async def _seen(browser: Browser) -> set[str]:
    """Return what many visits at once show."""
    return {shown for _, shown in await asyncio.gather(*(browser.opens() for _ in range(VISITS)))}


async def _seen_by_all(browser: Browser, app: Running) -> set[str]:
    """Visit until each worker has answered; return what was shown."""
    shown, before = set[str](), len(app.said())
    async with asyncio.timeout(60):
        while len(set(re.findall(r"worker (\d+): \S+ - \"GET / ", app.said()[before:]))) < WORKERS:
            shown |= await _seen(browser)
    return shown


async def test_each_customer_connects_an_account_and_one_who_takes_the_app_off_is_asked_again(tmp_path: Path) -> None:
    """Any worker acts for any customer, wherever the account was connected; the others do not notice who leaves."""
    home = URL.build(scheme="http", host="127.0.0.1", port=free_port())
    copied("saas.py", tmp_path)
    async with Sandbox() as zoom, _browser(home) as alice, _browser(home) as bob, _browser(home) as nobody:
        variables = environment(
            zoom,
            zoom.user_app,
            STORE_URL=f"sqlite:///{tmp_path}/private/tokens.sqlite3",
            ZOOM_STORE_KEYS=f"{Fernet.generate_key().decode()},{Fernet.generate_key().decode()}",
            PUBLIC_URL=f"{home.origin()}",
            CONNECT_SECRET=secrets.token_urlsafe(32),
            SESSION_SECRET=secrets.token_urlsafe(32),
        )
        (tmp_path / "log.json").write_text(json.dumps(WHO_ANSWERS), encoding="utf-8")
        serve = (*SERVE, "--port", f"{home.port}", "--log-config", "log.json")
        async with running(*serve, folder=tmp_path, variables=variables) as app:
            await listening(home.port or 0)
            consent, _ = await alice.opens("/login/alice")
            await bob.opens("/login/bob")
            connected = [await _connects(alice, "alice"), await _connects(bob, "bob")]
            seen = [await _seen_by_all(alice, app), await _seen_by_all(bob, app)]
            _, stranger = await nobody.opens()
            metrics, scrape = await nobody.opens("/metrics")
            quiet = app.said()

            zoom.take_off("alice")
            asked, _ = await alice.opens()
            unaffected = await _seen_by_all(bob, app)
            again = await _connects(alice, "alice")
            _, health = await nobody.opens("/health")
            code = await app.ended(by=signal.SIGTERM)

    assert [consent.origin(), asked.origin()] == [URL(zoom.url)] * 2
    shown = [f'"{name} is {name}@example.com at Zoom, until a visit to /zoom/disconnect."' for name in ("alice", "bob")]
    assert connected == shown
    assert seen == [{text} for text in shown]
    assert unaffected == {shown[1]}
    assert again == shown[0]
    assert "Log in first" in stranger
    assert metrics.path == "/metrics/"
    assert 'zoom_auth_pool_identities{name="default"} 2.0' in scrape
    assert json.loads(health)["ready"] is True
    assert zoom.stats["authorization_code"] == {"ok": 3}
    assert "WARNING" not in quiet  # to have not connected yet is no trouble
    assert code == 0
    left_open = re.findall(r"unclosed.*", app.said(), re.IGNORECASE)
    assert all(f"laddr=('127.0.0.1', {home.port})>" in what for what in left_open)  # where uvicorn listens
    assert "Traceback" not in app.said()
