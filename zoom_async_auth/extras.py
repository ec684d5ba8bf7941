"""What an adapter says when the library that it adapts is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Say of the imports within, if one finds nothing, by which extra of this package it is installed.

    Raises:
        ModuleNotFoundError: As the import did, with another text.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        told = f'{error.name} is missing: pip install "zoom_async_auth[{name}]"'
        raise ModuleNotFoundError(told, name=error.name) from None
