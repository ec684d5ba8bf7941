"""Zoom as its clients see it, without sockets: requests in, replies out, and a count of both.

`server.py` puts it behind HTTP; `testing.MemoryTransport` calls it directly. Both wait for `latency` *after* the
decision: whoever hangs up in between has spent what was sent, as at Zoom.
"""

import binascii
import itertools
import json
import os
import secrets
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.credentials import ClientCredentials, ServerToServer, UserOAuth
from zoom_async_auth.sandbox.faults import Faults, Reply
from zoom_async_auth.sandbox.model import BAD_REQUEST, DEVICE_GRANT, INVALID_CLIENT, Answer, App, Model, Refusal

FORM = "application/x-www-form-urlencoded"
_PERSONAL_GRANTS = frozenset({"authorization_code", "refresh_token", DEVICE_GRANT})
_KNOWN_GRANTS = _PERSONAL_GRANTS | {"account_credentials", "client_credentials"}
_SECRETS = frozenset({"client_secret", "code", "code_verifier", "device_code", "refresh_token", "token"})
_REJECTED = {"code": 124, "message": "Invalid access token."}


class Zoom:
    """One sandbox's Zoom, with an app of each kind.

    Args:
        token_lifetime: Seconds that an access token lives.
        latency: Seconds between a decision and its answer.
        reuse_grace: Seconds for which a spent refresh token is still taken. Zoom documents none.
        clock: The time, in seconds since 1970-01-01 UTC.

    Attributes:
        url: Where it can be reached; what `api_url` says.
        latency: As above; may be changed at any time.
        outage: While it is an HTTP status, `/oauth/token` answers with it, and nothing else happens.
        faults: What goes wrong with single requests to `/oauth/token`.
        credentials: Of a server-to-server app.
        client_credentials: Of an app that acts as itself.
        user_app: Of an app that acts for people.
        public_app: The same without a secret.
        redirect_uri: Registered for both, which also take any on this host that names its port
            (`http://127.0.0.1:8000/callback`).
        model: What it knows and decides.
    """

    def __init__(
        self,
        *,
        token_lifetime: float = 3600.0,
        latency: float = 0.0,
        reuse_grace: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url = "http://127.0.0.1"
        self.latency = latency
        self.outage: int | None = None
        self.faults: Faults = Faults()
        self.redirect_uri = "http://127.0.0.1/callback"
        self.credentials: ServerToServer = ServerToServer(account_id=_name(), client_id=_name(), client_secret=_name())
        self.client_credentials: ClientCredentials = ClientCredentials(client_id=_name(), client_secret=_name())
        self.user_app: UserOAuth = UserOAuth(client_id=_name(), client_secret=_name())
        self.public_app: UserOAuth = UserOAuth(client_id=_name())
        self.model: Model = Model(
            self._apps(), now=clock, random_bytes=os.urandom, token_lifetime=token_lifetime, reuse_grace=reuse_grace
        )
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
        """Return a code, as if `user` had allowed `app` on the consent page.

        Raises:
            ConfigurationError: `app` is none of the sandbox's.
        """
        known = self.model.app((app or self.user_app).client_id)
        if known is None:
            raise ConfigurationError("the sandbox does not know this app")
        return self.model.authorize(known, user, redirect_uri=self.redirect_uri, challenge=code_challenge)

    def reject(self, access_token: str) -> None:
        """Have the API refuse this token from now on."""
        self.model.reject(access_token)

    def take_off(self, user: str) -> None:
        """Have a person remove all apps: their refresh tokens are refused, their access tokens rejected."""
        self.model.take_off(user)

    def post(self, path: str, headers: Mapping[str, str], body: bytes, query: str = "") -> Reply:
        """Answer a POST to one of the OAuth endpoints. The query is what follows the `?`, as it was sent."""
        headers = {name.lower(): value for name, value in headers.items()}
        form = read_form(headers.get("content-type", ""), body, query)
        match path:
            case "/oauth/token":
                return self._token(headers, form)
            case "/oauth/revoke":
                return self._revoke(headers, form)
            case "/oauth/devicecode":
                return self._device_code(headers, form)
            case _:
                return self._reply(404, {"code": 404, "message": "No such endpoint."})

    def me(self, authorization: str) -> Reply:
        """Answer `GET /v2/users/me`."""
        return self.user("me", authorization)

    def user(self, user_id: str, authorization: str) -> Reply:
        """Answer `GET /v2/users/{user_id}`. A token knows nobody but its own user."""
        user = self._user(authorization)
        if user is None:
            return self._reply(401, _REJECTED)
        if user_id not in {"me", user}:
            return self._reply(404, {"code": 1001, "message": f"User does not exist: {user_id}."})
        return self._reply(200, _profile(user))

    def users(self, authorization: str) -> Reply:
        """Answer `GET /v2/users`."""
        user = self._user(authorization)
        if user is None:
            return self._reply(401, _REJECTED)
        return self._reply(200, {"page_size": 30, "total_records": 1, "users": [_profile(user)]})

    def metadata(self) -> Reply:
        """Answer `GET /.well-known/oauth-authorization-server` (RFC 8414)."""
        told = {
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
        return self._reply(200, told)

    def statistics(self) -> Reply:
        """Answer `GET /_sandbox/stats`."""
        return self._reply(200, {"token_requests": self.token_requests, "by_grant": self.stats})

    def _token(self, headers: Mapping[str, str], form: Mapping[str, str] | None) -> Reply:
        grant = "unreadable" if form is None else form.get("grant_type", "none")
        if grant not in _KNOWN_GRANTS | {"unreadable", "none"}:
            grant = "other"
        if self.outage is not None:
            self._count(grant, "outage")
            return Reply(
                status=self.outage,
                headers={"Content-Type": "text/html"},
                body=b"<html><body>upstream trouble</body></html>",
            )
        fault = self.faults.take("device_code" if grant == DEVICE_GRANT else grant)
        if fault is not None and not fault.acts:
            self._count(grant, "fault")
            return fault.change(Reply(status=200, headers={}, body=b""))
        app = BAD_REQUEST if form is None else self._client(headers, form)
        answer: Answer = app if isinstance(app, Refusal) else self.model.token(app, form or {})
        self._count(grant, answer.error if isinstance(answer, Refusal) else "ok")
        reply = self._answer(answer if isinstance(answer, Refusal) else {**answer, "api_url": self.url})
        return reply if fault is None else fault.change(reply)

    def _revoke(self, headers: Mapping[str, str], form: Mapping[str, str] | None) -> Reply:
        if form is None or "token" not in form:
            return self._answer(BAD_REQUEST)
        app = self._client(headers, form)
        return self._answer(app if isinstance(app, Refusal) else self.model.revoke(app, form["token"]))

    def _device_code(self, headers: Mapping[str, str], form: Mapping[str, str] | None) -> Reply:
        app = BAD_REQUEST if form is None or "client_id" not in form else self._client(headers, form)
        answer = app if isinstance(app, Refusal) else self.model.device(app)
        if isinstance(answer, Refusal):
            return self._answer(answer)
        page = f"{self.url}/oauth/device"
        complete = f"{page}?{urlencode({'user_code': answer['user_code']})}"
        return self._answer({**answer, "verification_uri": page, "verification_uri_complete": complete})

    def _user(self, authorization: str) -> str | None:
        scheme, _, token = authorization.partition(" ")
        return self.model.user_of(token) if scheme.lower() == "bearer" else None

    def _client(self, headers: Mapping[str, str], form: Mapping[str, str]) -> App | Refusal:
        """Return the app that the request comes from: Basic, or `client_id` in the form without a secret."""
        authorization = headers.get("authorization")
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

    def _answer(self, answer: Answer) -> Reply:
        return self._reply(answer.status, answer.body()) if isinstance(answer, Refusal) else self._reply(200, answer)

    def _reply(self, status: int, content: Mapping[str, Any]) -> Reply:
        headers = {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            "x-zm-trackingid": f"v=2.0;clid=sandbox;rid={next(self._tracking)}",
        }
        return Reply(status=status, headers=headers, body=json.dumps(content, separators=(",", ":")).encode())

    def _count(self, grant: str, outcome: str) -> None:
        self._counts.setdefault(grant, Counter())[outcome] += 1

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
            *(
                App(
                    client_id=personal.client_id,
                    client_secret=personal.client_secret,
                    grants=_PERSONAL_GRANTS,
                    redirect_uris=(self.redirect_uri,),
                    loopback=True,
                )
                for personal in (self.user_app, self.public_app)
            ),
        )


def read_form(content_type: str, body: bytes, query: str = "") -> dict[str, str] | None:
    """Return the fields of a urlencoded form, or None: Zoom takes nothing else, and no field twice.

    It takes them from the query too, where there need not be a body then. A secret there would end in logs: it is
    refused, though Zoom may take it.
    """
    is_form = content_type.partition(";")[0].strip().lower() == FORM
    if not is_form and (body or not query):
        return None
    try:
        public, pairs = (
            parse_qsl(text, keep_blank_values=True, errors="strict") for text in (query, body.decode("ascii"))
        )
    except ValueError:
        return None
    fields = dict(public) | dict(pairs)
    return fields if len(fields) == len(public) + len(pairs) and _SECRETS.isdisjoint(dict(public)) else None


def _profile(user: str) -> dict[str, Any]:
    name = user.partition("@")[0].replace("-", " ").title()
    return {"id": user, "display_name": name, "email": user if "@" in user else f"{user}@example.com", "type": 1}


def _name() -> str:
    return secrets.token_urlsafe(16)
