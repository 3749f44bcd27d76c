"""Learn the weights of the linear router for a kind of cluster, or for one's own trace.

    python -m makespan.baselines.routing.evolve --recipe memory --requests 400 --out weights.json
    python -m makespan.baselines.routing.evolve --trace conv.csv:load=0.9,part=train --out w.json

The cost is the mean latency over that of ``central-queue``, from whose weights the search starts; a
share of it may be the time of the whole episode. The method is that of
:mod:`makespan.baselines.evolve`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from makespan.baselines.evolve import EvolutionConfig, Search, read_initial, run_command
from makespan.baselines.routing.linear import TERMS, LinearPolicy, central_queue
from makespan.baselines.routing.rules import RulePolicy
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.problem import FixedInstances, Generator
from makespan.envs.core.rollout import Policy, rollout
from makespan.envs.routing.formats import read_trace_windows
from makespan.envs.routing.instance import RoutingInstance
from makespan.envs.routing.problem import RoutingProblem
from makespan.envs.routing.suites import RECIPES


@dataclass(frozen=True)
class Options:
    """What to learn on.

    Attributes:
        out: file of the weights.
        recipe: kind of clusters, a key of :data:`makespan.envs.routing.suites.RECIPES`; without a
            trace, ``memory`` when empty.
        requests: of a cluster; 0 for as many as the recipe says.
        trace: instead of a recipe, windows of a trace, see ``evaluate.py routing --trace``. Those
            of a generation are drawn among them, and those of ``validation`` among the same.
        episode: share of the cost that is the time until the last response, over that of
            ``central-queue``; the rest is the mean latency.
        search: settings.
    """

    out: Path
    recipe: str = ""
    requests: int = 0
    trace: str = ""
    episode: float = 0.0
    search: Annotated[EvolutionConfig, tyro.conf.arg(name="")] = field(
        default_factory=EvolutionConfig
    )

    def __post_init__(self) -> None:
        if not 0 <= self.episode <= 1:
            raise UsageError(f"episode: found {self.episode}, expected 0 to 1")
        if self.trace and (self.recipe or self.requests):
            raise UsageError(
                "trace: found recipe or requests with it, expected neither: a trace has its own "
                "requests, and requests=... behind its colon"
            )

    def run(self) -> None:
        """Search."""
        initial, first = self.search.initial, central_queue()
        search = Search(
            config=self.search,
            kind=LinearPolicy,
            source=self._source(),
            first=read_initial(initial, LinearPolicy, TERMS, {}) if initial else first,
            usual=RulePolicy("central-queue"),
            figures=_figures,
            shares=(1 - self.episode, self.episode),
        )
        search.run(self.out, {**asdict(self), "recipe": self._recipe, "out": str(self.out)})

    @property
    def _recipe(self) -> str:
        return "" if self.trace else self.recipe or "memory"

    def _source(self) -> Generator[RoutingInstance]:
        if self.trace:
            return FixedInstances(read_trace_windows(self.trace))
        if self._recipe not in RECIPES:
            raise UnknownNameError("recipe", self._recipe, RECIPES)
        recipe = RECIPES[self._recipe]
        return replace(recipe, num_requests=self.requests) if self.requests else recipe


def _figures(instances: Sequence[RoutingInstance], policy: Policy) -> NDArray[np.float64]:
    """(instances, 2) mean latency, and time from the first arrival to the last response, s."""
    problem = RoutingProblem.for_instances(instances)
    solutions: list[Any] = rollout(problem, instances, policy, np.random.default_rng(0))
    return np.array(
        [
            (s.objective(i), s.end.max() - i.arrival[0])
            for s, i in zip(solutions, instances, strict=True)
        ]
    )


if __name__ == "__main__":
    run_command(Options, __doc__, Options.run)
