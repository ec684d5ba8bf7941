"""What a command shows while something takes long: on a terminal only, and gone afterwards."""

import io
import sys
from threading import Event

import pytest

from zoom_async_auth.cli import terminal
from zoom_async_auth.cli.terminal import progress


class Screen(io.StringIO):
    """What takes text, as a terminal or as a file."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal
        self.moved = Event()

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str) -> int:
        self.moved.set()
        return super().write(text)


def test_what_takes_long_is_shown_and_wiped_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_PATIENCE", 0.0)
    screen = Screen(is_terminal=True)
    monkeypatch.setattr(sys, "stderr", screen)
    with progress("asking", quiet=False):
        assert screen.moved.wait(10.0)

    *_, shown, wiped, rest = screen.getvalue().split("\r")
    assert shown[1:] == " asking "
    assert (wiped.strip(), len(wiped) >= len(shown), rest) == ("", True, "")


@pytest.mark.parametrize(
    ("is_terminal", "quiet", "patience"),
    [(True, False, 60.0), (False, False, 0.0), (True, True, 0.0)],
    ids=["quick", "a log", "a program that reads JSON"],
)
def test_nobody_else_is_bothered(
    monkeypatch: pytest.MonkeyPatch,
    is_terminal: bool,  # noqa: FBT001
    quiet: bool,  # noqa: FBT001
    patience: float,
) -> None:
    monkeypatch.setattr(terminal, "_PATIENCE", patience)
    screen = Screen(is_terminal=is_terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    with progress("asking", quiet=quiet):
        assert not screen.moved.wait(0.2)

    assert screen.getvalue() == ""
