"""What every solution offers, and what a solver returns."""

from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

InstanceT_contra = TypeVar("InstanceT_contra", contravariant=True)
SolutionT = TypeVar("SolutionT")


@runtime_checkable
class Solution(Protocol[InstanceT_contra]):
    """A complete answer to an instance, checkable from the definition alone."""

    def validate(self, instance: InstanceT_contra) -> None:
        """Raise InvalidSolutionError listing every violated constraint with numbers."""

    def objective(self, instance: InstanceT_contra) -> float:
        """The value to minimise, computed from the definition."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file."""


@dataclass(frozen=True)
class Result(Generic[SolutionT]):
    """What a solver hands back for one instance.

    Attributes:
        solution: the best solution found.
        seconds: wall-clock seconds spent on this instance.
        lower_bound: a proven lower bound on the objective, or None.
        optimal: True when the solver proved the solution optimal.
        details: anything else worth knowing (e.g. samples, moves); ``improvements`` are (seconds,
            objective) of each solution better than those before, the returned one last;
            ``interrupted`` is True when Ctrl-C cut the search short.
    """

    solution: SolutionT
    seconds: float
    lower_bound: float | None = None
    optimal: bool = False
    details: dict[str, Any] = field(default_factory=dict)
