"""The README's programs are run as processes, which are started, read and ended in the middle of a test."""

import pytest


@pytest.fixture
def _nothing_blocks() -> None:
    """What happens here to processes and files may block."""
