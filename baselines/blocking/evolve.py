"""Learn the rules that complete trials under ``lookahead="learnt"``, by the cross-entropy method.

    python -m makespan.baselines.blocking.evolve --out trials.json

A generation draws rules from independent normal distributions, completes the same fresh shops by
each, wherever they are on their way, and moves the distributions towards the best quarter
(Rubinstein 1999; log-ranked shares as in CMA-ES, Hansen 2016). The search starts from the rule
``dispatch``. It finds the last mean and draws from the last distributions: all good, and different.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makespan.envs.blocking import kernel
from makespan.envs.blocking.generator import BlockingGenerator
from makespan.envs.blocking.problem import BlockingProblem
from makespan.envs.blocking.trials import RULES
from makespan.envs.core.errors import MakespanError, UsageError
from makespan.envs.core.files import write_atomically

#: First entry of the seeds of these shops; trainer and suites use others.
STREAM = 3
#: Shops are met with up to this share of their operations begun.
LATEST = 0.5


@dataclass(frozen=True)
class Evolution:
    """Settings of the search.

    Attributes:
        out: file of the rules.
        rules: number of them.
        population: rules tried in a generation.
        shops: met in a generation.
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
        mean = RULES["dispatch"][0]
        spread = np.full(len(mean), self.spread)
        elite = self.population // 4
        share = np.log(elite + 0.5) - np.log(np.arange(1, elite + 1))
        share /= share.sum()
        for generation in range(1, self.generations + 1):
            noise = rng.standard_normal((self.population, len(mean)))
            noise[0] = 0
            tried = np.concatenate([RULES["dispatch"], mean + spread * noise])
            usual, *costs = play(shops(generator, self.shops, rng), tried)
            cost = (np.array(costs) / usual).mean(axis=1)
            best = spread * noise[np.argsort(cost)[:elite]]
            mean = mean + 0.8 * share @ best
            spread = 0.85 * spread + 0.15 * 1.1 * np.sqrt(share @ best**2)
            print(f"{generation} mean {cost[0]:.4f} best {cost.min():.4f}", flush=True)
            drawn = mean + spread * rng.standard_normal((self.rules - 1, len(mean)))
            about = {**asdict(self), "out": self.out.name, "done": generation}
            write_atomically(self.out, to_json(np.vstack([mean, drawn]), about))


def shops(generator: BlockingGenerator, count: int, rng: np.random.Generator) -> kernel.State:
    """Shops that the rule ``dispatch`` has brought on their way."""
    problem = BlockingProblem(generator.largest)
    state, observation = problem.allocate(count), problem.spec.allocate(count)
    for row in range(count):
        problem.load(state, observation, row, generator.sample(rng))
        operations = int(state.totals[row, kernel.OPERATIONS] * rng.uniform(0, LATEST))
        rule = RULES["dispatch"][0]
        kernel.complete(state, row, rule, problem.constants[0], operations, kernel.NEVER)
    return state


def play(state: kernel.State, rules: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rules, shops) makespan of each trial over the initial bound."""
    makespans = np.zeros((len(rules), len(state.totals)), dtype=np.int64)
    kernel.trial_makespans(state, rules, kernel.MASK, makespans)
    return np.asarray(makespans / state.totals[:, kernel.INITIAL])


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
