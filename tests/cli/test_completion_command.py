"""`zoom-async-auth completion`: a script for each shell that knows all commands and options."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_help import COMMANDS
from zoom_async_auth.cli import main

COMPLETES = """
source {script}
COMP_WORDS=(zoom-async-auth {words}) COMP_CWORD={index}
complete -p zoom-async-auth >/dev/null && _shtab_zoom_async_auth
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_with_all_commands(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert main(["completion", shell]) == 0
    shown = capsys.readouterr().out

    assert all(command in shown for command in COMMANDS)
    assert "no-browser" in shown


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [(["lo"], {"login", "logout"}), (["login", "--no"], {"--no-browser"}), (["store", "re"], {"rewrap"})],
)
def test_bash_completes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], offered: set[str]
) -> None:
    main(["completion", "bash"])
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    program = COMPLETES.format(script=script, words=" ".join(words), index=len(words))
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)  # noqa: S607

    assert done.stderr == ""
    assert set(done.stdout.split()) == offered


def test_what_is_not_installed_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)

    assert main(["completion", "bash"]) == 3
    assert capsys.readouterr().err == (
        "zoom-async-auth: shtab is missing: it comes with the extra [cli] of zoom_async_auth\n"
    )
