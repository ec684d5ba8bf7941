"""What a renewal costs, beside a bare POST with the same settings of aiohttp.

    python -m benchmarks.renewal [--quick] [--json FILE]

Wall time, and processor time of this process; the sandbox is a process of its own. Tokens are kept in memory: what the
stores add is measured by `benchmarks.stores`. In rounds that alternate.
"""

import asyncio
import contextlib
import gc
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp

from benchmarks.figures import Figure, ratios, run
from zoom_async_auth import AuthorizationCodeGrant, RenewalPolicy, ServerToServer, TokenManager, UserOAuth

Renew = Callable[[], Awaitable[object]]

RENEWALS = 50
"""In a round."""
POLICY = RenewalPolicy(min_interval=1e-9)
REDIRECT_URI = "http://127.0.0.1/callback"
OURS = "zoom_async_auth"
BARE = "a bare POST"


def measure(*, quick: bool) -> list[Figure]:
    return asyncio.run(_measure(rounds=5 if quick else 41))


async def _measure(*, rounds: int) -> list[Figure]:
    figures = []
    with _sandbox() as known:
        async with _server_to_server(known) as contestants:
            figures += await _beside("a renewal, server-to-server", contestants, rounds)
        async with _person(known) as contestants:
            figures += await _beside("a renewal, a person's rotating token", contestants, rounds)
    return figures


@contextlib.contextmanager
def _sandbox() -> Iterator[dict[str, str]]:
    """Start one; return its address and credentials."""
    command = [sys.executable, "-m", "zoom_async_auth", "sandbox", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 -- it is a pipe
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


@contextlib.asynccontextmanager
async def _server_to_server(known: dict[str, str]) -> AsyncIterator[dict[str, Renew]]:
    app = ServerToServer(
        account_id=known["account_id"], client_id=known["client_id"], client_secret=known["client_secret"]
    )
    form = {"grant_type": "account_credentials", "account_id": app.account_id}
    async with (
        TokenManager(app, base_url=known["base_url"], policy=POLICY) as manager,
        _session(app.client_id, app.client_secret) as session,
    ):
        yield {OURS: manager.renew, BARE: lambda: _post(session, known, form)}


@contextlib.asynccontextmanager
async def _person(known: dict[str, str]) -> AsyncIterator[dict[str, Renew]]:
    app = UserOAuth(client_id=known["user_client_id"], client_secret=known["user_client_secret"])
    async with (
        TokenManager(app, base_url=known["base_url"], policy=POLICY) as manager,
        _session(app.client_id, app.client_secret or "") as session,
    ):
        await manager.authorize(AuthorizationCodeGrant(code=await _consent(known, "alice"), redirect_uri=REDIRECT_URI))
        form = {"grant_type": "authorization_code", "code": await _consent(known, "bob"), "redirect_uri": REDIRECT_URI}
        latest = (await _post(session, known, form))["refresh_token"]

        async def refresh() -> None:
            nonlocal latest
            answer = await _post(session, known, {"grant_type": "refresh_token", "refresh_token": latest})
            latest = answer["refresh_token"]

        yield {OURS: manager.renew, BARE: refresh}


def _session(client_id: str, client_secret: str) -> aiohttp.ClientSession:
    """Return one with the settings of `AiohttpTransport`: what they cost is the price of the way, not ours."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "Authorization": aiohttp.encode_basic_auth(client_id, client_secret),
            "Accept-Encoding": "identity",
            "Content-Type": "application/x-www-form-urlencoded",
        },
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
        auto_decompress=False,
    )


async def _post(session: aiohttp.ClientSession, known: dict[str, str], form: dict[str, str]) -> dict[str, str]:
    body = urlencode(form).encode()
    async with session.post(f"{known['base_url']}/oauth/token", data=body, allow_redirects=False) as response:
        response.raise_for_status()
        answer: dict[str, str] = json.loads(await response.read())
        return answer


async def _consent(known: dict[str, str], user: str) -> str:
    """Return a code, as that person's browser would bring it: each authorization ends the one before."""
    form = {"client_id": known["user_client_id"], "redirect_uri": REDIRECT_URI, "decision": "allow", "user": user}
    async with (
        aiohttp.ClientSession(known["base_url"]) as browser,
        browser.post("/oauth/authorize", data=form, allow_redirects=False) as response,
    ):
        return parse_qs(urlsplit(response.headers["Location"]).query)["code"][0]


async def _beside(what: str, contestants: dict[str, Renew], rounds: int) -> list[Figure]:
    wall: dict[str, list[float]] = {who: [] for who in contestants}
    used: dict[str, list[float]] = {who: [] for who in contestants}
    for renew in contestants.values():
        await _timed(renew)  # what is done only once
    for _ in range(rounds):
        for who, renew in contestants.items():
            gc.collect()
            taken = await _timed(renew)
            wall[who].append(taken[0])
            used[who].append(taken[1])
    figures = []
    for kind, times in (("wall time", wall), ("processor time", used)):
        figures += [
            Figure(what=f"{what}: {kind}", who=who, values=tuple(values), unit="us") for who, values in times.items()
        ]
        figures.append(
            Figure(
                what=f"{what}: {kind}, beside a bare POST",
                who=OURS,
                values=ratios(times[OURS], times[BARE]),
                unit="times",
                aim="at most 1.3",
            )
        )
    return figures


async def _timed(renew: Renew) -> tuple[float, float]:
    """Return microseconds for each renewal: on the wall, of the processor."""
    started, used = time.perf_counter(), time.process_time()
    for _ in range(RENEWALS):
        await renew()
    return (
        (time.perf_counter() - started) / RENEWALS * 1e6,
        (time.process_time() - used) / RENEWALS * 1e6,
    )


if __name__ == "__main__":
    run(measure)
