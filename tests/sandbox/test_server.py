"""The sandbox behind HTTP, asked by a plain aiohttp session: its routes, its pages, its manners."""

import asyncio
import gc
import socket
from base64 import b64encode
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
from yarl import URL

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.authorize import AuthorizationRequest, authorization_request, read_callback
from zoom_async_auth.oauth.credentials import UserOAuth
from zoom_async_auth.oauth.grants import (
    AccountCredentialsGrant,
    AuthorizationCodeGrant,
    ClientCredentialsGrant,
    DeviceCodeGrant,
    RefreshTokenGrant,
)
from zoom_async_auth.oauth.requests import Request, device_request, revoke_request, token_request
from zoom_async_auth.sandbox import Sandbox, Zoom

HOSTILE = ["\"><script>alert('x')</script>", "' onfocus='alert(1)", "&quot;&#34;</form>", "\r\nSet-Cookie: a=b", "é\0"]


class Page(HTMLParser):
    """What a browser sees in a page: its tags, and what its form would send."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fields: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        known = dict(attrs)
        if tag == "input" and (known.get("type") != "radio" or "checked" in known):
            self.fields[known["name"] or ""] = known["value"] or ""


@pytest.fixture
async def zoom() -> AsyncIterator[Zoom]:
    async with Sandbox() as zoom:
        yield zoom


@pytest.fixture
async def http(zoom: Zoom) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(zoom.url) as session:
        yield session


def asked(zoom: Zoom, app: UserOAuth | None = None) -> AuthorizationRequest:
    return authorization_request(
        app or zoom.user_app, redirect_uri=zoom.redirect_uri, randomness=bytes(range(64)), base_url=zoom.url
    )


async def visit(http: aiohttp.ClientSession, url: str, *, status: int = 200) -> Page:
    async with http.get(url) as response:
        assert response.status == status
        return Page(await response.text())


async def submit(http: aiohttp.ClientSession, fields: dict[str, str], **more: str) -> dict[str, list[str]]:
    """Answer on the consent page; return what the callback brings."""
    async with http.post("/oauth/authorize", data={**fields, **more}, allow_redirects=False) as response:
        assert response.status == 303
        return parse_qs(urlsplit(response.headers["Location"]).query, keep_blank_values=True)


async def send(http: aiohttp.ClientSession, request: Request) -> dict[str, Any]:
    async with http.post(request.path, headers=request.headers, data=request.body) as response:
        answer: dict[str, Any] = await response.json()
        return answer


async def whoami(http: aiohttp.ClientSession, access_token: str) -> tuple[int, str | None]:
    async with http.get("/v2/users/me", headers={"Authorization": f"Bearer {access_token}"}) as response:
        return response.status, (await response.json()).get("id")


# Routes


async def test_the_seeds_request_is_answered(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """Basic, and a form that aiohttp encodes."""
    own = zoom.credentials
    basic = b64encode(f"{own.client_id}:{own.client_secret}".encode()).decode()
    form = {"grant_type": "account_credentials", "account_id": own.account_id}
    async with http.post("/oauth/token", data=form, headers={"Authorization": f"Basic {basic}"}) as response:
        answer = await response.json()

    assert response.status == 200
    assert answer["api_url"] == zoom.url == f"http://127.0.0.1:{response.url.port}"
    assert await whoami(http, answer["access_token"]) == (200, "account-owner")


async def test_a_refusal_is_zooms_to_the_letter(http: aiohttp.ClientSession) -> None:
    """`reason` and `error`, in this order, with what Zoom's support asks for."""
    async with http.post("/oauth/token", data={"grant_type": "account_credentials"}) as response:
        assert response.status == 401
        assert await response.read() == b'{"reason":"Invalid client_id or client_secret","error":"invalid_client"}'
        assert response.headers["x-zm-trackingid"]
        assert response.headers["Cache-Control"] == "no-store"


async def test_parameters_may_stand_in_the_query(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """Zoom's documentation shows it, and published clients do it: here with an escape, and with JSON for no body."""
    request = token_request(zoom.credentials, AccountCredentialsGrant(account_id=zoom.credentials.account_id))
    query = request.body.decode().replace("account_c", "%61ccount_c")
    headers = {"Authorization": request.headers["Authorization"], "Content-Type": "application/json"}
    async with http.post(URL(f"{request.path}?{query}", encoded=True), headers=headers) as response:
        assert response.status == 200

    assert zoom.stats == {"account_credentials": {"ok": 1}}


async def test_a_chain_is_begun_refreshed_and_revoked(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    app, grant = zoom.user_app, AuthorizationCodeGrant(code=zoom.authorize("bob"), redirect_uri=zoom.redirect_uri)
    first = await send(http, token_request(app, grant))
    second = await send(http, token_request(app, RefreshTokenGrant(refresh_token=first["refresh_token"])))
    assert await whoami(http, second["access_token"]) == (200, "bob")

    assert await send(http, revoke_request(app, second["access_token"])) == {"status": "success"}

    assert await whoami(http, second["access_token"]) == (401, None)
    again = token_request(app, RefreshTokenGrant(refresh_token=second["refresh_token"]))
    assert await send(http, again) == {"reason": "Invalid Token!", "error": "invalid_grant"}


async def test_the_app_can_be_taken_off_over_http(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """So that a program in another process can be watched when it happens."""
    grant = AuthorizationCodeGrant(code=zoom.authorize("alice"), redirect_uri=zoom.redirect_uri)
    token = await send(http, token_request(zoom.user_app, grant))
    assert (await whoami(http, token["access_token"]))[0] == 200
    async with http.delete("/_sandbox/grants/alice") as response:
        assert response.status == 204

    assert (await whoami(http, token["access_token"]))[0] == 401


async def test_a_token_shows_its_own_user_and_nobody_else(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """By "me" or by id; anybody else does not exist."""
    grant = AuthorizationCodeGrant(code=zoom.authorize("bob"), redirect_uri=zoom.redirect_uri)
    token = (await send(http, token_request(zoom.user_app, grant)))["access_token"]
    headers, seen = {"Authorization": f"Bearer {token}"}, []
    for user_id in ("me", "bob", "alice"):
        async with http.get(f"/v2/users/{user_id}", headers=headers) as response:
            answer = await response.json()
            seen.append((response.status, answer.get("id") or answer["message"]))

    assert seen == [(200, "bob"), (200, "bob"), (404, "User does not exist: alice.")]


async def test_an_app_sees_the_users_of_its_account(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """What a server-to-server app asks for instead of "me"; refused like any call without a good token."""
    token = (await send(http, token_request(zoom.client_credentials, ClientCredentialsGrant())))["access_token"]
    async with http.get("/v2/users", headers={"Authorization": f"Bearer {token}"}) as response:
        assert [user["id"] for user in (await response.json())["users"]] == ["account-owner"]
    async with http.get("/v2/users", headers={"Authorization": "Bearer made-up"}) as response:
        assert (response.status, (await response.json())["code"]) == (401, 124)


async def test_metadata_and_statistics_are_served(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    async with http.get("/.well-known/oauth-authorization-server") as response:
        assert (await response.json())["token_endpoint"] == f"{zoom.url}/oauth/token"
    async with http.post("/oauth/token") as response:
        assert response.status == 400
    async with http.get("/_sandbox/stats") as response:
        assert await response.json() == {"token_requests": 1, "by_grant": {"unreadable": {"invalid_request": 1}}}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/oauth/token", 405), ("GET", "/oauth/revoke", 405), ("POST", "/v2/users/me", 405), ("GET", "/", 404)],
)
async def test_there_is_nothing_else(http: aiohttp.ClientSession, method: str, path: str, status: int) -> None:
    async with http.request(method, path) as response:
        assert response.status == status


async def test_a_request_that_is_too_long_is_cut(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    async with http.post("/oauth/token", data=b"x" * (64 * 1024 + 1)) as response:
        assert response.status == 413

    assert zoom.token_requests == 0


# The consent page


@pytest.mark.parametrize("public", [False, True])
async def test_a_person_who_allows_the_app_sends_back_a_code_that_works(
    zoom: Zoom, http: aiohttp.ClientSession, *, public: bool
) -> None:
    """The whole way, as a browser goes it: page, decision, redirect, exchange with PKCE."""
    app = zoom.public_app if public else zoom.user_app
    request = asked(zoom, app)
    fields = (await visit(http, request.url)).fields
    form = {**fields, "user": "bob", "decision": "allow"}
    async with http.post("/oauth/authorize", data=form, allow_redirects=False) as response:
        target, _, query = response.headers["Location"].partition("?")

    grant = read_callback(query, request)
    assert isinstance(grant, AuthorizationCodeGrant)
    answer = await send(http, token_request(app, grant))

    assert (response.status, target) == (303, zoom.redirect_uri)
    assert await whoami(http, answer["access_token"]) == (200, "bob")


async def test_a_code_from_the_page_is_bound_to_its_verifier(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """S23."""
    fields = (await visit(http, asked(zoom).url)).fields
    told = await submit(http, fields, decision="allow")
    grant = AuthorizationCodeGrant(code=told["code"][0], redirect_uri=zoom.redirect_uri, code_verifier="w" * 43)

    assert (await send(http, token_request(zoom.user_app, grant)))["error"] == "invalid_grant"


async def test_a_person_who_declines_sends_back_no_code(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """Whatever else is posted than "allow"."""
    request = asked(zoom)
    fields = (await visit(http, request.url)).fields

    for decision in ("deny", "", "Allow"):
        told = await submit(http, fields, decision=decision)
        assert told == {"error": ["access_denied"], "state": [request.state]}


async def test_without_a_name_the_person_is_alice_and_without_a_state_none_comes_back(
    zoom: Zoom, http: aiohttp.ClientSession
) -> None:
    told = await submit(
        http, {"client_id": zoom.user_app.client_id, "redirect_uri": zoom.redirect_uri}, user="", decision="allow"
    )
    grant = AuthorizationCodeGrant(code=told["code"][0], redirect_uri=zoom.redirect_uri)
    answer = await send(http, token_request(zoom.user_app, grant))

    assert list(told) == ["code"]
    assert await whoami(http, answer["access_token"]) == (200, "alice")


async def test_the_method_plain_is_refused(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """S23: no downgrade."""
    fields = (await visit(http, asked(zoom).url)).fields
    told = await submit(http, {**fields, "code_challenge_method": "plain"}, decision="allow")

    assert told == {"error": ["invalid_request"], "state": [fields["state"]]}


async def test_a_challenge_without_a_method_is_plain_too(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """RFC 7636, section 4.3, and Zoom: a client that forgets to say S256 fails there, so it has to fail here."""
    fields = (await visit(http, asked(zoom).url)).fields
    del fields["code_challenge_method"]
    told = await submit(http, fields, decision="allow")

    assert told == {"error": ["invalid_request"], "state": [fields["state"]]}


async def test_a_public_client_without_a_challenge_is_refused(zoom: Zoom, http: aiohttp.ClientSession) -> None:
    """It has no secret: PKCE is all that ties the code to it (RFC 9700, section 2.1.1)."""
    fields = {"client_id": zoom.public_app.client_id, "redirect_uri": zoom.redirect_uri}

    assert await submit(http, fields, decision="allow") == {"error": ["invalid_request"]}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "redirect_uri",
    [
        None,
        "",
        "https://evil.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://127.0.0.1/callback/",
        "http://127.0.0.1/Callback",
        "http://127.0.0.1/callback?x=1",
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_registered(
    zoom: Zoom, http: aiohttp.ClientSession, method: str, redirect_uri: str | None
) -> None:
    """Not by the page, and not by a form that was tampered with (S27; RFC 9700, section 4.11)."""
    fields = {"client_id": zoom.user_app.client_id, "decision": "allow", "state": "s"}
    if redirect_uri is not None:
        fields["redirect_uri"] = redirect_uri
    query, form = (fields, None) if method == "GET" else (None, fields)
    async with http.request(method, "/oauth/authorize", params=query, data=form, allow_redirects=False) as response:
        text = await response.text()

    assert response.status == 400
    assert "Location" not in response.headers
    assert Page(text).fields == {}


@pytest.mark.parametrize("kind", ["unknown", "server-to-server"])
async def test_nobody_is_asked_for_an_app_that_has_no_page(zoom: Zoom, http: aiohttp.ClientSession, kind: str) -> None:
    client_id = zoom.credentials.client_id if kind == "server-to-server" else kind
    query = {"client_id": client_id, "redirect_uri": zoom.redirect_uri}
    async with http.get("/oauth/authorize", params=query, allow_redirects=False) as response:
        assert response.status == 400
        assert "Location" not in response.headers


# The device page


@pytest.fixture
async def device(zoom: Zoom, http: aiohttp.ClientSession) -> dict[str, str]:
    return await send(http, device_request(zoom.user_app))


async def poll(zoom: Zoom, http: aiohttp.ClientSession, device: dict[str, str]) -> dict[str, str]:
    return await send(http, token_request(zoom.user_app, DeviceCodeGrant(device_code=device["device_code"])))


async def test_a_person_connects_a_device_on_the_page_that_it_shows(
    zoom: Zoom, http: aiohttp.ClientSession, device: dict[str, str]
) -> None:
    """The code is filled in; the tokens are those of the person who allowed it."""
    fields = (await visit(http, device["verification_uri_complete"])).fields
    assert fields == {"user_code": device["user_code"], "user": "alice", "other": ""}

    async with http.post("/oauth/device", data={**fields, "user": "bob", "decision": "allow"}) as response:
        assert response.status == 200
    answer = await poll(zoom, http, device)

    assert await whoami(http, answer["access_token"]) == (200, "bob")


async def test_a_code_is_known_in_small_letters_too(
    zoom: Zoom, http: aiohttp.ClientSession, device: dict[str, str]
) -> None:
    """People type it (RFC 8628, section 6.1); without a name they are alice."""
    form = {"user_code": f" {device['user_code'].lower()} ", "decision": "allow"}
    async with http.post("/oauth/device", data=form) as response:
        assert response.status == 200

    assert await whoami(http, (await poll(zoom, http, device))["access_token"]) == (200, "alice")


async def test_a_person_who_declines_ends_the_wait_of_the_device(
    zoom: Zoom, http: aiohttp.ClientSession, device: dict[str, str]
) -> None:
    async with http.post("/oauth/device", data={"user_code": device["user_code"], "decision": "deny"}) as response:
        assert response.status == 200

    assert (await poll(zoom, http, device))["error"] == "access_denied"


async def test_a_wrong_code_connects_nothing(zoom: Zoom, http: aiohttp.ClientSession, device: dict[str, str]) -> None:
    assert (await visit(http, device["verification_uri"])).fields["user_code"] == ""
    async with http.post("/oauth/device", data={"user_code": "", "decision": "allow"}) as response:
        assert response.status == 400

    assert (await poll(zoom, http, device))["error"] == "authorization_pending"


# What every page is careful about


@pytest.mark.parametrize("text", HOSTILE)
async def test_what_the_consent_page_is_told_stays_text(zoom: Zoom, http: aiohttp.ClientSession, text: str) -> None:
    """It comes back to the letter, and no tag more than with a harmless request."""
    harmless = await visit(http, asked(zoom).url)
    told = {
        **dict.fromkeys(("state", "code_challenge", "code_challenge_method", "scope", "user"), text),
        "client_id": zoom.user_app.client_id,
        "redirect_uri": zoom.redirect_uri,
    }
    page = await visit(http, f"/oauth/authorize?{urlencode(told)}")

    assert page.tags == harmless.tags
    assert page.fields["state"] == page.fields["code_challenge"] == page.fields["code_challenge_method"] == text


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_hostile_state_comes_back_as_a_parameter_and_nothing_else(
    zoom: Zoom, http: aiohttp.ClientSession, text: str
) -> None:
    """No header is smuggled into the redirect, no parameter into the callback."""
    form = {"client_id": zoom.user_app.client_id, "redirect_uri": zoom.redirect_uri, "state": f"{text}&code=forged"}
    async with http.post("/oauth/authorize", data=form, allow_redirects=False) as response:
        told = parse_qs(urlsplit(response.headers["Location"]).query)

    assert told == {"error": ["access_denied"], "state": [f"{text}&code=forged"]}
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("text", HOSTILE)
async def test_what_the_device_page_is_told_stays_text(http: aiohttp.ClientSession, text: str) -> None:
    """It is there to be corrected."""
    harmless = await visit(http, "/oauth/device?user_code=unknown", status=400)
    page = await visit(http, f"/oauth/device?{urlencode({'user_code': text})}", status=400)

    assert page.tags == harmless.tags
    assert page.fields["user_code"] == text


@pytest.mark.parametrize("text", HOSTILE)
async def test_an_error_page_repeats_nothing(http: aiohttp.ClientSession, text: str) -> None:
    async with http.get("/oauth/authorize", params={"client_id": text, "redirect_uri": text}) as response:
        assert text not in await response.text()
    async with http.post("/oauth/device", data={"user_code": text, "user": text}) as response:
        assert text not in await response.text()


async def test_pages_load_nothing_are_framed_by_nobody_and_leave_no_trace(
    zoom: Zoom, http: aiohttp.ClientSession
) -> None:
    """The redirect too: it carries the code."""
    form = {"client_id": zoom.user_app.client_id, "redirect_uri": zoom.redirect_uri, "decision": "allow"}
    pages = [
        http.get(asked(zoom).url),
        http.get("/oauth/authorize"),
        http.get("/oauth/device"),
        http.post("/oauth/device"),
        http.post("/oauth/authorize", data=form, allow_redirects=False),
    ]
    for page in pages:
        async with page as response:
            policy = response.headers["Content-Security-Policy"].split("; ")
            assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy)
            assert response.headers["Referrer-Policy"] == "no-referrer"
            assert response.headers["Cache-Control"] == "no-store"


# Latency


class WatchedClock:
    """Tells when it is looked at: the model does so while it decides."""

    def __init__(self) -> None:
        self.looked_at = asyncio.Event()

    def __call__(self) -> float:
        self.looked_at.set()
        return 1_790_000_000.0


async def test_who_hangs_up_after_sending_has_spent_the_code() -> None:
    """As at Zoom: the decision is made before the answer, so a lost answer is a spent code (F28)."""
    clock = WatchedClock()
    async with Sandbox(latency=3600.0, clock=clock) as zoom, aiohttp.ClientSession(zoom.url) as http:
        grant = AuthorizationCodeGrant(code=zoom.authorize(), redirect_uri=zoom.redirect_uri)
        request = token_request(zoom.user_app, grant)
        clock.looked_at.clear()
        asking = asyncio.create_task(send(http, request))
        await clock.looked_at.wait()
        asking.cancel()
        await asyncio.wait({asking})
        zoom.latency = 0.0

        assert (await send(http, request))["error"] == "invalid_grant"
        assert zoom.stats == {"authorization_code": {"ok": 1, "invalid_grant": 1}}


async def test_lifetime_and_grace_are_those_that_were_asked_for() -> None:
    """With a grace, the same refresh token again heals a lost answer (F28 B)."""
    async with Sandbox(token_lifetime=60, reuse_grace=30.0) as zoom, aiohttp.ClientSession(zoom.url) as http:
        grant = AuthorizationCodeGrant(code=zoom.authorize(), redirect_uri=zoom.redirect_uri)
        first = await send(http, token_request(zoom.user_app, grant))
        again = token_request(zoom.user_app, RefreshTokenGrant(refresh_token=first["refresh_token"]))
        answers = [first, await send(http, again), await send(http, again)]

    assert [answer["expires_in"] for answer in answers] == [60, 60, 60]


async def test_an_answer_takes_its_latency() -> None:
    loop = asyncio.get_running_loop()
    async with Sandbox(latency=0.1) as zoom, aiohttp.ClientSession(zoom.url) as http:
        begun = loop.time()
        await send(http, revoke_request(zoom.credentials, "made-up"))
        passed = loop.time() - begun

    assert passed > 0.09  # uvloop counts in milliseconds


# Life


@pytest.mark.parametrize("host", ["", "0", "::", "192.168.0.1", "example.com", "127.0.0.1.example.com"])
def test_a_host_that_others_can_reach_is_refused(host: str) -> None:
    """It gives tokens to anybody who asks."""
    with pytest.raises(ConfigurationError, match="must be a loopback address"):
        Sandbox(host=host)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("localhost", "http://localhost:"),
        pytest.param("::1", "http://[::1]:", marks=pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")),
    ],
)
async def test_every_loopback_address_can_be_served(host: str, shown: str) -> None:
    async with Sandbox(host=host) as zoom, aiohttp.ClientSession(zoom.url) as http:
        answer = await send(http, revoke_request(zoom.credentials, "made-up"))

    assert answer == {"status": "success"}
    assert zoom.url.startswith(shown)


async def test_a_port_that_is_taken_is_an_error_that_leaves_nothing_open() -> None:
    """As soon as it is free it can be had."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=r"(?i)address already in use"):
            await Sandbox(port=port).__aenter__()
    gc.collect()  # what was left open would warn now

    async with Sandbox(port=port) as zoom:
        assert zoom.url == f"http://127.0.0.1:{port}"


async def test_a_closed_sandbox_waits_for_nobody_and_answers_nobody() -> None:
    """A test that ends in the middle of a request ends at once."""
    clock = WatchedClock()
    async with aiohttp.ClientSession() as http:
        async with Sandbox(latency=3600.0, clock=clock) as zoom:
            address = f"{zoom.url}/oauth/token"
            request = token_request(zoom.client_credentials, ClientCredentialsGrant())
            asking = asyncio.create_task(_posted(http, address, request))
            await clock.looked_at.wait()

        with pytest.raises(aiohttp.ServerDisconnectedError):
            await asking
        with pytest.raises(aiohttp.ClientConnectorError):
            await _posted(http, address, request)


async def _posted(http: aiohttp.ClientSession, address: str, request: Request) -> None:
    async with http.post(address, headers=request.headers, data=request.body):
        pass
