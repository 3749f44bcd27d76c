"""Learn the rules that complete the trials of the look-ahead ``learnt``.

    python -m makespan.baselines.blocking.evolve --out trials.json

A generation meets fresh shops, somewhere on their way. Its candidates are the rules so far and
mutants of them; those are kept that complement each other best, chosen greedily by the mean over
the shops of the shortest makespan among the chosen. It begins with the rule ``dispatch``.
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
LATEST = 0.8
#: Smallest and largest standard deviation of what mutation adds to the weights, in powers of ten.
MUTATION = (-1.3, 0.2)


@dataclass(frozen=True)
class Evolution:
    """Settings of the search.

    Attributes:
        out: file of the rules.
        rules: number of them.
        mutants: tried in a generation.
        shops: met in a generation.
        generations: number of them.
        jobs: smallest and largest number of jobs of a shop.
        machines: smallest and largest number of machines.
        seed: of everything random.
    """

    out: Path
    rules: int = 8
    mutants: int = 64
    shops: int = 200
    generations: int = 100
    jobs: tuple[int, int] = (8, 20)
    machines: tuple[int, int] = (5, 15)
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("rules", "mutants", "shops", "generations"):
            if getattr(self, field) < 1:
                raise UsageError(f"{field}: found {getattr(self, field)}, expected at least 1")

    def run(self) -> None:
        """Search; the rules are written after every generation."""
        generator = BlockingGenerator(self.jobs, self.machines)
        rng = np.random.default_rng([STREAM, self.seed])
        chosen = RULES["dispatch"]
        for generation in range(1, self.generations + 1):
            candidates = np.concatenate([chosen, mutants(chosen, self.mutants, rng)])
            ratios = play(shops(generator, self.shops, rng), candidates)
            before = ratios[: len(chosen)].min(axis=0).mean()
            kept = complements(ratios, self.rules)
            chosen = candidates[kept]
            after = ratios[kept].min(axis=0).mean()
            print(f"{generation} before {before:.4f} after {after:.4f}", flush=True)
            about = {**asdict(self), "out": str(self.out), "done": generation}
            write_atomically(self.out, to_json(chosen, about))


def mutants(
    parents: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(count, terms) changed copies of parents drawn at random."""
    drawn = parents[rng.integers(len(parents), size=count)]
    size = 10 ** rng.uniform(*MUTATION, size=(count, 1))
    return np.asarray(drawn + size * rng.standard_normal(drawn.shape))


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


def complements(costs: NDArray[np.float64], count: int) -> list[int]:
    """Indices of rules, each the one that lowers the mean of the lowest cost most.

    Args:
        costs: (rules, shops).
        count: most rules to choose.
    """
    chosen: list[int] = []
    lowest = np.full(costs.shape[1], np.inf)
    while len(chosen) < min(count, len(costs)):
        mean = np.minimum(lowest, costs).mean(axis=1)
        mean[chosen] = np.inf
        chosen.append(int(mean.argmin()))
        lowest = np.minimum(lowest, costs[chosen[-1]])
    return chosen


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
