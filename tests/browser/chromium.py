"""Somebody at a real browser: Chromium, driven by playwright in a thread of its own.

Playwright keeps tasks on its loop for as long as it runs, and the loop of a test ends without any: it has another.
"""

import asyncio
import contextlib
import functools
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright
from yarl import URL

from tests.servers.peers import missing

SCREENS: Mapping[str, tuple[int, int, Literal["light", "dark"]]] = {
    "phone": (390, 844, "light"),
    "desktop": (1280, 800, "light"),
    "dark": (1280, 800, "dark"),
}
EXECUTABLES = ("chromium", "chromium-browser", "google-chrome")

_ARGUMENTS = [
    "--no-sandbox",  # it would not run as root, as in most containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]
_PATIENCE = 30.0
"""Seconds for one step, on a machine that is busy."""
_STARTING = 60.0
"""Seconds for playwright and the browser to start."""
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_FAINT = Path(__file__).with_name("faint_texts.js").read_text(encoding="utf-8")
_FOCUSED = """() => {
    const it = document.activeElement;
    return [(it.labels?.[0] ?? it).innerText, getComputedStyle(it).outlineStyle];
}"""
_OPERATED = {"button", "link", "radio", "checkbox", "textbox", "combobox"}
"""What can be operated, and so needs a name."""

P = ParamSpec("P")
T = TypeVar("T")


def executable() -> str:
    """Return where the browser is; skip without one, and fail in CI."""
    named = os.environ.get("CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else EXECUTABLES)), None)
    return found or missing("Chromium: apt-get install chromium, or name one in CHROMIUM")


@contextlib.contextmanager
def chromium(path: str) -> Iterator["Chromium"]:
    """Run a browser. It blocks while that starts and ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="chromium", daemon=True)
    thread.start()
    try:
        playwright = asyncio.run_coroutine_threadsafe(async_playwright().start(), loop).result(_STARTING)
        try:
            launched = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
            browser = asyncio.run_coroutine_threadsafe(launched, loop).result(_STARTING)
            yield Chromium(browser, loop)
            asyncio.run_coroutine_threadsafe(browser.close(), loop).result(_PATIENCE)
        finally:
            asyncio.run_coroutine_threadsafe(playwright.stop(), loop).result(_PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_PATIENCE)
        loop.close()


class Chromium:
    """A browser that runs."""

    def __init__(self, browser: Browser, loop: asyncio.AbstractEventLoop) -> None:
        self._browser = browser
        self._loop = loop

    @contextlib.asynccontextmanager
    async def person(self, *, pictures: Path, phone: bool = False) -> AsyncIterator["Person"]:
        """Let somebody sit down, with cookies of their own.

        In the end the browser has asked nobody outside of this host, and has nothing to complain of.
        """
        person = Person(self, await self.do(self._browser.new_context(is_mobile=phone)), pictures)
        await person.sit_down()
        try:
            yield person
            assert not person.went_outside()
            assert not person.complaints
        finally:
            await person.leave()

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Have playwright do something, in its thread."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


class _Visitor:
    """What works through a browser."""

    def __init__(self, browser: Chromium) -> None:
        self.browser = browser


V = TypeVar("V", bound=_Visitor)


def _over_there(
    method: Callable[Concatenate[V, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[V, P], Coroutine[Any, Any, T]]:
    """Have a method run in playwright's thread: nothing of playwright may be called from another."""

    @functools.wraps(method)
    async def called(visitor: V, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await visitor.browser.do(method(visitor, *args, **kwargs))

    return called


class Person(_Visitor):
    """Somebody with a browser's cookies.

    Attributes:
        requests: All that the browser has asked for.
        complaints: What it has found wrong: errors of scripts, blocked contents, answers that are errors.
    """

    def __init__(self, browser: Chromium, context: BrowserContext, pictures: Path) -> None:
        super().__init__(browser)
        self.requests: list[URL] = []
        self.complaints: list[str] = []
        self._context = context
        self._pictures = pictures

    @_over_there
    async def sit_down(self) -> None:
        self._context.set_default_timeout(_PATIENCE * 1000)
        self._context.on("request", self._note_request)
        self._context.on("console", self._note_message)
        self._context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    @_over_there
    async def leave(self) -> None:
        await self._context.close()

    @_over_there
    async def tab(self, url: str) -> "Tab":
        """Open one more tab, at that address."""
        page = await self._context.new_page()
        await page.goto(url)
        return Tab(self.browser, page, self._pictures)

    def went_outside(self) -> list[URL]:
        """Return which requests left this host."""
        return [url for url in self.requests if url.host not in _LOOPBACK]

    def forgive(self, complaint: str) -> None:
        """Take back the complaints that were meant to come; there must be one at least."""
        left = [text for text in self.complaints if complaint not in text]
        assert len(left) < len(self.complaints)
        self.complaints[:] = left

    def _note_request(self, request: Request) -> None:
        self.requests.append(URL(request.url, encoded=True))

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)


class Tab(_Visitor):
    """A page that somebody looks at."""

    def __init__(self, browser: Chromium, page: Page, pictures: Path) -> None:
        super().__init__(browser)
        self._page = page
        self._pictures = pictures

    @property
    def url(self) -> URL:
        """Where it is."""
        return URL(self._page.url, encoded=True)

    @_over_there
    async def open(self, url: str) -> None:
        await self._page.goto(url)

    @_over_there
    async def back(self) -> None:
        await self._page.go_back()

    @_over_there
    async def press(self, name: str) -> None:
        """Press the button, or the link, of that name."""
        button = self._page.get_by_role("button", name=name, exact=True)
        await button.or_(self._page.get_by_role("link", name=name, exact=True)).click()

    @_over_there
    async def choose(self, label: str) -> None:
        await self._page.get_by_label(label).check()

    @_over_there
    async def type(self, label: str, text: str) -> None:
        await self._page.get_by_label(label).fill(text)

    @_over_there
    async def keys(self, *keys: str) -> None:
        for key in keys:
            await self._page.keyboard.press(key)

    @_over_there
    async def sees(self, heading: str) -> None:
        """Wait for the page with that heading."""
        await self._page.get_by_role("heading", name=heading, exact=True, level=1).wait_for()

    @_over_there
    async def reads(self, text: str) -> None:
        """Wait for a text."""
        await self._page.get_by_text(text).wait_for()

    @_over_there
    async def text(self) -> str:
        """Return what is there to read."""
        return await self._page.locator("body").inner_text()

    @_over_there
    async def focused(self) -> str:
        """Return the name of what has the focus, and see that this can be seen."""
        name, outline = await self._page.evaluate(_FOCUSED)
        assert outline == "solid"
        return str(name)

    @_over_there
    async def shortcomings(self, name: str) -> list[str]:
        """Return why somebody may be unable to use the page, on any screen; take a picture of it on each."""
        found = await self._inspected()
        for screen, (width, height, scheme) in SCREENS.items():
            await self._page.set_viewport_size({"width": width, "height": height})
            await self._page.emulate_media(color_scheme=scheme)
            await self._page.screenshot(path=self._pictures / f"{name}-{screen}.png", full_page=True)
            found += [f"{screen}: {text}" for text in [*await self._page.evaluate(_FAINT), *await self._structure()]]
        return found

    async def _structure(self) -> list[str]:
        """Return what the document lacks as a whole."""
        page = self._page
        lacking = [] if await page.locator("html").get_attribute("lang") else ["no language"]
        if not await page.title():
            lacking.append("no title")
        numbers = {selector: await page.locator(selector).count() for selector in ("h1", "main")}
        lacking += [f"{number} {selector}" for selector, number in numbers.items() if number != 1]
        if await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            lacking.append("wider than the screen")
        return lacking

    async def _inspected(self) -> list[str]:
        """Return what the browser's own tools report of the forms, and what a screen reader could not name."""
        found: list[str] = []
        tools = await self._page.context.new_cdp_session(self._page)
        tools.on("Audits.issueAdded", lambda told: found.append(str(told["issue"])))
        await tools.send("Audits.enable")
        await tools.send("Audits.checkFormsIssues")
        tree = await tools.send("Accessibility.getFullAXTree")
        await tools.detach()
        roles = ((node.get("role", {}).get("value"), node.get("name", {}).get("value")) for node in tree["nodes"])
        return [*found, *(f"a {role} without a name" for role, name in roles if role in _OPERATED and not name)]
