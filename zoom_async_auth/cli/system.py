"""What the system gives a command: streams that may be closed, or know few signs; and errors, in its own words."""

import io
import os
import sys
from pathlib import Path


def prepare_streams() -> None:
    """Have all be written somehow: a sign that the encoding lacks by its number, and to a closed stderr nothing."""
    if sys.stderr is None:
        # It also takes the number 2: else a socket of ours would, and get what others write there.
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 -- for as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def words_of(error: OSError) -> str:
    """Return what the system says of an error. asyncio puts words of its own around that, with a tuple in them."""
    is_its_own = type(error).__module__ == "builtins"  # the resolver's, say, have numbers of another kind
    if is_its_own and error.errno is not None:
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__
