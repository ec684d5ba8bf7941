"""What is shown is run: no program of the README is without a test."""

import re

from tests.examples.programs import ROOT


def test_each_program_of_the_readme_is_run_by_a_test() -> None:
    shown = re.findall(r'^```python title="(.+)"$', (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    tests = [*(ROOT / "tests/examples").glob("test_*.py"), ROOT / "tests/processes/test_workers.py"]
    run = re.findall(r'copied\("(.+?)"', "".join(test.read_text(encoding="utf-8") for test in tests))

    assert sorted(shown) == sorted(run)
