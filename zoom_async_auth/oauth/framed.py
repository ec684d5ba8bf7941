"""Several texts as one message for a digest."""

from collections.abc import Iterable


def framed(parts: Iterable[str]) -> bytes:
    """Return them with their lengths, so that no two lists give the same bytes."""
    return "".join(f"{len(part.encode())}:{part}" for part in parts).encode()
