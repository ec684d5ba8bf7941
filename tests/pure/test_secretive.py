"""Objects that hold secrets: not shown, not pickled, not left behind in the frames of an error."""

import copy
import dataclasses
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.authorize import AuthorizationRequest
from zoom_async_auth.oauth.credentials import ClientCredentials, ServerToServer, UserOAuth
from zoom_async_auth.oauth.grants import (
    AccountCredentialsGrant,
    AuthorizationCodeGrant,
    DeviceCodeGrant,
    RefreshTokenGrant,
)
from zoom_async_auth.oauth.requests import token_request
from zoom_async_auth.oauth.secretive import secretive
from zoom_async_auth.oauth.token import StoredToken, Token
from zoom_async_auth.oauth.wire import Answer, DeviceCode
from zoom_async_auth.renewal.held import Held, Serving
from zoom_async_auth.stores.base import Record

CANARY = "CanaryInAMine-0123456789-0123456789-0123456789"
MARK = CANARY[:8]
"""Not even so much of a secret is ever shown."""

APP = ServerToServer(account_id=CANARY, client_id=CANARY, client_secret=CANARY)
GRANT = RefreshTokenGrant(refresh_token=CANARY)
TOKEN = Token(access_token=CANARY, refresh_token=CANARY, expires_in=3599.0)

VALUES: list[object] = [
    APP,
    ClientCredentials(client_id=CANARY, client_secret=CANARY),
    UserOAuth(client_id=CANARY, client_secret=CANARY),
    AccountCredentialsGrant(account_id=CANARY),
    AuthorizationCodeGrant(code=CANARY, redirect_uri="https://app.example", code_verifier=CANARY),
    GRANT,
    DeviceCodeGrant(device_code=CANARY),
    TOKEN,
    StoredToken(access_token=CANARY, refresh_token=CANARY, expires_at=0.0),
    AuthorizationRequest(
        url=CANARY, state=CANARY, code_verifier=CANARY, redirect_uri="https://app.example", issuer="https://zoom.us"
    ),
    token_request(APP, GRANT),
    Answer(status=200, headers={"X-Echo": CANARY}, body=CANARY.encode()),
    DeviceCode(
        device_code=CANARY,
        user_code="ABCD",
        verification_uri="https://zoom.us/oauth_device",
        expires_in=900.0,
        interval=5.0,
    ),
    Record(generation=1, token=TOKEN, issued_at=0.0, expires_at=3599.0),
    Held(token=TOKEN, generation=1, arrived_at=0.0, stale_at=0.0, withheld_at=0.0, expires_at=0.0, issued_at=0.0),
    Serving(CANARY, 0.0),  # the last one: the only one that takes positional arguments
]


def shown_by_a_tracker(error: BaseException | None) -> str:
    """Return an error, the errors it is chained to, and the local variables of all frames but this module's."""
    if error is None:
        return ""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename != __file__]
    chained = shown_by_a_tracker(error.__cause__) + shown_by_a_tracker(error.__context__)
    return f"{error} {error!r} {[frame.f_locals for frame in frames]} {chained}"


each_value = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


@each_value
def test_nothing_that_prints_an_object_shows_its_secret(value: object) -> None:
    """S5: logs, consoles, assertion messages, debuggers."""
    assert MARK not in f"{value!r} {value!s} {value} {[value]}"
    assert not hasattr(value, "__dict__")


@each_value
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_object_with_a_secret_cannot_be_pickled(value: object, protocol: int) -> None:
    """S5: a pickle is a file, or a queue, with the secret in clear."""
    with pytest.raises(TypeError) as refused:
        pickle.dumps(value, protocol)

    assert str(refused.value) == f"a {type(value).__name__} holds a secret and cannot be pickled"


@each_value
def test_an_object_with_a_secret_never_changes(value: Any) -> None:
    """What was checked stays checked, and what many tasks share is the same to all."""
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)


@each_value
def test_a_copy_of_an_object_with_a_secret_is_the_object(value: object) -> None:
    """It is immutable, and frameworks that copy their settings must go on to work."""
    assert copy.copy(value) is value
    assert copy.deepcopy([value])[0] is value


class _Vault:
    """A class that is no dataclass, and checks what it is given."""

    def __init__(self, *, combination: str) -> None:
        opened = combination.removesuffix("!")
        raise ConfigurationError(f"a combination of {len(opened)} characters opens nothing")


BAD: dict[str, tuple[Callable[..., object], dict[str, object]]] = {
    "a line break in a secret": (
        ServerToServer,
        {"account_id": CANARY, "client_id": CANARY, "client_secret": f"{CANARY}\n"},
    ),
    "an account beyond ASCII": (
        ServerToServer,
        {"account_id": f"{CANARY}é", "client_id": CANARY, "client_secret": CANARY},
    ),
    "an id that is no text": (ClientCredentials, {"client_id": [CANARY], "client_secret": CANARY}),
    "an argument missing": (ClientCredentials, {"client_secret": CANARY}),
    "a colon in an id": (UserOAuth, {"client_id": f"{CANARY}:", "client_secret": CANARY}),
    "an argument too many": (UserOAuth, {"client_id": CANARY, "secret": CANARY}),
    "an account of a grant": (AccountCredentialsGrant, {"account_id": f"{CANARY}é"}),
    "a code": (AuthorizationCodeGrant, {"code": f"{CANARY}\n", "redirect_uri": "https://app.example"}),
    "a verifier": (
        AuthorizationCodeGrant,
        {"code": CANARY, "redirect_uri": "https://app.example", "code_verifier": f"{CANARY}+"},
    ),
    "a verifier of bytes": (
        AuthorizationCodeGrant,
        {"code": CANARY, "redirect_uri": "https://app.example", "code_verifier": CANARY.encode()},
    ),
    "a refresh token to spend": (RefreshTokenGrant, {"refresh_token": f"{CANARY}é"}),
    "a device code": (DeviceCodeGrant, {"device_code": f"{CANARY}\x00"}),
    "an access token": (Token, {"access_token": f"{CANARY} {CANARY}", "expires_in": 1.0}),
    "a refresh token": (Token, {"access_token": CANARY, "refresh_token": f"{CANARY}\n", "expires_in": 1.0}),
    "a lifetime": (Token, {"access_token": CANARY, "refresh_token": CANARY, "expires_in": -1.0}),
    "a lifetime of text": (Token, {"access_token": CANARY, "expires_in": CANARY}),
    "an expiry": (StoredToken, {"access_token": CANARY, "refresh_token": CANARY, "expires_at": float("nan")}),
    "what no dataclass is given": (secretive(_Vault), {"combination": f"{CANARY}!"}),
    "an expiry beyond all floats": (StoredToken, {"access_token": CANARY, "expires_at": 10**400}),
}


@pytest.mark.parametrize(("build", "fields"), BAD.values(), ids=BAD)
def test_a_failed_construction_leaves_no_secret_behind(build: Callable[..., object], fields: dict[str, object]) -> None:
    """Trackers of errors, and tracebacks with locals, show every frame and all that is chained (S6)."""
    with pytest.raises((ConfigurationError, TypeError)) as failed:
        build(**fields)

    assert MARK not in shown_by_a_tracker(failed.value)


@pytest.mark.parametrize("value", VALUES[:-1], ids=lambda value: type(value).__name__)
def test_positional_arguments_are_refused_without_a_trace(value: Any) -> None:
    """They would mix up id and secret, so they are an error; the error must not show them either (S6)."""
    build: Callable[..., object] = type(value)
    fields = [getattr(value, field.name) for field in dataclasses.fields(value)]

    with pytest.raises(TypeError) as failed:
        build(*fields)

    assert MARK not in shown_by_a_tracker(failed.value)
