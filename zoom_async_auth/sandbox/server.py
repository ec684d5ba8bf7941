"""Zoom behind HTTP: its paths and pages, on loopback only.

Its token endpoint goes down, and is up again:

    curl --data 'any#1-:answer=503' "$ZOOM_BASE_URL/_sandbox/faults"
    curl --request DELETE "$ZOOM_BASE_URL/_sandbox/faults"

Alice removes the app:

    curl --request DELETE "$ZOOM_BASE_URL/_sandbox/grants/alice"
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from urllib.parse import urlencode

from aiohttp import web

from zoom_async_auth.cancellation import to_its_end
from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.sandbox.delivery import deliver, response_of
from zoom_async_auth.sandbox.model import App
from zoom_async_auth.sandbox.pages import (
    ANOTHER,
    PAGE_HEADERS,
    PERSONS,
    consent_page,
    device_consent_page,
    device_page,
    message_page,
    unregistered_page,
)
from zoom_async_auth.sandbox.zoom import Zoom, read_form

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_LONGEST_REQUEST = 64 * 1024
_NOBODY = "Type whose account it is, or choose one of the others."
_HOW_TO_FAULTS = "POST sets faults, one on each line, as any#1-:answer=503; DELETE takes all back\n"
_UNKNOWN_CODE = "There is no such code. Check it on the device: it may have expired."


class Sandbox:
    """A Zoom OAuth server: `async with Sandbox() as zoom: TokenManager(zoom.credentials, base_url=zoom.url)`.

    What is entered is the `Zoom` behind it: its apps, its statistics, its troubles.

    Args:
        host: A loopback address.
        port: 0: any that is free.
        token_lifetime: Seconds that an access token lives.
        latency: Seconds between a decision and its answer.
        reuse_grace: Seconds for which a spent refresh token is still taken. Zoom documents none.
        clock: The time, in seconds since 1970-01-01 UTC.

    Raises:
        ConfigurationError: `host` is no loopback address.
        OSError: On entry: the port is taken.
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
        self._zoom = Zoom(token_lifetime=token_lifetime, latency=latency, reuse_grace=reuse_grace, clock=clock)
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Zoom:
        application = web.Application(client_max_size=_LONGEST_REQUEST)
        application.add_routes(
            [
                web.post("/oauth/token", self._post),
                web.post("/oauth/revoke", self._post),
                web.post("/oauth/devicecode", self._post),
                web.get("/oauth/authorize", self._consent_page),
                web.post("/oauth/authorize", self._consent),
                web.get("/oauth/device", self._device_page),
                web.post("/oauth/device", self._device_decision),
                web.get("/v2/users/{user_id}", self._user),
                web.get("/v2/users", self._users),
                web.get("/.well-known/oauth-authorization-server", self._metadata),
                web.get("/_sandbox/stats", self._statistics),
                web.post("/_sandbox/faults", self._set_faults),
                web.delete("/_sandbox/faults", self._clear_faults),
                web.route("*", "/_sandbox/faults", self._explain_faults),
                web.delete("/_sandbox/grants/{user}", self._take_off),
            ]
        )
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=0.01, handle_signals=False, handler_cancellation=True
        )
        await self._runner.setup()
        try:
            await to_its_end(web.TCPSite(self._runner, self._host, self._port).start())
        except BaseException:
            await self._runner.cleanup()
            raise
        port = self._runner.addresses[0][1]
        self._zoom.url = f"http://[{self._host}]:{port}" if ":" in self._host else f"http://{self._host}:{port}"
        return self._zoom

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    # OAuth and API

    async def _post(self, request: web.Request) -> web.StreamResponse:
        reply = self._zoom.post(request.path, request.headers, await request.read(), request.rel_url.raw_query_string)
        # What was decided is decided: a caller that hangs up now has spent its code all the same.
        await asyncio.sleep(self._zoom.latency)
        return await deliver(request, reply)

    async def _user(self, request: web.Request) -> web.Response:
        return response_of(self._zoom.user(request.match_info["user_id"], request.headers.get("Authorization", "")))

    async def _users(self, request: web.Request) -> web.Response:
        return response_of(self._zoom.users(request.headers.get("Authorization", "")))

    async def _metadata(self, _: web.Request) -> web.Response:
        return response_of(self._zoom.metadata())

    async def _statistics(self, _: web.Request) -> web.Response:
        return response_of(self._zoom.statistics())

    async def _set_faults(self, request: web.Request) -> web.Response:
        """Set faults, one on each line; without any all are taken back."""
        texts = (await request.text()).splitlines()
        if not texts:
            self._zoom.faults.clear()
        try:
            self._zoom.faults.add(*texts)
        except ConfigurationError as error:
            return web.Response(status=400, text=f"{error}\n{_HOW_TO_FAULTS}")
        return web.Response(status=204)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self._zoom.faults.clear()
        return web.Response(status=204)

    async def _take_off(self, request: web.Request) -> web.Response:
        self._zoom.take_off(request.match_info["user"])
        return web.Response(status=204)

    async def _explain_faults(self, request: web.Request) -> web.Response:
        raise web.HTTPMethodNotAllowed(request.method, ["DELETE", "POST"], text=_HOW_TO_FAULTS)

    # Pages

    async def _consent_page(self, request: web.Request) -> web.Response:
        app = self._registered(request.query)
        if app is None:
            # Never a redirect: an address that nobody registered may be anybody's.
            return unregistered_page()
        return consent_page(app, request.query)

    async def _consent(self, request: web.Request) -> web.Response:
        form = await _form(request)
        app = self._registered(form)
        if app is None:
            return unregistered_page()
        if form.get("decision") != "allow":
            told = {"error": "access_denied"}
        elif not _has_fit_challenge(app, form):
            told = {"error": "invalid_request"}
        else:
            user, challenge = _person(form), form.get("code_challenge")
            if user is None:
                return consent_page(app, form, problem=_NOBODY)
            code = self._zoom.model.authorize(app, user, redirect_uri=form["redirect_uri"], challenge=challenge)
            told = {"code": code}
        if "state" in form:
            told["state"] = form["state"]
        target = form["redirect_uri"]
        raise web.HTTPSeeOther(f"{target}{'&' if '?' in target else '?'}{urlencode(told)}", headers=PAGE_HEADERS)

    def _registered(self, fields: Mapping[str, str]) -> App | None:
        app = self._zoom.model.app(fields.get("client_id", ""))
        return app if app is not None and app.may_lead_to(fields.get("redirect_uri", "")) else None

    async def _device_page(self, request: web.Request) -> web.Response:
        typed = request.query.get("user_code")
        if typed is None:
            return device_page()
        user_code = _user_code(typed)
        app = self._zoom.model.device_app(user_code)
        return device_page(typed, problem=_UNKNOWN_CODE) if app is None else device_consent_page(app, user_code)

    async def _device_decision(self, request: web.Request) -> web.Response:
        form = await _form(request)
        user_code, user, allow = _user_code(form.get("user_code", "")), _person(form), form.get("decision") == "allow"
        app = self._zoom.model.device_app(user_code)
        if app is None:
            return device_page(problem=_UNKNOWN_CODE)
        if allow and user is None:
            return device_consent_page(app, user_code, problem=_NOBODY)
        self._zoom.model.decide_device(user_code, user or "", allow=allow)
        if allow:
            return message_page("The device is connected", "You can close this page and go back to the device.")
        return message_page("The device is not connected", "You declined. You can close this page.")


def _person(form: Mapping[str, str]) -> str | None:
    """Return who answers, None if the person was to be typed and was not."""
    user = form.get("user", "")
    typed = form.get("other", "") if user == ANOTHER else user or PERSONS[0]
    return typed.strip().removesuffix("@example.com") or None


def _user_code(typed: str) -> str:
    """Return what was meant: people type small letters, blanks and dashes (RFC 8628, section 6.1)."""
    return "".join(typed.split()).replace("-", "").upper()


def _has_fit_challenge(app: App, form: Mapping[str, str]) -> bool:
    """Tell whether PKCE is used as it must be: by S256, which is not the default, and always without a secret."""
    if "code_challenge" not in form:
        return app.client_secret is not None
    return form.get("code_challenge_method") == "S256"


async def _form(request: web.Request) -> dict[str, str]:
    return read_form(request.headers.get("Content-Type", ""), await request.read()) or {}
