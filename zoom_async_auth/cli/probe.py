"""`zoom-async-auth doctor --probe`: how Zoom itself behaves where nobody has written it down.

It spends tokens of a real account, so it asks before it begins, and refuses a sandbox, whose answers say nothing. What
it finds out is told without any token, so that it can be shown to others.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

from zoom_async_auth.bearer import TOKEN_REJECTED, UNAUTHORIZED
from zoom_async_auth.cli.claims import claims_of
from zoom_async_auth.cli.terminal import note, progress, tell, tell_json
from zoom_async_auth.cli.who import Person, base_url_of, opened
from zoom_async_auth.clock import SystemClock
from zoom_async_auth.endpoint import AiohttpTransport, Endpoint
from zoom_async_auth.errors import AuthorizationRequiredError, ConfigurationError, ZoomAuthError
from zoom_async_auth.identity import credentials_from
from zoom_async_auth.manager import TokenManager
from zoom_async_auth.oauth.credentials import Credentials, own_grant
from zoom_async_auth.oauth.grants import AppGrant, DeviceCodeGrant, RefreshTokenGrant
from zoom_async_auth.oauth.token import StoredToken, Token

_CLOCK = SystemClock()
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was found out."""

    question: str
    answer: str


def run(person: Person | None, *, as_json: bool) -> int:
    """Ask for leave, then probe."""
    base_url = base_url_of(os.environ)
    credentials = person.app if person is not None else credentials_from(os.environ)
    if isinstance(credentials, ConfigurationError):
        raise credentials
    if base_url.startswith("http:"):  # which only this host may have
        raise ConfigurationError("--probe is about Zoom itself, and a server on this host is not: unset ZOOM_BASE_URL")
    if not sys.stdin.isatty():
        raise ConfigurationError("--probe spends tokens, so it asks first: run it in a terminal")
    if not _may(person, base_url):
        note("nothing was done")
        return 0
    asyncio.run(_run(person, credentials, base_url, quiet=as_json))
    return 0


def _may(person: Person | None, base_url: str) -> bool:
    """Ask whoever sits in front of it."""
    what = (
        "gets three tokens of the app, and revokes two" if person is None else f"uses up the log-in of {person.key!r}"
    )
    sys.stderr.write(f"This {what}, at {base_url}. Type yes to go on: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() == "yes"


async def _run(person: Person | None, credentials: Credentials, base_url: str, *, quiet: bool) -> None:
    def show(answer: Answer) -> None:
        if quiet:
            tell_json(asdict(answer))
        else:
            tell(f"{answer.question}: {answer.answer}")

    async with opened(person, quiet=quiet) as manager:
        with progress("asking for a token", quiet=quiet):
            await manager.token()
        await probe(manager, credentials, base_url, show)


async def probe(manager: TokenManager, credentials: Credentials, base_url: str, show: Callable[[Answer], None]) -> None:
    """Find out what Zoom does, in an order in which what may cost the log-in comes last.

    Args:
        manager: An open manager of these credentials, with a token. A person's log-in is used up.
        credentials: Of the app.
        base_url: Of Zoom.
        show: Called with each answer.
    """
    endpoint = Endpoint(
        credentials, base_url=base_url, transport=AiohttpTransport(), clock=_CLOCK, attempt_timeout=_PATIENCE
    )
    probing = _Probing(manager, endpoint, show)
    grant = own_grant(credentials)
    async with endpoint:
        await probing.token()
        if grant is not None:
            await probing.app(grant)
        else:
            await probing.device()
            await probing.chain()


class _Probing:
    def __init__(self, manager: TokenManager, endpoint: Endpoint, show: Callable[[Answer], None]) -> None:
        self._manager = manager
        self._endpoint = endpoint
        self._show = show

    async def token(self) -> None:
        """Look at a token as it is."""
        token = await self._manager.token()
        for name, text in (("access", token.access_token), ("refresh", token.refresh_token)):
            if text is not None:
                self._tell(f"characters of the {name} token", str(len(text)))
                claims = claims_of(text, now=_CLOCK.time()) or {}
                self._tell(f"version of the {name} token", str(claims.get("version", "not told: it is opaque")))
                self._tell(f"life of the {name} token by its claims", f"{claims.get('lifetime', 'unknown')} s")
        self._tell("life of the access token by the answer", f"{token.expires_in:g} s")

    async def app(self, grant: AppGrant) -> None:
        """Find out how tokens of an app live side by side, and die."""
        first = await self._endpoint.exchange(grant)
        if isinstance(first, ZoomAuthError):
            self._tell("two tokens of the app", "were not to be had")
            return
        second = await self._endpoint.exchange(grant)
        if isinstance(second, ZoomAuthError):
            self._tell("two tokens of the app", "were not to be had")
            await self._endpoint.revoke(first.access_token)
            return
        self._tell("the earlier of two tokens", await self._life(first))
        self._tell("revoking it", _outcome(await self._endpoint.revoke(first.access_token)))
        self._tell("the revoked token", await self._life(first))
        self._tell("the other one after that", await self._life(second))
        await self._endpoint.revoke(second.access_token)

    async def device(self) -> None:
        """Find out what a device that asks too early, and too often, is told."""
        code = await self._endpoint.device_code()
        if isinstance(code, ZoomAuthError):
            self._tell("a device code", _outcome(code))
            return
        self._tell("a device code", f"lives {code.expires_in:g} s, to be asked about every {code.interval:g} s")
        for question in ("asking before the person", "asking again at once"):
            answer = await self._endpoint.exchange(DeviceCodeGrant(device_code=code.device_code))
            self._tell(question, _outcome(answer))

    async def chain(self) -> None:
        """Find out what refreshing, a refresh token that is spent, and revoking do. The log-in does not outlive it."""
        old = await self._manager.token()
        await self._manager.renew()
        self._tell("the access token before a refresh", await self._life(old))
        if not await self._again(old):
            return
        last = await self._manager.token()
        await self._manager.revoke()
        self._tell("the access token after revoking it", await self._life(last))
        answer = await self._endpoint.exchange(RefreshTokenGrant(refresh_token=last.refresh_token or "none"))
        self._tell("its refresh token", _outcome(answer))
        if isinstance(answer, Token):
            await self._endpoint.revoke(answer.access_token)

    async def _again(self, old: Token) -> bool:
        """Spend a refresh token twice; tell whether the log-in has survived that."""
        answer = await self._endpoint.exchange(RefreshTokenGrant(refresh_token=old.refresh_token or "none"))
        self._tell("a refresh token that is spent", _outcome(answer))
        if isinstance(answer, Token):
            expires_at = _CLOCK.time() + answer.expires_in
            kept = StoredToken(
                access_token=answer.access_token, refresh_token=answer.refresh_token, expires_at=expires_at
            )
            await self._manager.authorize(kept)
        try:
            await self._manager.renew()
        except AuthorizationRequiredError as error:
            self._tell("the log-in after that", _outcome(error))
            return False
        self._tell("the log-in after that", "lives")
        return True

    async def _life(self, token: Token) -> str:
        """Ask the API for anything; what matters is whether it takes the token."""
        try:
            async with self._manager.session() as zoom:
                headers = {"Authorization": f"Bearer {token.access_token}"}
                async with zoom.get("/v2/users/me", headers=headers) as response:
                    if response.status != UNAUTHORIZED:
                        return "lives"
                    content = await response.json(content_type=None)
                    return "is dead" if content.get("code") == TOKEN_REJECTED else "is refused, for another reason"
        except Exception as foreign:  # noqa: BLE001 -- the repr of aiohttp's shows the header: only its class is told
            return f"unknown, no answer: {type(foreign).__name__}"

    def _tell(self, question: str, answer: str) -> None:
        self._show(Answer(question=question, answer=answer))


def _outcome(answer: Token | ZoomAuthError | None) -> str:
    match answer:
        case ZoomAuthError():
            told = {"status": answer.status, "error": answer.error, "reason": answer.reason}
            words = ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)
            return f"refused, {words}" if words else f"failed: {answer.args[0]}"
        case _:
            return "accepted"
