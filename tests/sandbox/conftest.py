"""What the tests of the sandbox share: a clock that only they turn."""

import pytest

from zoom_async_auth.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
