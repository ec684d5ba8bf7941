"""Somebody connects an account at Zoom with a web app, in a real browser: as it should be, and as it should not.

SCREENSHOTS=folder pytest tests/browser      keeps the screenshots, to look at them
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from yarl import URL

from tests.browser.apps import CALLBACK, Serve, address_of, aiohttp_app, fastapi_app
from tests.browser.chromium import Chromium, Person, Tab
from zoom_async_auth.sandbox import Zoom

pytestmark = [pytest.mark.asyncio(loop_factories=["plain"]), pytest.mark.timeout(120)]

STRANGER = "Hello, stranger"
ALICE = "Hello, Alice"
BOB = "Hello, Bob"
REFUSED = "400 (Bad Request)"
DOWN = "503 (Service Unavailable)"
ON_ONE_APP = pytest.mark.parametrize("app", [aiohttp_app], ids=["aiohttp"], indirect=True)
"""What is the same in all frameworks: pages, and how a browser takes them."""


@pytest.fixture(params=[fastapi_app, aiohttp_app], ids=["fastapi", "aiohttp"])
async def app(request: pytest.FixtureRequest, zoom: Zoom) -> AsyncIterator[str]:
    """Where the app is."""
    serve: Serve = request.param
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with serve(zoom, listening):
            yield address_of(listening)


async def asked(person: Person, app: str) -> Tab:
    """Press "Connect with Zoom", and come to the consent page."""
    tab = await person.tab(app)
    await tab.sees(STRANGER)
    await tab.press("Connect with Zoom")
    await tab.sees("Allow this app?")
    return tab


async def connected(person: Person, app: str) -> Tab:
    tab = await asked(person, app)
    await tab.press("Allow")
    await tab.sees(ALICE)
    return tab


def callback(person: Person) -> URL:
    """Return where Zoom has sent the browser last, code and all."""
    return [url for url in person.requests if url.path == CALLBACK][-1]


# As it should be


async def test_somebody_connects_an_account_and_takes_that_back(zoom: Zoom, person: Person, app: str) -> None:
    """The app knows the name from the API; it asks before it lets go, and then the token is dead at Zoom, too."""
    tab = await asked(person, app)
    await tab.choose("Bob")
    await tab.press("Allow")
    await tab.sees(BOB)
    assert str(tab.url) == f"{app}/"
    assert zoom.model.persons(zoom.user_app.client_id) == ["bob"]

    await tab.press("Disconnect")
    await tab.press("Keep it connected")
    await tab.sees(BOB)
    await tab.press("Disconnect")
    await tab.sees("Disconnect Zoom?")
    await tab.press("Disconnect")
    await tab.sees(STRANGER)

    assert zoom.model.persons(zoom.user_app.client_id) == []
    assert zoom.stats == {"authorization_code": {"ok": 1}}


@ON_ONE_APP
async def test_somebody_connects_by_the_keyboard_alone(person: Person, app: str) -> None:
    """Every stop on the way has a name, and is seen to have the focus."""
    tab = await person.tab(app)
    await tab.keys("Tab", "Enter")
    await tab.sees("Allow this app?")
    await tab.keys("Tab")
    assert "Alice" in await tab.focused()
    await tab.keys("Tab")
    assert await tab.focused() == "Allow"
    await tab.keys("Enter")
    await tab.sees(ALICE)
    await tab.keys("Tab", "Enter")
    await tab.sees("Disconnect Zoom?")
    await tab.keys("Tab")
    assert await tab.focused() == "Disconnect"
    await tab.keys("Enter")
    await tab.sees(STRANGER)


async def test_somebody_who_declines_is_told_so_and_can_start_again(zoom: Zoom, person: Person, app: str) -> None:
    tab = await asked(person, app)
    await tab.press("Decline")
    await tab.sees("Not connected")
    assert zoom.token_requests == 0

    await tab.press("Start again")
    await tab.press("Allow")
    await tab.sees(ALICE)


@ON_ONE_APP
async def test_zoom_is_down_when_somebody_comes_back(zoom: Zoom, person: Person, app: str) -> None:
    """The consent is not lost: the same page again is enough."""
    tab = await asked(person, app)
    zoom.outage = 503
    await tab.press("Allow")
    await tab.sees("One moment, please")
    zoom.outage = None
    await tab.press("Try again")
    await tab.sees(ALICE)

    person.forgive(DOWN)


# As it should not be


async def test_a_forged_callback_is_refused_and_disturbs_nobody(zoom: Zoom, person: Person, app: str) -> None:
    """With a state that nobody gave out, or none; the attempt that is under way goes on."""
    tab = await asked(person, app)
    code = zoom.authorize("mallory")
    forged = await person.tab(app)
    for query in ({"code": code, "state": "forged"}, {"code": code}, {"error": "access_denied", "state": "forged"}):
        await forged.open(str(URL(app).with_path(CALLBACK).with_query(query)))
        await forged.sees("Please start again")
    assert zoom.token_requests == 0

    await tab.press("Allow")
    await tab.sees(ALICE)
    person.forgive(REFUSED)


async def test_the_callback_of_another_browser_is_refused(
    zoom: Zoom, browser: Chromium, pictures: Path, person: Person, app: str
) -> None:
    """Or one could be made to work with somebody else's account (RFC 6749, section 10.12)."""
    async with browser.person(pictures=pictures) as mallory:
        bait = await asked(mallory, app)
        zoom.outage = 503
        await bait.press("Allow")
        await bait.sees("One moment, please")
        zoom.outage = None
        mallory.forgive(DOWN)
        tab = await person.tab(str(callback(mallory)))
        await tab.sees("Please start again")

    assert zoom.stats == {"authorization_code": {"outage": 1}}
    await tab.open(app)
    await tab.sees(STRANGER)
    person.forgive(REFUSED)


async def test_a_callback_that_comes_again_spends_nothing(zoom: Zoom, person: Person, app: str) -> None:
    """From the history, or from a log."""
    tab = await connected(person, app)
    await tab.open(str(callback(person)))
    await tab.sees("Please start again")
    await tab.open(app)
    await tab.sees(ALICE)

    assert zoom.stats == {"authorization_code": {"ok": 1}}
    person.forgive(REFUSED)


@ON_ONE_APP
async def test_who_goes_back_and_allows_again_is_connected_as_before(zoom: Zoom, person: Person, app: str) -> None:
    """Each attempt works once; it says so, and how to go on."""
    tab = await connected(person, app)
    await tab.back()
    await tab.sees("Allow this app?")
    await tab.press("Allow")
    await tab.sees("Please start again")
    assert "If Zoom is connected already, there is nothing to do." in await tab.text()
    await tab.open(app)
    await tab.sees(ALICE)

    assert zoom.stats == {"authorization_code": {"ok": 1}}
    person.forgive(REFUSED)


# Two tabs


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first tab first", "second tab first"])
async def test_two_tabs_that_connect_in_turn_do_not_disturb_each_other(
    zoom: Zoom, person: Person, app: str, order: tuple[int, int]
) -> None:
    """Interleaving: both have come to the consent page before either is allowed."""
    tabs = [await asked(person, app), await asked(person, app)]
    for number, name, greeting in zip(order, ("Alice", "Bob"), (ALICE, BOB), strict=True):
        await tabs[number].choose(name)
        await tabs[number].press("Allow")
        await tabs[number].sees(greeting)

    assert zoom.stats == {"authorization_code": {"ok": 2}}


async def test_two_tabs_that_connect_at_once_both_arrive(zoom: Zoom, person: Person, app: str) -> None:
    """Zoom kills the token of the first when it gives the second: the app has the one that lives."""
    tabs = [await asked(person, app), await asked(person, app)]
    await asyncio.gather(*(tab.press("Allow") for tab in tabs))
    for tab in tabs:
        await tab.sees(ALICE)
        await tab.open(app)
        await tab.sees(ALICE)

    assert zoom.stats == {"authorization_code": {"ok": 2}}


# What everybody sees


@ON_ONE_APP
async def test_every_page_of_the_way_can_be_used_by_everybody(
    zoom: Zoom, browser: Chromium, pictures: Path, app: str
) -> None:
    """Named links and buttons, one heading, contrast, no sideways scrolling: as the browser itself measures it."""
    short: dict[str, list[str]] = {}
    async with browser.person(pictures=pictures, phone=True) as person:
        tab = await asked(person, app)

        async def look(heading: str, page: str) -> None:
            await tab.sees(heading)
            short[page] = await tab.shortcomings(f"connect-{page}")

        await tab.press("Decline")
        await look("Not connected", "declined")
        await tab.open(app + CALLBACK)
        await look("Please start again", "over")
        await tab.press("Start again")
        zoom.outage = 503
        await tab.press("Allow")
        await look("One moment, please", "unavailable")
        zoom.outage = None
        await tab.press("Try again")
        await tab.press("Disconnect")
        await look("Disconnect Zoom?", "sure")
        person.forgive(REFUSED)
        person.forgive(DOWN)

    assert short == {page: [] for page in short}
    assert len(short) == 4
