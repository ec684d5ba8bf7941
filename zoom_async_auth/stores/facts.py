"""What a store can tell about its place, for people: the answers of a check."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

ANSWERS: Final = "answers"
"""What is looked at first; if that is not so, nothing else is."""

_LARGEST_SKEW: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that a store's `check` found out.

    Attributes:
        what: What was looked at.
        ok: Whether it is as it should be.
        told: What was found, for people.
    """

    what: str
    ok: bool
    told: str


@runtime_checkable
class Checkable(Protocol):
    """What a store offers beyond the protocol that can look at its place."""

    async def check(self) -> tuple[Fact, ...]:
        """Look at all that a manager is going to rely on, for people."""
        ...


def answers(facts: Iterable[Fact]) -> bool:
    """Tell whether a store that found this out can be asked for more."""
    return all(fact.ok for fact in facts if fact.what == ANSWERS)


def clock_fact(skew: float) -> Fact:
    """Return what the difference of a store's clock to ours, in seconds, means."""
    return Fact(
        what="agrees on the time",
        ok=abs(skew) <= _LARGEST_SKEW,
        told=f"its clock is {abs(skew):.3f} s {'ahead of' if skew > 0 else 'behind'} this host's",
    )
