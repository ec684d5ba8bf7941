"""The pages of the sandbox in a real browser: a whole log-in on a device, by anybody, on any screen.

SCREENSHOTS=folder pytest tests/browser      keeps the screenshots, to look at them
"""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.browser.chromium import Chromium, Person
from zoom_async_auth import AuthorizationRequiredError, DeviceCodeGrant, TokenManager
from zoom_async_auth.clock import SystemClock
from zoom_async_auth.endpoint import AiohttpTransport, Endpoint
from zoom_async_auth.oauth.wire import DeviceCode
from zoom_async_auth.sandbox import Zoom

pytestmark = [pytest.mark.asyncio(loop_factories=["plain"]), pytest.mark.timeout(120)]

REFUSED = "400 (Bad Request)"
UNTYPED = "Type whose account it is"


@pytest.fixture
async def manager(zoom: Zoom) -> AsyncIterator[TokenManager]:
    """The device's."""
    async with TokenManager(zoom.user_app, base_url=zoom.url) as manager:
        yield manager


@pytest.fixture
async def device(zoom: Zoom) -> DeviceCode:
    """What the endpoint gave to the device, and the device shows."""
    endpoint = Endpoint(
        zoom.user_app, base_url=zoom.url, transport=AiohttpTransport(), clock=SystemClock(), attempt_timeout=10.0
    )
    async with endpoint:
        code = await endpoint.device_code()
    assert isinstance(code, DeviceCode)
    return code


def consent(zoom: Zoom) -> str:
    fields = {"client_id": zoom.user_app.client_id, "redirect_uri": "http://127.0.0.1:1/callback", "state": "s"}
    return f"{zoom.url}/oauth/authorize?{urlencode(fields)}"


async def owner(zoom: Zoom, manager: TokenManager, device: DeviceCode) -> str | None:
    """Return whose token the device gets."""
    await manager.authorize(DeviceCodeGrant(device_code=device.device_code))
    return zoom.model.user_of(await manager.bearer())


# Connecting a device


async def test_a_device_is_connected_by_typing_its_code(
    zoom: Zoom, manager: TokenManager, device: DeviceCode, person: Person
) -> None:
    """Code, account, button: that is all."""
    tab = await person.tab(device.verification_uri)
    await tab.sees("Connect a device")
    await tab.type("Code", device.user_code.lower())
    await tab.press("Continue")
    await tab.sees("Connect this device?")
    assert device.user_code in await tab.text()
    await tab.choose("Bob")
    await tab.press("Allow")
    await tab.sees("The device is connected")

    assert await owner(zoom, manager, device) == "bob"


async def test_a_device_that_is_declined_gets_nothing(
    zoom: Zoom, manager: TokenManager, device: DeviceCode, person: Person
) -> None:
    """With the address that has the code in it, as in a QR code."""
    tab = await person.tab(device.verification_uri_complete or "")
    await tab.press("Decline")
    await tab.sees("The device is not connected")

    with pytest.raises(AuthorizationRequiredError):
        await owner(zoom, manager, device)


async def test_a_code_that_was_mistyped_can_be_corrected(
    zoom: Zoom, manager: TokenManager, device: DeviceCode, person: Person
) -> None:
    """The page says what is wrong, where it is typed."""
    tab = await person.tab(device.verification_uri)
    await tab.type("Code", "MISTYPED")
    await tab.press("Continue")
    await tab.reads("There is no such code.")
    await tab.type("Code", device.user_code)
    await tab.press("Continue")
    await tab.press("Allow")
    await tab.sees("The device is connected")

    assert await owner(zoom, manager, device) == "alice"
    person.forgive(REFUSED)


async def test_a_device_is_connected_by_the_keyboard_alone(
    zoom: Zoom, manager: TokenManager, device: DeviceCode, person: Person
) -> None:
    """Every stop on the way has a name and is seen to have the focus."""
    tab = await person.tab(device.verification_uri)
    await tab.keys("Tab", *device.user_code, "Enter")
    await tab.sees("Connect this device?")
    await tab.keys("Tab")
    assert "Alice" in await tab.focused()
    await tab.keys("ArrowDown", "ArrowDown")
    assert "Carol" in await tab.focused()
    await tab.keys("Tab")
    assert await tab.focused() == "Allow"
    await tab.keys("Enter")
    await tab.sees("The device is connected")

    assert await owner(zoom, manager, device) == "carol"


async def test_an_account_is_typed_where_it_is_asked_for(
    zoom: Zoom, manager: TokenManager, device: DeviceCode, person: Person
) -> None:
    """The field comes with the choice, in the order of the keyboard; forgotten, it is asked for again."""
    tab = await person.tab(device.verification_uri_complete or "")
    assert "Name or e-mail address" not in await tab.text()
    await tab.choose("Another account")
    await tab.press("Allow")
    await tab.reads(UNTYPED)
    await tab.type("Name or e-mail address", "dave@company.example")
    await tab.press("Allow")
    await tab.sees("The device is connected")

    assert await owner(zoom, manager, device) == "dave@company.example"
    person.forgive(REFUSED)


# What everybody sees


async def test_every_page_can_be_used_by_everybody(
    zoom: Zoom, device: DeviceCode, browser: Chromium, pictures: Path
) -> None:
    """Named fields and buttons, one heading, contrast, no sideways scrolling: as the browser itself measures it."""
    short: dict[str, list[str]] = {}
    async with browser.person(pictures=pictures, phone=True) as person:
        tab = await person.tab(consent(zoom))

        async def look(page: str) -> None:
            short[page] = await tab.shortcomings(f"sandbox-{page}")

        await look("consent")
        await tab.choose("Another account")
        await look("another")
        await tab.press("Allow")
        await tab.reads(UNTYPED)
        await look("nobody")
        await tab.open(f"{zoom.url}/oauth/authorize")
        await look("refused")
        await tab.open(device.verification_uri)
        await look("device")
        await tab.open(f"{device.verification_uri}?user_code=MISTYPED")
        await look("mistyped")
        await tab.open(device.verification_uri_complete or "")
        await look("device-consent")
        await tab.press("Decline")
        await tab.sees("The device is not connected")
        await look("done")
        person.forgive(REFUSED)

    assert short == {page: [] for page in short}
    assert len(short) == 8
