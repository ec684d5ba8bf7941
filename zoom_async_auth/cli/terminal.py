"""What a command says: results on stdout, everything else on stderr."""

import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

TROUBLE = 1
"""The exit code if something is not as it should be."""
_PATIENCE = 0.4
"""Seconds after which something takes long."""
_FRAMES = "|/-\\"
_PER_FRAME = 0.12


def tell(line: str) -> None:
    """Print a line of the result."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tell_json(value: object) -> None:
    """Print a result as one line of JSON."""
    tell(json.dumps(value))


def note(line: str) -> None:
    """Print a line that is no part of the result."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@contextmanager
def progress(what: str, *, quiet: bool) -> Iterator[None]:
    """Show on a terminal what takes so long, until it is done.

    Args:
        what: What is being done.
        quiet: Whether nothing is to be shown in any case.
    """
    if quiet or not sys.stderr.isatty():
        yield
        return
    done = Event()
    spinner = Thread(target=_spin, args=(what, done), daemon=True)
    spinner.start()
    try:
        yield
    finally:
        done.set()
        spinner.join()


def _spin(what: str, done: Event) -> None:
    if done.wait(_PATIENCE):
        return
    for frame in itertools.cycle(_FRAMES):
        sys.stderr.write(f"\r{frame} {what} ")
        sys.stderr.flush()
        if done.wait(_PER_FRAME):
            break
    sys.stderr.write(f"\r{' ' * (len(what) + 3)}\r")
    sys.stderr.flush()
