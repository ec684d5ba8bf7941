"""Somebody at a browser, without the browser: reads a page, fills in its form, allows or declines."""

from collections.abc import Mapping
from html.parser import HTMLParser

import aiohttp
from yarl import URL

_MOST_PAGES = 20
_YES = {"allow", "accept"}
_NO = {"abort", "deny"}


class _Page(HTMLParser):
    """One page with one form at most.

    Attributes:
        action: Where the form goes, None if there is none, "" for the page itself.
        kept: The fields that the page has filled in by itself.
        asked: The names of those that it leaves to the person.
        buttons: Names and values of the buttons that say something.
        way_out: Where the link leads that ends it all, if there is one.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.kept: dict[str, str] = {}
        self.asked: set[str] = set()
        self.buttons: list[tuple[str, str]] = []
        self.way_out: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        kind, name, value = found.get("type", "text"), found.get("name", ""), found.get("value", "")
        match tag:
            case "form":
                self.action = found.get("action", "")
            case "a" if found.get("href", "").endswith("/abort"):
                self.way_out = found["href"]
            case "button" | "input" if name and kind == "submit":
                self.buttons.append((name, value))
            case "input" if name and kind == "hidden":
                self.kept[name] = value
            case "input" if name:
                self.asked.add(name)

    def pressed(self, *, allows: bool) -> dict[str, str]:
        """Return what the button says that this person presses; {} for one that says nothing."""
        wanted = _YES if allows else _NO
        return dict(button for button in self.buttons if wanted & set(button))


async def visit(url: str, knows: Mapping[str, str], *, allows: bool = True) -> URL:
    """Go to a page and answer what it and the following ones ask.

    Args:
        url: The first page.
        knows: What can be filled in, by the name of the field: each once.
        allows: Whether this person says yes.

    Returns:
        The first address at another origin, which is not visited, or the page that asks for nothing more.
    """
    here, home = URL(url), URL(url).origin()
    left = dict(knows)
    form: dict[str, str] | None = None
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        for _ in range(_MOST_PAGES):
            method = "GET" if form is None else "POST"
            async with browser.request(method, here, data=form, allow_redirects=False) as response:
                assert response.status < 400, await response.text()
                target, text = response.headers.get("Location"), await response.text()
            form = None
            if target is not None:
                here = here.join(URL(target, encoded=True))
                if here.origin() != home:
                    return here
                continue
            page = _Page(text)
            if page.way_out is not None and not allows:
                here = here.join(URL(page.way_out))
            elif page.action is None or not page.asked <= left.keys():
                return here
            else:
                here = here.join(URL(page.action)) if page.action else here
                form = page.kept | {name: left.pop(name) for name in page.asked} | page.pressed(allows=allows)
    raise AssertionError(f"no end of pages, the last of them {here}")
