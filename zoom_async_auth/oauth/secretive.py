"""Values that hold secrets: shown without them, never pickled, validated without leaving them in a traceback."""

import functools
import unicodedata
from dataclasses import is_dataclass
from typing import Any, NoReturn, TypeVar

from zoom_async_auth.errors import ConfigurationError

_C = TypeVar("_C")

_QUOTES = "\"'"  # which Docker leaves around what stands in a file of variables


def secretive(cls: type[_C]) -> type[_C]:
    """Guard an immutable class that holds a secret.

    Pickling raises `TypeError`; copying returns the object itself. An error of its construction is raised from a frame
    that no longer has the arguments: tracebacks with local variables end up in logs.
    """

    def __reduce_ex__(self: _C, _protocol: object) -> NoReturn:  # noqa: N807
        raise TypeError(f"a {type(self).__name__} holds a secret and cannot be pickled")

    def __copy__(self: _C, _memo: object = None) -> _C:  # noqa: N807 -- serves as __deepcopy__ too
        return self

    guards: dict[str, Any] = {"__reduce_ex__": __reduce_ex__, "__copy__": __copy__, "__deepcopy__": __copy__}
    # A dataclass that checks nothing fails in no frame but the caller's, and some are made often.
    if not is_dataclass(cls) or hasattr(cls, "__post_init__"):
        guards["__init__"] = _raising_without_arguments(cls.__init__)
    for name, guard in guards.items():
        setattr(cls, name, guard)
    return cls


def _raising_without_arguments(build: Any) -> Any:  # noqa: ANN401 -- any constructor
    @functools.wraps(build)
    def __init__(self: object, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401, N807
        try:
            build(self, *args, **kwargs)
        except (ConfigurationError, TypeError) as error:
            failure = type(error)(*error.args)
        else:
            return
        del self, args, kwargs
        raise failure

    return __init__


def require_text(name: str, value: object, *, ascii_only: bool = False, forbidden: str = "") -> None:
    """Raise `ConfigurationError`, without the value, unless it is text as one pastes it.

    It has no blanks and no quotes around it, and no controls in it.

    Args:
        name: What the message calls the value.
        value: What was given.
        ascii_only: Whether anything but printable ASCII is refused.
        forbidden: Characters that may not occur.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}")
    if not value or value.isspace():
        raise ConfigurationError(f"{name} is empty: is the environment variable set, was the value pasted?")
    if value != value.strip():
        raise ConfigurationError(f"{name} has white space before or after it: paste it without")
    if len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES:
        raise ConfigurationError(f"{name} is in quotes: give it without them")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        raise ConfigurationError(f"{name} has a control character in it (a line break, a NUL): paste it without")
    if ascii_only and not value.isascii():
        raise ConfigurationError(f"{name} has a character beyond ASCII in it: copy it anew from the app's page")
    if any(character in value for character in forbidden):
        raise ConfigurationError(f"{name} must not have any of {forbidden!r} in it: copy it anew from the app's page")
