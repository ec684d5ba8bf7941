"""Where secrets may go: an origin is understood in one way only, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.oauth.origin import require_base_url, safe_origin

STARTS = ["https://zoom.us", "https://", "http://localhost", "HTTP://127.0.0.1", "https://[::1]", ""]
LONGEST = ".".join(["a" * 63] * 3 + ["a" * 59])
"""With two more characters the longest host."""
PIECES = [*"/?#@\\.: \t\n0A", "https://", "evil.com", "zoom.us", "443", "80", "65536", "%2e"]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://zoom.us", "https://zoom.us"),
        ("https://zoom.us/", "https://zoom.us"),
        ("HTTPS://ZOOM.us", "https://zoom.us"),
        ("https://zoom.us:443", "https://zoom.us"),
        ("https://zoom.us:00443", "https://zoom.us"),
        ("https://zoom.us:80", "https://zoom.us:80"),
        ("https://zoom.us:65535", "https://zoom.us:65535"),
        ("https://api-eu.zoom.us:8443/v2?a=b@c#d", "https://api-eu.zoom.us:8443"),
        ("https://zoom.us?a", "https://zoom.us"),
        ("https://zoom.us#a", "https://zoom.us"),
        ("https://a", "https://a"),
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443"),
        ("http://localhost:8080/x", "http://localhost:8080"),
        ("http://LOCALHOST:80", "http://localhost"),
        ("http://127.0.0.1:443", "http://127.0.0.1:443"),
        ("http://[::1]:1", "http://[::1]:1"),
        pytest.param(f"https://{LONGEST}.a", f"https://{LONGEST}.a", id="longest host"),
    ],
)
def test_the_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    """Two spellings of one origin are equal, so that they can be compared as strings."""
    assert safe_origin(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "http://zoom.us",
        "http://127.0.0.1.evil.com",
        "http://localhost.evil.com",
        "http://127.0.0.2",
        "http://0.0.0.0",
        "http://[::2]",
    ],
)
def test_a_secret_goes_in_clear_text_to_this_very_host_only(url: str) -> None:
    """A name that merely begins like loopback is somebody's server (S17)."""
    assert safe_origin(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://zoom.us@evil.com",
        "https://user:password@zoom.us",
        "https://zoom.us\\@evil.com",
        "https://zoom.us/\\",
        "https:\\\\zoom.us",
        "https:/zoom.us",
        "https:///zoom.us",
        "//zoom.us",
        "//evil",
        "zoom.us",
        "",
        "ftp://zoom.us",
        "javascript://zoom.us",
        "https://",
        "https://zoom.us:",
        "https://zoom.us:65536",
        "https://zoom.us:000443",
        "https://zoom.us:-1",
        "https://zoom.us:٤٤٣",
        "https://zoom.us.",
        "https://.zoom.us",
        "https://-zoom.us",
        "https://zoom.us\n",
        "https://zoom.us/\r\nX: y",
        " https://zoom.us",
        "https://zoom.us/a b",
        "https://zoom.us/\x7f",
        "https://zoom.us/é",
        "https://zööm.us",
        "https://\u212a.us",
        "https://zoom_us",
        "https://[::1",
        "https://[zoom.us]",
        "https://zoom..us",
        pytest.param(f"https://{LONGEST}.ab", id="host too long"),
        pytest.param("https://" + "a" * 64, id="label too long"),
    ],
)
def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str) -> None:
    """Parsers disagree on user info, backslashes and blanks: none of them may be fooled (S41)."""
    assert safe_origin(url) is None


@given(st.sampled_from(STARTS), st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_the_origin_is_where_aiohttp_would_go(start: str, rest: str) -> None:
    """Our parser and the one that opens the connection agree (S41)."""
    origin = safe_origin(start + rest)

    if origin is not None:
        assert origin == str(URL(start + rest).origin())


@pytest.mark.parametrize("base_url", ["https://ZoomGov.com", "https://zoomgov.com/", "https://zoomgov.com:443"])
def test_a_base_url_is_an_origin(base_url: str) -> None:
    """It is part of what names a token in the store: one server has one spelling."""
    assert require_base_url(base_url) == "https://zoomgov.com"


@pytest.mark.parametrize(
    "base_url",
    [
        "https://zoom.us/oauth",
        "https://zoom.us//",
        "https://zoom.us?",
        "https://zoom.us#",
        "http://zoom.us",
        "zoom.us",
        "",
    ],
)
def test_more_or_less_than_an_origin_is_no_base_url(base_url: str) -> None:
    """A path, taken over from a token URL, would be asked twice; http would show the secret (S17)."""
    with pytest.raises(ConfigurationError) as refused:
        require_base_url(base_url)

    assert (
        str(refused.value)
        == "base_url (ZOOM_BASE_URL) must be https://host[:port] without a path; http is for loopback only"
    )
