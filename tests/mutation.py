"""Break one line at a time in a copy of the project, and see whether a test notices.

    python -m tests.mutation [--count N] [--seed S] [FILE ...]

Statements are deleted, conditions negated or made true, returned values dropped. N mutants are drawn by the seed from
all that there are; each is shown as `killed` or `SURVIVED`, and the share of the killed comes last. A survivor is a
line to look at: a test is missing, or the line is.
"""

import argparse
import ast
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGETS = ("oauth", "renewal", "manager.py", "session.py", "endpoint.py")
TESTS = ("tests/engine", "tests/pure", "tests/test_process.py", "tests/integrations", "tests/test_redaction.py")
FIRST_LOOP = "not debug and not uvloop and not eager"
SECONDS = 300


@dataclass(frozen=True, slots=True)
class Mutant:
    """A line of one file, and what it becomes."""

    path: Path
    line: int
    kind: str
    source: str

    def __str__(self) -> str:
        original = (ROOT / self.path).read_text().splitlines()[self.line - 1].strip()
        return f"{self.path}:{self.line} {self.kind}: {original}"


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of one file."""
    source = (ROOT / path).read_text()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant()):
                continue  # a docstring
            case ast.Expr() | ast.Assign() | ast.AugAssign() if node.col_offset > 0:
                yield _mutant(path, source, node, "deleted", "pass")
            case ast.Return(value=ast.expr()):
                yield _mutant(path, source, node, "returns nothing", "return None")
            case ast.If(test=test) if not any(isinstance(part, ast.NamedExpr) for part in ast.walk(test)):
                condition = ast.get_source_segment(source, test)
                yield _mutant(path, source, test, "negated", f"(not ({condition}))")
                yield _mutant(path, source, test, "always", "True")


def _mutant(path: Path, source: str, node: ast.expr | ast.stmt, kind: str, new: str) -> Mutant:
    lines = source.encode().splitlines(keepends=True)
    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
    before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
    after = lines[end_line - 1][end_column:] + b"".join(lines[end_line:])
    return Mutant(path, node.lineno, kind, (before + new.encode() + after).decode())


def survives(mutant: Mutant, copy: Path) -> bool:
    """Run the tests on a copy that has the mutant."""
    (copy / mutant.path).write_text(mutant.source)
    options = ["-x", "-q", "-p", "no:cacheprovider", "--timeout", "15", "-k", FIRST_LOOP]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *TESTS],
            cwd=copy,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    finally:
        shutil.copyfile(ROOT / mutant.path, copy / mutant.path)
    return done.returncode == 0


def main() -> int:
    """Draw, break, count; return 0 if at least 85 of 100 were noticed."""
    parser = argparse.ArgumentParser(description="Break one line at a time, and see whether a test notices.")
    parser.add_argument("--count", type=int, default=100, metavar="N", help="how many mutants (100)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="which ones (0)")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="only in these")
    options = parser.parse_args()
    package = ROOT / "zoom_async_auth"
    paths = options.files or [
        path.relative_to(ROOT)
        for target in TARGETS
        for path in sorted([package / target] if target.endswith(".py") else (package / target).glob("*.py"))
    ]
    mutants = [mutant for path in paths for mutant in mutants_of(path)]
    drawn = random.Random(options.seed).sample(mutants, min(options.count, len(mutants)))  # noqa: S311 -- no secret
    killed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        for mutant in drawn:
            survived = survives(mutant, copy)
            killed += not survived
            print("SURVIVED" if survived else "killed  ", mutant, flush=True)
    print(f"{killed} of {len(drawn)} killed ({killed / len(drawn):.0%}), of {len(mutants)} mutants in all")
    return 0 if killed >= 0.85 * len(drawn) else 1


if __name__ == "__main__":
    sys.exit(main())
