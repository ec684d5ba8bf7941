"""What is believed of a notification, and what is not."""

import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoom_async_auth.oauth.webhook import (
    TOLERANCE,
    Deauthorized,
    Notification,
    OtherEvent,
    SignedBody,
    UrlValidation,
    WebhookRefused,
    read_webhook,
    signature_of,
)

TOKEN = "what Zoom signs with"
NOW = 1_700_000_000
# Zoom's own example.
DEAUTHORIZED = {
    "event": "app_deauthorized",
    "event_ts": 1740439732278,
    "payload": {
        "account_id": "EabCDEFghiLHMA",
        "user_id": "z9jkdsfsdfjhdkfjQ",
        "signature": "827edc3452044f0bc86bdd5684afb7d1e6becfa1a767f24df1b287853cf73000",
        "deauthorization_time": "2019-06-17T13:52:28.632Z",
        "client_id": "ADZ9k9bTWmGUoUbECUKU_a",
    },
}
CLIENT_ID = "ADZ9k9bTWmGUoUbECUKU_a"


def read(
    body: bytes, *, signature: str | None = None, timestamp: str | None = str(NOW), now: float = NOW
) -> Notification | WebhookRefused:
    if signature is None:
        signed = hmac.new(TOKEN.encode(), f"v0:{timestamp}:".encode() + body, "sha256").hexdigest()
        signature = f"v0={signed}"
    sent = SignedBody(body=body, signature=signature, timestamp=timestamp)
    return read_webhook(sent, secret_token=TOKEN, client_id=CLIENT_ID, now=now)


def said(content: Any) -> Notification | WebhookRefused:
    return read(json.dumps(content).encode())


def changed(**payload: Any) -> dict[str, Any]:
    return {**DEAUTHORIZED, "payload": {**DEAUTHORIZED["payload"], **payload}}  # type: ignore[dict-item]


def test_a_removal_says_whose_and_when() -> None:
    assert said(DEAUTHORIZED) == Deauthorized(
        user_id="z9jkdsfsdfjhdkfjQ", account_id="EabCDEFghiLHMA", deauthorized_at=1560779548.632
    )


@pytest.mark.parametrize(
    ("told", "keeps"), [("true", True), ("false", False), (True, True), (False, False), ("maybe", None), (None, None)]
)
def test_a_removal_says_whether_data_may_be_kept(told: object, keeps: bool | None) -> None:  # noqa: FBT001 -- expected
    outcome = said(changed(user_data_retention=told))
    assert isinstance(outcome, Deauthorized)
    assert outcome.keeps_data is keeps


@pytest.mark.parametrize("moment", [None, 17, "", "yesterday", "2019-06-17T13:52:28", "2019-13-01T00:00:00Z"])
def test_a_removal_counts_also_when_its_moment_cannot_be_read(moment: object) -> None:
    outcome = said(changed(deauthorization_time=moment))
    assert isinstance(outcome, Deauthorized)
    assert outcome.deauthorized_at is None


@pytest.mark.parametrize("client_id", ["another app", "", None, 7])
def test_a_removal_of_another_app_is_no_concern_of_ours(client_id: object) -> None:
    """The development client of the same app, for one: its persons are others."""
    assert said(changed(client_id=client_id)) == OtherEvent()


@pytest.mark.parametrize("user_id", [None, "", 7, "a b", "x" * 201, "a\nb", ["u"]])
def test_a_removal_without_a_person_is_malformed(user_id: object) -> None:
    for content in (changed(user_id=user_id), changed(account_id=user_id)):
        outcome = said(content)
        assert isinstance(outcome, WebhookRefused)
        assert not outcome.forged


def test_the_address_is_proven_by_hashing_what_zoom_sends() -> None:
    asked = said({"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}})
    assert isinstance(asked, UrlValidation)
    assert asked.answer(TOKEN) == {
        "plainToken": "qgg8vlvZRS6UYooatFL8Aw",
        "encryptedToken": hmac.new(TOKEN.encode(), b"qgg8vlvZRS6UYooatFL8Aw", "sha256").hexdigest(),
    }


@pytest.mark.parametrize("plain_token", [None, "", 7, f"v0:{NOW}:{{}}", f"v0:{NOW}:7", "a b", "x" * 257, "a\n"])
def test_nothing_that_could_be_a_notification_is_ever_signed(plain_token: object) -> None:
    """The proof is the same HMAC that signs notifications: with a colon in it, it would be a signature."""
    outcome = said({"event": "endpoint.url_validation", "payload": {"plainToken": plain_token}})
    assert isinstance(outcome, WebhookRefused)


@pytest.mark.parametrize("event", ["meeting.started", "app_deauthorized.v2", "", "x" * 10_000])
def test_any_other_event_is_no_concern_of_ours(event: str) -> None:
    assert said({"event": event, "payload": {}}) == OtherEvent()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"event": 7}',
        b'{"event": "app_deauthorized", "payload": []}',
        b'{"event": "endpoint.url_validation"}',
        b"\xff",
        b"[" * 50_000,
    ],
    ids=lambda body: body[:20],
)
def test_what_is_signed_and_cannot_be_read_is_malformed(body: bytes) -> None:
    outcome = read(body)
    if b"app_deauthorized" in body:
        assert outcome == OtherEvent()  # nobody says that it was our app
    else:
        assert isinstance(outcome, WebhookRefused)
        assert not outcome.forged


@pytest.mark.parametrize("age", [0.0, 299.0, TOLERANCE, -299.0, -TOLERANCE])
def test_clocks_may_differ_by_five_minutes(age: float) -> None:
    assert read(b'{"event": "x"}', now=NOW + age) == OtherEvent()


@pytest.mark.parametrize("age", [TOLERANCE + 1, 3600.0, -TOLERANCE - 1, float(-NOW)])
def test_an_old_notification_is_a_replay(age: float) -> None:
    outcome = read(b'{"event": "x"}', now=NOW + age)
    assert isinstance(outcome, WebhookRefused)
    assert outcome.forged


@pytest.mark.parametrize(
    "timestamp",
    [
        None,
        "",
        f"{NOW}000",
        f" {NOW}",
        f"{NOW}.0",
        f"+{NOW}",
        "\N{ARABIC-INDIC DIGIT ONE}" * 10,
        f"{NOW}:1",
        "9" * 5000,
    ],
)
def test_a_timestamp_is_a_number_of_seconds(timestamp: str | None) -> None:
    """One with a colon in it could move the border to the body."""
    outcome = read(b'{"event": "x"}', timestamp=timestamp)
    assert isinstance(outcome, WebhookRefused)
    assert outcome.forged


@pytest.mark.parametrize("signature", ["", "v0=", "v0=" + "0" * 64, "v1=x", "é", "\udc80"])
def test_a_wrong_signature_is_refused(signature: str) -> None:
    outcome = read(b'{"event": "x"}', signature=signature)
    assert isinstance(outcome, WebhookRefused)
    assert outcome.forged


def test_a_missing_signature_is_refused() -> None:
    sent = SignedBody(body=b'{"event": "x"}', signature=None, timestamp=str(NOW))
    outcome = read_webhook(sent, secret_token=TOKEN, client_id=CLIENT_ID, now=NOW)
    assert isinstance(outcome, WebhookRefused)
    assert outcome.forged


@given(place=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_changed_bit_is_noticed(place: int, bit: int) -> None:
    body = json.dumps(DEAUTHORIZED).encode()
    signature = signature_of(body, secret_token=TOKEN, timestamp=NOW)
    assert isinstance(read(body, signature=signature), Deauthorized)
    forged = bytearray(body)
    forged[place % len(body)] ^= 1 << bit
    outcome = read(bytes(forged), signature=signature)
    assert isinstance(outcome, WebhookRefused)
    assert outcome.forged


def test_nothing_shows_a_secret() -> None:
    body = b'{"event": "endpoint.url_validation", "payload": {"plainToken": "p"}}'
    sent = SignedBody(body=body, signature="v0=abc", timestamp=str(NOW))
    assert "plainToken" not in repr(sent)
    assert "abc" not in repr(sent)
    assert TOKEN not in repr(read(body, signature="v0=abc"))
