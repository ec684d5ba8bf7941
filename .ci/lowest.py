"""Print the lowest version that `pyproject.toml` allows of each dependency of the package, as constraints for pip."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
for text in [
    *project["dependencies"],
    *(text for extra in project["optional-dependencies"].values() for text in extra),
]:
    requirement = Requirement(text)
    if requirement.name != project["name"]:
        (bound,) = requirement.specifier  # each has a lower bound and nothing else
        print(f"{requirement.name}=={bound.version}")
