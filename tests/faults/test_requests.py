"""S1 to S4: where a request goes, and what goes along."""

from importlib.metadata import requires

import aiohttp
import pytest
from yarl import URL

from tests.faults.steps import APP, IMPATIENT, PAIR, PATIENT, all_luck, expired_pair, failure_of, no_luck, person_at
from tests.integrations.raw import answers, raw_server
from zoom_async_auth import TokenManager, TokenUnavailableError
from zoom_async_auth.bearer import BearerMiddleware, origin_of
from zoom_async_auth.sandbox import Zoom


@pytest.mark.parametrize("status", ["307 Temporary Redirect", "308 Permanent Redirect"])
async def test_s01_a_redirect_that_would_send_the_form_on_is_a_typed_error_and_no_second_request(status: str) -> None:
    async with raw_server(answers(PAIR)) as elsewhere:
        location = f"Location: {elsewhere.url}/oauth/token\r\n"
        async with (
            raw_server(answers(b"", status=status, headers=location)) as server,
            TokenManager(APP, base_url=server.url, policy=IMPATIENT, random=all_luck) as manager,
        ):
            await manager.authorize(expired_pair())
            assert type(await failure_of(manager)) is TokenUnavailableError
            assert server.connections == 1
        assert elsewhere.connections == 0


async def test_s01_a_redirect_by_the_sandbox_spends_nothing(zoom_sandbox: Zoom) -> None:
    async with raw_server(answers(PAIR)) as elsewhere, person_at(zoom_sandbox) as manager:
        zoom_sandbox.faults.add(f"refresh_token:redirect={elsewhere.url}/oauth/token")
        manager.invalidate(await manager.bearer())
        assert zoom_sandbox.model.user_of(await manager.bearer()) == "alice"
        assert elsewhere.connections == 0

    assert zoom_sandbox.stats["refresh_token"] == {"fault": 1, "ok": 1}


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "303 See Other"])
@pytest.mark.parametrize("where", ["https://zoom.us:8443/", "http://zoom.us/", "/oauth/token"])
async def test_s02_any_other_redirect_is_not_followed_and_its_body_not_parsed(status: str, where: str) -> None:
    """To another port, from https to http, or to where it came from; the body is a token, and a trap."""
    async with (
        raw_server(answers(PAIR, status=status, headers=f"Location: {where}\r\n")) as server,
        TokenManager(APP, base_url=server.url, policy=IMPATIENT, random=all_luck) as manager,
    ):
        await manager.authorize(expired_pair())
        assert "redirect" in str(await failure_of(manager))
        assert server.connections == 1


async def test_s03_a_session_that_is_redirected_to_another_origin_drops_the_bearer(zoom_sandbox: Zoom) -> None:
    """Also one that the caller has set; the middleware runs at each hop, and does not put it back."""
    async with raw_server(answers(b"{}")) as elsewhere:
        redirects = answers(b"", status="302 Found", headers=f"Location: {elsewhere.url}/\r\n")
        async with raw_server(redirects) as api, person_at(zoom_sandbox) as manager:
            middleware = BearerMiddleware(manager, allowed=[origin_of(URL(api.url))])
            async with aiohttp.ClientSession(middlewares=[middleware]) as session:
                for headers in ({}, {"Authorization": "Bearer of-the-caller"}):
                    await (await session.get(api.url, headers=headers)).read()
            bearer = f"Authorization: Bearer {await manager.bearer()}".encode()
            assert [bearer in request for request in api.requests] == [True, False]
        assert len(elsewhere.requests) == 2
        assert not any(b"authorization" in request.lower() for request in elsewhere.requests)


async def test_s04_nothing_that_a_server_or_a_proxy_sets_is_sent_on() -> None:
    sets = "Set-Cookie: a=b; Path=/\r\nProxy-Authorization: Basic eDp5\r\nLocation: /oauth/token\r\n"
    async with (
        raw_server(answers(b"", status="302 Found", headers=sets), answers(PAIR, headers=sets)) as server,
        TokenManager(APP, base_url=server.url, policy=PATIENT, random=no_luck) as manager,
    ):
        await manager.authorize(expired_pair())
        await manager.bearer()
        await manager.renew()
        assert len(server.requests) == 3
        assert not any(name in request.lower() for name in (b"cookie", b"proxy-") for request in server.requests)


def test_s04_the_floor_for_aiohttp_is_the_version_that_drops_a_repeated_header() -> None:
    """CVE-2026-34518."""
    assert "aiohttp>=3.14.3" in (requires("zoom_async_auth") or [])
