"""The pages of the sandbox as forms: where they lead, for whom they answer, what they say when something is missing."""

from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import aiohttp
import pytest

from zoom_async_auth.oauth.authorize import AuthorizationRequest, authorization_request, read_callback
from zoom_async_auth.oauth.credentials import UserOAuth
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant, DeviceCodeGrant, Grant
from zoom_async_auth.oauth.requests import Request, device_request, token_request
from zoom_async_auth.sandbox import Sandbox, Zoom

RETURN = "http://127.0.0.1:8000/auth/callback"
ANOTHER = "*"


class Page(HTMLParser):
    """What is asked: the values of each field, the texts of all there is to read, and the style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        self.chosen: dict[str, str] = {}
        self.text = ""
        self.style = ""
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        found = dict(attrs)
        if tag in {"input", "button"} and found.get("name"):
            name, value = found["name"] or "", found.get("value") or ""
            self.values.setdefault(name, []).append(value)
            if tag == "input" and (found.get("type") != "radio" or "checked" in found):
                assert name not in self.chosen
                self.chosen[name] = value

    def handle_endtag(self, tag: str) -> None:
        self._tag = f"/{tag}"

    def handle_data(self, data: str) -> None:
        if self._tag == "style":
            self.style += data
        else:
            self.text += data


@pytest.fixture
async def zoom() -> AsyncIterator[Zoom]:
    async with Sandbox() as zoom:
        yield zoom


@pytest.fixture
async def http(zoom: Zoom) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(zoom.url) as session:
        yield session


def asked(zoom: Zoom, redirect_uri: str = RETURN) -> AuthorizationRequest:
    return authorization_request(
        zoom.user_app, redirect_uri=redirect_uri, randomness=bytes(range(64)), base_url=zoom.url
    )


async def look(http: aiohttp.ClientSession, url: str, *, status: int = 200) -> Page:
    async with http.get(url) as response:
        assert response.status == status
        return Page(await response.text())


async def answer(http: aiohttp.ClientSession, path: str, form: dict[str, str]) -> tuple[int, str, Page]:
    """Send a form; return the status, where it leads, and what is shown."""
    async with http.post(path, data=form, allow_redirects=False) as response:
        return response.status, response.headers.get("Location", ""), Page(await response.text())


async def post(http: aiohttp.ClientSession, request: Request) -> dict[str, Any]:
    async with http.post(request.path, headers=request.headers, data=request.body) as response:
        told: dict[str, Any] = await response.json()
        return told


async def person_of(zoom: Zoom, http: aiohttp.ClientSession, grant: Grant, app: UserOAuth | None = None) -> Any:
    """Spend what the page has led to; return who the API says it is."""
    token = (await post(http, token_request(app or zoom.user_app, grant)))["access_token"]
    async with http.get("/v2/users/me", headers={"Authorization": f"Bearer {token}"}) as response:
        return await response.json()


async def chosen(zoom: Zoom, http: aiohttp.ClientSession, **choice: str) -> Any:
    """Return who it is that allowed the app with this choice."""
    request = asked(zoom)
    fields = (await look(http, request.url)).chosen
    status, location, _ = await answer(http, "/oauth/authorize", {**fields, **choice, "decision": "allow"})
    assert status == 303
    grant = read_callback(urlsplit(location).query, request)
    assert isinstance(grant, AuthorizationCodeGrant)
    return await person_of(zoom, http, grant)


# Where it leads


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://127.0.0.1:8000/auth/callback",
        "http://127.0.0.1:65535",
        "http://localhost:1/",
        "http://[::1]:40123/a/b%20c",
        "http://127.0.0.1:8000/callback?tab=1",
    ],
)
async def test_a_log_in_may_end_on_any_port_of_this_host(
    zoom: Zoom, http: aiohttp.ClientSession, redirect_uri: str
) -> None:
    """A command takes a port that is free, a web app is tried out on its own (RFC 8252, section 7.3)."""
    request = asked(zoom, redirect_uri)
    fields = (await look(http, request.url)).chosen
    status, location, _ = await answer(http, "/oauth/authorize", {**fields, "decision": "allow"})
    base, query = (urlsplit(location)._replace(query="").geturl(), urlsplit(location).query)
    told = dict(parse_qsl(query))
    grant = AuthorizationCodeGrant(code=told["code"], redirect_uri=redirect_uri, code_verifier=request.code_verifier)

    assert (status, told["state"]) == (303, request.state)
    assert base.rstrip("/") == redirect_uri.partition("?")[0].rstrip("/")
    assert (await person_of(zoom, http, grant))["id"] == "alice"


async def test_the_token_request_has_to_name_the_same_port(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """Any port goes, but it is one and the same address all the way (RFC 6749, section 4.1.3)."""
    request = asked(zoom)
    fields = (await look(http, request.url)).chosen
    _, location, _ = await answer(http, "/oauth/authorize", {**fields, "decision": "allow"})
    code = dict(parse_qsl(urlsplit(location).query))["code"]
    grant = AuthorizationCodeGrant(
        code=code, redirect_uri=RETURN.replace("8000", "8001"), code_verifier=request.code_verifier
    )

    assert (await post(http, token_request(zoom.user_app, grant)))["reason"] == "Redirect URI mismatch"


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://127.0.0.1:8000/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:/",
        "http://127.0.0.1:80@evil.example/",
        "http://127.0.0.1:80.evil.example/",
        "http://me@127.0.0.1:8000/",
        "http://127.0.0.1:8000\\@evil.example/",
        "http://127.0.0.1:8000/#fragment",
        "http://127.0.0.1:8000/\r\nSet-Cookie: a=b",
        "http://127.0.0.1:8000/\n",
        "http://127.0.0.1:80\N{ARABIC-INDIC DIGIT ZERO}0/",
        "http://127.0.0.1:8000/\N{LATIN SMALL LETTER E WITH ACUTE}",
        "http://127x0.0.1:8000/",
        " http://127.0.0.1:8000/",
        "HTTP://127.0.0.1:8000/",
        "http://LOCALHOST:8000/",
        "http://localhost.evil.example:8000/",
        "http://0.0.0.0:8000/",
        "http://2130706433:8000/",
        "http://[::ffff:127.0.0.1]:8000/",
        "http://::1:8000/",
        "//127.0.0.1:8000/",
        "javascript:alert(1)//http://127.0.0.1:8000/",
    ],
)
async def test_what_only_looks_like_this_host_is_refused_on_a_page(
    zoom: Zoom, http: aiohttp.ClientSession, redirect_uri: str
) -> None:
    """No redirect, whatever is wrong with it (S27)."""
    fields = {"client_id": zoom.user_app.client_id, "redirect_uri": redirect_uri}
    async with http.get("/oauth/authorize", params=fields, allow_redirects=False) as response:
        assert (response.status, "Location" in response.headers) == (400, False)
    status, location, page = await answer(http, "/oauth/authorize", {**fields, "decision": "allow"})

    assert (status, location, page.values) == (400, "", {})


async def test_an_app_without_persons_leads_nowhere(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """Its page is none, on no port."""
    query = urlencode({"client_id": zoom.client_credentials.client_id, "redirect_uri": RETURN})

    assert (await look(http, f"/oauth/authorize?{query}", status=400)).values == {}


# For whom


async def test_the_consent_page_offers_accounts_and_says_who_asks_for_what(
    zoom: Zoom, http: aiohttp.ClientSession
) -> None:
    page = await look(http, asked(zoom).url)

    assert page.values["user"] == ["alice", "bob", "carol", ANOTHER]
    assert page.values["decision"] == ["allow", "deny"]
    for told in (zoom.user_app.client_id, "user:read:admin", RETURN, "a sandbox on this computer, not Zoom"):
        assert told in page.text


async def test_the_address_is_shown_to_the_letter(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """Also one that would read differently as HTML."""
    tricky = f"{RETURN}?a=1&lt=2&amp;'"

    assert tricky in (await look(http, asked(zoom, tricky).url)).text


async def test_each_account_is_another_person(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    bob, carol = await chosen(zoom, http, user="bob"), await chosen(zoom, http, user="carol")

    assert (bob["display_name"], bob["email"]) == ("Bob", "bob@example.com")
    assert (carol["display_name"], carol["email"]) == ("Carol", "carol@example.com")


@pytest.mark.parametrize(
    ("typed", "person", "email"),
    [
        ("mallory", "mallory", "mallory@example.com"),
        (" dave@company.example ", "dave@company.example", "dave@company.example"),
        ("bob@example.com", "bob", "bob@example.com"),
    ],
)
async def test_an_account_can_be_typed(
    zoom: Zoom, http: aiohttp.ClientSession, typed: str, person: str, email: str
) -> None:
    """By its address too: that of an account on the list is the same person."""
    who = await chosen(zoom, http, user=ANOTHER, other=typed)

    assert (who["id"], who["email"]) == (person, email)


async def test_what_was_typed_counts_only_with_its_choice(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """The field is hidden by then: it still holds what somebody began to type."""
    assert (await chosen(zoom, http, user="bob", other="mallory"))["id"] == "bob"


@pytest.mark.parametrize("typed", [{}, {"other": ""}, {"other": " "}, {"other": "@example.com"}])
async def test_another_account_that_nobody_typed_is_asked_for_again(
    zoom: Zoom, http: aiohttp.ClientSession, typed: dict[str, str]
) -> None:
    """The same page, with what is wrong and all that came along; no code."""
    first = await look(http, asked(zoom).url)
    form = {**first.chosen, "user": ANOTHER, "decision": "allow"}
    form.pop("other")
    status, location, again = await answer(http, "/oauth/authorize", form | typed)

    assert (status, location) == (400, "")
    assert again.chosen == first.chosen | {"user": ANOTHER}
    assert "Type whose account it is" in again.text


async def test_who_declines_need_not_say_who_it_is(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    fields = (await look(http, asked(zoom).url)).chosen
    status, location, _ = await answer(http, "/oauth/authorize", {**fields, "user": ANOTHER, "decision": "deny"})

    assert status == 303
    assert "error=access_denied" in location


# Devices


@pytest.fixture
async def device(zoom: Zoom, http: aiohttp.ClientSession) -> dict[str, str]:
    return await post(http, device_request(zoom.user_app))


async def poll(zoom: Zoom, http: aiohttp.ClientSession, device: dict[str, str]) -> str | None:
    """Return why the device has no token, None if it has one."""
    told = await post(http, token_request(zoom.user_app, DeviceCodeGrant(device_code=device["device_code"])))
    return told.get("error")


async def test_a_code_is_typed_first_and_then_decided_upon(
    zoom: Zoom, http: aiohttp.ClientSession, device: dict[str, str]
) -> None:
    """With the code once more, to compare (RFC 8628, section 5.4); nothing is decided by looking."""
    entry = await look(http, "/oauth/device")
    assert entry.values == {"user_code": [""]}
    typed = f" {device['user_code'][:4]}-{device['user_code'][4:]} ".lower()
    page = await look(http, f"/oauth/device?{urlencode({'user_code': typed})}")
    assert page.chosen == {"user_code": device["user_code"], "user": "alice", "other": ""}
    assert device["user_code"] in page.text
    assert zoom.user_app.client_id in page.text
    status, _, done = await answer(http, "/oauth/device", {**page.chosen, "user": "bob", "decision": "allow"})

    assert (status, done.values) == (200, {})
    assert "The device is connected" in done.text
    grant = DeviceCodeGrant(device_code=device["device_code"])
    assert (await person_of(zoom, http, grant))["display_name"] == "Bob"


async def test_a_code_that_is_unknown_is_asked_for_again(http: aiohttp.ClientSession) -> None:
    page = await look(http, "/oauth/device?user_code=BCDFGHJK", status=400)

    assert page.values == {"user_code": ["BCDFGHJK"]}
    assert "There is no such code" in page.text


async def test_a_code_is_decided_upon_once(zoom: Zoom, http: aiohttp.ClientSession, device: dict[str, str]) -> None:
    """Going back and pressing the other button changes nothing."""
    form = {"user_code": device["user_code"], "user": "alice"}
    first, _, declined = await answer(http, "/oauth/device", {**form, "decision": "deny"})
    second, _, again = await answer(http, "/oauth/device", {**form, "decision": "allow"})

    assert (first, second) == (200, 400)
    assert "The device is not connected" in declined.text
    assert again.values == {"user_code": [""]}
    assert await poll(zoom, http, device) == "access_denied"


async def test_a_device_is_connected_to_somebody(
    zoom: Zoom, http: aiohttp.ClientSession, device: dict[str, str]
) -> None:
    form = {"user_code": device["user_code"], "user": ANOTHER, "other": "", "decision": "allow"}
    status, _, again = await answer(http, "/oauth/device", form)

    assert status == 400
    assert again.chosen["user_code"] == device["user_code"]
    assert await poll(zoom, http, device) == "authorization_pending"


async def test_who_declines_a_device_need_not_say_who_it_is(
    zoom: Zoom, http: aiohttp.ClientSession, device: dict[str, str]
) -> None:
    form = {"user_code": device["user_code"], "user": ANOTHER, "decision": "deny"}
    status, _, _ = await answer(http, "/oauth/device", form)

    assert status == 200
    assert await poll(zoom, http, device) == "access_denied"


# Care


async def test_only_the_style_of_the_page_itself_is_let_in(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """By its hash: a style that somebody smuggled in would not apply."""
    async with http.get(asked(zoom).url) as response:
        policy = response.headers["Content-Security-Policy"].split("; ")
        style = Page(await response.text()).style

    assert f"style-src 'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" in policy
    assert "unsafe-inline" not in response.headers["Content-Security-Policy"]
    assert "url(" not in style
