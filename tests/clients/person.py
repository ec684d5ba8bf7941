"""Somebody at a browser: opens a page that leads to Zoom's consent page, allows the app, and is led back to it.

python person.py URL

Prints the status of the app's last page.
"""

import asyncio
import sys

import aiohttp
from yarl import URL

_TRIES = 300
_PAUSE = 0.1


async def _visit(url: str) -> int:
    # An app on this host sets secure cookies, and browsers take them.
    jar = aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=URL(url).origin())
    async with aiohttp.ClientSession(cookie_jar=jar, raise_for_status=True) as browser:
        async with browser.get(url) as page:
            here, asked = page.url, page.url.query
        answer = {**asked, "user": "alice", "decision": "allow"}
        async with browser.post(here.with_query(None), data=answer, allow_redirects=False) as sent:
            back = sent.headers["Location"]
        for _ in range(_TRIES):
            try:
                async with browser.get(back) as page:
                    return page.status
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(_PAUSE)  # some apps open the browser first and listen afterwards
    raise TimeoutError(back)


if __name__ == "__main__":
    print(asyncio.run(_visit(sys.argv[1])))  # noqa: T201
