"""The model behind HTTP: Zoom's paths, checks and error bodies, on loopback only."""

import asyncio
import binascii
import itertools
import json
import os
import secrets
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from aiohttp import web

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.credentials import ClientCredentials, ServerToServer, UserOAuth
from zoom_async_auth.sandbox.model import BAD_REQUEST, DEVICE_GRANT, INVALID_CLIENT, Answer, App, Model, Refusal
from zoom_async_auth.sandbox.pages import PAGE_HEADERS, consent_page, device_page, message_page, unregistered_page

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_LONGEST_REQUEST = 64 * 1024
_PERSONAL_GRANTS = frozenset({"authorization_code", "refresh_token", DEVICE_GRANT})


class Sandbox:
    """A Zoom OAuth server: `async with Sandbox() as zoom: TokenManager(zoom.credentials, base_url=zoom.url)`.

    It acts when a request has arrived, and answers `latency` seconds later: who hangs up in between has spent what was
    sent, as at Zoom.

    Args:
        host: A loopback address.
        port: 0: any that is free.
        token_lifetime: Seconds that an access token lives.
        latency: Seconds until an answer.
        reuse_grace: Seconds for which a spent refresh token is taken once more.
        clock: The time, in seconds since 1970-01-01 UTC.

    Attributes:
        url: Where it listens, once it is entered.
        latency: As above; may be changed at any time.
        outage: While it is an HTTP status, `/oauth/token` answers with it, and nothing else happens.
        credentials: Of a server-to-server app.
        client_credentials: Of an app that acts as itself.
        user_app: Of an app that acts for persons.
        public_app: The same without a secret.
        redirect_uri: Registered for both.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token_lifetime: float = 3600.0,
        latency: float = 0.0,
        reuse_grace: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if host not in _LOOPBACK:
            raise ConfigurationError("the sandbox gives tokens to anybody who asks: host must be a loopback address")
        self.url = ""
        self.latency = latency
        self.outage: int | None = None
        self.redirect_uri = "http://127.0.0.1/callback"
        self.credentials = ServerToServer(account_id=_name(), client_id=_name(), client_secret=_name())
        self.client_credentials = ClientCredentials(client_id=_name(), client_secret=_name())
        self.user_app = UserOAuth(client_id=_name(), client_secret=_name())
        self.public_app = UserOAuth(client_id=_name())
        self.model = Model(
            self._apps(), now=clock, random_bytes=os.urandom, token_lifetime=token_lifetime, reuse_grace=reuse_grace
        )
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._counts: dict[str, Counter[str]] = {}
        self._tracking = itertools.count(1)

    @property
    def token_lifetime(self) -> float:
        """Seconds that the access tokens from now on live."""
        return self.model.token_lifetime

    @token_lifetime.setter
    def token_lifetime(self, seconds: float) -> None:
        self.model.token_lifetime = seconds

    @property
    def stats(self) -> dict[str, dict[str, int]]:
        """How many token requests there were, by grant type and outcome."""
        return {grant: dict(outcomes) for grant, outcomes in self._counts.items()}

    @property
    def token_requests(self) -> int:
        """How many requests to `/oauth/token` there were."""
        return sum(sum(outcomes.values()) for outcomes in self._counts.values())

    def authorize(self, user: str = "alice", *, app: UserOAuth | None = None, code_challenge: str | None = None) -> str:
        """Return a code, as if `user` had allowed `app` on the consent page."""
        known = self.model.app((app or self.user_app).client_id)
        if known is None:
            raise ConfigurationError("the sandbox does not know this app")
        return self.model.authorize(known, user, redirect_uri=self.redirect_uri, challenge=code_challenge)

    def reject(self, access_token: str) -> None:
        """Have `/v2/users/me` refuse this token from now on."""
        self.model.reject(access_token)

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=_LONGEST_REQUEST)
        application.add_routes(
            [
                web.post("/oauth/token", self._token),
                web.post("/oauth/revoke", self._revoke),
                web.post("/oauth/devicecode", self._device_code),
                web.get("/oauth/authorize", self._consent_page),
                web.post("/oauth/authorize", self._consent),
                web.get("/oauth/device", self._device_page),
                web.post("/oauth/device", self._device_decision),
                web.get("/v2/users/me", self._me),
                web.get("/.well-known/oauth-authorization-server", self._metadata),
                web.get("/_sandbox/stats", self._stats),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.0, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except BaseException:
            await self._runner.cleanup()
            raise
        port = self._runner.addresses[0][1]
        self.url = f"http://[{self._host}]:{port}" if ":" in self._host else f"http://{self._host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    # OAuth

    async def _token(self, request: web.Request) -> web.Response:
        form = await _form(request)
        grant = "unreadable" if form is None else form.get("grant_type", "none")
        grant = grant if grant in _KNOWN_GRANTS else "other"
        if (outage := self.outage) is not None:
            self._count(grant, "outage")
            await asyncio.sleep(self.latency)
            return web.Response(status=outage, text="<html><body>upstream trouble</body></html>")
        app = BAD_REQUEST if form is None else self._client(request, form)
        answer: Answer = app if isinstance(app, Refusal) else self.model.token(app, form or {})
        self._count(grant, answer.error if isinstance(answer, Refusal) else "ok")
        if not isinstance(answer, Refusal):
            answer = {**answer, "api_url": self.url}
        return await self._answer(answer)

    async def _revoke(self, request: web.Request) -> web.Response:
        form = await _form(request)
        app = BAD_REQUEST if form is None or "token" not in form else self._client(request, form)
        return await self._answer(app if isinstance(app, Refusal) else self.model.revoke(app, (form or {})["token"]))

    async def _device_code(self, request: web.Request) -> web.Response:
        form = await _form(request)
        app = BAD_REQUEST if form is None or "client_id" not in form else self._client(request, form)
        answer = app if isinstance(app, Refusal) else self.model.device(app)
        if isinstance(answer, Refusal):
            return await self._answer(answer)
        page = f"{self.url}/oauth/device"
        complete = f"{page}?{urlencode({'user_code': answer['user_code']})}"
        return await self._answer({**answer, "verification_uri": page, "verification_uri_complete": complete})

    def _client(self, request: web.Request, form: Mapping[str, str]) -> App | Refusal:
        """Return the app that the request comes from: Basic, or `client_id` in the form without a secret."""
        authorization = request.headers.get("Authorization")
        if authorization is None:
            return self.model.client(form.get("client_id", ""), None)
        scheme, _, encoded = authorization.partition(" ")
        try:
            client_id, colon, secret = b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return INVALID_CLIENT
        if scheme.lower() != "basic" or not colon:
            return INVALID_CLIENT
        return self.model.client(client_id, secret)

    async def _answer(self, answer: Answer) -> web.Response:
        # What was decided is decided: a caller that hangs up now has spent its code all the same.
        await asyncio.sleep(self.latency)
        status, body = (answer.status, answer.body()) if isinstance(answer, Refusal) else (200, answer)
        headers = {"x-zm-trackingid": f"v=2.0;clid=sandbox;rid={next(self._tracking)}", "Cache-Control": "no-store"}
        return web.json_response(body, status=status, headers=headers, dumps=_compact)

    def _count(self, grant: str, outcome: str) -> None:
        self._counts.setdefault(grant, Counter())[outcome] += 1

    # Pages

    async def _consent_page(self, request: web.Request) -> web.Response:
        query = request.query
        app = self._registered(query)
        if app is None:
            # Never a redirect: an address that nobody registered may be anybody's.
            return unregistered_page()
        return consent_page(app.scope, query)

    async def _consent(self, request: web.Request) -> web.Response:
        form = await _form(request) or {}
        app = self._registered(form)
        if app is None:
            return unregistered_page()
        if form.get("decision") != "allow":
            told = {"error": "access_denied"}
        elif form.get("code_challenge_method", "S256") != "S256":
            told = {"error": "invalid_request"}
        else:
            user, challenge = form.get("user") or "alice", form.get("code_challenge")
            told = {"code": self.model.authorize(app, user, redirect_uri=form["redirect_uri"], challenge=challenge)}
        if "state" in form:
            told["state"] = form["state"]
        target = form["redirect_uri"]
        raise web.HTTPSeeOther(f"{target}{'&' if '?' in target else '?'}{urlencode(told)}", headers=PAGE_HEADERS)

    def _registered(self, fields: Mapping[str, str]) -> App | None:
        app = self.model.app(fields.get("client_id", ""))
        return app if app is not None and fields.get("redirect_uri") in app.redirect_uris else None

    async def _device_page(self, request: web.Request) -> web.Response:
        return device_page(request.query.get("user_code", ""))

    async def _device_decision(self, request: web.Request) -> web.Response:
        form = await _form(request) or {}
        user_code, user = form.get("user_code", "").strip().upper(), form.get("user") or "alice"
        if self.model.decide_device(user_code, user, allow=form.get("decision") == "allow"):
            return message_page("Done", "Go back to the device.")
        return message_page("Unknown code", "Check the code on the device: it may have expired.", status=400)

    # API, metadata, statistics

    async def _me(self, request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        user = self.model.user_of(token) if scheme.lower() == "bearer" else None
        if user is None:
            return web.json_response({"code": 124, "message": "Invalid access token."}, status=401)
        return web.json_response({"id": user, "email": f"{user}@example.com", "type": 1})

    async def _metadata(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/oauth/authorize",
                "token_endpoint": f"{self.url}/oauth/token",
                "revocation_endpoint": f"{self.url}/oauth/revoke",
                "device_authorization_endpoint": f"{self.url}/oauth/devicecode",
                "response_types_supported": ["code"],
                "grant_types_supported": sorted(_KNOWN_GRANTS),
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
                "code_challenge_methods_supported": ["S256"],
            }
        )

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response({"token_requests": self.token_requests, "by_grant": self.stats})

    def _apps(self) -> tuple[App, ...]:
        s2s, own = self.credentials, self.client_credentials
        return (
            App(
                client_id=s2s.client_id,
                client_secret=s2s.client_secret,
                grants=frozenset({"account_credentials"}),
                account_id=s2s.account_id,
            ),
            App(
                client_id=own.client_id,
                client_secret=own.client_secret,
                grants=frozenset({"client_credentials"}),
                scope="imchat:bot",
            ),
            App(
                client_id=self.user_app.client_id,
                client_secret=self.user_app.client_secret,
                grants=_PERSONAL_GRANTS,
                redirect_uris=(self.redirect_uri,),
            ),
            App(
                client_id=self.public_app.client_id,
                client_secret=None,
                grants=_PERSONAL_GRANTS,
                redirect_uris=(self.redirect_uri,),
            ),
        )


_KNOWN_GRANTS = _PERSONAL_GRANTS | {"account_credentials", "client_credentials"}


async def _form(request: web.Request) -> dict[str, str] | None:
    """Return the fields of a urlencoded form, or None: Zoom takes nothing else, and no field twice."""
    if request.content_type != "application/x-www-form-urlencoded":
        return None
    fields = await request.post()
    if len(set(fields)) != len(fields):
        return None
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _name() -> str:
    return secrets.token_urlsafe(16)


def _compact(body: Any) -> str:  # noqa: ANN401 -- JSON
    return json.dumps(body, separators=(",", ":"))
