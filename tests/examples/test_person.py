"""The README's aiohttp app, in which a person connects an account, and its Discord bot, which acts for that person."""

import json
import secrets
import signal
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.examples.browser import Browser
from tests.examples.discord_server import Discord
from tests.examples.programs import copied, environment, free_port, listening, running, stored
from tests.processes.place import App, Place
from zoom_async_auth.sandbox import Sandbox

pytestmark = [pytest.mark.asyncio(loop_factories=["plain"]), pytest.mark.timeout(180)]

RUN_BOT = str(Path(__file__).with_name("run_bot.py"))
NOBODY = "I act for nobody at Zoom: please connect me."


async def test_the_bot_acts_for_whoever_has_connected_the_web_app(tmp_path: Path) -> None:
    """Two programs on one store: what a person allows in one, the other notices; and what is taken back."""
    place = Place(f"sqlite:///{tmp_path}/private/tokens.sqlite3")
    home = URL.build(scheme="http", host="127.0.0.1", port=free_port())
    web, bot = str(copied("web.py", tmp_path)), str(copied("bot.py", tmp_path))
    async with (
        Sandbox() as zoom,
        Discord.open() as discord,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        variables = environment(
            zoom,
            zoom.user_app,
            STORE_URL=place.url,
            PUBLIC_URL=f"{home.origin()}",
            PORT=f"{home.port}",
            CONNECT_SECRET=secrets.token_urlsafe(32),
            DISCORD_TOKEN="token-of-the-bot",
        )
        browser = Browser(session, home)
        async with (
            running(web, folder=tmp_path, variables=variables) as app,
            running(RUN_BOT, discord.url, bot, folder=tmp_path, variables=variables, in_background=True) as chat,
        ):
            await listening(home.port or 0)
            assert await discord.hears("!whoami") == NOBODY
            assert "alice@example.com" in await browser.connects("alice")
            assert await discord.changes_its_answer("!whoami", NOBODY) == "At Zoom I act for alice@example.com."
            _, health = await browser.opens("/health")
            await browser.sends(home.with_path("/zoom/disconnect"))
            gone = await discord.hears("!whoami")
            assert "bob@example.com" in await browser.connects("bob")
            assert await discord.changes_its_answer("!whoami", NOBODY) == "At Zoom I act for bob@example.com."

            zoom.faults.add("refresh_token:retry-after=120")
            zoom.reject((await stored(App.of(zoom, personal=True), place))[1])
            refused = await discord.hears("!whoami")
            ends = [await program.ended(by=signal.SIGTERM) for program in (app, chat)]

        assert json.loads(health)["state"] == "fresh"
        assert gone == NOBODY
        assert refused == "Zoom gives me no token: please ask again in 120 s."
        assert zoom.stats == {"authorization_code": {"ok": 2}, "refresh_token": {"fault": 1}}
        assert ends == [0, 0]
        assert "ResourceWarning" not in app.said() + chat.said()
        assert "Traceback" not in app.said() + chat.said()
