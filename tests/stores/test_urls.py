"""The store that a URL names, and what is said when there is none."""

import traceback

import pytest

from zoom_async_auth import ConfigurationError
from zoom_async_auth.stores.urls import store_at

KEY = "canary-key"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:canary@host/name",
        "redis://user:canary@host/name",
        "postgresql://user:canary@host",
        "postgresql://user:canary@host/name",  # the key is the trouble
    ],
)
def test_neither_url_nor_key_is_left_in_the_frames_of_an_error(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        store_at(url, keys=[KEY])

    assert caught.value.__context__ is None
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "canary" not in str(caught.value)
    assert all("canary" not in str(frame.locals) for frame in shown.stack if "tests" not in frame.filename)
