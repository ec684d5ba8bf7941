"""What Zoom says to the credentials, and what to do about it."""

from http import HTTPStatus

from zoom_async_auth.cli.findings import Finding, fail, ok
from zoom_async_auth.clock import SystemClock
from zoom_async_auth.endpoint import AiohttpTransport, Endpoint
from zoom_async_auth.errors import AuthorizationRequiredError, ConfigurationError, ZoomAuthError
from zoom_async_auth.oauth.credentials import ClientCredentials, Credentials, ServerToServer, UserOAuth, own_grant
from zoom_async_auth.oauth.grants import AuthorizationCodeGrant
from zoom_async_auth.oauth.token import Token

_PATIENCE = 10.0
_NOBODYS = AuthorizationCodeGrant(code="a-code-of-nobody", redirect_uri="http://127.0.0.1/callback")
"""Zoom looks at the client first: how it refuses this one tells whether it knows the app, and spends nothing."""
_WRONG_TYPE = frozenset({"unsupported_grant_type", "unauthorized_client"})
_AT_ZOOM = "see the app's page at marketplace.zoom.us, under Manage"


async def ask(credentials: Credentials, base_url: str) -> Finding:
    """Send one request, and return what its answer means."""
    endpoint = Endpoint(
        credentials,
        base_url=base_url,
        transport=AiohttpTransport(),
        clock=SystemClock(),
        attempt_timeout=_PATIENCE,
    )
    grant = own_grant(credentials)
    async with endpoint:
        answer = await endpoint.exchange(_NOBODYS if grant is None else grant)
    if isinstance(answer, Token):
        scope = ", ".join(sorted(answer.scope)) or "none told"
        return ok("token", f"{len(answer.access_token)} characters, for {answer.expires_in:g} s, scopes: {scope}")
    if grant is None and _is_about_the_code(answer):
        return ok("app", "Zoom knows it")
    return fail("token" if grant is not None else "app", str(answer), _remedy(answer, credentials))


def _is_about_the_code(error: ZoomAuthError) -> bool:
    """Tell whether Zoom refused the code, and thus took the client for what it says it is."""
    about_the_request = isinstance(error, ConfigurationError) and error.error == "invalid_request"
    return isinstance(error, AuthorizationRequiredError) or about_the_request


def _remedy(error: ZoomAuthError, credentials: Credentials) -> str:
    if error.status is not None and error.status < HTTPStatus.MULTIPLE_CHOICES:
        return "see who answers there in Zoom's place: a proxy, or a log-in page"
    if error.transient:
        return "try again later; status.zoom.us tells whether Zoom is in trouble"
    if "disabled" in (error.reason or "").lower():
        return f"activate the app: {_AT_ZOOM}"
    if error.error in _WRONG_TYPE:
        return _other_type(credentials)
    if error.error == "invalid_client" and credentials.client_secret is None:
        return "set ZOOM_CLIENT_SECRET, unless ZOOM_CLIENT_ID is that of a public client"
    if error.error == "invalid_client":
        return f"copy client id and secret anew, both of development or both of production: {_AT_ZOOM}"
    if isinstance(credentials, ServerToServer):
        return f"copy ZOOM_ACCOUNT_ID from the app itself: another account cannot use it; {_AT_ZOOM}"
    return _AT_ZOOM


def _other_type(credentials: Credentials) -> str:
    match credentials:
        case ServerToServer():
            return (
                "this is no server-to-server app: take the credentials of one, or unset ZOOM_ACCOUNT_ID and, for an "
                "app that people allow, zoom-async-auth login"
            )
        case ClientCredentials():
            return (
                "the app gets no token in its own name: set ZOOM_ACCOUNT_ID for a server-to-server app; for one that "
                "people allow, zoom-async-auth login and --as-user"
            )
        case UserOAuth():
            return "nobody can log in to this app: take a general app, and for --device let it be used on devices"
