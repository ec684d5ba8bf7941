"""What the doctor finds: one line for each thing that it looks at."""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: What was looked at.
        state: Whether it is as it should be.
        told: What was found.
        remedy: What to do about it, or what follows from it.
    """

    what: str
    state: Literal["ok", "warn", "fail"]
    told: str
    remedy: str | None = None

    def line(self) -> str:
        """Return it for people."""
        return f"{self.state:<4}  {self.what}: {self.told}" + (f"; {self.remedy}" if self.remedy else "")

    def fields(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def ok(what: str, told: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(what=what, state="ok", told=told)


def warn(what: str, told: str, remedy: str) -> Finding:
    """Return that something may be in order, or not."""
    return Finding(what=what, state="warn", told=told, remedy=remedy)


def fail(what: str, told: str, remedy: str) -> Finding:
    """Return that something cannot work as it is."""
    return Finding(what=what, state="fail", told=told, remedy=remedy)
