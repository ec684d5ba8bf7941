"""The pages that a person sees: plain, everything escaped, nothing loaded from elsewhere, no script.

They do not look like Zoom's, and say so, so that nobody types a password here, or gets used to it.
"""

import html
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256

from aiohttp import web

from zoom_async_auth.sandbox.model import App

PERSONS = ("alice", "bob", "carol")
"""Whom the pages offer; whoever else is typed exists too."""
ANOTHER = "*"
"""What the field `user` says when the field `other` says who it is."""

_STYLE = """
:root{color-scheme:light dark;--back:#f6f5f2;--card:#fff;--ink:#1d1d1b;--soft:#595854;--line:#8b8a84;--act:#0f5c4d;
--on-act:#fff;--bad:#a3201d;--band:#fbe9b7;--on-band:#3d2f00}
@media(prefers-color-scheme:dark){:root{--back:#161715;--card:#20221f;--ink:#ecebe6;--soft:#b3b2ab;--line:#7d7e78;
--act:#7fd6c0;--on-act:#06251f;--bad:#ff9d94;--band:#4a3c0d;--on-band:#fdeec0}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
header{background:var(--band);color:var(--on-band);padding:.6rem 1rem;text-align:center;text-wrap:balance;
font-size:.9rem}
main{width:calc(100% - 2rem);max-width:30rem;margin:clamp(1rem,4vw,3.5rem) auto;padding:clamp(1rem,4vw,1.5rem);
background:var(--card);border:1px solid color-mix(in srgb,var(--line) 40%,transparent);border-radius:.75rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}
p,dl,fieldset{margin:0 0 1.25rem}
main>:last-child{margin-bottom:0}
dt{color:var(--soft);font-size:.9rem}
dd{margin:0 0 .6rem}
code{font:.95em ui-monospace,monospace}
fieldset{border:0;padding:0;min-width:0}
legend{padding:0;font-weight:600;margin-bottom:.5rem}
.choice{border:1px solid var(--line);border-radius:.5rem;margin-bottom:.5rem;padding:0 .9rem}
.choice:has(:checked){border-color:var(--act);box-shadow:inset 0 0 0 1px var(--act)}
.choice>label{display:flex;gap:.75rem;align-items:center;min-height:3.25rem;cursor:pointer}
.choice small{display:block;color:var(--soft);font-size:.85rem}
.choice:has([type=radio]:not(:checked)) .typed{display:none}
.typed{padding-bottom:.9rem}
[type=radio]{width:1.15rem;height:1.15rem;flex:none;margin:0;accent-color:var(--act)}
[type=text]{display:block;width:100%;min-height:2.75rem;padding:.5rem .75rem;font:inherit;color:inherit;
background:var(--back);border:1px solid var(--line);border-radius:.5rem}
.field{display:block;font-weight:600;margin-bottom:.25rem}
.hint{color:var(--soft);margin:0 0 .5rem}
.problem{color:var(--bad);font-weight:600;margin:0 0 .5rem}
.code{display:block;margin-top:.5rem;font:600 1.6rem/1.4 ui-monospace,monospace;letter-spacing:.15em}
[name=user_code][type=text]{font-family:ui-monospace,monospace;font-size:1.25rem;letter-spacing:.1em;
text-transform:uppercase}
.actions{display:flex;gap:.75rem;margin:0}
button{flex:1;min-height:2.9rem;padding:.5rem 1rem;font:inherit;font-weight:600;border-radius:.5rem;cursor:pointer;
color:var(--act);background:transparent;border:1px solid var(--act)}
button.first{color:var(--on-act);background:var(--act)}
:focus-visible{outline:3px solid var(--act);outline-offset:2px}
"""
PAGE_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
        # Not only ours: a browser holds it against the redirect too, and against where the callback sends people.
        "form-action *; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} \N{MIDDLE DOT} Zoom sandbox</title>
<style>{style}</style>
</head>
<body>
<header>This is a sandbox on this computer, not Zoom. It wants no password.</header>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""
_KEPT = ("client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method")
_BUTTONS = """<p class="actions"><button class="first" name="decision" value="allow">Allow</button>
<button name="decision" value="deny">Decline</button></p>"""


def consent_page(app: App, fields: Mapping[str, str], *, problem: str = "") -> web.Response:
    """Ask whether an app may act for somebody; what the authorize URL said goes along.

    Args:
        app: Who asks.
        fields: Of the authorize URL, or of the form that is shown again.
        problem: What was wrong with the form, if it is shown again.
    """
    kept = "".join(_hidden(name, fields[name]) for name in _KEPT if name in fields)
    form = f'<form method="post" action="/oauth/authorize">{kept}{_persons(problem)}{_BUTTONS}</form>'
    target = f"<dt>You go back to</dt><dd><code>{html.escape(fields['redirect_uri'])}</code></dd>"
    return _page("Allow this app?", _about(app, target) + form, status=400 if problem else 200)


def device_page(user_code: str = "", *, problem: str = "") -> web.Response:
    """Ask for the code that a device shows; `problem` says what was wrong with the last one."""
    complaint = f'<p class="problem" id="problem" role="alert">{html.escape(problem)}</p>' if problem else ""
    described = 'aria-describedby="hint problem" aria-invalid="true"' if problem else 'aria-describedby="hint"'
    form = f"""<form method="get" action="/oauth/device">
<label class="field" for="user_code">Code</label>
<p class="hint" id="hint">The device that you want to connect shows it: eight letters.</p>{complaint}
<p><input type="text" id="user_code" name="user_code" value="{html.escape(user_code)}" {described} required
autocomplete="off" autocapitalize="characters" spellcheck="false"></p>
<p class="actions"><button class="first">Continue</button></p>
</form>"""
    return _page("Connect a device", form, status=400 if problem else 200)


def device_consent_page(app: App, user_code: str, *, problem: str = "") -> web.Response:
    """Ask whether the device that shows `user_code` may act for somebody (RFC 8628, section 5.4: show it again)."""
    shown = html.escape(user_code)
    check = f'<p>Does your device show this code? If not, decline. <strong class="code">{shown}</strong></p>'
    kept = _hidden("user_code", user_code)
    form = f'<form method="post" action="/oauth/device">{kept}{_persons(problem)}{_BUTTONS}</form>'
    return _page("Connect this device?", check + _about(app) + form, status=400 if problem else 200)


def unregistered_page() -> web.Response:
    """Say that there is nowhere to send the person. Never a redirect: the address may be anybody's."""
    content = """<p>The app is unknown, or the <code>redirect_uri</code> is not registered with it (4709).</p>
<p>The sandbox's apps for people take the one that they are registered with, to the letter, and addresses on this
computer that name a port, such as <code>http://127.0.0.1:8000/callback</code>.</p>"""
    return _page("Invalid redirect", content, status=400)


def message_page(title: str, message: str) -> web.Response:
    """Say something."""
    return _page(title, f"<p>{html.escape(message)}</p>")


def _about(app: App, more: str = "") -> str:
    scopes = "".join(f"<dd><code>{html.escape(scope)}</code></dd>" for scope in app.scope.split())
    name = f"<dt>App</dt><dd><code>{html.escape(app.client_id)}</code></dd>"
    return f"<dl>{name}<dt>What it may do</dt>{scopes}{more}</dl>"


def _persons(problem: str) -> str:
    """Return the choice of the account. `problem` is about the one that was to be typed."""
    offered = "".join(
        f"""<div class="choice"><label><input type="radio" name="user" value="{person}"{_checked(wanted)}>
<span>{person.title()} <small>{person}@example.com</small></span></label></div>"""
        for person, wanted in ((person, person == PERSONS[0] and not problem) for person in PERSONS)
    )
    complaint = f'<p class="problem" id="problem" role="alert">{html.escape(problem)}</p>' if problem else ""
    described = ' aria-describedby="problem" aria-invalid="true"' if problem else ""
    typed = f"""<div class="choice"><label><input type="radio" name="user" value="{ANOTHER}"{_checked(bool(problem))}>
<span>Another account</span></label>
<div class="typed"><label class="field" for="other">Name or e-mail address</label>{complaint}
<input type="text" id="other" name="other" value=""{described} maxlength="100" autocomplete="off" autocapitalize="none"
spellcheck="false"></div></div>"""
    return f"<fieldset><legend>Whose account?</legend>{offered}{typed}</fieldset>"


def _checked(wanted: bool) -> str:  # noqa: FBT001 -- an attribute of HTML is there or not
    return " checked" if wanted else ""


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{html.escape(value)}">'


def _page(title: str, content: str, *, status: int = 200) -> web.Response:
    text = _PAGE.format(title=html.escape(title), style=_STYLE, content=content)
    return web.Response(status=status, text=text, content_type="text/html", headers=PAGE_HEADERS)
