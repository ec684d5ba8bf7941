"""What an adapter says when the library that it adapts is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager


def told_missing(library: str, *extras: str) -> str:
    """Return what is said of a library that is not there.

    It is no command: what an index has under the name of this package need not be this package.

    Args:
        library: Which one.
        extras: Of this package, those that bring it, and what else is needed.
    """
    which = "extra" if len(extras) == 1 else "extras"
    return f"{library} is missing: it comes with the {which} [{','.join(extras)}] of zoom_async_auth"


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Say of the imports within, if one finds nothing, by which extra of this package it is installed.

    Raises:
        ModuleNotFoundError: As the import did, with another text.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(told_missing(str(error.name), name), name=error.name) from None
