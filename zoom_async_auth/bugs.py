"""What is told of a bug, ours or that of a callback: its text and its frames may hold secrets."""

from pathlib import Path
from traceback import walk_tb
from typing import Final

_MOST_LINES: Final = 10


def told_of(bug: BaseException) -> str:
    """Return its class, and the lines that led there, the last one last."""
    lines = [f"{Path(frame.f_code.co_filename).name}:{line}" for frame, line in walk_tb(bug.__traceback__)]
    lines = lines[-_MOST_LINES:]  # of a recursion without end there are a thousand
    return f"{type(bug).__name__} at {' > '.join(lines)}"
