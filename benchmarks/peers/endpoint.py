"""The token endpoint that all candidates are measured against: the sandbox's Zoom, in a process of its own.

    python -m benchmarks.peers.endpoint

It prints the address at which `POST /zoom` makes another Zoom: each candidate has one, on a port of its own, so that
those who are measured at the same time do not meet. Beyond what Zoom takes it takes what OAuth servers in general do:
client id and secret in the form (RFC 6749, section 2.3.1), and the form as JSON. So libraries are used unmodified.

    POST /oauth/token               as at Zoom
    POST /more/SECONDS/oauth/token  the same, but `expires_in` is that much more (or less) than the truth
    POST /_bench                    {"latency": 0.05, "outage": 500}: change either
    GET  /_bench                    what was seen: requests, refusals, and when each issued token expires
"""

import asyncio
import json
import time
from base64 import b64encode
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.sandbox.zoom import FORM


class Served:
    """One candidate's Zoom.

    Args:
        lifetime: Seconds that its access tokens live.
        latency: Seconds between a decision and its answer.
    """

    def __init__(self, *, lifetime: float, latency: float) -> None:
        self._zoom = Zoom(token_lifetime=lifetime, latency=latency)
        self._issued: dict[str, float] = {}
        self._person = self._authorized()
        self._earlier = self._zoom.stats

    async def start(self) -> dict[str, object]:
        """Serve, and return what a candidate has to know."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/oauth/token", self._token),
                web.post("/more/{seconds}/oauth/token", self._token),
                web.post("/_bench", self._change),
                web.get("/_bench", self._seen),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        self._zoom.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        server, own, user = self._zoom.credentials, self._zoom.client_credentials, self._zoom.user_app
        return {
            "url": self._zoom.url,
            "apps": {
                "account_credentials": [server.client_id, server.client_secret],
                "client_credentials": [own.client_id, own.client_secret],
                "refresh_token": [user.client_id, user.client_secret],
            },
            "account_id": server.account_id,
            "access_token": self._person["access_token"],
            "refresh_token": self._person["refresh_token"],
        }

    def _authorized(self) -> dict[str, str]:
        app = self._zoom.user_app
        grant = {"grant_type": "authorization_code", "code": self._zoom.authorize()}
        headers = {"Authorization": _basic(app.client_id, app.client_secret or ""), "Content-Type": FORM}
        form = urlencode({**grant, "redirect_uri": self._zoom.redirect_uri})
        answer: dict[str, str] = json.loads(self._zoom.post("/oauth/token", headers, form.encode()).body)
        return answer

    async def _token(self, request: web.Request) -> web.Response:
        headers, body = dict(request.headers), await request.read()
        is_json = request.content_type == "application/json" and body
        form: dict[str, str] = json.loads(body) if is_json else dict(parse_qsl(body.decode()))
        if "Authorization" not in request.headers and "client_secret" in form:
            headers["Authorization"] = _basic(form["client_id"], form["client_secret"])
        if form:
            headers["Content-Type"], body = FORM, urlencode(form).encode()
        reply = self._zoom.post("/oauth/token", headers, body, request.rel_url.raw_query_string)
        text = reply.body
        if reply.status == 200:  # noqa: PLR2004
            answer = json.loads(text)
            self._issued[answer["access_token"]] = time.time() + self._zoom.token_lifetime
            answer["expires_in"] += int(request.match_info.get("seconds", 0))
            text = json.dumps(answer).encode()
        await asyncio.sleep(self._zoom.latency)
        return web.Response(status=reply.status, headers=reply.headers, body=text)

    async def _change(self, request: web.Request) -> web.Response:
        change = await request.json()
        self._zoom.latency = change.get("latency", self._zoom.latency)
        self._zoom.outage = change.get("outage")
        return web.Response(status=204)

    async def _seen(self, _: web.Request) -> web.Response:
        counts = {
            outcome: count - self._earlier.get(grant, {}).get(outcome, 0)
            for grant, outcomes in self._zoom.stats.items()
            for outcome, count in outcomes.items()
        }
        seen = {"requests": sum(counts.values()), "invalid_grants": counts.get("invalid_grant", 0)}
        return web.json_response({**seen, "issued": self._issued})


def _basic(client_id: str, secret: str) -> str:
    return f"Basic {b64encode(f'{client_id}:{secret}'.encode()).decode()}"


async def _another(request: web.Request) -> web.Response:
    wanted = await request.json()
    return web.json_response(await Served(lifetime=wanted["lifetime"], latency=wanted["latency"]).start())


async def main() -> None:
    app = web.Application()
    app.add_routes([web.post("/zoom", _another)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
