"""What goes back to a browser, and the pages among it: plain, everything escaped, nothing loaded from elsewhere."""

import html
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from http import HTTPStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer, for any web framework.

    Attributes:
        status: The HTTP status.
        headers: Names and values; `Set-Cookie` may occur more than once. `Content-Length` is the framework's.
        body: The body.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """Where the person can go from a page. An empty address is that of the page itself."""

    text: str
    address: str


_AGAIN = _Link(text="Start again", address="connect")
_RELOAD = _Link(text="Try again", address="")
_DISCONNECT = _Link(text="Disconnect", address="disconnect")

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --paper: #f4f6f9; --card: #fff; --line: #d5dce5; --blue: #0b57c2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebf2; --paper: #11161d; --card: #1a212b; --line: #35404e; --blue: #8ab8ff; }
}
* { box-sizing: border-box; }
body {
  margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  background: var(--paper); color: var(--ink); font: 1.0625rem/1.6 system-ui, sans-serif;
}
main {
  width: 100%; max-width: 32rem; padding: clamp(1.25rem, 5vw, 2.5rem);
  background: var(--card); border: 1px solid var(--line); border-radius: .75rem; overflow-wrap: anywhere;
}
h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.3; }
p { margin: 0 0 1rem; }
small { display: block; margin: 0 0 1rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .9375rem; }
nav, form { display: flex; flex-wrap: wrap; gap: .75rem; }
a, button {
  display: inline-block; padding: .625rem 1.25rem; border: 2px solid var(--blue); border-radius: .5rem;
  background: none; color: var(--blue); font: inherit; font-weight: 600; text-decoration: none; cursor: pointer;
}
:is(nav, form) > :first-child { background: var(--blue); color: var(--card); }
a:hover, button:hover { text-decoration: underline; }
:focus-visible { outline: 3px solid var(--ink); outline-offset: 3px; }
"""
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""
_PLAIN_HEADERS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
"""Of every reply: each is for one person, now."""
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'"
_PAGE_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", f"{_POLICY}; frame-ancestors 'none'"),
    ("X-Frame-Options", "DENY"),
    *_PLAIN_HEADERS,
)


def json_reply(status: int, content: Mapping[str, object] | None = None) -> Reply:
    """Answer a program; without `content`, by the status alone."""
    if content is None:
        return Reply(status=status, headers=_PLAIN_HEADERS)
    headers = (("Content-Type", "application/json"), *_PLAIN_HEADERS)
    return Reply(status=status, headers=headers, body=json.dumps(content).encode())


def redirection(address: str) -> Reply:
    """Send the browser on, by GET."""
    headers = (("Location", address), ("Referrer-Policy", "no-referrer"), *_PLAIN_HEADERS)
    return Reply(status=HTTPStatus.SEE_OTHER, headers=headers)


def nobody() -> Reply:
    """Say that nobody is logged in at the app."""
    return _message_page(
        "Log in first",
        "This app does not know who you are. Log in to it, then try again.",
        links=(_RELOAD,),
        status=HTTPStatus.UNAUTHORIZED,
    )


def over() -> Reply:
    """Say that an attempt to connect is over: used up, too old, begun elsewhere, or refused by Zoom."""
    return _message_page(
        "Please start again",
        "This attempt to connect Zoom is over: it works once, within ten minutes, in the browser where it began. "
        "If Zoom is connected already, there is nothing to do.",
        links=(_AGAIN,),
        status=HTTPStatus.BAD_REQUEST,
    )


def declined() -> Reply:
    """Say that the person said no."""
    return _message_page(
        "Not connected",
        "You did not allow this app to act for you at Zoom. Nothing was changed.",
        links=(_AGAIN,),
    )


def unavailable(retry_after: str) -> Reply:
    """Say that Zoom or the store did not answer; the code may be good still, so the same address may work."""
    page = _message_page(
        "One moment, please",
        "Zoom is not connected yet: something that is needed for it does not answer. Your consent is probably still "
        "good, so trying again in a moment is enough. If that does not help, start again.",
        links=(_RELOAD, _AGAIN),
        status=HTTPStatus.SERVICE_UNAVAILABLE,
    )
    return replace(page, headers=(*page.headers, ("Retry-After", retry_after)))


def attention(*, hint: str) -> Reply:
    """Say that only whoever runs the app can help, and to them what is wrong."""
    return _message_page(
        "This app needs attention",
        "This did not work, and trying again does not help. Please tell whoever runs this app.",
        hint=hint,
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def sure(*, back: str) -> Reply:
    """Ask whether Zoom should be disconnected."""
    return _question_page(
        "Disconnect Zoom?",
        "This app will no longer be able to act for you at Zoom. You can connect it again at any time.",
        button="Disconnect",
        link=_Link(text="Keep it connected", address=back),
    )


def foreign_form() -> Reply:
    """Say that a form was sent from elsewhere."""
    return _message_page(
        "Nothing was changed",
        "Another site asked this app to disconnect Zoom. If you want that, do it here.",
        links=(_DISCONNECT,),
        status=HTTPStatus.FORBIDDEN,
    )


def still_connected(retry_after: str) -> Reply:
    """Say that Zoom or the store did not answer."""
    page = _message_page(
        "Still connected",
        "Something that is needed to disconnect Zoom does not answer. Perhaps it is disconnected already; try again in "
        "a moment.",
        links=(_DISCONNECT,),
        status=HTTPStatus.SERVICE_UNAVAILABLE,
    )
    return replace(page, headers=(*page.headers, ("Retry-After", retry_after)))


def _message_page(
    title: str, *paragraphs: str, links: Iterable[_Link] = (), hint: str | None = None, status: int = HTTPStatus.OK
) -> Reply:
    """Say something, and where to go from here.

    Args:
        title: In a few words.
        paragraphs: In sentences.
        links: The first is what most people want.
        hint: What helps whoever runs the app.
        status: The HTTP status.
    """
    content = [f"<p>{html.escape(text)}</p>" for text in paragraphs]
    if hint is not None:
        content.append(f"<small>For whoever runs this app: {html.escape(hint)}</small>")
    named = [f'<a href="{html.escape(link.address)}">{html.escape(link.text)}</a>' for link in links]
    if named:
        content.append(f"<nav>{''.join(named)}</nav>")
    # The address of the page may have a code in it.
    return _page(title, "\n".join(content), status=status, referrer="no-referrer")


def _question_page(title: str, question: str, *, button: str, link: _Link) -> Reply:
    """Ask for a decision that the form sends to the address of the page itself."""
    form = (
        f'<form method="post"><button>{html.escape(button)}</button>'
        f'<a href="{html.escape(link.address)}">{html.escape(link.text)}</a></form>'
    )
    # With "no-referrer" browsers would send `Origin: null`, and older ones send nothing else that tells our own form.
    return _page(title, f"<p>{html.escape(question)}</p>\n{form}", status=HTTPStatus.OK, referrer="same-origin")


def _page(title: str, content: str, *, status: int, referrer: str) -> Reply:
    text = _PAGE.format(title=html.escape(title), style=_STYLE, content=content)
    headers = (*_PAGE_HEADERS, ("Referrer-Policy", referrer))
    return Reply(status=status, headers=headers, body=text.encode())
