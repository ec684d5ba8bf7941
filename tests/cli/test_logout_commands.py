"""`zoom-async-auth revoke` and `logout`, with Zoom down, too; and `token` for a person."""

import json
from typing import Any

import pytest

from tests.cli.conftest import Call, LogIn
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.sandbox.faults import Reply

pytestmark = pytest.mark.asyncio(loop_factories=["plain"])


@pytest.fixture
def cut_off(zoom: Zoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox fails to revoke."""
    post = zoom.post

    def fails(path: str, *rest: Any) -> Reply:
        return post("/no/such/path" if path == "/oauth/revoke" else path, *rest)

    monkeypatch.setattr(zoom, "post", fails)


async def test_a_persons_token_is_renewed_when_it_has_to_be(
    called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn
) -> None:
    """And the next one is kept, so that one login lasts."""
    zoom.token_lifetime = 0.001
    await log_in()
    zoom.token_lifetime = 3600.0
    code, first, errors = await called(person, "token", "--as-user", "--json")
    assert (code, errors) == (0, "")
    code, second, _ = await called(person, "token", "--as-user", "--json")

    assert json.loads(first)["access_token"] == json.loads(second)["access_token"]
    assert zoom.model.user_of(json.loads(second)["access_token"]) == "alice"
    assert zoom.stats == {"authorization_code": {"ok": 1}, "refresh_token": {"ok": 1}}


async def test_each_key_is_a_login_of_its_own(called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn) -> None:
    await log_in(key="work")

    assert (await called(person, "token", "--key", "work"))[0] == 0
    assert (await called(person, "token", "--as-user"))[0] == 5
    other = person | {"ZOOM_CLIENT_ID": zoom.public_app.client_id}
    assert (await called(other, "token", "--key", "work"))[0] == 5  # and each app has its own
    assert (await called(other, "token", "--key", "work", "--client-id", person["ZOOM_CLIENT_ID"]))[0] == 0
    assert zoom.stats == {"authorization_code": {"ok": 1}}


@pytest.mark.usefixtures("cut_off")
async def test_a_revocation_that_fails_leaves_all_as_it_was(
    called: Call, person: dict[str, str], log_in: LogIn
) -> None:
    """S30."""
    await log_in()
    code, shown, errors = await called(person, "revoke")

    assert (code, shown, errors.count("\n")) == (3, "", 1)
    assert (await called(person, "token", "--as-user"))[0] == 0


@pytest.mark.usefixtures("cut_off")
async def test_a_logout_forgets_whatever_zoom_says_and_tells_what_it_could_not_do(
    called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn
) -> None:
    token = await log_in()
    code, shown, errors = await called(person, "logout")

    assert (code, errors) == (0, "")
    assert shown.startswith("logged out, but only here. Zoom still takes the tokens (there is no such endpoint")
    assert shown.endswith("remove the app from your account at Zoom if somebody else may have them\n")
    assert zoom.model.user_of(token.access_token) == "alice"
    assert (await called(person, "token", "--as-user"))[0] == 5


async def test_a_local_logout_does_not_ask_zoom(
    called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn
) -> None:
    token = await log_in()
    code, shown, errors = await called(person, "logout", "--local", "--json")

    assert (code, errors) == (0, "")
    assert json.loads(shown) == {"key": "default", "revoked": False, "forgotten": True, "why_not": "it was not told"}
    assert zoom.model.user_of(token.access_token) == "alice"
    assert (await called(person, "logout"))[0] == 5


async def test_revoking_is_told_in_json(called: Call, zoom: Zoom, person: dict[str, str], log_in: LogIn) -> None:
    token = await log_in()
    code, shown, errors = await called(person, "revoke", "--json")

    assert (code, errors) == (0, "")
    assert json.loads(shown) == {"key": "default", "revoked": True, "forgotten": True}
    assert zoom.model.user_of(token.access_token) is None
