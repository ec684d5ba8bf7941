"""What others wrote, before it is shown: printable, short, and no echo of what we sent."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoom_async_auth.oauth.redact import MAX_SHOWN, presentable

SECRET = "s3cret+/with=signs&more"
VISIBLE = st.characters(exclude_categories=["C", "Z"])
WORDS = st.text("abcdefghijklmnopqrstuvwxyz .", max_size=20)


def test_an_ordinary_text_stays_as_it_is() -> None:
    """Zoom's reason is what its owner will search for."""
    assert presentable("Invalid client_id or client_secret", {SECRET}) == "Invalid client_id or client_secret"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\r\ntwo", "onetwo"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("nul\x00", "nul"),
        ("right\u202eto left", "rightto left"),
        ("half\ud800", "half"),
        ("  around  ", "around"),
        ("é", "é"),
        ("a" * 63 + " b", "a" * 63),
        ("a" * 65, "a" * 64),
        ("", None),
        (" \n ", None),
    ],
)
def test_only_what_is_printable_is_shown_and_not_much_of_it(text: str, shown: str | None) -> None:
    """One log line stays one log line, on any terminal (S42)."""
    assert presentable(text, ()) == shown


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        SECRET[:8],
        SECRET[5:13],
        quote(SECRET, safe=""),
        quote_plus(SECRET).lower(),
        b64encode(SECRET.encode()).decode(),
        urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
        SECRET[:10] + "\n" + SECRET[10:],
        "x" * MAX_SHOWN + SECRET,
        "x" * (MAX_SHOWN - 5) + SECRET,
    ],
    ids=[
        "whole",
        "beginning",
        "middle",
        "urlencoded",
        "urlencoded in lower case",
        "base64",
        "base64 for URLs",
        "broken into lines",
        "behind the cut",
        "across the cut",
    ],
)
def test_a_text_that_repeats_a_secret_is_not_shown_at_all(echo: str) -> None:
    """What is left of it could still be enough (S5, S9)."""
    assert presentable(f"bad value: {echo} (sent by you)", {"another secret", SECRET}) is None


@pytest.mark.parametrize(
    ("text", "secret"),
    [("it was pass", "pass"), ("cGFzcw", "pass"), ("was%20a+b%26", "a b&"), ("as 1234567 was sent", "1234567")],
    ids=["four characters", "their base64", "urlencoded", "seven characters"],
)
def test_a_short_secret_is_recognized_as_a_whole(text: str, secret: str) -> None:
    """A part of it would be in ordinary words, too."""
    assert presentable(text, {secret}) is None


@pytest.mark.parametrize("text", [f"{SECRET[:7]} is fine", f"fine is {SECRET[-7:]}"], ids=["first", "last"])
def test_seven_characters_of_a_secret_are_no_echo(text: str) -> None:
    """Or "Invalid client" could never be shown to the owner of a secret that has "client" in it."""
    assert presentable(text, {SECRET}) == text


def test_a_secret_of_three_characters_hides_nothing() -> None:
    """It would hide most texts, and protects nothing."""
    assert presentable("the cat", {"cat"}) == "the cat"


@given(st.text(st.characters()))
def test_whatever_is_shown_is_one_short_printable_line(text: str) -> None:
    """For all of Unicode, surrogates included (S42)."""
    shown = presentable(text, ())

    assert shown is None or (0 < len(shown) <= MAX_SHOWN and shown.isprintable() and shown == shown.strip())


@given(st.text(), st.text(VISIBLE, min_size=8), st.integers(min_value=0), st.text())
def test_eight_characters_of_a_secret_anywhere_are_recognized(before: str, secret: str, where: int, after: str) -> None:
    """S5: not even the beginning of a secret is shown."""
    start = where % (len(secret) - 7)

    assert presentable(before + secret[start : start + 8] + after, {secret}) is None


@given(WORDS, st.text(VISIBLE, min_size=4), WORDS, st.sampled_from([quote, quote_plus]))
def test_an_urlencoded_secret_is_recognized(before: str, secret: str, after: str, encode: Callable[[str], str]) -> None:
    """A server that repeats the form repeats it urlencoded (S9)."""
    assert presentable(before + encode(secret) + after, {secret}) is None


@given(st.text(), st.text(VISIBLE, min_size=4), st.text(), st.sampled_from([b64encode, urlsafe_b64encode]))
def test_a_secret_in_base64_is_recognized(
    before: str, secret: str, after: str, encode: Callable[[bytes], bytes]
) -> None:
    """A server that repeats the Authorization header repeats it in base64 (S9)."""
    assert presentable(before + encode(secret.encode()).decode() + after, {secret}) is None
