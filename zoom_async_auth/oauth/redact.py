"""Text that others wrote, made fit for a log line or an exception: printable, short, no echo of what we sent."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_plus

MAX_SHOWN = 64
"""Characters of a foreign text that are kept."""

# A piece this long is enough to recognize a secret by; shorter ones are in ordinary words too.
_PIECE = 8
# Anything shorter occurs in most texts by chance, and protects nothing as a secret.
_SHORTEST_SECRET = 4


def presentable(text: str, secrets: Iterable[str]) -> str | None:
    """Return `text` without what is not printable, cut to `MAX_SHOWN`.

    None if nothing is left of it, or if it holds one of `secrets` or eight characters of one: as they are, urlencoded
    or in base64. The whole text is looked at, so that a cut hides no echo.
    """
    shown = _printable(text)
    return None if _echoes(shown, secrets) else shown[:MAX_SHOWN].strip() or None


def _printable(text: str) -> str:
    # Line breaks, escape sequences, surrogates and characters that turn the direction of writing all go.
    return "".join(filter(str.isprintable, text))


def _echoes(text: str, secrets: Iterable[str]) -> bool:
    readings = text, _printable(unquote_plus(text))
    seen = frozenset[str]().union(*map(_pieces, readings))
    for form in _forms(secrets):
        if len(form) < _PIECE and any(form in reading for reading in readings):
            return True
        if not seen.isdisjoint(_pieces(form)):
            return True
    return False


def _forms(secrets: Iterable[str]) -> Iterator[str]:
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            yield _printable(secret)
            yield b64encode(secret.encode()).decode().rstrip("=")
            yield urlsafe_b64encode(secret.encode()).decode().rstrip("=")


def _pieces(text: str) -> frozenset[str]:
    return frozenset(text[start : start + _PIECE] for start in range(len(text) - _PIECE + 1))
