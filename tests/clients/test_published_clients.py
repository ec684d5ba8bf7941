"""Published Zoom clients take the sandbox for Zoom, unmodified and used as their documentation says: it speaks as Zoom.

None of them can be told where Zoom is. So each runs where zoom.us is this host, with no network but a loopback, and
trusts a certificate authority that the test has made.
"""

from pathlib import Path

import pytest

from tests.clients.stage import HERE, Stage
from zoom_async_auth import ClientCredentials, ServerToServer, UserOAuth

pytestmark = [
    pytest.mark.asyncio(loop_factories=["plain"]),
    pytest.mark.timeout(60, func_only=True),  # to install takes what it takes
]

OWNER = "account-owner"
"""Whose token a server-to-server app gets."""


def variables_of(app: ServerToServer | ClientCredentials | UserOAuth) -> dict[str, str]:
    known = {"ZOOM_CLIENT_ID": app.client_id, "ZOOM_CLIENT_SECRET": app.client_secret or ""}
    return known | ({"ZOOM_ACCOUNT_ID": app.account_id} if isinstance(app, ServerToServer) else {})


# @zoom/rivet, Zoom's own. Basic and a form; what comes must have numbers and strings where Zoom has them.


async def test_rivet_gets_the_token_of_a_server_once(stage: Stage, rivet: Path) -> None:
    """`UsersS2SAuthClient`: account_credentials, account_id in the form; then `GET /v2/users`, twice."""
    command = ("node", str(HERE / "with_rivet.mjs"), "server")
    seen = await stage.run(*command, cwd=rivet, variables=variables_of(stage.zoom.credentials))

    assert seen == [[OWNER], [OWNER]]
    assert stage.zoom.stats == {"account_credentials": {"ok": 1}}


async def test_rivet_gets_another_token_in_the_last_minute_of_one(stage: Stage, rivet: Path) -> None:
    stage.zoom.token_lifetime = 60.0
    command = ("node", str(HERE / "with_rivet.mjs"), "server")
    seen = await stage.run(*command, cwd=rivet, variables=variables_of(stage.zoom.credentials))

    assert seen == [[OWNER], [OWNER]]
    assert stage.zoom.stats == {"account_credentials": {"ok": 2}}


async def test_rivet_installs_an_app_for_a_person_and_refreshes(stage: Stage, rivet: Path) -> None:
    """`UsersOAuthClient`: its own pages lead to /oauth/authorize with a state and without PKCE, and back.

    Then authorization_code with code and redirect_uri, and refresh_token, all in the form. In the last minute of a
    token each call refreshes, with what the refresh before has brought: the sandbox takes nothing older.
    """
    stage.zoom.token_lifetime = 60.0
    command = ("node", str(HERE / "with_rivet.mjs"), "person")
    seen = await stage.run(*command, cwd=rivet, variables=variables_of(stage.zoom.user_app))

    assert seen == [["alice"], ["alice"]]
    assert stage.zoom.stats == {"authorization_code": {"ok": 1}, "refresh_token": {"ok": 2}}


async def test_rivet_gets_the_token_of_a_bot(stage: Stage, rivet: Path) -> None:
    """`ChatbotClient`: client_credentials and nothing else in the form."""
    command = ("node", str(HERE / "with_rivet.mjs"), "bot")
    kept = await stage.run(*command, cwd=rivet, variables=variables_of(stage.zoom.client_credentials))

    assert kept["scopes"] == ["imchat:bot"]
    assert stage.zoom.model.user_of(kept["accessToken"]) is not None
    assert stage.zoom.stats == {"client_credentials": {"ok": 1}}


# pyzoom. Basic and a form.


async def test_pyzoom_asks_a_person_and_refreshes_once_with_each_token(stage: Stage, python: str) -> None:
    """`oauth_wizard` opens /oauth/authorize without state and PKCE, and listens: authorization_code.

    Then `refresh_tokens`: refresh_token. "The refresh token will also be updated, which will invalidate the token you
    just used", says its documentation, and shows Zoom's refusal as it came.
    """
    outcome = await stage.run(python, str(HERE / "with_pyzoom.py"), variables=variables_of(stage.zoom.user_app))

    assert outcome["seen"] == ["alice", "alice"]
    assert outcome["refusal"].endswith(': 400 {"reason":"Invalid Token!","error":"invalid_grant"}')
    assert stage.zoom.stats == {"authorization_code": {"ok": 1}, "refresh_token": {"ok": 1, "invalid_grant": 1}}


# zoomus. Basic and a form, for a server only; it asks again when it is told to.


async def test_zoomus_gets_the_token_of_a_server_and_another_one(stage: Stage, python: str) -> None:
    """`ZoomClient`, `refresh_token()`: account_credentials, account_id in the form; then `GET /v2/users`."""
    seen = await stage.run(python, str(HERE / "with_zoomus.py"), variables=variables_of(stage.zoom.credentials))

    assert seen == [[OWNER], [OWNER]]
    assert stage.zoom.stats == {"account_credentials": {"ok": 2}}


# zoom-python-client. Basic, and everything else in the query: no body, and a content type of JSON for it.


async def test_zoom_python_client_gets_the_token_of_a_server_by_a_query(stage: Stage, python: str) -> None:
    """`ZoomApiClient.init_from_env()`: account_credentials; then `GET /v2/users/{id}?`, twice."""
    command = (python, str(HERE / "with_zoom_python_client.py"), OWNER)
    seen = await stage.run(*command, variables=variables_of(stage.zoom.credentials))

    assert seen == [OWNER, OWNER]
    assert stage.zoom.stats == {"account_credentials": {"ok": 1}}


async def test_zoom_python_client_replaces_a_token_that_is_rejected(stage: Stage, python: str) -> None:
    """It finds a token in its environment, gets a 401 for it, asks for another one and repeats the call."""
    command = (python, str(HERE / "with_zoom_python_client.py"), OWNER)
    rejected = {"ZOOM_ACCESS_TOKEN": "superseded", "ZOOM_ACCESS_TOKEN_EXPIRE": "9999999999"}
    seen = await stage.run(*command, variables=variables_of(stage.zoom.credentials) | rejected)

    assert seen == [OWNER, OWNER]
    assert stage.zoom.stats == {"account_credentials": {"ok": 1}}
