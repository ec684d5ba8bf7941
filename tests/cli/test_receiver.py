"""The loopback receiver of the log-in (S28): on 127.0.0.1 alone, one answer, and nothing else ends its wait."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from zoom_async_auth import AuthorizationCodeGrant, AuthorizationRequiredError, ConfigurationError, UserOAuth
from zoom_async_auth.cli.receiver import Receiver
from zoom_async_auth.oauth.authorize import code_challenge

pytestmark = pytest.mark.asyncio(loop_factories=["plain"])

APP = UserOAuth(client_id="the-client")


def waiting(*, port: int = 0, path: str = "/callback") -> Receiver:
    return Receiver(APP, base_url="https://zoom.us", port=port, path=path)


def asked(receiver: Receiver) -> dict[str, str]:
    """Return what the authorize URL says."""
    return {name: value for name, (value,) in parse_qs(urlsplit(receiver.url).query).items()}


@asynccontextmanager
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def status_of(session: aiohttp.ClientSession, url: str, *, method: str = "GET") -> int:
    async with session.request(method, url, allow_redirects=False) as response:
        return response.status


async def test_the_answer_with_our_state_is_the_one_that_counts() -> None:
    """S28: any free port of 127.0.0.1 (RFC 8252, section 7.3), PKCE by S256; the browser hears how it ended."""
    async with waiting() as receiver, browser() as session:
        fields = asked(receiver)
        target = urlsplit(fields["redirect_uri"])
        assert (target.scheme, target.hostname, target.path) == ("http", "127.0.0.1", "/callback")
        assert fields["code_challenge_method"] == "S256"
        coming = asyncio.create_task(session.get(f"{fields['redirect_uri']}?code=c0de&state={fields['state']}"))
        grant = await receiver.answer()
        assert isinstance(grant, AuthorizationCodeGrant)
        assert (grant.code, grant.redirect_uri) == ("c0de", fields["redirect_uri"])
        assert code_challenge(grant.code_verifier or "") == fields["code_challenge"]
        receiver.conclude("You are <logged> in", "Close & go on.")
        async with await coming as page:
            text = await page.text()

    assert page.status == 200
    assert "You are &lt;logged&gt; in" in text
    assert "c0de" not in text
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_whatever_else_comes_is_turned_away_and_ends_nothing() -> None:
    """S28, S22, S25: a guess, a favicon, a prefetch by HEAD, a form; then the real answer is still taken."""
    async with waiting() as receiver, browser() as session:
        fields = asked(receiver)
        uri, state = fields["redirect_uri"], fields["state"]
        wrong = [f"{uri}?code=c&state=guessed", f"{uri}?code=c", uri, f"{uri}?code=a&code=b&state={state}"]
        assert [await status_of(session, url) for url in wrong] == [400] * len(wrong)
        elsewhere = uri.replace("/callback", "")
        assert await status_of(session, f"{elsewhere}/favicon.ico") == 404
        assert await status_of(session, f"{elsewhere}/?code=c&state={state}") == 404
        right = f"{uri}?code=c&state={state}"
        assert [await status_of(session, right, method=method) for method in ("HEAD", "POST", "OPTIONS")] == [404] * 3

        coming = asyncio.create_task(session.get(right))
        assert isinstance(await receiver.answer(), AuthorizationCodeGrant)
        async with session.get(right) as again:  # one shot; and the first may be about to succeed
            assert again.status == 400
            assert "or was used. See the terminal." in await again.text()
        receiver.conclude("Done", "")
        async with await coming as page:
            assert page.status == 200


@pytest.mark.parametrize(
    ("query", "kind"),
    [("error=access_denied", AuthorizationRequiredError), ("error=invalid_scope", ConfigurationError)],
)
async def test_a_refusal_with_our_state_ends_the_wait(query: str, kind: type[Exception]) -> None:
    async with waiting() as receiver, browser() as session:
        fields = asked(receiver)
        coming = asyncio.create_task(session.get(f"{fields['redirect_uri']}?{query}&state={fields['state']}"))
        outcome = await receiver.answer()
        receiver.conclude("Not logged in", str(outcome))
        async with await coming:
            pass

    assert type(outcome) is kind


async def test_a_browser_whose_log_in_was_given_up_is_told_so() -> None:
    """The program ends while the code is being exchanged: no page is left loading."""
    async with browser() as session:
        async with waiting() as receiver:
            fields = asked(receiver)
            coming = asyncio.create_task(session.get(f"{fields['redirect_uri']}?code=c&state={fields['state']}"))
            await receiver.answer()
        async with await coming as page:
            assert page.status == 503
            assert "given up" in await page.text()


async def test_a_browser_that_hangs_up_keeps_nobody() -> None:
    """It closes its connection before the last page is there."""
    async with waiting() as receiver:
        fields = asked(receiver)
        target = urlsplit(fields["redirect_uri"])
        _, writer = await asyncio.open_connection(target.hostname, target.port)
        writer.write(f"GET /callback?code=c&state={fields['state']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await receiver.answer()
        writer.close()
        await writer.wait_closed()


async def test_a_registered_port_and_path_are_taken_to_the_letter() -> None:
    """S28, S27: for apps at Zoom, which compares redirect URIs to the letter. And nobody beyond this host gets in."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with waiting(port=port, path="/oauth/back") as receiver:
        assert asked(receiver)["redirect_uri"] == f"http://127.0.0.1:{port}/oauth/back"
        with socket.socket() as other_address:  # the same port of any other address is free
            other_address.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other_address.bind(("127.0.0.2", port))


async def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=rf"^port {port} of 127.0.0.1 cannot be used \(Address already in use\): "
        ):
            async with waiting(port=port):
                raise AssertionError("it listens")
