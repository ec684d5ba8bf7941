"""What is optional: a library that is not there is named together with the extra that brings it."""

import subprocess
import sys
from pathlib import Path

import pytest

import zoom_async_auth

_IMPORT = """
import sys

class Nowhere:
    @staticmethod
    def find_spec(name, *_):
        if name == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nowhere)
__import__(sys.argv[2])
"""


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("stores.sql", "sqlalchemy", "sql"),
        ("stores.redis", "redis", "redis"),
        ("stores.encrypted", "cryptography", "crypto"),
        ("integrations.fastapi", "fastapi", "fastapi"),
        ("integrations.httpx", "httpx", "httpx"),
        ("integrations.prometheus", "prometheus_client", "prometheus"),
        ("integrations.opentelemetry", "opentelemetry", "otel"),
    ],
)
def test_an_import_whose_library_is_missing_says_what_brings_it(module: str, library: str, extra: str) -> None:
    """The first thing that a newcomer sees who has installed the package without extras."""
    command = [sys.executable, "-c", _IMPORT, library, f"zoom_async_auth.{module}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    told = f"ModuleNotFoundError: {library} is missing: it comes with the extra [{extra}] of zoom_async_auth"
    assert done.stderr.splitlines()[-1] == told
    assert done.stderr.count("Traceback") == 1  # without the bare one before it


def test_nobody_is_told_to_fetch_the_package_by_its_name() -> None:
    """As long as it is not published, whatever an index has under this name is somebody else's."""
    package = Path(zoom_async_auth.__file__).parent

    assert [path.name for path in package.rglob("*.py") if "pip install" in path.read_text()] == []
