"""A browser that does as it is told: `python browser.py allow|deny|watch URL`, for BROWSER.

It opens the page, sends the form of the consent page with that decision, and follows where that leads. It writes what
it saw, and its environment, beside itself.
"""

import html
import json
import os
import re
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import urlopen


def main(decision: str, url: str) -> None:
    with urlopen(url) as page:  # noqa: S310 -- of the sandbox
        consent = page.read().decode()
    seen = {"consent": consent, "environment": dict(os.environ)}
    if decision != "watch":
        kept = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', consent)
        form = {name: html.unescape(value) for name, value in kept} | {"decision": decision, "user": "alice"}
        try:
            with urlopen(urljoin(url, "/oauth/authorize"), urlencode(form).encode()) as last:  # noqa: S310
                seen |= {"status": last.status, "last": last.read().decode(), "headers": dict(last.headers)}
        except HTTPError as error:
            seen |= {"status": error.code, "last": error.read().decode(), "headers": dict(error.headers)}
    Path(os.environ["BROWSER_SAW"]).write_text(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
