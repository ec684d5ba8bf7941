"""Who visits the README's web apps."""

import aiohttp
from yarl import URL


class Browser:
    """Somebody who opens the app's pages, and those of Zoom that they lead to."""

    def __init__(self, session: aiohttp.ClientSession, home: URL) -> None:
        self._session = session
        self._home = home

    async def opens(self, path: str = "/") -> tuple[URL, str]:
        """Open a page of the app; return where that leads to, and what is shown."""
        async with self._session.get(self._home.with_path(path)) as page:
            return page.url, await page.text()

    async def sends(self, url: URL, **form: str) -> str:
        """Press a button of a page; return what is shown then."""
        origin = {"Origin": f"{url.origin()}"}
        async with self._session.post(url.with_query(None), data=form, headers=origin) as page:
            assert page.ok
            return await page.text()

    async def connects(self, user: str) -> str:
        """Open the app, which leads to the consent page, and allow it to act for `user`; return what is shown then."""
        consent, _ = await self.opens()
        return await self.sends(consent, **consent.query, user=user, decision="allow")
