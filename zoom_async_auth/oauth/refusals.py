"""What a refusal means: which of our errors it is. Decided by what Zoom says, and only then by the status.

    Zoom says                                              it is
      invalid_grant; invalid_request and "Invalid Token!"    dead: AuthorizationRequiredError, or ConfigurationError
      expired_token, access_denied                           if no person is involved
      invalid_client, any other invalid_request, ...         ConfigurationError
      server_error, authorization_pending, ...               TokenUnavailableError
      something unknown, or nothing readable                 what the status says
        404, 405 without a word; 407                           ConfigurationError
        any other                                              TokenUnavailableError: never a reason to drop a grant

Zoom's statuses vary for one and the same error, and its numeric codes are further names for them ("OAuth error
messages" in Zoom's documentation). 4700 is none of them: it stands for any exception, so the status decides.
"""

from http import HTTPStatus

from zoom_async_auth.errors import (
    AuthorizationRequiredError,
    ConfigurationError,
    TokenUnavailableError,
    ZoomAuthError,
)

_NUMBERED = {
    4702: "invalid_client",
    4704: "invalid_client",
    4705: "unsupported_grant_type",
    4706: "invalid_request",
    4709: "redirect_mismatch",
    4711: "invalid_grant",
    4717: "app_disabled",
    4724: "invalid_request",
    4732: "server_error",
    4733: "invalid_grant",
    4734: "invalid_grant",
    4735: "invalid_grant",
    4737: "invalid_grant",
    4738: "app_disabled",
    4740: "invalid_grant",
    4741: "invalid_grant",
}

_DEAD = {
    "invalid_grant": "the authorization is spent, revoked or expired",
    "expired_token": "the device code has expired",
    "access_denied": "the authorization was denied",
}

_MISCONFIGURED = {
    "invalid_client": "Zoom does not know this client: check client id and secret, and that the app is activated",
    "app_disabled": "the app is disabled at Zoom: activate it, or ask the account's administrator to",
    "unauthorized_client": "the app may not use this grant: check its type, and that it is activated and approved",
    "unsupported_grant_type": "the app does not support this grant: check that its type is that of the credentials "
    "(a server-to-server app has an account id, too: ZOOM_ACCOUNT_ID)",
    "invalid_scope": "the app does not have these scopes: check them on its page at Zoom",
    "redirect_mismatch": "the redirect URI is not the registered one: it must be the same to the letter",
}

_NOT_ACCEPTED = "Zoom does not accept the request: check"
_IN_AN_APPS = "the account id (ZOOM_ACCOUNT_ID) and the type of the app"
_IN_A_PERSONS = "that the redirect URI is the registered one, to the letter, and the type of the app"

_WAITING = {
    "authorization_pending": "the person has not decided yet: ask again after the interval",
    "slow_down": "the device code is asked for too often: lengthen the interval by five seconds",
}

_TROUBLED = frozenset({"server_error", "temporarily_unavailable"})

_COME_BACK = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


def diagnose(status: int, *, error: str | None, reason: str | None, code: int | None, personal: bool) -> ZoomAuthError:
    """Return our error for a refusal, still without details.

    Args:
        status: The HTTP status.
        error: Zoom's `error`, as it was sent.
        reason: Zoom's `reason`, as it was sent.
        code: Zoom's numeric code.
        personal: Whether a person's consent is at stake.
    """
    meaning = _meaning(status, error, reason, code)
    if meaning in _DEAD and personal:
        return AuthorizationRequiredError(f"{_DEAD[meaning]}: ask the person to authorize the app again")
    if meaning in _DEAD:
        return ConfigurationError(f"{_DEAD[meaning]}: check the account id, and that the app is activated")
    if meaning in _MISCONFIGURED:
        return ConfigurationError(_MISCONFIGURED[meaning])
    if meaning == "invalid_request":
        return ConfigurationError(f"{_NOT_ACCEPTED} {_IN_A_PERSONS if personal else _IN_AN_APPS}")
    if meaning in _WAITING:
        return TokenUnavailableError(_WAITING[meaning])
    if meaning in _TROUBLED:
        return TokenUnavailableError("Zoom is in trouble: try again later", in_doubt=_in_doubt(status))
    return _by_status(status, silent=error is None and code is None)


def _meaning(status: int, error: str | None, reason: str | None, code: int | None) -> str | None:
    meaning = error if code is None else _NUMBERED.get(code, error)
    if meaning in {"invalid_request", None} and reason is not None and reason.strip(" !").casefold() == "invalid token":
        return "invalid_grant"
    if meaning == "invalid_request" and (status in _COME_BACK or status >= HTTPStatus.INTERNAL_SERVER_ERROR):
        return None  # it says too little to outweigh such a status
    return meaning


def _by_status(status: int, *, silent: bool) -> ZoomAuthError:
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED} and silent:
        return ConfigurationError("there is no such endpoint: check base_url")
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return ConfigurationError("the proxy wants credentials: check its URL")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return TokenUnavailableError("the answer was a redirect, which is never followed: check base_url")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return TokenUnavailableError("Zoom asks for fewer requests: try again later")
    if _in_doubt(status):
        return TokenUnavailableError("Zoom failed to answer: try again later", in_doubt=True)
    return TokenUnavailableError("Zoom refused, for a reason that this version does not know: try again later")


def _in_doubt(status: int) -> bool:
    """Tell whether Zoom may have acted: only a redirect and a 4xx say that it did not."""
    return not HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR
