"""Connect with Zoom, in FastAPI and in aiohttp, against the sandbox: what a person does, and what others try."""

import asyncio
import logging
import re
from base64 import b64encode
from hashlib import sha256
from unittest.mock import Mock

import httpx
import pytest

from tests.engine.world import FaultyStore
from tests.integrations.sites import (
    ORIGIN,
    OURS,
    REDIRECT,
    SECRET,
    SITES,
    Browser,
    Refusing,
    Site,
    account_at,
    allowed,
    asked_for,
    asks_for_a_token,
    connect_for,
)
from zoom_async_auth import (
    AuthorizationCodeGrant,
    AuthorizationRequiredError,
    ConfigurationError,
    ManagerClosedError,
    MisuseError,
    StoreError,
    TokenManager,
    TokenPool,
    TokenUnavailableError,
    UserOAuth,
    ZoomAuthError,
)
from zoom_async_auth.integrations import pages
from zoom_async_auth.integrations.accounts import OneAccount, StoredAccounts
from zoom_async_auth.integrations.connect import Connect
from zoom_async_auth.oauth.authorize import code_challenge
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.stores.base import Begun, Reading
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.testing import ManualClock

APP = UserOAuth(client_id="an-app", client_secret="not shown to anybody")


def title_of(reply: httpx.Response) -> str:
    found = re.search(r"<h1>(.*)</h1>", reply.text)
    assert found is not None
    return found[1]


def cookies_of(reply: httpx.Response) -> list[str]:
    return reply.headers.get_list("Set-Cookie")


async def test_a_person_connects_and_the_app_has_a_token(site: Site, zoom: Zoom) -> None:
    account = account_at(zoom)
    connect = connect_for(account, zoom.user_app, base_url=zoom.url)
    async with site(connect, account.opened) as client:
        browser = Browser(client)
        reply = await browser.connected(zoom)
        assert (reply.status_code, reply.headers["Location"]) == (303, "/done")
        token = (await browser.get("/token")).json()
        assert zoom.model.user_of(token) == "alice"
    assert zoom.stats == {"authorization_code": {"ok": 1}}


async def test_nothing_that_is_logged_shows_a_secret(site: Site, zoom: Zoom, caplog: pytest.LogCaptureFixture) -> None:
    """Servers log addresses, with the code in them, if one lets them: those records are not ours."""
    account = account_at(zoom)
    connect = connect_for(account, zoom.user_app, base_url=zoom.url)
    with caplog.at_level(logging.DEBUG):
        async with site(connect, account.opened) as client:
            browser = Browser(client)
            query = allowed(zoom, await browser.connect())
            cookie = next(iter(client.cookies.values()))
            for outage in (503, None):
                zoom.outage = outage
                await browser.come_back(**query)
            token = (await browser.get("/token")).json()
            await browser.disconnect(OURS)
    told = [record.getMessage() for record in caplog.records if not record.name.startswith(("http", "aiohttp.access"))]
    for secret in (*query.values(), cookie, token, SECRET, zoom.user_app.client_secret):
        assert not any(str(secret) in text for text in told)


async def test_many_persons_have_a_token_each(site: Site, zoom: Zoom) -> None:
    accounts = StoredAccounts(zoom.user_app, store=MemoryStore(), base_url=zoom.url)
    async with site(connect_for(accounts, zoom.user_app, base_url=zoom.url), None) as client:
        for person in ("alice", "bob"):
            assert (await Browser(client, person).connected(zoom, person)).status_code == 303
        for person in ("alice", "bob"):
            async with accounts.opened(person) as manager:
                assert zoom.model.user_of(await manager.bearer()) == person
    assert zoom.stats == {"authorization_code": {"ok": 2}}


async def test_a_pool_serves_as_accounts(site: Site, zoom: Zoom) -> None:
    async with (
        TokenPool(zoom.user_app, store=MemoryStore(), base_url=zoom.url) as pool,
        site(connect_for(pool, zoom.user_app, base_url=zoom.url), None) as client,
    ):
        for person in ("alice", "bob"):
            assert (await Browser(client, person).connected(zoom, person)).status_code == 303
        assert zoom.model.user_of(await pool.bearer("alice")) == "alice"
        assert (await Browser(client, "bob").disconnect(OURS)).status_code == 303
        with pytest.raises(AuthorizationRequiredError):
            await pool.bearer("bob")
    assert zoom.stats == {"authorization_code": {"ok": 2}}


async def test_the_consent_page_is_asked_with_pkce_and_a_state_that_only_the_cookie_can_check(site: Site) -> None:
    async with site(connect_for(Refusing(), APP), None) as client:
        reply = await Browser(client).get("/zoom/connect")
        asked = asked_for(reply.headers["Location"])
        (cookie,) = cookies_of(reply)
        assert reply.headers["Location"].startswith("https://zoom.us/oauth/authorize?")
        assert asked["code_challenge_method"] == "S256"
        assert asked["redirect_uri"] == REDIRECT
        assert len(asked["state"]) == 43
        assert asked["state"] not in cookie
        assert asked["code_challenge"] != code_challenge(asked["state"])
        assert cookie.split("; ")[1:] == ["Max-Age=600", "Path=/", "HttpOnly", "SameSite=Lax"]
        assert reply.headers["Cache-Control"] == "no-store"
        assert asked["state"] != asked_for(await Browser(client).connect())["state"]


async def test_over_https_the_cookie_is_nobody_elses(site: Site) -> None:
    """No other host of the domain can set it, and it never goes over http."""
    connect = connect_for(Refusing(), APP, redirect_uri="https://app.example/zoom/callback")
    async with site(connect, None) as client:
        (cookie,) = cookies_of(await Browser(client).get("/zoom/connect"))
    assert cookie.startswith("__Host-")
    assert cookie.split("; ")[1:] == ["Max-Age=600", "Path=/", "HttpOnly", "SameSite=Lax", "Secure"]


async def test_a_person_who_says_no_reads_that_nothing_was_changed(site: Site, zoom: Zoom) -> None:
    account = account_at(zoom)
    async with site(connect_for(account, zoom.user_app, base_url=zoom.url), account.opened) as client:
        browser = Browser(client)
        state = asked_for(await browser.connect())["state"]
        reply = await browser.come_back(error="access_denied", state=state)
        assert (reply.status_code, title_of(reply)) == (200, "Not connected")
        assert 'href="connect"' in reply.text
        assert not client.cookies
    assert zoom.token_requests == 0


async def test_a_forged_state_buys_nothing(site: Site) -> None:
    accounts = Refusing()
    async with site(connect_for(accounts, APP), None) as client:
        browser = Browser(client)
        await browser.connect()
        for query in ({"code": "c", "state": "forged"}, {"code": "c"}, {"code": "c", "state": ""}):
            reply = await browser.come_back(**query)
            assert (reply.status_code, title_of(reply)) == (400, "Please start again")
        assert len(client.cookies) == 1
    assert not accounts.asked


async def test_a_state_of_another_attempt_does_not_fit_its_cookie(site: Site) -> None:
    """Who can set a cookie under another name cannot make the state for it."""
    accounts = Refusing()
    async with site(connect_for(accounts, APP), None) as client:
        browser = Browser(client)
        first = asked_for(await browser.connect())["state"]
        (name, kept) = next(iter(client.cookies.items()))
        await browser.connect()
        other = next(value for value in client.cookies.values() if value != kept)
        client.cookies.clear()
        client.cookies.set(name, other)
        assert (await browser.come_back(code="c", state=first)).status_code == 400
    assert not accounts.asked


async def test_a_callback_that_is_loaded_again_later_spends_nothing(site: Site, zoom: Zoom) -> None:
    account = account_at(zoom)
    async with site(connect_for(account, zoom.user_app, base_url=zoom.url), account.opened) as client:
        browser = Browser(client)
        query = allowed(zoom, await browser.connect())
        assert (await browser.come_back(**query)).status_code == 303
        again = await browser.come_back(**query)
        assert (again.status_code, title_of(again)) == (400, "Please start again")
        assert (await browser.get("/token")).status_code == 200
    assert zoom.stats == {"authorization_code": {"ok": 1}}


async def test_s24_the_same_callback_twice_at_once_costs_one_exchange(site: Site, zoom: Zoom) -> None:
    """S24: a browser loads the address twice. Both loads end where the first one does."""
    zoom.latency = 0.05
    account = account_at(zoom)
    async with site(connect_for(account, zoom.user_app, base_url=zoom.url), account.opened) as client:
        browser = Browser(client)
        query = allowed(zoom, await browser.connect())
        replies = await asyncio.gather(*(browser.come_back(**query) for _ in range(5)))
        assert [reply.status_code for reply in replies] == [303] * 5
        assert (await browser.get("/token")).status_code == 200
    assert zoom.stats == {"authorization_code": {"ok": 1}}


async def test_s24_a_callback_that_comes_again_before_its_cookie_is_gone_costs_nothing(site: Site, zoom: Zoom) -> None:
    """S24: the browser did not see the first answer."""
    account = account_at(zoom)
    async with site(connect_for(account, zoom.user_app, base_url=zoom.url), account.opened) as client:
        browser = Browser(client)
        query = allowed(zoom, await browser.connect())
        kept = dict(client.cookies)
        await browser.come_back(**query)
        client.cookies.update(kept)
        assert (await browser.come_back(**query)).status_code == 303
    assert zoom.stats == {"authorization_code": {"ok": 1}}


async def test_two_tabs_do_not_disturb_each_other(site: Site, zoom: Zoom) -> None:
    account = account_at(zoom)
    async with site(connect_for(account, zoom.user_app, base_url=zoom.url), account.opened) as client:
        browser = Browser(client)
        first, second = await browser.connect(), await browser.connect()
        for address in (second, first):
            assert (await browser.come_back(**allowed(zoom, address))).status_code == 303
        assert not client.cookies
    assert zoom.stats == {"authorization_code": {"ok": 2}}


async def test_an_attempt_is_over_after_ten_minutes(site: Site) -> None:
    accounts, clock = Refusing(), ManualClock()
    async with site(connect_for(accounts, APP, clock=clock), None) as client:
        browser = Browser(client)
        late = asked_for(await browser.connect())["state"]
        clock.advance(1)
        in_time = asked_for(await browser.connect())["state"]
        clock.advance(599)
        assert (await browser.come_back(code="c", state=late)).status_code == 400
        assert (await browser.come_back(code="c", state=in_time)).status_code == 303
    assert accounts.asked == [("authorize", "default")]


async def test_nobody_gives_an_attempt_more_time(site: Site) -> None:
    """The date in the cookie is bound to the state."""
    accounts, clock = Refusing(), ManualClock()
    async with site(connect_for(accounts, APP, clock=clock), None) as client:
        browser = Browser(client)
        state = asked_for(await browser.connect())["state"]
        ((name, value),) = client.cookies.items()
        expires, _, nonce = value.partition(".")
        client.cookies.clear()
        client.cookies.set(name, f"{int(expires) + 600}.{nonce}")
        assert (await browser.come_back(code="c", state=state)).status_code == 400
    assert not accounts.asked


async def test_an_attempt_of_another_browser_is_refused(site: Site) -> None:
    accounts = Refusing()
    async with site(connect_for(accounts, APP), None) as client:
        state = asked_for(await Browser(client).connect())["state"]
        client.cookies.clear()
        assert (await Browser(client).come_back(code="c", state=state)).status_code == 400
    assert not accounts.asked


async def test_an_attempt_of_another_person_is_refused(site: Site) -> None:
    """Mallory begins, with her account at Zoom, and has Alice's session finish it: Alice would work with it."""
    accounts = Refusing()
    async with site(connect_for(accounts, APP), None) as client:
        state = asked_for(await Browser(client, "mallory").connect())["state"]
        reply = await Browser(client, "alice").come_back(code="c", state=state)
        assert (reply.status_code, title_of(reply)) == (400, "Please start again")
    assert not accounts.asked


async def test_nobody_who_is_not_logged_in_connects_or_disconnects(site: Site) -> None:
    accounts = Refusing()
    async with site(connect_for(accounts, APP), None) as client:
        browser = Browser(client)
        state = asked_for(await browser.connect())["state"]
        browser.person = None
        replies = [
            await browser.get("/zoom/connect"),
            await browser.come_back(code="c", state=state),
            await browser.get("/zoom/disconnect"),
            await browser.disconnect(OURS),
        ]
        assert [(reply.status_code, title_of(reply)) for reply in replies] == [(401, "Log in first")] * 4
        browser.person = "default"
        assert (await browser.come_back(code="c", state=state)).status_code == 303
    assert accounts.asked == [("authorize", "default")]


async def test_any_process_with_the_secret_can_take_the_callback(site: Site) -> None:
    """Nothing is kept on the server: the cookie and the secret are all it takes."""
    accounts, clock = Refusing(), ManualClock()
    async with (
        site(connect_for(accounts, APP, clock=clock), None) as one,
        site(connect_for(accounts, APP, clock=clock), None) as other,
        site(connect_for(accounts, APP, clock=clock, secret=SECRET[::-1]), None) as stranger,
    ):
        state = asked_for(await Browser(one).connect())["state"]
        for client in (stranger, other):
            client.cookies.update(one.cookies)
        assert (await Browser(stranger).come_back(code="c", state=state)).status_code == 400
        assert (await Browser(other).come_back(code="c", state=state)).status_code == 303
    assert accounts.asked == [("authorize", "default")]


async def test_attempts_that_nobody_finishes_do_not_fill_the_browser(site: Site) -> None:
    """Servers refuse headers of 8 KiB: the person could not use the app at all."""
    clock = ManualClock()
    states: list[str] = []
    async with site(connect_for(Refusing(), APP, clock=clock), None) as client:
        browser = Browser(client)
        for _ in range(20):
            clock.advance(1)
            states.append(asked_for(await browser.connect())["state"])
            assert len(client.cookies) <= 8
        statuses = [(await browser.come_back(code="c", state=state)).status_code for state in states]
        assert statuses == [400] * 12 + [303] * 8


async def test_while_zoom_is_down_the_same_address_works_a_moment_later(site: Site, zoom: Zoom) -> None:
    """The consent was given, the code is not spent: the person need not do it again."""
    account = account_at(zoom)
    async with site(connect_for(account, zoom.user_app, base_url=zoom.url), account.opened) as client:
        browser = Browser(client)
        query = allowed(zoom, await browser.connect())
        zoom.outage = 503
        reply = await browser.come_back(**query)
        assert (reply.status_code, title_of(reply)) == (503, "One moment, please")
        assert int(reply.headers["Retry-After"]) >= 1
        assert query["code"] not in reply.text
        zoom.outage = None
        assert (await browser.come_back(**query)).status_code == 303
    assert zoom.stats == {"authorization_code": {"outage": 1, "ok": 1}}


class Down(MemoryStore):
    """A store that is down until it is mended."""

    down = True

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        if self.down:
            raise OSError("connection refused")
        return await super().begin(key, generation, holder, lease, supersede=supersede)

    async def forget(self, key: str) -> None:
        if self.down:
            raise OSError("connection refused")
        await super().forget(key)


async def test_while_the_store_is_down_no_code_is_spent(site: Site, zoom: Zoom) -> None:
    store = Down()
    accounts = StoredAccounts(zoom.user_app, store=store, base_url=zoom.url)
    async with site(connect_for(accounts, zoom.user_app, base_url=zoom.url), None) as client:
        browser = Browser(client)
        query = allowed(zoom, await browser.connect())
        reply = await browser.come_back(**query)
        assert (reply.status_code, title_of(reply)) == (503, "One moment, please")
        assert zoom.token_requests == 0
        store.down = False
        assert (await browser.come_back(**query)).status_code == 303
    assert zoom.stats == {"authorization_code": {"ok": 1}}


async def test_a_token_that_could_not_be_stored_is_no_success(zoom: Zoom) -> None:
    """The manager that got it is closed by then: the person has to be told."""
    store = FaultyStore(MemoryStore())
    accounts = StoredAccounts(zoom.user_app, store=store, base_url=zoom.url)
    store.down = {"commit"}
    grant = AuthorizationCodeGrant(code=zoom.authorize("alice"), redirect_uri=zoom.redirect_uri)
    with pytest.raises(StoreError, match="connect again") as caught:
        await accounts.authorize("alice", grant)
    assert not caught.value.transient


async def test_an_app_that_zoom_refuses_tells_whoever_runs_it_why(
    site: Site, zoom: Zoom, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = UserOAuth(client_id=zoom.user_app.client_id, client_secret="not the secret at all")
    accounts = StoredAccounts(wrong, store=MemoryStore(), base_url=zoom.url)
    async with site(connect_for(accounts, wrong, base_url=zoom.url), None) as client:
        browser = Browser(client)
        query = allowed(zoom, await browser.connect())
        with caplog.at_level(logging.INFO, "zoom_async_auth"):
            reply = await browser.come_back(**query)
        assert (reply.status_code, title_of(reply)) == (500, "This app needs attention")
        assert "invalid_client" in reply.text
    (record,) = (record for record in caplog.records if record.name == "zoom_async_auth")
    assert "invalid_client" in record.getMessage()
    for told in (reply.text, record.getMessage()):
        assert query["code"] not in told
        assert query["state"] not in told
        assert "not the secret" not in told


@pytest.mark.parametrize(
    "failure",
    [
        ConfigurationError("others may write to the folder '/srv/app': chmod 700 it"),
        StoreError("the file '/srv/app/tokens' cannot be read", transient=False),
        RuntimeError("in /srv/app"),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_what_is_wrong_with_the_server_is_told_by_its_log_and_to_no_visitor(
    site: Site, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    async with site(connect_for(Refusing(failure), APP), None) as client:
        reply = await Browser(client).disconnect(OURS)
    assert (reply.status_code, title_of(reply)) == (500, "This app needs attention")
    assert "For whoever runs this app: its log says what is wrong." in reply.text
    for told in ("/srv", "Error", ".py"):
        assert told not in reply.text
    (record,) = (record for record in caplog.records if record.name == "zoom_async_auth")
    assert ("sites.py:" if isinstance(failure, RuntimeError) else str(failure)) in record.getMessage()


async def test_a_code_that_zoom_refuses_ends_the_attempt(site: Site, zoom: Zoom) -> None:
    account = account_at(zoom)
    async with site(connect_for(account, zoom.user_app, base_url=zoom.url), account.opened) as client:
        browser = Browser(client)
        state = asked_for(await browser.connect())["state"]
        reply = await browser.come_back(code="never-given", state=state)
        assert (reply.status_code, title_of(reply)) == (400, "Please start again")
        assert not client.cookies
    assert zoom.stats == {"authorization_code": {"invalid_grant": 1}}


async def test_a_callback_that_is_too_long_or_can_be_read_in_two_ways_is_refused(site: Site) -> None:
    accounts = Refusing()
    async with site(connect_for(accounts, APP), None) as client:
        browser = Browser(client)
        state = asked_for(await browser.connect())["state"]
        for query in (f"code={'c' * 8000}&state={state}{'s' * 400}", f"code=a&code=b&state={state}"):
            assert (await browser.get(f"/zoom/callback?{query}")).status_code == 400
        reply = await browser.come_back(code="c", error="access_denied", state=state)
        assert (reply.status_code, title_of(reply)) == (400, "Please start again")
    assert not accounts.asked


async def test_what_others_wrote_is_shown_as_text(site: Site) -> None:
    async with site(connect_for(Refusing(), APP), None) as client:
        browser = Browser(client)
        state = asked_for(await browser.connect())["state"]
        reply = await browser.come_back(error="<script>alert(1)</script>", state=state)
        assert reply.status_code == 500
        assert "<script" not in reply.text
        assert "&lt;script&gt;" in reply.text


def test_whatever_a_page_says_is_escaped() -> None:
    page = pages._message_page("<b>", "<i>", links=(pages._Link(text="<u>", address='"><s>'),), hint="<em>")
    asked = pages._question_page("<b>", "<i>", button="<u>", link=pages._Link(text="<em>", address='"><s>'))
    for text in (page.body.decode(), asked.body.decode()):
        assert not re.search(r"<(b|i|u|s|em)>", text)
        assert {"&lt;b&gt;", "&lt;i&gt;", "&lt;u&gt;", "&lt;em&gt;"} <= set(re.findall(r"&lt;\w+&gt;", text))


async def test_pages_load_nothing_and_may_not_be_framed(site: Site) -> None:
    """Each in a language, with a title, a main part and one heading; the only style is its own."""
    async with site(connect_for(Refusing(StoreError("down")), APP), None) as client:
        browser = Browser(client)
        state = asked_for(await browser.connect())["state"]
        replies = [
            await browser.come_back(code="c", state="forged"),
            await browser.come_back(code="c", state=state),
            await browser.get("/zoom/disconnect"),
            await browser.disconnect(OURS),
            await browser.disconnect({}),
            await Browser(client, None).get("/zoom/connect"),
        ]
    for reply in replies:
        (style,) = re.findall(r"<style>(.*?)</style>", reply.text, re.DOTALL)
        allowed_style = b64encode(sha256(style.encode()).digest()).decode()
        policy = reply.headers["Content-Security-Policy"].split("; ")
        assert policy[:2] == ["default-src 'none'", f"style-src 'sha256-{allowed_style}'"]
        assert {"form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(policy)
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
        assert reply.headers["Referrer-Policy"] in {"no-referrer", "same-origin"}
        assert "=same-origin" not in reply.headers["Referrer-Policy"]
        for part in ('<html lang="en">', "<title>", "<main>", 'name="viewport"'):
            assert reply.text.count(part) == 1
        assert not re.search(r"https?:|//|<script|src=|url\(|@import", reply.text)
    assert [reply.headers["Referrer-Policy"] for reply in replies].count("same-origin") == 1


async def test_a_person_disconnects_and_the_token_is_dead(site: Site, zoom: Zoom) -> None:
    account = account_at(zoom)
    async with site(connect_for(account, zoom.user_app, base_url=zoom.url), account.opened) as client:
        browser = Browser(client)
        await browser.connected(zoom)
        token = (await browser.get("/token")).json()
        asked = await browser.get("/zoom/disconnect")
        assert (asked.status_code, title_of(asked)) == (200, "Disconnect Zoom?")
        assert '<form method="post"><button>' in asked.text
        assert zoom.model.user_of(token) == "alice"
        reply = await browser.disconnect(OURS)
        assert (reply.status_code, reply.headers["Location"]) == (303, "/done")
        assert zoom.model.user_of(token) is None
        assert (await browser.get("/health")).json()["state"] == "unauthorized"
        assert (await browser.disconnect(OURS)).status_code == 303
        assert (await browser.connected(zoom)).status_code == 303


async def test_only_a_form_of_the_app_itself_disconnects(site: Site) -> None:
    """What the browser says about it counts; older ones name the origin only."""
    accounts = Refusing()
    async with site(connect_for(accounts, APP), None) as client:
        for headers in (
            {"Sec-Fetch-Site": "same-site", "Origin": ORIGIN},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "none"},
            {"Sec-Fetch-Site": ""},
            {"Origin": "http://evil.example"},
            {"Origin": ORIGIN + "0"},
            {"Origin": "null"},
            {},
        ):
            reply = await Browser(client).disconnect(headers)
            assert (reply.status_code, title_of(reply)) == (403, "Nothing was changed"), headers
        assert not accounts.asked
        for headers in ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, {"Origin": ORIGIN}):
            assert (await Browser(client).disconnect(headers)).status_code == 303, headers
    assert accounts.asked == [("revoke", "default")] * 2


FAILURES = (
    (TokenUnavailableError("no answer", retry_after=41.5), 503),
    (StoreError("down"), 503),
    (ManagerClosedError("the program ends"), 503),
    (ConfigurationError("wrong"), 500),
    (MisuseError("not open"), 500),
    (RuntimeError("with a code in it"), 500),
)


async def test_a_failure_is_told_by_what_can_be_done_about_it(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """What passes by itself, and what only whoever runs the app can mend; what a bug says is shown nowhere."""
    accounts = Refusing()
    async with site(connect_for(accounts, APP), None) as client:
        browser = Browser(client)
        for accounts.failure, status in FAILURES:
            state = asked_for(await browser.connect())["state"]
            replies = await browser.come_back(code="c", state=state), await browser.disconnect(OURS)
            titles = ("One moment, please", "Still connected") if status == 503 else ("This app needs attention",) * 2
            assert [reply.status_code for reply in replies] == [status] * 2
            assert tuple(map(title_of, replies)) == titles
            for reply in replies:
                assert ("Retry-After" in reply.headers) == (status == 503)
                assert "with a code in it" not in reply.text
    assert "with a code in it" not in caplog.text
    assert sum(record.name == "zoom_async_auth" for record in caplog.records) == 6


async def test_a_visitor_is_told_when_to_come_back(site: Site) -> None:
    async with site(connect_for(Refusing(TokenUnavailableError("down", retry_after=41.5)), APP), None) as client:
        assert (await Browser(client).disconnect(OURS)).headers["Retry-After"] == "42"


async def test_no_other_method_does_anything(site: Site) -> None:
    """A scanner of links that asks for the head of the callback does not spend the code."""
    accounts = Refusing()
    async with site(connect_for(accounts, APP), None) as client:
        browser = Browser(client)
        state = asked_for(await browser.connect())["state"]
        for method, path in (
            ("HEAD", f"/zoom/callback?code=c&state={state}"),
            ("POST", f"/zoom/callback?code=c&state={state}"),
            ("HEAD", "/zoom/connect"),
            ("POST", "/zoom/connect"),
            ("PUT", "/zoom/disconnect"),
            ("DELETE", "/zoom/disconnect"),
        ):
            reply = await client.request(method, path, headers={"X-Person": "default", **OURS})
            assert reply.status_code == 405, path
        assert (await client.post("/zoom/webhook")).status_code == 404
        assert (await browser.come_back(code="c", state=state)).status_code == 303
    assert accounts.asked == [("authorize", "default")]


async def test_an_app_for_one_account_takes_no_other_one(site: Site, zoom: Zoom) -> None:
    """Else each visitor who is logged in would replace the account that the app acts for."""
    account = account_at(zoom)
    async with site(connect_for(account, zoom.user_app, base_url=zoom.url), account.opened) as client:
        reply = await Browser(client, "another").connected(zoom)
        assert (reply.status_code, title_of(reply)) == (500, "This app needs attention")
    assert zoom.token_requests == 0


async def test_a_browser_that_hangs_up_does_not_take_the_code_along(site: Site, zoom: Zoom) -> None:
    """Its request is cancelled in the middle of the exchange. The app ends after that, and only then."""
    zoom.latency = 0.1
    accounts = StoredAccounts(zoom.user_app, store=MemoryStore(), base_url=zoom.url)
    async with site(connect_for(accounts, zoom.user_app, base_url=zoom.url), None) as client:
        browser = Browser(client)
        query = allowed(zoom, await browser.connect())
        load = asyncio.create_task(browser.come_back(**query))
        await asks_for_a_token(zoom)
        load.cancel()
        with pytest.raises(asyncio.CancelledError):
            await load
    async with accounts.opened("default") as manager:
        assert zoom.model.user_of(await manager.bearer()) == "alice"
    assert zoom.stats == {"authorization_code": {"ok": 1}}


async def test_who_leaves_in_the_middle_of_an_operation_disturbs_nothing(zoom: Zoom) -> None:
    """The manager of that one operation closes once the exchange has ended."""
    zoom.latency = 0.05
    accounts = StoredAccounts(zoom.user_app, store=MemoryStore(), base_url=zoom.url)
    code = zoom.authorize()
    leaving = asyncio.create_task(
        accounts.authorize("alice", AuthorizationCodeGrant(code=code, redirect_uri=zoom.redirect_uri))
    )
    await asks_for_a_token(zoom)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    async with accounts.opened("alice") as manager:
        assert zoom.model.user_of(await manager.bearer()) == "alice"
    assert zoom.stats == {"authorization_code": {"ok": 1}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "short"},
        {"secret": "x" * 31},
        {"secret": b"x" * 31},
        {"secret": None},
        {"redirect_uri": "http://app.example/callback"},
        {"redirect_uri": "app.example/callback"},
        {"after": "//evil.example"},
        {"after": "/\\evil.example"},
        {"after": "https://evil.example/"},
        {"after": "settings"},
        {"after": "/a\r\nSet-Cookie: b=c"},
        {"base_url": "http://zoom.us"},
        {"credentials": "the client id"},
    ],
    ids=lambda wrong: "-".join(map(str, wrong.values())),
)
def test_what_cannot_work_is_told_at_once(wrong: dict[str, object]) -> None:
    fine = {"credentials": APP, "redirect_uri": REDIRECT, "secret": SECRET}
    with pytest.raises(ConfigurationError) as error:
        Connect(Refusing(), **{**fine, **wrong})  # type: ignore[arg-type]
    frames = [entry.frame for entry in error.traceback[1:]]
    assert frames
    assert not any("secret" in frame.f_locals or SECRET in repr(frame.f_locals) for frame in frames)


@pytest.mark.parametrize(
    "accounts",
    [TokenManager(APP), TokenPool(APP, store=MemoryStore()).manager("alice"), StoredAccounts, None],
    ids=["manager", "identity of a pool", "class", "none"],
)
def test_what_does_not_act_for_a_key_is_refused_before_anybody_consents(accounts: object) -> None:
    """A manager has the same verbs, for one identity: it would fail on the way back from Zoom, with the code spent."""
    kind = type(accounts).__name__
    told = f"accounts must be OneAccount, StoredAccounts or a TokenPool, or have their methods, not {kind}"
    with pytest.raises(ConfigurationError, match=told):
        connect_for(accounts, APP)  # type: ignore[arg-type]


def test_accounts_of_ones_own_are_taken_whatever_they_are_made_of() -> None:
    for accounts in (Refusing(), Mock(), TokenPool(APP, store=MemoryStore()), OneAccount(APP)):
        assert connect_for(accounts, APP).routes


@pytest.mark.parametrize(
    ("path", "served"),
    [("/zoom/oauth", False), ("/zoom/callback/", False), ("/zoom/callback?at=home", True), ("/zoom/callback", True)],
)
def test_an_address_that_nobody_serves_is_told_of_when_the_app_starts(
    path: str, *, served: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Something in front of the app may map it, so it is no error; mostly a person meets a 404 on the way back."""
    connect_for(Refusing(), APP, redirect_uri=ORIGIN + path)
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == (not served)
    assert all("redirect_uri does not end with /callback" in record.getMessage() for record in told)


def test_accounts_tell_at_once_what_cannot_work() -> None:
    server_to_server = Zoom().credentials
    for make in (OneAccount, lambda app: StoredAccounts(app, store=MemoryStore())):
        with pytest.raises(ConfigurationError):
            make(server_to_server)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        OneAccount(APP, base_url="http://zoom.us")
    with pytest.raises(TypeError):
        StoredAccounts(APP, store=MemoryStore(), no_such_option=1)
    with pytest.raises(TypeError):
        OneAccount(APP, no_such_option=1)


async def test_an_account_is_open_once_at_a_time_and_again_afterwards(zoom: Zoom) -> None:
    """Tests start one app many times; its tokens stay in the store of the account."""
    account = account_at(zoom)
    connect = connect_for(account, zoom.user_app, base_url=zoom.url)
    async with SITES["fastapi"](connect, account.opened) as client:
        await Browser(client).connected(zoom)
        with pytest.raises(ZoomAuthError, match="open"):
            async with account.opened():
                pass
    with pytest.raises(ZoomAuthError, match="not open"):
        await account.revoke("default")
    async with SITES["aiohttp"](connect, account.opened) as client:
        assert (await Browser(client).get("/token")).status_code == 200
    assert zoom.stats == {"authorization_code": {"ok": 1}}


async def test_one_account_serves_what_was_authorized(zoom: Zoom) -> None:
    account = OneAccount(zoom.user_app, base_url=zoom.url, key="boss")
    async with account.opened() as manager:
        assert isinstance(manager, TokenManager)
        with pytest.raises(AuthorizationRequiredError):
            await manager.bearer()
