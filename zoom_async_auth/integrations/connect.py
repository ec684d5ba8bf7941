"""The pages by which a person connects an account at Zoom, and what Zoom says by webhook: for any web framework.

    GET  /connect      sends the browser to Zoom's consent page
    GET  /callback     what comes back from there: spends the code, and goes on to `after`
    GET  /disconnect   asks whether the person is sure
    POST /disconnect   has Zoom kill the token, and goes on to `after`
    POST /webhook      Zoom says that a person has removed the app (if a `Webhook` is given)

Nothing is kept between /connect and /callback but a cookie, see `attempts`: any number of processes can serve them. A
callback that comes twice costs one token request in each process that gets it, at most: the code itself works once. A
server's access log shows the callback's address; the code in it is worth nothing without the browser's cookie.

`fastapi` and `aiohttp` put this behind routes; another framework needs to make a `Visit` of a request, and to send a
`Reply`.
"""

import inspect
import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import anyio

from zoom_async_auth.clock import Clock, SystemClock
from zoom_async_auth.errors import AuthorizationRequiredError, ConfigurationError, StoreError, ZoomAuthError
from zoom_async_auth.identity import require_key
from zoom_async_auth.integrations import pages
from zoom_async_auth.integrations.accounts import Accounts
from zoom_async_auth.integrations.attempts import NONCE_BYTES, Attempt, Attempts
from zoom_async_auth.integrations.errands import Errands
from zoom_async_auth.integrations.pages import Reply, json_reply
from zoom_async_auth.integrations.readiness import is_temporary, retry_after
from zoom_async_auth.oauth.authorize import read_callback
from zoom_async_auth.oauth.credentials import UserOAuth
from zoom_async_auth.oauth.origin import ZOOM, require_base_url, safe_origin
from zoom_async_auth.oauth.secretive import require_text, secretive
from zoom_async_auth.oauth.webhook import (
    MAX_WEBHOOK,
    Deauthorized,
    SignedBody,
    UrlValidation,
    WebhookRefused,
    read_webhook,
)

SHORTEST_SECRET: Final = 32  # characters or bytes
_LONGEST_BODY: Final = 5.0  # seconds for a notification to arrive
_LONGEST_FORGETTING: Final = 2.5  # seconds: Zoom waits three for the answer to a notification, then sends it again
_CALLBACK: Final = "/callback"
_LOCAL_PATH = re.compile(r"/(?!/)[!-\[\]-~]*")  # a backslash counts as a slash in browsers

_log = logging.getLogger("zoom_async_auth")

KeyOrNobody = str | None
KeyOf = Callable[[Deauthorized], KeyOrNobody | Awaitable[KeyOrNobody]]


@secretive
@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """What is needed to hear from Zoom that a person has removed the app.

    Attributes:
        secret_token: "Secret token" on the app's page of event subscriptions.
        key_of: Says whose account it was, or None: nobody's, or the person has connected again since
            `deauthorized_at`. If it raises, Zoom sends the notification again, up to an hour and a half later.
    """

    secret_token: str = field(repr=False)
    key_of: KeyOf

    def __post_init__(self) -> None:
        require_text("secret_token", self.secret_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request, as any web framework has it.

    Attributes:
        query: What stands behind the question mark, urlencoded as it arrived.
        headers: By name in lower case.
        identify: Returns the key of the person who is logged in at the app, or None.
        body: Yields the body.
    """

    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    identify: Callable[[], Awaitable[str | None]]
    body: Callable[[], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What a path answers to one method."""

    method: str
    path: str
    answer: Callable[[Visit], Awaitable[Reply]]


class Connect:
    """Answers what arrives at `routes`, on behalf of one app.

    Args:
        accounts: What is acted on: `OneAccount`, `StoredAccounts`, a `TokenPool`, or anything with their three methods.
        credentials: What the app is registered with.
        redirect_uri: The address of /callback as browsers see it, registered with the app to the letter.
        secret: 32 bytes or characters at least that nobody can guess, the same in all processes of the app:
            `secrets.token_urlsafe(32)`, once. A new one ends the attempts that are under way.
        after: The path to go on to once a person has connected or disconnected.
        webhook: What is needed to be told by Zoom; None: there is no /webhook.
        base_url: As for `TokenManager`.
        clock: Where time comes from; its wall clock must be that of the other processes.

    Raises:
        ConfigurationError: An argument that cannot work.
    """

    def __init__(
        self,
        accounts: Accounts,
        *,
        credentials: UserOAuth,
        redirect_uri: str,
        secret: str | bytes,
        after: str = "/",
        webhook: Webhook | None = None,
        base_url: str = ZOOM,
        clock: Clock | None = None,
    ) -> None:
        problem = _misfit(accounts) or _problem(
            credentials, redirect_uri=redirect_uri, secret=secret, after=after, base_url=base_url
        )
        if problem is not None:
            del secret
            raise problem
        if not urlsplit(redirect_uri).path.endswith(_CALLBACK):  # no error: something in front of the app may map it
            _log.warning(
                "connect: redirect_uri does not end with %s, the path that is served here: unless a proxy leads from "
                "one to the other, who comes back from Zoom gets a 404",
                _CALLBACK,
            )
        self._accounts = accounts
        self._client_id = credentials.client_id
        self._origin = safe_origin(redirect_uri)
        self._after = after
        self._webhook = webhook
        self._now = (clock or SystemClock()).time
        self._errands = Errands(self._now)
        self._attempts = Attempts(
            credentials,
            redirect_uri=redirect_uri,
            base_url=require_base_url(base_url),
            secret=secret.encode() if isinstance(secret, str) else secret,
            secure=redirect_uri.lower().startswith("https:"),
        )

    @property
    def routes(self) -> tuple[Route, ...]:
        """What there is to be served, below any prefix, as long as all of it is below the same."""
        routes = (
            Route(method="GET", path="/connect", answer=self.connect),
            Route(method="GET", path=_CALLBACK, answer=self.callback),
            Route(method="GET", path="/disconnect", answer=self.ask),
            Route(method="POST", path="/disconnect", answer=self.disconnect),
        )
        return routes if self._webhook is None else (*routes, Route(method="POST", path="/webhook", answer=self.hear))

    async def aclose(self) -> None:
        """Wait for what is being done, after the last request."""
        await self._errands.aclose()

    async def connect(self, visit: Visit) -> Reply:
        """Send the browser to Zoom's consent page."""
        key = await visit.identify()
        if key is None:
            return pages.nobody()
        url, cookies = self._attempts.begin(
            require_key(key), _cookies(visit), nonce=secrets.token_bytes(NONCE_BYTES), now=self._now()
        )
        return _with_cookies(pages.redirection(url), cookies)

    async def callback(self, visit: Visit) -> Reply:
        """Spend the code that the browser brings from Zoom.

        Cancellation: the exchange goes on, its token is kept.
        """
        key = await visit.identify()
        if key is None:
            return pages.nobody()
        key = require_key(key)
        attempt = self._attempts.find(key, _cookies(visit), visit.query, now=self._now())
        if attempt is None:
            return pages.over()
        failure = await self._finished(key, attempt, visit)
        if failure is None:
            reply = pages.redirection(self._after)
        elif is_temporary(failure):
            return pages.unavailable(retry_after(failure))  # the cookie stays: the same address may work in a moment
        else:
            reply = _failed(failure)
        return _with_cookies(reply, (self._attempts.ended(attempt.cookie),))

    async def ask(self, visit: Visit) -> Reply:
        """Ask whether the person is sure."""
        if await visit.identify() is None:
            return pages.nobody()
        return pages.sure(back=self._after)

    async def disconnect(self, visit: Visit) -> Reply:
        """Have Zoom kill the token, and forget it.

        Cancellation: the revocation goes on.
        """
        if not self._is_ours(visit.headers):
            return pages.foreign_form()
        key = await visit.identify()
        if key is None:
            return pages.nobody()
        known = require_key(key)
        failure = await self._errands.see_through(lambda: self._accounts.revoke(known))
        if failure is None:
            return pages.redirection(self._after)
        return pages.still_connected(retry_after(failure)) if is_temporary(failure) else _failed(failure)

    async def hear(self, visit: Visit) -> Reply:
        """Take a notification of Zoom's. One that comes twice does nothing the second time."""
        webhook = self._webhook
        if webhook is None:
            return json_reply(HTTPStatus.NOT_FOUND)
        body = None
        with anyio.move_on_after(_LONGEST_BODY) as reading:
            body = await _whole(visit.body(), MAX_WEBHOOK)
        if body is None:
            late = reading.cancelled_caught
            return json_reply(HTTPStatus.REQUEST_TIMEOUT if late else HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        signed = SignedBody(
            body=body,
            signature=visit.headers.get("x-zm-signature"),
            timestamp=visit.headers.get("x-zm-request-timestamp"),
        )
        match read_webhook(signed, secret_token=webhook.secret_token, client_id=self._client_id, now=self._now()):
            case WebhookRefused(forged=forged, why=why):
                return json_reply(HTTPStatus.UNAUTHORIZED if forged else HTTPStatus.BAD_REQUEST, {"error": why})
            case UrlValidation() as validation:
                return json_reply(HTTPStatus.OK, validation.answer(webhook.secret_token))
            case Deauthorized() as deauthorized:
                return await self._forget(await resolved(webhook.key_of(deauthorized)))
            case _:
                return json_reply(HTTPStatus.NO_CONTENT)

    async def _finished(self, key: str, attempt: Attempt, visit: Visit) -> ZoomAuthError | None:
        grant = read_callback(visit.query, attempt.request)
        if isinstance(grant, ZoomAuthError):
            return grant
        return await self._errands.once(
            attempt.cookie, lambda: self._accounts.authorize(key, grant), until=attempt.expires
        )

    async def _forget(self, key: str | None) -> Reply:
        if key is None:
            return json_reply(HTTPStatus.NO_CONTENT)
        failure: ZoomAuthError | None = StoreError(
            f"a person who removed the app is not forgotten after {_LONGEST_FORGETTING:g} s: is the store up?"
        )
        with anyio.move_on_after(_LONGEST_FORGETTING):  # it goes on
            failure = await self._errands.see_through(lambda: self._accounts.forget(key))
        if failure is None:
            return json_reply(HTTPStatus.NO_CONTENT)
        _report(failure)
        return json_reply(HTTPStatus.SERVICE_UNAVAILABLE)  # anything but 2xx: Zoom sends it again

    def _is_ours(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a form of our own origin was sent. A client that sends neither header is no modern browser."""
        site = headers.get("sec-fetch-site")
        return site == "same-origin" if site is not None else headers.get("origin") == self._origin


def _misfit(accounts: object) -> ConfigurationError | None:
    """Return what is wrong with what does not act for a key: a manager has the same verbs, for one identity."""
    wanted = {"authorize": ("key", "grant"), "revoke": ("key",), "forget": ("key",)}
    if all(_takes(getattr(accounts, verb, None), *arguments) for verb, arguments in wanted.items()):
        return None
    kind = type(accounts).__name__
    return ConfigurationError(
        f"accounts must be OneAccount, StoredAccounts or a TokenPool, or have their methods, not {kind}"
    )


def _takes(method: object, *arguments: object) -> bool:
    """Tell whether a method can be called with so many arguments."""
    if not callable(method):
        return False
    try:
        inspect.signature(method).bind(*arguments)
    except ValueError:
        return True  # it does not tell what it takes
    except TypeError:
        return False
    return True


def _problem(
    credentials: object, *, redirect_uri: object, secret: object, after: object, base_url: str
) -> ConfigurationError | None:
    """Return what is wrong; it is not raised here, because the frame holds the secret."""
    if not isinstance(credentials, UserOAuth):
        return ConfigurationError(f"people authorize a UserOAuth app, not {type(credentials).__name__}")
    if not isinstance(redirect_uri, str) or safe_origin(redirect_uri) is None:
        return ConfigurationError("redirect_uri must be https://host/path; http is for loopback only")
    if not isinstance(secret, str | bytes) or len(secret) < SHORTEST_SECRET:
        return ConfigurationError(f"secret must have {SHORTEST_SECRET} characters: secrets.token_urlsafe(32), once")
    if not isinstance(after, str) or _LOCAL_PATH.fullmatch(after) is None:
        return ConfigurationError("after must be a path of this app: /settings")
    try:
        require_base_url(base_url)
    except ConfigurationError as known:
        return known.copy()
    return None


async def resolved(value: KeyOrNobody | Awaitable[KeyOrNobody]) -> KeyOrNobody:
    """Return what a function of the app returns, be it asynchronous or not."""
    return await value if inspect.isawaitable(value) else value


async def _whole(chunks: AsyncIterator[bytes], limit: int) -> bytes | None:
    """Return a body, or None if it is longer than `limit`."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


def _cookies(visit: Visit) -> str:
    return visit.headers.get("cookie", "")


def _with_cookies(reply: Reply, cookies: tuple[str, ...]) -> Reply:
    return replace(reply, headers=(*reply.headers, *(("Set-Cookie", cookie) for cookie in cookies)))


def _failed(failure: ZoomAuthError) -> Reply:
    if not isinstance(failure, AuthorizationRequiredError):
        _report(failure)
        # What Zoom refuses is looked up here while an app is set up; anything else may tell of the server it runs on.
        is_zooms = failure.error is not None or failure.status is not None
        return pages.attention(hint=str(failure) if is_zooms else "its log says what is wrong.")
    return pages.declined() if failure.error == "access_denied" else pages.over()


def _report(failure: ZoomAuthError) -> None:
    """Log what only whoever runs the app can mend: the person who sees the page is somebody else."""
    _log.error("connect: %s", failure)
