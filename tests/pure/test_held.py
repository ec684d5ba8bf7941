"""A token in this process: its moments on our clock, whoever got it and whenever."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoom_async_auth.oauth.token import Token
from zoom_async_auth.renewal.held import NOTHING, Held, Moment, arrived, found
from zoom_async_auth.renewal.policy import RenewalPolicy
from zoom_async_auth.stores.base import Record

POLICY = RenewalPolicy(renew_before=300.0, leeway=10.0, jitter=0.1)
TOKEN = Token(access_token="an-access-token", expires_in=3600.0)
ISSUED = 50_000.0  # on the store's clock
RECORD = Record(generation=7, token=TOKEN, issued_at=ISSUED, expires_at=ISSUED + 3600.0)


def seen(age: float, *, record: Record = RECORD, luck: float = 0.0) -> Held | None:
    """Look at a record `age` seconds after its token was issued, at 1000 on our clock."""
    return found(record, seen=Moment(local=1000.0, store=record.issued_at + age), policy=POLICY, luck=luck)


@pytest.mark.parametrize(("luck", "stale_at"), [(0.0, 4300.0), (0.5, 4120.0)])
def test_a_tokens_life_is_counted_from_before_its_request(luck: float, stale_at: float) -> None:
    """Zoom's count began while the answer was on its way; luck spreads a fleet that started together (F35, F76)."""
    held = arrived(TOKEN, generation=1, issued_at=5.0, sent_at=1000.0, now=1002.0, policy=POLICY, luck=luck)

    assert held == Held(
        token=TOKEN,
        generation=1,
        arrived_at=1002.0,
        stale_at=stale_at,
        withheld_at=4590.0,
        expires_at=4600.0,
        issued_at=5.0,
    )


@pytest.mark.parametrize(("luck", "stale_at"), [(0.0, 3300.0), (0.5, 3120.0)])
def test_a_stored_token_has_on_our_clock_what_it_has_left_on_the_stores(luck: float, stale_at: float) -> None:
    """No two hosts need agree on the time (F37)."""
    assert seen(1000.0, luck=luck) == Held(
        token=TOKEN,
        generation=7,
        arrived_at=0.0,
        stale_at=stale_at,
        withheld_at=3590.0,
        expires_at=3600.0,
        issued_at=ISSUED,
    )


@pytest.mark.parametrize("age", [3600.0, 3601.0, 1e9])
def test_a_stored_token_that_has_expired_is_none(age: float) -> None:
    """An expired token is never handed out, however it came here."""
    assert seen(age) is None


def test_a_stored_token_is_taken_in_its_last_second() -> None:
    """Whether it is handed out is for the moment of withholding to say."""
    held = seen(3599.0)

    assert held is not None
    assert held.expires_at == 1001.0
    assert held.withheld_at == 991.0


def test_a_tombstone_has_no_token() -> None:
    """What was revoked or forgotten stays so."""
    assert seen(0.0, record=Record(generation=8, token=None, issued_at=ISSUED, expires_at=ISSUED + 3600.0)) is None


def test_a_token_from_the_near_future_gets_its_whole_life_and_no_more() -> None:
    """The store's clock was stepped back a little: what is left never exceeds the lifetime (F37)."""
    held = seen(-10.0)

    assert held is not None
    assert held.expires_at == 4600.0
    assert held.arrived_at == 1000.0


def test_a_token_from_the_far_future_is_not_believed() -> None:
    """The store's clock was stepped back by more than the leeway: nobody knows how old it is (F37)."""
    assert seen(-10.1) is None


@pytest.mark.parametrize("lifetime", [0.0, -1.0])
def test_a_record_without_a_life_has_no_token(lifetime: float) -> None:
    """An imported token may have expired before it was stored."""
    record = Record(generation=1, token=TOKEN, issued_at=ISSUED, expires_at=ISSUED + lifetime)

    assert seen(-5.0, record=record) is None


@given(
    age=st.integers(-20, 90_000).map(float),
    lifetime=st.integers(0, 86_400).map(float),
    luck=st.floats(min_value=0.0, max_value=1.0, exclude_max=True),
)
def test_a_stored_token_turns_stale_then_withheld_then_expired(age: float, lifetime: float, luck: float) -> None:
    """Whatever the two clocks say, and never later than a whole life from now (F35, F37)."""
    held = seen(
        age, record=Record(generation=1, token=TOKEN, issued_at=ISSUED, expires_at=ISSUED + lifetime), luck=luck
    )

    if held is not None:
        assert held.arrived_at <= 1000.0 < held.expires_at <= 1000.0 + lifetime
        assert held.stale_at <= held.withheld_at <= held.expires_at


def test_nothing_is_never_served() -> None:
    """The hot path compares once: before the first token, and after closing, no moment is early enough."""
    assert NOTHING.access_token == ""
    assert NOTHING.until == -math.inf
