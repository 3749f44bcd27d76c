"""Learn the weights of the linear router for a kind of cluster, by the cross-entropy method.

    python -m makespan.baselines.routing.evolve --recipe memory --requests 400 --out weights.json
    python -m makespan.baselines.routing.evolve --trace conv.csv:load=0.9,part=train --out w.json

A generation draws weights from independent normal distributions, plays every member on the same
clusters, and moves the distributions towards the best quarter (Rubinstein 1999; log-ranked shares
as in CMA-ES, Hansen 2016). The cost is the mean latency over that of ``central-queue`` on the same
cluster, from whose weights the search starts; a share of it may be the time of the whole episode.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.routing.linear import LinearPolicy, central_queue, read_weights, to_json
from makespan.baselines.routing.rules import RulePolicy
from makespan.envs.core.errors import MakespanError, UnknownNameError, UsageError
from makespan.envs.core.files import write_atomically
from makespan.envs.core.problem import FixedInstances, Generator
from makespan.envs.core.rollout import Policy, rollout
from makespan.envs.routing.formats import read_trace_windows
from makespan.envs.routing.instance import RoutingInstance
from makespan.envs.routing.problem import RoutingProblem
from makespan.envs.routing.suites import RECIPES

#: First entry of the seeds of these clusters; trainer and suites use others.
STREAM = 3


@dataclass(frozen=True)
class Evolution:
    """Settings of the search.

    Attributes:
        out: file of the weights.
        recipe: kind of clusters, a key of :data:`makespan.envs.routing.suites.RECIPES`.
        requests: of a cluster; 0 for as many as the recipe says.
        trace: instead of a recipe, windows of a trace, see ``evaluate.py routing --trace``.
        clusters: played by every member in a generation.
        episode: share of the cost that is the time until the last response, over that of
            ``central-queue``; the rest is the mean latency.
        generations: number of them.
        population: members of a generation.
        start: file of weights to start from; empty for those of ``central-queue``.
        spread: standard deviation of the first generation.
        seed: of everything random.
    """

    out: Path
    recipe: str = "memory"
    requests: int = 0
    trace: str = ""
    clusters: int = 4
    episode: float = 0.0
    generations: int = 16
    population: int = 28
    start: str = ""
    spread: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for field, least in (("clusters", 1), ("generations", 1), ("population", 4)):
            if getattr(self, field) < least:
                raise UsageError(
                    f"{field}: found {getattr(self, field)}, expected at least {least}"
                )
        if not 0 <= self.episode <= 1:
            raise UsageError(f"episode: found {self.episode}, expected 0 to 1")
        if not self.spread > 0:
            raise UsageError(f"spread: found {self.spread}, expected more than 0")

    def run(self) -> None:
        """Search; the weights are written after every generation."""
        source = self._source()
        rng = np.random.default_rng([STREAM, self.seed])
        mean = read_weights(self.start) if self.start else central_queue()
        spread = np.full(len(mean), self.spread)
        elite = self.population // 4
        share = np.log(elite + 0.5) - np.log(np.arange(1, elite + 1))
        share /= share.sum()
        for generation in range(1, self.generations + 1):
            clusters = [source.sample(rng) for _ in range(self.clusters)]
            noise = rng.standard_normal((self.population, len(mean)))
            noise[0] = 0
            costs = _costs(clusters, mean + spread * noise, self.episode)
            best = spread * noise[np.argsort(costs)[:elite]]
            mean = mean + 0.8 * share @ best
            spread = 0.85 * spread + 0.15 * 1.1 * np.sqrt(share @ best**2)
            print(f"{generation} mean {costs[0]:.4f} best {costs.min():.4f}", flush=True)
            write_atomically(self.out, to_json(mean, {**asdict(self), "out": str(self.out)}))

    def _source(self) -> Generator[RoutingInstance]:
        if self.trace:
            return FixedInstances(read_trace_windows(self.trace))
        if self.recipe not in RECIPES:
            raise UnknownNameError("recipe", self.recipe, RECIPES)
        recipe = RECIPES[self.recipe]
        return replace(recipe, num_requests=self.requests) if self.requests else recipe


def _costs(
    clusters: Sequence[RoutingInstance], weights: NDArray[np.float64], episode: float
) -> NDArray[np.float64]:
    """(population,) mean over the clusters of latency and episode over those of central-queue."""
    population, count = len(weights), len(clusters)
    usual = _figures(clusters, RulePolicy("central-queue"))
    everyone = LinearPolicy(values=np.repeat(weights, count, axis=0))
    found = _figures(population * list(clusters), everyone)
    ratios = (found.reshape(population, count, 2) / usual).mean(axis=1)
    return np.asarray(ratios @ [1 - episode, episode])


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


def main() -> None:
    """Command line."""
    import tyro

    try:
        tyro.cli(Evolution, description=__doc__).run()
    except MakespanError as error:
        raise SystemExit(f"evolve: {error}") from None


if __name__ == "__main__":
    main()
