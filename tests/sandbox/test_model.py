"""Zoom's rules, line by line as in the docstring of `model.py`, with a clock and a randomness that the tests hold."""

import itertools
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any

import pytest

from zoom_async_auth.oauth.authorize import code_challenge
from zoom_async_auth.sandbox.model import (
    BAD_REQUEST,
    DEVICE_GRANT,
    INVALID_CLIENT,
    INVALID_TOKEN,
    Answer,
    App,
    Model,
    Refusal,
)
from zoom_async_auth.testing import ManualClock

PERSONAL = frozenset({"authorization_code", "refresh_token", DEVICE_GRANT})
URI = "http://127.0.0.1/callback"
VERIFIER = "v" * 43

SERVER = App(client_id="server", client_secret="s1", grants=frozenset({"account_credentials"}), account_id="account")
BOT = App(client_id="bot", client_secret="s2", grants=frozenset({"client_credentials"}), scope="imchat:bot")
PERSON = App(client_id="person", client_secret="s3", grants=PERSONAL, redirect_uris=(URI,))
PUBLIC = App(client_id="public", client_secret=None, grants=PERSONAL, redirect_uris=(URI,))


def make_model(clock: ManualClock, *, reuse_grace: float = 0.0, token_lifetime: float = 3600.0) -> Model:
    counter = itertools.count()
    return Model(
        (SERVER, BOT, PERSON, PUBLIC),
        now=clock.time,
        random_bytes=lambda length: next(counter).to_bytes(length, "big"),
        token_lifetime=token_lifetime,
        reuse_grace=reuse_grace,
    )


@pytest.fixture
def model(clock: ManualClock) -> Model:
    return make_model(clock)


def granted(answer: Answer) -> dict[str, Any]:
    assert not isinstance(answer, Refusal), answer
    return answer


def own_token(model: Model) -> str:
    answer = granted(model.token(SERVER, {"grant_type": "account_credentials", "account_id": "account"}))
    return str(answer["access_token"])


def redeem(model: Model, code: str, *, app: App = PERSON, **changes: str) -> Answer:
    return model.token(app, {"grant_type": "authorization_code", "code": code, "redirect_uri": URI, **changes})


def authorized(model: Model, user: str = "alice", *, app: App = PERSON) -> dict[str, Any]:
    return granted(redeem(model, model.authorize(app, user, redirect_uri=URI), app=app))


def refresh(model: Model, refresh_token: str, *, app: App = PERSON) -> Answer:
    return model.token(app, {"grant_type": "refresh_token", "refresh_token": refresh_token})


def poll(model: Model, device_code: str, *, app: App = PERSON) -> Answer:
    return model.token(app, {"grant_type": DEVICE_GRANT, "device_code": device_code})


def error_of(answer: Answer) -> str:
    return answer.error if isinstance(answer, Refusal) else "no error"


def claims_of(token: str) -> Mapping[str, Any]:
    claims: Mapping[str, Any] = json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
    return claims


# client_id and secret must belong together


@pytest.mark.parametrize(("app", "secret"), [(SERVER, "s1"), (PERSON, "s3"), (PUBLIC, None)])
def test_an_app_proves_itself_by_its_own_secret(model: Model, app: App, secret: str | None) -> None:
    assert model.client(app.client_id, secret) is app


@pytest.mark.parametrize(
    ("client_id", "secret"),
    [
        ("server", "s2"),  # of another app
        ("server", "S1"),
        ("server", "sé"),
        ("server", ""),
        ("server", None),  # as a public client
        ("public", ""),
        ("public", "s1"),
        ("nobody", "s1"),
        ("nobody", None),
    ],
)
def test_any_other_pair_is_an_invalid_client(model: Model, client_id: str, secret: str | None) -> None:
    assert model.client(client_id, secret) is INVALID_CLIENT


# the grant type must be one of the app


@pytest.mark.parametrize(
    ("app", "grant_type"),
    [(SERVER, "client_credentials"), (BOT, "account_credentials"), (PERSON, "account_credentials"), (BOT, "password")],
)
def test_a_grant_of_another_kind_of_app_is_unsupported(model: Model, app: App, grant_type: str) -> None:
    form = {"grant_type": grant_type, "account_id": "account"}

    assert model.token(app, form) == Refusal(400, "unsupported_grant_type", "unsupported grant type")


def test_a_request_without_a_grant_type_is_bad(model: Model) -> None:
    assert model.token(SERVER, {"account_id": "account"}) is BAD_REQUEST


@pytest.mark.parametrize("form", [{}, {"account_id": ""}, {"account_id": "another"}])
def test_a_server_to_server_app_must_name_its_account(model: Model, form: dict[str, str]) -> None:
    """Zoom's answer to a wrong account id is a bare "Bad Request"."""
    assert model.token(SERVER, {"grant_type": "account_credentials", **form}) is BAD_REQUEST


# an authorization code: five minutes, one use, its own redirect URI and PKCE challenge


def test_a_code_becomes_tokens_of_the_person_who_allowed_it(model: Model) -> None:
    answer = authorized(model, "bob")

    assert list(answer) == ["access_token", "token_type", "refresh_token", "expires_in", "scope"]
    assert model.user_of(answer["access_token"]) == "bob"


def test_a_code_works_once(model: Model) -> None:
    code = model.authorize(PERSON, "alice", redirect_uri=URI)
    granted(redeem(model, code))

    assert error_of(redeem(model, code)) == "invalid_grant"


@pytest.mark.parametrize(("age", "error"), [(299.0, "no error"), (300.0, "invalid_grant")])
def test_a_code_lives_for_five_minutes(model: Model, clock: ManualClock, age: float, error: str) -> None:
    code = model.authorize(PERSON, "alice", redirect_uri=URI)
    clock.advance(age)

    assert error_of(redeem(model, code)) == error


def test_a_code_is_worthless_to_another_app(model: Model) -> None:
    code = model.authorize(PERSON, "alice", redirect_uri=URI)

    assert error_of(redeem(model, code, app=PUBLIC)) == "invalid_grant"


@pytest.mark.parametrize("uri", ["", URI + "/", URI.replace("callback", "Callback"), URI + "?", "http://127.0.0.1"])
def test_a_code_wants_its_own_redirect_uri_to_the_letter(model: Model, uri: str) -> None:
    """As at Zoom; and who guessed wrong has spent the code (S27)."""
    code = model.authorize(PERSON, "alice", redirect_uri=URI)

    assert redeem(model, code, redirect_uri=uri) == Refusal(400, "invalid_request", "Redirect URI mismatch")
    assert error_of(redeem(model, code)) == "invalid_grant"


def test_a_code_request_without_a_redirect_uri_is_refused(model: Model) -> None:
    code = model.authorize(PERSON, "alice", redirect_uri=URI)

    assert error_of(model.token(PERSON, {"grant_type": "authorization_code", "code": code})) == "invalid_request"


def test_a_code_with_a_challenge_wants_its_verifier(model: Model) -> None:
    """S23."""
    code = model.authorize(PUBLIC, "alice", redirect_uri=URI, challenge=code_challenge(VERIFIER))

    assert error_of(redeem(model, code, app=PUBLIC, code_verifier=VERIFIER)) == "no error"


@pytest.mark.parametrize("form", [{}, {"code_verifier": "w" * 43}, {"code_verifier": code_challenge(VERIFIER)}])
def test_a_code_with_a_challenge_takes_no_other_verifier(model: Model, form: dict[str, str]) -> None:
    """Nor none, nor the challenge itself, which would be the method "plain" (S23)."""
    code = model.authorize(PUBLIC, "alice", redirect_uri=URI, challenge=code_challenge(VERIFIER))

    assert redeem(model, code, app=PUBLIC, **form) == Refusal(400, "invalid_grant", "Invalid code verifier")


# a refresh token: one use, the answer has the next


def test_a_refresh_brings_a_new_pair_for_the_same_person(model: Model) -> None:
    """The access token before lives on: callers may have it on the wire."""
    first = authorized(model, "bob")

    second = granted(refresh(model, first["refresh_token"]))

    assert list(second) == list(first)
    assert len({first["access_token"], first["refresh_token"], second["access_token"], second["refresh_token"]}) == 4
    assert model.user_of(second["access_token"]) == model.user_of(first["access_token"]) == "bob"


def test_a_refresh_token_works_once_and_the_next_one_lives(model: Model) -> None:
    """Sent twice, it is refused in Zoom's words: the fault that parallel refreshes run into."""
    first = authorized(model)
    second = granted(refresh(model, first["refresh_token"]))

    assert refresh(model, first["refresh_token"]) is INVALID_TOKEN
    assert error_of(refresh(model, second["refresh_token"])) == "no error"


@pytest.mark.parametrize("token", ["", "made-up"])
def test_a_made_up_refresh_token_is_invalid(model: Model, token: str) -> None:
    authorized(model)

    assert refresh(model, token) is INVALID_TOKEN


def test_an_access_token_is_no_refresh_token(model: Model) -> None:
    assert refresh(model, authorized(model)["access_token"]) is INVALID_TOKEN


def test_a_refresh_token_is_worthless_to_another_app(model: Model) -> None:
    token = authorized(model)["refresh_token"]

    assert refresh(model, token, app=PUBLIC) is INVALID_TOKEN
    assert error_of(refresh(model, token)) == "no error"


@pytest.mark.parametrize(("after", "error"), [(29.0, "no error"), (30.0, "invalid_grant")])
def test_a_grace_lets_a_lost_answer_heal(clock: ManualClock, after: float, error: str) -> None:
    """What a server with a reuse window does: the same token again brings a pair, for a while (F28 B)."""
    model = make_model(clock, reuse_grace=30.0)
    first = authorized(model)
    granted(refresh(model, first["refresh_token"]))
    clock.advance(after)

    assert error_of(refresh(model, first["refresh_token"])) == error


def test_within_the_grace_the_pair_of_the_lost_answer_gives_way_to_the_new_one(clock: ManualClock) -> None:
    model = make_model(clock, reuse_grace=30.0)
    first = authorized(model)
    lost = granted(refresh(model, first["refresh_token"]))
    healed = granted(refresh(model, first["refresh_token"]))
    clock.advance(30.0)

    assert refresh(model, lost["refresh_token"]) is INVALID_TOKEN
    assert error_of(refresh(model, healed["refresh_token"])) == "no error"


# authorizing again


def test_authorizing_again_kills_all_earlier_tokens_of_that_person_and_app(model: Model) -> None:
    """ "The last token issued is considered valid, and the previous ones are invalidated" (4741; F74)."""
    first = authorized(model)
    second = granted(refresh(model, first["refresh_token"]))
    third = authorized(model)

    assert [model.user_of(pair["access_token"]) for pair in (first, second, third)] == [None, None, "alice"]
    assert refresh(model, second["refresh_token"]) is INVALID_TOKEN
    assert error_of(refresh(model, third["refresh_token"])) == "no error"


def test_authorizing_again_harms_no_other_person_and_no_other_app(model: Model) -> None:
    bob, elsewhere = authorized(model, "bob"), authorized(model, app=PUBLIC)
    authorized(model)
    authorized(model)

    assert [model.user_of(pair["access_token"]) for pair in (bob, elsewhere)] == ["bob", "alice"]
    assert error_of(refresh(model, bob["refresh_token"])) == "no error"
    assert error_of(refresh(model, elsewhere["refresh_token"], app=PUBLIC)) == "no error"


# revoking


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_revoking_one_of_a_pair_kills_both(model: Model, kind: str) -> None:
    """Zoom writes that access and refresh token die at once (S30)."""
    pair = authorized(model)

    assert model.revoke(PERSON, pair[kind]) == {"status": "success"}

    assert model.user_of(pair["access_token"]) is None
    assert refresh(model, pair["refresh_token"]) is INVALID_TOKEN


def test_who_has_authorized_an_app_is_known_until_it_is_taken_back(model: Model) -> None:
    alice = authorized(model)
    authorized(model, "bob")
    authorized(model, "bob")
    assert model.persons("person") == ["alice", "bob"]
    assert model.persons("public") == []

    model.revoke(PERSON, alice["access_token"])

    assert model.persons("person") == ["bob"]


def test_revoking_an_apps_own_token_leaves_the_others(model: Model) -> None:
    one, other = own_token(model), own_token(model)

    model.revoke(SERVER, one)

    assert [model.user_of(token) for token in (one, other)] == [None, "account-owner"]


def test_an_unknown_token_counts_as_revoked(model: Model) -> None:
    """RFC 7009, section 2.2: there is nothing that the client could do about it (S30)."""
    pair = authorized(model)

    assert model.revoke(PERSON, "made-up") == {"status": "success"}
    assert model.user_of(pair["access_token"]) == "alice"


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_nobody_revokes_the_token_of_another_app(model: Model, kind: str) -> None:
    """RFC 7009, section 2.1."""
    pair = authorized(model)

    model.revoke(PUBLIC, pair[kind])

    assert model.user_of(pair["access_token"]) == "alice"
    assert error_of(refresh(model, pair["refresh_token"])) == "no error"


# an app's own tokens


def test_an_apps_own_tokens_live_side_by_side(model: Model) -> None:
    """So any number of processes may mint their own."""
    tokens = [own_token(model) for _ in range(3)]

    assert len(set(tokens)) == 3
    assert [model.user_of(token) for token in tokens] == ["account-owner"] * 3


def test_an_apps_own_token_has_no_refresh_token(model: Model) -> None:
    answer = granted(model.token(BOT, {"grant_type": "client_credentials"}))

    assert list(answer) == ["access_token", "token_type", "expires_in", "scope"]
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("bearer", 3600, "imchat:bot")


# a device


@pytest.fixture
def device(model: Model) -> dict[str, Any]:
    return granted(model.device(PERSON))


def test_a_device_gets_a_code_for_itself_and_one_for_the_person(device: dict[str, Any]) -> None:
    assert list(device) == ["device_code", "user_code", "expires_in", "interval"]
    assert (device["expires_in"], device["interval"], len(device["user_code"])) == (900, 5, 8)
    assert set(device["user_code"]) <= set("BCDFGHJKLMNPQRSTVWXZ")  # no vowel, no word; nothing to mistake


def test_an_app_that_is_not_for_devices_gets_none(model: Model) -> None:
    assert error_of(model.device(SERVER)) == "unauthorized_client"


def test_a_device_waits_for_the_person(model: Model, device: dict[str, Any]) -> None:
    assert error_of(poll(model, device["device_code"])) == "authorization_pending"


@pytest.mark.parametrize(("pause", "error"), [(4.0, "slow_down"), (5.0, "authorization_pending")])
def test_a_device_that_asks_too_often_is_told_to_slow_down(
    model: Model, clock: ManualClock, device: dict[str, Any], pause: float, error: str
) -> None:
    """Five seconds from one question to the next, not from the first one (S29)."""
    poll(model, device["device_code"])
    clock.advance(5.0)
    poll(model, device["device_code"])
    clock.advance(pause)

    assert error_of(poll(model, device["device_code"])) == error


def test_a_question_that_comes_too_early_starts_the_interval_anew(
    model: Model, clock: ManualClock, device: dict[str, Any]
) -> None:
    """Who asks every three seconds is never answered, though the person has long allowed it."""
    poll(model, device["device_code"])
    model.decide_device(device["user_code"], "alice", allow=True)
    errors: list[str] = []
    for pause in (3.0, 3.0, 5.0):
        clock.advance(pause)
        errors.append(error_of(poll(model, device["device_code"])))

    assert errors == ["slow_down", "slow_down", "no error"]


def test_an_allowed_device_gets_the_tokens_of_that_person_once(
    model: Model, clock: ManualClock, device: dict[str, Any]
) -> None:
    assert model.decide_device(device["user_code"], "bob", allow=True)

    answer = granted(poll(model, device["device_code"]))
    clock.advance(5.0)

    assert model.user_of(answer["access_token"]) == "bob"
    assert error_of(refresh(model, answer["refresh_token"])) == "no error"
    assert error_of(poll(model, device["device_code"])) == "invalid_grant"


def test_a_device_that_is_allowed_kills_the_earlier_tokens_of_that_person(model: Model, device: dict[str, Any]) -> None:
    """It is an authorization like any other."""
    earlier = authorized(model)
    model.decide_device(device["user_code"], "alice", allow=True)
    granted(poll(model, device["device_code"]))

    assert model.user_of(earlier["access_token"]) is None


def test_a_denied_device_is_told_so(model: Model, device: dict[str, Any]) -> None:
    assert model.decide_device(device["user_code"], "alice", allow=False)

    assert error_of(poll(model, device["device_code"])) == "access_denied"


@pytest.mark.parametrize(("age", "error"), [(899.0, "no error"), (900.0, "expired_token")])
def test_a_device_code_lives_for_fifteen_minutes(
    model: Model, clock: ManualClock, device: dict[str, Any], age: float, error: str
) -> None:
    """Allowed or not (S29)."""
    model.decide_device(device["user_code"], "alice", allow=True)
    clock.advance(age)

    assert error_of(poll(model, device["device_code"])) == error


@pytest.mark.parametrize(("age", "known"), [(899.0, True), (900.0, False)])
def test_nobody_decides_for_a_device_that_has_given_up(
    model: Model, clock: ManualClock, device: dict[str, Any], *, age: float, known: bool
) -> None:
    clock.advance(age)

    assert model.decide_device(device["user_code"], "alice", allow=True) is known


def test_a_decision_stands(model: Model, device: dict[str, Any]) -> None:
    """A second person who finds the code on the screen cannot take the device over."""
    model.decide_device(device["user_code"], "alice", allow=False)

    assert not model.decide_device(device["user_code"], "mallory", allow=True)
    assert error_of(poll(model, device["device_code"])) == "access_denied"


def test_a_decision_is_for_the_device_with_that_code(model: Model, device: dict[str, Any]) -> None:
    other = granted(model.device(PERSON))
    model.decide_device(other["user_code"], "alice", allow=True)

    assert not model.decide_device("BCDFGHJK", "alice", allow=True)
    assert error_of(poll(model, device["device_code"])) == "authorization_pending"


def test_a_device_code_is_worthless_to_another_app(model: Model, device: dict[str, Any]) -> None:
    model.decide_device(device["user_code"], "alice", allow=True)

    assert error_of(poll(model, device["device_code"], app=PUBLIC)) == "invalid_grant"
    assert error_of(poll(model, device["device_code"])) == "no error"


# whose token it is


def test_a_token_is_good_until_it_expires(model: Model, clock: ManualClock) -> None:
    token = own_token(model)
    clock.advance(3599.0)
    assert model.user_of(token) == "account-owner"

    clock.advance(1.0)
    assert model.user_of(token) is None


def test_a_made_up_token_is_nobodys(model: Model) -> None:
    assert model.user_of("made-up") is None


def test_a_rejected_token_is_refused_alone(model: Model) -> None:
    """A revoked or superseded token, as the API sees it."""
    rejected, other = own_token(model), own_token(model)

    model.reject(rejected)

    assert [model.user_of(token) for token in (rejected, other)] == [None, "account-owner"]


def test_a_lifetime_holds_for_the_tokens_from_then_on(model: Model, clock: ManualClock) -> None:
    earlier = own_token(model)
    model.token_lifetime = 60.0
    later = own_token(model)
    clock.advance(60.0)

    assert [model.user_of(token) for token in (earlier, later)] == ["account-owner", None]


# what an answer says


@pytest.mark.parametrize(("lifetime", "shown"), [(3600.0, "3600"), (1.6, "1.6")])
def test_a_lifetime_of_whole_seconds_is_shown_as_zoom_shows_it(clock: ManualClock, lifetime: float, shown: str) -> None:
    """An integer; a fraction is the sandbox's own, and no second is lost by it."""
    answer = granted(make_model(clock, token_lifetime=lifetime).token(BOT, {"grant_type": "client_credentials"}))

    assert json.dumps(answer["expires_in"]) == shown


def test_the_claims_say_who_for_and_how_long(model: Model, clock: ManualClock) -> None:
    """Fifteen years for a refresh token, as in the sample, whatever becomes of it."""
    answer = authorized(model, "bob")
    access, refresh = (claims_of(answer[kind]) for kind in ("access_token", "refresh_token"))

    assert (access["clientId"], access["userId"], access["tokenType"]) == ("person", "bob", "access_token")
    assert (refresh["clientId"], refresh["userId"], refresh["tokenType"]) == ("person", "bob", "refresh_token")
    assert access["iat"] == refresh["iat"] == clock.time()
    assert (access["exp"] - access["iat"], refresh["exp"] - refresh["iat"]) == (3600, 473_040_000)


def test_a_server_to_server_token_names_its_account(model: Model) -> None:
    assert claims_of(own_token(model))["accountId"] == "account"


def test_a_refusal_has_zooms_two_fields_in_zooms_order() -> None:
    """`reason`, not `error_description`; it may be absent."""
    assert list(INVALID_TOKEN.body().items()) == [("reason", "Invalid Token!"), ("error", "invalid_grant")]
    assert Refusal(400, "invalid_grant").body() == {"error": "invalid_grant"}


def test_an_app_does_not_show_its_secret() -> None:
    """S5."""
    assert "a secret" not in repr(App(client_id="app", client_secret="a secret", grants=PERSONAL))
