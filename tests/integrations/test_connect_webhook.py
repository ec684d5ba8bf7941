"""What Zoom says by webhook, and what a readiness probe is told: in FastAPI and in aiohttp."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from tests.engine.world import FaultyStore
from tests.integrations.sites import SECRET_TOKEN, Browser, Refusing, Site, account_at, connect_for
from tests.integrations.test_connect import Down
from zoom_async_auth import (
    AuthorizationRequiredError,
    ConfigurationError,
    RenewalPolicy,
    StoredToken,
    TokenManager,
    UserOAuth,
)
from zoom_async_auth.identity import namespace_of
from zoom_async_auth.integrations.accounts import OneAccount, StoredAccounts
from zoom_async_auth.integrations.connect import Webhook
from zoom_async_auth.oauth.webhook import MAX_WEBHOOK, Deauthorized, signature_of
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.stores.base import Begun, Reading
from zoom_async_auth.stores.memory import MemoryStore
from zoom_async_auth.testing import ManualClock

APP = UserOAuth(client_id="an-app", client_secret="not shown to anybody")


def webhook_for(key: str | None = "default") -> Webhook:
    return Webhook(secret_token=SECRET_TOKEN, key_of=lambda _: key)


def removal(app: UserOAuth, user_id: str = "a-user") -> bytes:
    payload = {
        "account_id": "an-account",
        "user_id": user_id,
        "client_id": app.client_id,
        "deauthorization_time": "2019-06-17T13:52:28.632Z",
    }
    return json.dumps({"event": "app_deauthorized", "payload": payload}).encode()


async def notify(
    client: httpx.AsyncClient, body: bytes, *, at: float, secret_token: str = SECRET_TOKEN
) -> httpx.Response:
    headers = {
        "x-zm-request-timestamp": str(int(at)),
        "x-zm-signature": signature_of(body, secret_token=secret_token, timestamp=int(at)),
        "Content-Type": "application/json",
    }
    return await client.post("/zoom/webhook", content=body, headers=headers)


async def test_the_address_of_the_webhook_is_proven(site: Site) -> None:
    clock = ManualClock()
    async with site(connect_for(Refusing(), APP, webhook=webhook_for(), clock=clock), None) as client:
        body = b'{"event":"endpoint.url_validation","event_ts":1689061099652,"payload":{"plainToken":"q9ibPhGe"}}'
        reply = await notify(client, body, at=clock.time())
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json()["plainToken"] == "q9ibPhGe"
    assert len(reply.json()["encryptedToken"]) == 64


async def test_an_app_that_was_removed_forgets_at_once_and_tells_zoom_nothing(site: Site, zoom: Zoom) -> None:
    """Also what is held in memory: it would be served until the API says no."""
    clock = ManualClock()
    account = account_at(zoom)
    connect = connect_for(account, zoom.user_app, base_url=zoom.url, webhook=webhook_for(), clock=clock)
    async with site(connect, account.opened) as client:
        browser = Browser(client)
        await browser.connected(zoom)
        token = (await browser.get("/token")).json()
        for _ in range(2):  # Zoom may say it twice
            assert (await notify(client, removal(zoom.user_app), at=clock.time())).status_code == 204
            assert not (await browser.get("/health")).json()["ready"]
        assert zoom.model.user_of(token) == "alice"
        assert (await browser.connected(zoom)).status_code == 303
        assert (await browser.get("/token")).status_code == 200
    assert zoom.stats == {"authorization_code": {"ok": 2}}


async def test_what_is_forgotten_is_asked_for_by_nobody(zoom: Zoom) -> None:
    """Nothing is sent after it."""
    account = OneAccount(zoom.user_app, base_url=zoom.url, policy=RenewalPolicy(min_interval=0.01))
    async with account.opened() as manager:
        await manager.authorize(StoredToken(access_token="a", refresh_token="r", expires_at=9e9))
        assert await manager.bearer() == "a"
        await account.forget("default")
        with pytest.raises(AuthorizationRequiredError, match="nobody has authorized the app"):
            await manager.bearer()
        await account.forget("default")
    assert zoom.token_requests == 0


async def test_a_persons_account_is_found_by_the_name_that_zoom_has_for_it(site: Site, zoom: Zoom) -> None:
    """The app has noted it when the person connected; looking it up may take a database."""
    seen: list[Deauthorized] = []

    async def key_of(deauthorized: Deauthorized) -> str | None:
        seen.append(deauthorized)
        return {"zoom-bob": "bob"}.get(deauthorized.user_id)

    clock, store = ManualClock(), MemoryStore()
    accounts = StoredAccounts(zoom.user_app, store=store, base_url=zoom.url)
    webhook = Webhook(secret_token=SECRET_TOKEN, key_of=key_of)
    connect = connect_for(accounts, zoom.user_app, base_url=zoom.url, webhook=webhook, clock=clock)
    async with site(connect, None) as client:
        for person in ("alice", "bob"):
            await Browser(client, person).connected(zoom, person)
        for user_id in ("zoom-bob", "zoom-nobody"):
            assert (await notify(client, removal(zoom.user_app, user_id), at=clock.time())).status_code == 204
    namespace = namespace_of(zoom.user_app, zoom.url)
    kept = [(await store.peek(f"{namespace}/{person}")).record for person in ("alice", "bob")]
    assert [record is not None and record.token is not None for record in kept] == [True, False]
    assert [deauthorized.account_id for deauthorized in seen] == ["an-account"] * 2


async def test_nothing_is_forgotten_that_zoom_did_not_say_now(site: Site) -> None:
    accounts, clock = Refusing(), ManualClock()
    async with site(connect_for(accounts, APP, webhook=webhook_for(), clock=clock), None) as client:
        body, now = removal(APP), clock.time()
        assert (await notify(client, body, at=now, secret_token="another")).status_code == 401
        assert (await notify(client, body, at=now - 301)).status_code == 401
        assert (await notify(client, body, at=now + 302)).status_code == 401
        assert (await client.post("/zoom/webhook", content=body)).status_code == 401
        assert (await notify(client, b"{", at=now)).status_code == 400
        assert (await notify(client, b" " * (MAX_WEBHOOK + 1), at=now)).status_code == 413
        assert (await notify(client, b'{"event":"meeting.started"}', at=now)).status_code == 204
        assert (await client.get("/zoom/webhook")).status_code == 405
        assert not accounts.asked
        assert (await notify(client, body + b" " * (MAX_WEBHOOK - len(body)), at=now)).status_code == 204
    assert accounts.asked == [("forget", "default")]


async def test_who_is_nobody_here_is_no_reason_to_forget_anybody(site: Site) -> None:
    accounts, clock = Refusing(), ManualClock()
    async with site(connect_for(accounts, APP, webhook=webhook_for(None), clock=clock), None) as client:
        assert (await notify(client, removal(APP), at=clock.time())).status_code == 204
    assert not accounts.asked


async def test_while_the_store_is_down_zoom_has_to_say_it_again(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever runs the app is told, without the words of the database: they may show what is stored."""
    store, clock = Down(), ManualClock()
    accounts = StoredAccounts(APP, store=store)
    async with site(connect_for(accounts, APP, webhook=webhook_for("alice"), clock=clock), None) as client:
        assert (await notify(client, removal(APP), at=clock.time())).status_code == 503
        assert "the store failed: OSError" in caplog.text
        assert "connection refused" not in caplog.text
        store.down = False
        assert (await notify(client, removal(APP), at=clock.time())).status_code == 204
    reading = await store.peek(f"{namespace_of(APP, 'https://zoom.us')}/alice")
    assert reading.record is not None
    assert reading.record.token is None


class Hanging(MemoryStore):
    """A store that gives no answer until it is mended."""

    def __init__(self) -> None:
        super().__init__()
        self.mended = asyncio.Event()

    async def begin(
        self, key: str, generation: int, holder: str, lease: float, *, supersede: bool = False
    ) -> Begun | Reading:
        await self.mended.wait()
        return await super().begin(key, generation, holder, lease, supersede=supersede)

    async def forget(self, key: str) -> None:
        await self.mended.wait()
        await super().forget(key)


@pytest.mark.parametrize("kind", [OneAccount, StoredAccounts])
async def test_zoom_is_answered_in_time_also_while_the_store_hangs(
    site: Site, zoom: Zoom, monkeypatch: pytest.MonkeyPatch, kind: type[OneAccount | StoredAccounts]
) -> None:
    """It waits for three seconds, whatever the accounts of an app are; the forgetting goes on."""
    monkeypatch.setattr("zoom_async_auth.integrations.connect._LONGEST_FORGETTING", 0.05)
    store, clock = Hanging(), ManualClock()
    accounts = kind(zoom.user_app, store=store, base_url=zoom.url)
    opens = accounts.opened if isinstance(accounts, OneAccount) else None
    connect = connect_for(accounts, zoom.user_app, base_url=zoom.url, webhook=webhook_for(), clock=clock)
    async with site(connect, opens) as client:
        try:
            async with asyncio.timeout(2.5):
                reply = await notify(client, removal(zoom.user_app), at=clock.time())
        finally:
            store.mended.set()
        assert reply.status_code == 503
        await connect.aclose()
    reading = await store.peek(f"{namespace_of(zoom.user_app, zoom.url)}/default")
    assert reading.record is not None
    assert reading.record.token is None


def test_a_secret_token_is_not_shown() -> None:
    webhook = webhook_for()
    assert SECRET_TOKEN not in repr(webhook)
    with pytest.raises(ConfigurationError):
        Webhook(secret_token=" ", key_of=lambda _: None)


async def test_a_probe_is_told_whether_there_is_a_token(site: Site, zoom: Zoom) -> None:
    async with site(None, lambda: TokenManager(zoom.credentials, base_url=zoom.url)) as client:
        assert (await client.get("/token")).status_code == 200
        reply = await client.get("/health")
        assert (reply.status_code, reply.headers["Cache-Control"]) == (200, "no-store")
        told = reply.json()
        assert (told["state"], told["ready"], told["generation"], told["last_error"]) == ("fresh", True, 1, None)
        assert (await client.head("/health")).status_code == 200
        zoom.reject((await client.get("/token")).json())


async def _health(client: httpx.AsyncClient, *, until: Callable[[dict[str, Any]], bool]) -> httpx.Response:
    async with asyncio.timeout(10):
        while not until((reply := await client.get("/health")).json()):  # noqa: ASYNC110 -- as a probe does
            await asyncio.sleep(0.01)
    return reply


async def test_an_app_without_a_token_is_not_ready_and_says_why(site: Site, zoom: Zoom) -> None:
    zoom.outage = 503
    async with site(None, lambda: TokenManager(zoom.credentials, base_url=zoom.url)) as client:
        reply = await _health(client, until=lambda told: told["last_error"] is not None)
    assert reply.status_code == 503
    assert not reply.json()["ready"]
    assert "503" in reply.json()["last_error"]
    assert zoom.credentials.client_secret not in reply.text


async def test_an_app_that_waits_for_a_person_stays_in_service(site: Site, zoom: Zoom) -> None:
    """Taken out of service it would get no request, and so no person could connect."""
    account = account_at(zoom)
    async with site(None, account.opened) as client:
        reply = await _health(client, until=lambda told: told["state"] == "unauthorized")
        assert (reply.status_code, reply.json()["ready"]) == (200, False)


async def test_a_visitor_is_told_that_the_store_is_why_there_is_no_token(site: Site, zoom: Zoom) -> None:
    """Zoom is well: whoever reads "Zoom is not available" looks in the wrong place."""
    store, policy = FaultyStore(MemoryStore()), RenewalPolicy(timeout=0.1)
    store.down = {"peek"}
    async with site(None, lambda: TokenManager(zoom.user_app, store=store, base_url=zoom.url, policy=policy)) as client:
        reply = await client.get("/token")
    assert reply.status_code == 503
    assert "Retry-After" in reply.headers
    assert "No token at the moment: our store does not answer" in reply.text
    assert "Zoom" not in reply.text


def test_one_account_has_one_key() -> None:
    with pytest.raises(ConfigurationError):
        OneAccount(APP, key="")


async def test_a_notification_that_does_not_end_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can send one."""
    monkeypatch.setattr("zoom_async_auth.integrations.connect._LONGEST_BODY", 0.05)

    async def drip() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(1.0)
        yield b"}"

    async with site(connect_for(Refusing(), APP, webhook=webhook_for()), None) as client:
        assert (await client.post("/zoom/webhook", content=drip())).status_code == 408
