"""Zoom at the level of requests and replies, without sockets: what it reads, what it refuses, what it counts."""

import json
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

import pytest

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.authorize import code_challenge
from zoom_async_auth.oauth.credentials import UserOAuth
from zoom_async_auth.sandbox import Zoom
from zoom_async_auth.sandbox.faults import Reply
from zoom_async_auth.sandbox.model import DEVICE_GRANT
from zoom_async_auth.testing import ManualClock

FORM = "application/x-www-form-urlencoded"
INVALID_CLIENT = b'{"reason":"Invalid client_id or client_secret","error":"invalid_client"}'
ALICE = {"id": "alice", "display_name": "Alice", "email": "alice@example.com", "type": 1}
BAD_REQUEST = b'{"reason":"Bad Request","error":"invalid_request"}'


@pytest.fixture
def zoom(clock: ManualClock) -> Zoom:
    return Zoom(clock=clock.time)


def basic(client_id: str, client_secret: str | None) -> str:
    return f"Basic {b64encode(f'{client_id}:{client_secret}'.encode()).decode()}"


def post(zoom: Zoom, path: str, authorization: str | None, form: dict[str, str]) -> Reply:
    headers = {"Content-Type": FORM} | ({} if authorization is None else {"Authorization": authorization})
    return zoom.post(path, headers, urlencode(form).encode())


def content(reply: Reply) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(reply.body)
    return answer


def own_form(zoom: Zoom) -> dict[str, str]:
    return {"grant_type": "account_credentials", "account_id": zoom.credentials.account_id}


def own_basic(zoom: Zoom) -> str:
    return basic(zoom.credentials.client_id, zoom.credentials.client_secret)


def own_token(zoom: Zoom) -> str:
    return str(content(post(zoom, "/oauth/token", own_basic(zoom), own_form(zoom)))["access_token"])


def user_basic(zoom: Zoom) -> str:
    return basic(zoom.user_app.client_id, zoom.user_app.client_secret)


def code_form(zoom: Zoom, code: str, **more: str) -> dict[str, str]:
    return {"grant_type": "authorization_code", "code": code, "redirect_uri": zoom.redirect_uri, **more}


def personal_pair(zoom: Zoom) -> dict[str, Any]:
    return content(post(zoom, "/oauth/token", user_basic(zoom), code_form(zoom, zoom.authorize())))


def refreshed(zoom: Zoom, refresh_token: str) -> Reply:
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return post(zoom, "/oauth/token", user_basic(zoom), form)


# A good request


def test_an_app_gets_its_token_with_the_address_of_the_api(zoom: Zoom) -> None:
    reply = post(zoom, "/oauth/token", own_basic(zoom), own_form(zoom))
    answer = content(reply)

    assert reply.status == 200
    assert list(answer) == ["access_token", "token_type", "expires_in", "scope", "api_url"]
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("bearer", 3600, "user:read:admin")
    assert answer["api_url"] == zoom.url


def test_a_person_gets_a_refresh_token_too(zoom: Zoom) -> None:
    """In the order of the mission's sample."""
    expected = ["access_token", "token_type", "refresh_token", "expires_in", "scope", "api_url"]

    assert list(personal_pair(zoom)) == expected


def test_an_app_acts_as_itself(zoom: Zoom) -> None:
    own = zoom.client_credentials
    form = {"grant_type": "client_credentials"}

    assert content(post(zoom, "/oauth/token", basic(own.client_id, own.client_secret), form))["scope"] == "imchat:bot"


def test_header_names_and_schemes_have_no_case(zoom: Zoom) -> None:
    """As in HTTP, whatever a client or a proxy makes of them."""
    headers = {
        "CONTENT-TYPE": "Application/X-WWW-Form-Urlencoded; charset=utf-8",
        "authorization": own_basic(zoom).replace("Basic", "BASIC"),
    }

    assert zoom.post("/oauth/token", headers, urlencode(own_form(zoom)).encode()).status == 200


def test_an_answer_is_kept_by_no_cache_and_can_be_traced(zoom: Zoom) -> None:
    """RFC 6749, section 5.1; Zoom's support asks for the id."""
    replies = [post(zoom, "/oauth/token", own_basic(zoom), form) for form in (own_form(zoom), {})]

    assert {reply.headers["Cache-Control"] for reply in replies} == {"no-store"}
    assert {reply.headers["Content-Type"] for reply in replies} == {"application/json"}
    assert len({reply.headers["x-zm-trackingid"] for reply in replies}) == 2


# Who asks


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic ???",
        "Basic bm8tY29sb24=",  # no-colon
        "Basic /zph",  # no UTF-8
        basic("somebody", "else"),
        basic("", ""),
    ],
)
def test_what_is_not_the_basic_of_an_app_is_an_invalid_client(zoom: Zoom, authorization: str) -> None:
    """In Zoom's words and in its order of the fields."""
    reply = post(zoom, "/oauth/token", authorization, own_form(zoom))

    assert (reply.status, reply.body) == (401, INVALID_CLIENT)


def test_a_wrong_secret_is_an_invalid_client(zoom: Zoom) -> None:
    reply = post(zoom, "/oauth/token", basic(zoom.credentials.client_id, "wrong"), own_form(zoom))

    assert (reply.status, reply.body) == (401, INVALID_CLIENT)


@pytest.mark.parametrize("spelling", ["Bearer {}", "Digest {}", "{}", "Basic {}!", "Basic !{}"])
def test_the_right_pair_spelled_otherwise_is_an_invalid_client(zoom: Zoom, spelling: str) -> None:
    pair = own_basic(zoom).removeprefix("Basic ")
    reply = post(zoom, "/oauth/token", spelling.format(pair), own_form(zoom))

    assert (reply.status, reply.body) == (401, INVALID_CLIENT)


def test_a_secret_in_the_form_proves_nothing(zoom: Zoom) -> None:
    """Zoom wants Basic; a client that tries the other style fails here as it does there (S21)."""
    secret = zoom.credentials.client_secret
    form = {**own_form(zoom), "client_id": zoom.credentials.client_id, "client_secret": secret}

    assert post(zoom, "/oauth/token", None, form).body == INVALID_CLIENT


def test_a_public_client_names_itself_in_the_form_and_proves_itself_by_pkce(zoom: Zoom) -> None:
    verifier, client_id = "v" * 43, zoom.public_app.client_id
    code = zoom.authorize(app=zoom.public_app, code_challenge=code_challenge(verifier))

    pair = content(post(zoom, "/oauth/token", None, code_form(zoom, code, client_id=client_id, code_verifier=verifier)))
    form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"], "client_id": client_id}

    assert post(zoom, "/oauth/token", None, form).status == 200


def test_a_public_client_has_no_basic(zoom: Zoom) -> None:
    form = code_form(zoom, zoom.authorize(app=zoom.public_app))

    assert post(zoom, "/oauth/token", basic(zoom.public_app.client_id, ""), form).body == INVALID_CLIENT


def test_without_any_name_the_client_is_invalid(zoom: Zoom) -> None:
    assert post(zoom, "/oauth/token", None, own_form(zoom)).body == INVALID_CLIENT


# What a request looks like


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data", "text/plain", FORM + "x"])
def test_a_body_is_read_as_a_form_only_if_it_says_so(zoom: Zoom, content_type: str) -> None:
    """The seed's client sent this content type; Zoom takes no JSON."""
    headers = {"Content-Type": content_type, "Authorization": own_basic(zoom)}
    reply = zoom.post("/oauth/token", headers, urlencode(own_form(zoom)).encode())

    assert (reply.status, reply.body) == (400, BAD_REQUEST)


@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=client_credentials&grant_type=client_credentials",
        b"grant_type=client_credentials&x=1&x=",
        b"grant_type=client_credentials&x=%FF",
        b"grant_type=client_credentials&x=\xc3\xa9",
        b"",
    ],
)
def test_a_form_with_a_field_twice_or_of_no_text_is_bad(zoom: Zoom, body: bytes) -> None:
    """RFC 6749, section 3.2: request parameters must not be included more than once."""
    own = zoom.client_credentials
    headers = {"Content-Type": FORM, "Authorization": basic(own.client_id, own.client_secret)}
    reply = zoom.post("/oauth/token", headers, body)

    assert (reply.status, reply.body) == (400, BAD_REQUEST)


@pytest.mark.parametrize("secret", ["client_secret", "code", "code_verifier", "device_code", "refresh_token", "token"])
@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke"])
def test_a_secret_in_the_query_is_bad(zoom: Zoom, path: str, secret: str) -> None:
    """It would end in logs: a client that puts it there has to fail here, though Zoom may take it (S20)."""
    body = urlencode({**own_form(zoom), "token": "x"} if secret != "token" else own_form(zoom)).encode()
    reply = zoom.post(path, {"Content-Type": FORM, "Authorization": own_basic(zoom)}, body, query=f"{secret}=x")

    assert (reply.status, reply.body) == (400, BAD_REQUEST)


@pytest.mark.parametrize("query", ["account_id=x", "x=1&x=2", "x=%FF"])
def test_a_query_is_read_like_a_form_and_with_it(zoom: Zoom, query: str) -> None:
    headers = {"Content-Type": FORM, "Authorization": own_basic(zoom)}
    answers = [zoom.post("/oauth/token", headers, urlencode(own_form(zoom)).encode(), q) for q in ("x=1", query)]

    assert [answer.status for answer in answers] == [200, 400]


def test_a_query_makes_no_form_of_another_body(zoom: Zoom) -> None:
    query = urlencode(own_form(zoom))
    reply = zoom.post("/oauth/token", {"Authorization": own_basic(zoom)}, b"{}", query)

    assert (reply.status, reply.body) == (400, BAD_REQUEST)


def test_an_empty_field_is_a_field(zoom: Zoom) -> None:
    """An empty account id is a wrong one, not a missing one; and a verifier may not be emptied."""
    code = zoom.authorize(code_challenge=code_challenge("v" * 43))
    reply = post(zoom, "/oauth/token", user_basic(zoom), code_form(zoom, code, code_verifier=""))

    assert reply.body == b'{"reason":"Invalid code verifier","error":"invalid_grant"}'


def test_a_refusal_is_zooms_to_the_letter(zoom: Zoom) -> None:
    reply = refreshed(zoom, "made-up")

    assert (reply.status, reply.body) == (400, b'{"reason":"Invalid Token!","error":"invalid_grant"}')


@pytest.mark.parametrize("path", ["/", "/oauth", "/oauth/token/", "/oauth/introspect", "/OAUTH/TOKEN"])
def test_an_unknown_path_answers_404_and_counts_for_nothing(zoom: Zoom, path: str) -> None:
    assert post(zoom, path, own_basic(zoom), own_form(zoom)).status == 404
    assert zoom.token_requests == 0


# Revoking, devices, the API, the metadata


def test_a_revoked_token_is_refused_by_the_api(zoom: Zoom) -> None:
    """S30."""
    token = own_token(zoom)
    reply = post(zoom, "/oauth/revoke", own_basic(zoom), {"token": token})

    assert (reply.status, reply.body) == (200, b'{"status":"success"}')
    assert zoom.me(f"Bearer {token}").status == 401


def test_only_an_app_revokes_and_only_a_token(zoom: Zoom) -> None:
    token = own_token(zoom)

    assert post(zoom, "/oauth/revoke", basic("somebody", "else"), {"token": token}).body == INVALID_CLIENT
    assert post(zoom, "/oauth/revoke", own_basic(zoom), {}).body == BAD_REQUEST
    assert zoom.post("/oauth/revoke", {"Authorization": own_basic(zoom)}, f"token={token}".encode()).body == BAD_REQUEST
    assert zoom.me(f"Bearer {token}").status == 200


def test_a_device_learns_where_the_person_has_to_go(zoom: Zoom) -> None:
    client_id = zoom.user_app.client_id
    answer = content(post(zoom, "/oauth/devicecode", user_basic(zoom), {"client_id": client_id}))
    page = f"{zoom.url}/oauth/device"

    assert list(answer)[-2:] == ["verification_uri", "verification_uri_complete"]
    assert answer["verification_uri"] == page
    assert answer["verification_uri_complete"] == f"{page}?user_code={answer['user_code']}"


def test_a_device_request_names_its_client_in_the_form_though_it_has_basic(zoom: Zoom) -> None:
    """Zoom's rule, which RFC 8628 does not have."""
    assert post(zoom, "/oauth/devicecode", user_basic(zoom), {}).body == BAD_REQUEST
    assert zoom.post("/oauth/devicecode", {"Authorization": user_basic(zoom)}, b"client_id=x").body == BAD_REQUEST


def test_an_app_that_is_not_for_devices_is_refused(zoom: Zoom) -> None:
    reply = post(zoom, "/oauth/devicecode", own_basic(zoom), {"client_id": zoom.credentials.client_id})

    assert content(reply)["error"] == "unauthorized_client"


def test_a_public_device_polls_without_basic(zoom: Zoom) -> None:
    form = {"client_id": zoom.public_app.client_id}
    device = content(post(zoom, "/oauth/devicecode", None, form))
    reply = post(zoom, "/oauth/token", None, {**form, "grant_type": DEVICE_GRANT, "device_code": device["device_code"]})

    assert content(reply)["error"] == "authorization_pending"


def test_the_api_knows_whose_token_it_is(zoom: Zoom) -> None:
    token = personal_pair(zoom)["access_token"]

    for scheme in ("Bearer", "bearer"):
        assert content(zoom.me(f"{scheme} {token}")) == ALICE


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer made-up", "Basic {token}", "{token}"])
def test_the_api_answers_anything_else_with_code_124(zoom: Zoom, authorization: str) -> None:
    reply = zoom.me(authorization.format(token=own_token(zoom)))

    assert (reply.status, reply.body) == (401, b'{"code":124,"message":"Invalid access token."}')


def test_the_api_refuses_a_token_that_the_test_has_rejected(zoom: Zoom) -> None:
    rejected, other = own_token(zoom), own_token(zoom)

    zoom.reject(rejected)

    assert [zoom.me(f"Bearer {token}").status for token in (rejected, other)] == [401, 200]


def test_who_takes_the_app_off_is_known_to_neither_endpoint_nor_api(zoom: Zoom) -> None:
    pair = personal_pair(zoom)

    zoom.take_off("bob")
    assert zoom.me(f"Bearer {pair['access_token']}").status == 200
    zoom.take_off("alice")

    assert zoom.me(f"Bearer {pair['access_token']}").status == 401
    assert content(refreshed(zoom, pair["refresh_token"]))["error"] == "invalid_grant"


def test_the_metadata_names_what_is_served(zoom: Zoom) -> None:
    """RFC 8414; the URL may change when the server has found its port."""
    zoom.url = "http://127.0.0.1:1234"

    assert content(zoom.metadata()) == {
        "issuer": "http://127.0.0.1:1234",
        "authorization_endpoint": "http://127.0.0.1:1234/oauth/authorize",
        "token_endpoint": "http://127.0.0.1:1234/oauth/token",
        "revocation_endpoint": "http://127.0.0.1:1234/oauth/revoke",
        "device_authorization_endpoint": "http://127.0.0.1:1234/oauth/devicecode",
        "response_types_supported": ["code"],
        "grant_types_supported": [
            "account_credentials",
            "authorization_code",
            "client_credentials",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
        "code_challenge_methods_supported": ["S256"],
    }


# What a test can set, and read


def test_an_outage_answers_like_a_gateway_and_spends_nothing(zoom: Zoom) -> None:
    """HTML, whatever was sent; afterwards code and refresh token are as good as before."""
    code, refresh_token = zoom.authorize("bob"), personal_pair(zoom)["refresh_token"]
    zoom.outage = 503
    replies = [post(zoom, "/oauth/token", user_basic(zoom), code_form(zoom, code)), refreshed(zoom, refresh_token)]
    zoom.outage = None

    assert [(reply.status, reply.headers["Content-Type"]) for reply in replies] == [(503, "text/html")] * 2
    assert refreshed(zoom, refresh_token).status == 200
    assert post(zoom, "/oauth/token", user_basic(zoom), code_form(zoom, code)).status == 200


def test_an_outage_is_one_of_the_token_endpoint_alone(zoom: Zoom) -> None:
    token = own_token(zoom)
    zoom.outage = 500

    assert zoom.me(f"Bearer {token}").status == 200
    assert post(zoom, "/oauth/revoke", own_basic(zoom), {"token": token}).status == 200


def test_every_token_request_is_counted_by_grant_and_outcome(zoom: Zoom) -> None:
    """Tests of clients count with this; what a stranger sends does not become a key of it."""
    own_token(zoom)
    own_token(zoom)
    post(zoom, "/oauth/token", basic("somebody", "else"), own_form(zoom))
    refreshed(zoom, "made-up")
    for form in ({}, {"grant_type": "password"}, {"grant_type": "<script>"}):
        post(zoom, "/oauth/token", own_basic(zoom), form)
    zoom.post("/oauth/token", {}, b"{}")
    post(zoom, "/oauth/revoke", own_basic(zoom), {"token": "made-up"})
    zoom.outage = 503
    post(zoom, "/oauth/token", own_basic(zoom), own_form(zoom))

    expected = {
        "account_credentials": {"ok": 2, "invalid_client": 1, "outage": 1},
        "refresh_token": {"invalid_grant": 1},
        "none": {"invalid_request": 1},
        "other": {"unsupported_grant_type": 2},
        "unreadable": {"invalid_request": 1},
    }
    assert zoom.stats == expected
    assert zoom.token_requests == 9
    assert content(zoom.statistics()) == {"token_requests": 9, "by_grant": expected}


def test_a_lifetime_may_be_changed_at_any_time(zoom: Zoom, clock: ManualClock) -> None:
    zoom.token_lifetime = 60.0
    token = own_token(zoom)
    clock.advance(60.0)

    assert zoom.token_lifetime == 60.0
    assert zoom.me(f"Bearer {token}").status == 401


def test_a_grace_may_be_asked_for() -> None:
    """F28 B."""
    zoom = Zoom(reuse_grace=30.0)
    refresh_token = personal_pair(zoom)["refresh_token"]

    assert [refreshed(zoom, refresh_token).status for _ in range(2)] == [200, 200]


def test_nobody_authorizes_an_app_that_is_not_known(zoom: Zoom) -> None:
    with pytest.raises(ConfigurationError, match="does not know this app"):
        zoom.authorize(app=UserOAuth(client_id="somebody"))


def test_no_two_sandboxes_have_the_same_secrets() -> None:
    """A program that is pointed to the wrong one notices."""
    one, other = Zoom(), Zoom()

    assert one.credentials != other.credentials
    assert post(one, "/oauth/token", own_basic(other), own_form(other)).body == INVALID_CLIENT


def test_a_reply_does_not_show_its_token(zoom: Zoom) -> None:
    """S5."""
    reply = post(zoom, "/oauth/token", own_basic(zoom), own_form(zoom))

    assert content(reply)["access_token"] not in repr(reply)
