"""`zoom-async-auth completion`: what makes a shell complete this command, as text."""

from importlib import import_module
from typing import Any

from zoom_async_auth.cli.parser import build_parser
from zoom_async_auth.cli.terminal import tell
from zoom_async_auth.errors import ConfigurationError
from zoom_async_auth.extras import told_missing


def run(*, shell: str) -> int:
    """Print the script."""
    try:
        shtab: Any = import_module("shtab")
    except ModuleNotFoundError:
        shtab = None
    if shtab is None:
        raise ConfigurationError(told_missing("shtab", "cli"))
    tell(shtab.complete(build_parser(), shell=shell).rstrip("\n"))
    return 0
