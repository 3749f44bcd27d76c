"""Learn the rules that complete trials under ``lookahead="learnt"``, by the cross-entropy method.

    python -m makespan.baselines.blocking.evolve --out trials.json

A generation draws rules from independent normal distributions, schedules the same fresh shops by
each alone, shutdowns included, and moves the distributions towards the best quarter (Rubinstein
1999; log-ranked shares as in CMA-ES, Hansen 2016). The search starts from a soft version of the
rule ``dispatch``. What it finds are the last mean and draws from the last distributions: all good,
and different.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makespan.envs.blocking import kernel
from makespan.envs.blocking.generator import BlockingGenerator
from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.blocking.problem import BlockingProblem
from makespan.envs.blocking.trials import RULES, weights
from makespan.envs.core.errors import MakespanError, UsageError
from makespan.envs.core.files import write_atomically

#: First entry of the seeds of these shops; trainer and suites use others.
STREAM = 3
#: The more jobs are in the shop, the more it takes for one to enter from outside.
START = {"enter": 10, "outside": -2, "crowd": -11, "work_left": 1}


@dataclass(frozen=True)
class Evolution:
    """Settings of the search.

    Attributes:
        out: file of the rules.
        rules: number of them.
        population: rules tried in a generation.
        shops: scheduled by each rule in a generation.
        generations: number of them.
        spread: standard deviation of the first generation.
        jobs: smallest and largest number of jobs of a shop.
        machines: smallest and largest number of machines.
        seed: of everything random.
    """

    out: Path
    rules: int = 64
    population: int = 64
    shops: int = 64
    generations: int = 80
    spread: float = 1.0
    jobs: tuple[int, int] = (8, 20)
    machines: tuple[int, int] = (5, 15)
    seed: int = 0

    def __post_init__(self) -> None:
        for field, least in (("rules", 1), ("population", 4), ("shops", 1), ("generations", 1)):
            if getattr(self, field) < least:
                raise UsageError(
                    f"{field}: found {getattr(self, field)}, expected at least {least}"
                )
        if not self.spread > 0:
            raise UsageError(f"spread: found {self.spread}, expected more than 0")

    def run(self) -> None:
        """Search; the rules are written after every generation."""
        generator = BlockingGenerator(self.jobs, self.machines)
        rng = np.random.default_rng([STREAM, self.seed])
        mean = weights([START])[0]
        spread = np.full(len(mean), self.spread)
        elite = self.population // 4
        share = np.log(elite + 0.5) - np.log(np.arange(1, elite + 1))
        share /= share.sum()
        for generation in range(1, self.generations + 1):
            noise = rng.standard_normal((self.population, len(mean)))
            noise[0] = 0
            tried = np.concatenate([RULES["dispatch"], mean + spread * noise])
            usual, *costs = play([generator.sample(rng) for _ in range(self.shops)], tried)
            cost = (np.array(costs) / usual).mean(axis=1)
            best = spread * noise[np.argsort(cost)[:elite]]
            mean = mean + 0.8 * share @ best
            spread = 0.85 * spread + 0.15 * 1.1 * np.sqrt(share @ best**2)
            print(f"{generation} mean {cost[0]:.4f} best {cost.min():.4f}", flush=True)
            drawn = mean + spread * rng.standard_normal((self.rules - 1, len(mean)))
            about = {**asdict(self), "out": self.out.name, "done": generation}
            write_atomically(self.out, to_json(np.vstack([mean, drawn]), about))


def play(instances: Sequence[BlockingInstance], rules: NDArray[np.float64]) -> NDArray[np.int64]:
    """(rules, instances) makespan of each instance when each rule alone decides."""
    problem = BlockingProblem.for_instances(instances)
    state, observation = problem.allocate(len(instances)), problem.spec.allocate(len(instances))
    for row, instance in enumerate(instances):
        problem.load(state, observation, row, instance)
    makespans = np.zeros((len(rules), len(instances)), dtype=np.int64)
    kernel.rule_makespans(state, rules, kernel.MASK, makespans)
    return makespans


def to_json(rules: NDArray[np.float64], about: Mapping[str, Any]) -> str:
    """What :mod:`makespan.envs.blocking.trials` reads; ``about`` says how they were found."""
    rows = [dict(zip(kernel.TRIAL_TERMS, row, strict=True)) for row in np.round(rules, 3).tolist()]
    return json.dumps({"about": about, "rules": rows}, indent=1) + "\n"


def main() -> None:
    """Command line."""
    import tyro

    try:
        tyro.cli(Evolution, description=__doc__).run()
    except MakespanError as error:
        raise SystemExit(f"evolve: {error}") from None


if __name__ == "__main__":
    main()
