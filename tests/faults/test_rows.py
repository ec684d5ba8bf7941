"""The list of rows is complete and true."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.rows import ROWS

ROOT = Path(__file__).parents[2]
ALL = [*(f"S{number}" for number in range(1, 50)), *(f"F{number}" for number in range(1, 83))]

Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def _tests(path: Path) -> dict[str, Function]:
    nodes = ast.parse(path.read_text()).body
    return {node.name: node for node in nodes if isinstance(node, Function) and node.name.startswith("test_")}


def _by_name(test: Function) -> Iterator[str]:
    """Yield the rows of a name that begins as `test_f28_` or `test_s10_s11_` does."""
    prefix = re.match(r"test_((?:[sf][0-9]{2}_)+)", test.name)
    for letter, number in re.findall(r"([sf])([0-9]{2})_", prefix[1] if prefix else ""):
        yield f"{letter.upper()}{int(number)}"


def _by_docstring(test: Function) -> Iterator[str]:
    yield from re.findall(r"\b[SF][0-9]{1,2}\b", ast.get_docstring(test) or "")


def _of_this_folder() -> Iterator[tuple[str, Function]]:
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if path != Path(__file__):
            yield from ((path.relative_to(ROOT).as_posix(), test) for test in _tests(path).values())


def test_each_row_is_in_the_list_exactly_once() -> None:
    """In the order of the matrix; a key that is written twice would be lost in the dict, so the source is read."""
    source = (Path(__file__).parent / "rows.py").read_text()

    assert re.findall(r'^    "([SF][0-9]+)":', source, re.MULTILINE) == list(ROWS) == ALL


@pytest.mark.parametrize("row", ROWS)
def test_the_test_of_a_row_exists_and_names_it(row: str) -> None:
    path, _, name = ROWS[row].partition("::")
    test = _tests(ROOT / path)[name]

    assert row in {*_by_name(test), *_by_docstring(test)}


def test_each_test_of_this_folder_is_of_a_row_that_is_listed_with_it() -> None:
    for path, test in _of_this_folder():
        rows = list(_by_name(test))
        assert rows, f"{test.name} names no row"
        for row in rows:
            assert ROWS[row].startswith("tests/faults/"), f"{row} is tested here, and listed elsewhere"
            assert ROWS[row].startswith(path), f"{row} is tested in two files"
