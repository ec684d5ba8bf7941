"""The pages that a person sees: plain, everything escaped, nothing loaded from elsewhere."""

import html
from collections.abc import Mapping

from aiohttp import web

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action *; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body{{font:1rem/1.5 sans-serif;max-width:30rem;margin:2rem auto;padding:0 1rem}}
button,input{{font:inherit;padding:.5rem 1rem;margin:.25rem 0}}</style>
<main><h1>{title}</h1>{content}</main></html>
"""
_KEPT = ("client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method")
_CHOICE = """<p><label>User <input name="user" value="alice" required></label></p>
<p><button name="decision" value="allow">Allow</button>
<button name="decision" value="deny">Decline</button></p>"""


def consent_page(scope: str, query: Mapping[str, str]) -> web.Response:
    """Ask whether an app may have `scope`; what the authorize URL said goes along."""
    kept = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(query[name])}">' for name in _KEPT if name in query
    )
    form = f'<form method="post" action="/oauth/authorize">{kept}{_CHOICE}</form>'
    return _page("Allow this app?", f"<p>It asks for: {html.escape(scope)}</p>{form}")


def device_page(user_code: str) -> web.Response:
    """Ask for the code that a device shows."""
    field = f'<p><label>Code <input name="user_code" value="{html.escape(user_code)}" required></label></p>'
    return _page("Connect a device", f'<form method="post" action="/oauth/device">{field}{_CHOICE}</form>')


def unregistered_page() -> web.Response:
    """Say that there is nowhere to send the person. Never a redirect: the address may be anybody's."""
    return message_page("Invalid redirect", "The app or its redirect URI is not registered (4709).", status=400)


def message_page(title: str, message: str, *, status: int = 200) -> web.Response:
    """Say something."""
    return _page(title, f"<p>{html.escape(message)}</p>", status=status)


def _page(title: str, content: str, *, status: int = 200) -> web.Response:
    text = _PAGE.format(title=html.escape(title), content=content)
    return web.Response(status=status, text=text, content_type="text/html", headers=PAGE_HEADERS)
