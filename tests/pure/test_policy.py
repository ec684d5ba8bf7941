"""When to renew, to withhold and to try again: pure functions of time and luck."""

import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoom_async_auth import AuthorizationRequiredError, ConfigurationError, RenewalPolicy, TokenUnavailableError
from zoom_async_auth.renewal.policy import LONGEST_BACKOFF, PROBE_PAUSE, SHORTEST_BACKOFF, Pause, Restraint

POLICY = RenewalPolicy()
TROUBLE = TokenUnavailableError("down")

lives = st.floats(min_value=0.1, max_value=86_400.0)
lucks = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)


def test_an_hours_token_turns_stale_five_minutes_before_its_end_or_earlier_by_luck() -> None:
    assert POLICY.stale_age(3600.0, 0.0) == 3300.0
    assert POLICY.stale_age(3600.0, 0.5) == 3120.0
    assert POLICY.withheld_age(3600.0) == 3590.0


def test_a_short_life_has_margins_in_proportion() -> None:
    """Or it would arrive stale, and be renewed in a loop."""
    assert POLICY.stale_age(6.0, 0.0) == pytest.approx(3.6)
    assert POLICY.withheld_age(6.0) == pytest.approx(5.4)


@given(life=lives, luck=lucks)
def test_a_token_is_fresh_then_stale_then_withheld(life: float, luck: float) -> None:
    """In this order for any life and any luck, so that a renewal always begins before callers need it."""
    assert 0.0 < POLICY.stale_age(life, luck) < POLICY.withheld_age(life) < life


def test_the_lease_covers_an_attempt_and_its_commit() -> None:
    """Derived, so that it cannot be set shorter (F68)."""
    assert POLICY.lease == 20.0
    assert RenewalPolicy(attempt_timeout=60.0, commit_timeout=30.0).lease == 95.0


def test_the_floor_doubles_up_to_sixty_intervals() -> None:
    """F80."""
    floors = [POLICY.floor(rejections) for rejections in (0, 1, 2, 3, 6, 7, 8, 1000)]
    assert floors == [1.0, 1.0, 2.0, 4.0, 32.0, 60.0, 60.0, 60.0]


def test_backoff_doubles_up_to_a_minute_with_full_jitter() -> None:
    restraint, pauses = Restraint(), []
    for _ in range(9):
        restraint = restraint.after_failure(TROUBLE, now=0.0, luck=1.0, left=0.0)
        pauses.append(restraint.backoff)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert restraint.after_failure(TROUBLE, now=0.0, luck=0.25, left=0.0).backoff == 15.0
    assert restraint.failures == 9


@given(failures=st.integers(min_value=0, max_value=10_000), luck=lucks, left=st.floats(min_value=0.0, max_value=1e6))
def test_backoff_is_never_zero_never_over_a_minute_and_leaves_time_for_more_tries(
    failures: int, luck: float, left: float
) -> None:
    after = Restraint(failures=failures).after_failure(TROUBLE, now=100.0, luck=luck, left=left)
    pause = after.backoff - 100.0
    assert SHORTEST_BACKOFF - 1e-9 <= pause <= LONGEST_BACKOFF + 1e-9
    if left > 4 * SHORTEST_BACKOFF:
        assert pause <= left / 4 + 1e-9


def test_a_forced_attempt_respects_the_floor_and_what_zoom_wishes() -> None:
    restraint = Restraint(floor=5.0, backoff=60.0)
    assert (restraint.until(forced=False), restraint.until(forced=True)) == (60.0, 5.0)
    pause = Pause(asked_until=7.0, refused_until=1800.0)
    assert (pause.until(forced=False), pause.until(forced=True)) == (1800.0, 7.0)


def test_what_zoom_wishes_outlives_a_success_and_never_shrinks() -> None:
    """F2."""
    wish = TokenUnavailableError("slow down", retry_after=100.0)
    shorter = TokenUnavailableError("slow down", retry_after=1.0)
    pause = Pause().after(wish, now=10.0, probing=True)
    assert pause.asked_until == 110.0
    assert pause.after(None, now=20.0, probing=True).asked_until == 110.0
    assert pause.after(shorter, now=20.0, probing=True).asked_until == 110.0
    assert pause.after(TROUBLE, now=20.0, probing=True).asked_until == 110.0


def test_a_misconfigured_app_is_probed_slowly_until_it_works() -> None:
    """F14."""
    pause = Pause().after(ConfigurationError("no"), now=10.0, probing=True)
    assert pause.refused_until == 10.0 + PROBE_PAUSE
    assert pause.after(None, now=20.0, probing=True).refused_until == -math.inf
    assert pause.after(AuthorizationRequiredError("gone"), now=20.0, probing=True).refused_until == -math.inf


def test_an_answer_that_says_nothing_of_the_app_does_not_end_the_slow_probe() -> None:
    """Many identities ask at once: one gets a 503 while the others hear that the secret is wrong."""
    pause = Pause().after(ConfigurationError("no"), now=10.0, probing=True)
    assert pause.after(TROUBLE, now=20.0, probing=True) == pause
    assert pause.after(None, now=20.0, probing=False) == pause


def test_why_there_is_a_pause_is_told_by_what_holds_it_longer() -> None:
    refusal = ConfigurationError("no")
    wish = TokenUnavailableError("slow down", retry_after=5.0)
    both = Pause().after(refusal, now=0.0, probing=True).after(wish, now=0.0, probing=True)
    assert both.reason_at(1.0) is refusal
    assert both.after(None, now=1.0, probing=True).reason_at(2.0) is wish
    assert both.after(None, now=1.0, probing=True).reason_at(5.0) is None


def test_when_only_a_person_can_help_nothing_is_sent_before_a_look_and_no_backoff_is_left() -> None:
    error = AuthorizationRequiredError("only a person can help")
    restraint = Restraint.for_a_person(error, look_at=3.0)
    assert (restraint.until(forced=False), restraint.until(forced=True)) == (3.0, 3.0)
    assert (restraint.failures, restraint.last_error) == (0, error)


def test_relief_keeps_the_floor_alone() -> None:
    assert Restraint(floor=5.0, backoff=60.0, failures=7, last_error=TROUBLE).relieved() == Restraint(floor=5.0)


@pytest.mark.parametrize("name", [field.name for field in fields(RenewalPolicy)])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, True, "1", None])
def test_a_value_that_makes_no_sense_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        RenewalPolicy(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["min_interval", "timeout", "attempt_timeout", "commit_timeout"])
def test_a_time_that_must_pass_cannot_be_nothing(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        RenewalPolicy(**{name: 0.0})


def test_so_much_jitter_that_tokens_arrive_stale_is_refused() -> None:
    assert RenewalPolicy(jitter=0.5).jitter == 0.5
    with pytest.raises(ConfigurationError, match="jitter"):
        RenewalPolicy(jitter=0.51)
