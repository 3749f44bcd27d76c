"""Improvement at equal moves: mean gap on Taillard's instances by size, for every policy.

The instances of a size are improved in one batch; every schedule is validated. L2S are the
published values (Zhang et al., ICLR 2024), recalled and not re-read.

    python benchmarks/improve_quality.py --moves 500 5000 --start fdd-mwkr
"""

import time
from dataclasses import dataclass

import numpy as np
import tyro

from makespan.baselines.improve import POLICIES
from makespan.benchmarks.common import machine, print_table, write_results
from makespan.envs.core.rollout import rollout
from makespan.envs.improve.family import make_problem
from makespan.envs.jobshop.bounds import best_known, gap
from makespan.envs.jobshop.suites import SUITES, TAILLARD_SIZES

#: Mean gap in percent by size, in the order of TAILLARD_SIZES.
L2S = {
    500: (9.3, 11.6, 12.4, 14.7, 17.5, 11.0, 13.0, 7.9),
    5000: (6.2, 8.3, 9.0, 9.0, 12.6, 4.6, 6.5, 3.0),
}


@dataclass(frozen=True)
class Options:
    """Settings.

    Attributes:
        moves: of an episode, one table for each.
        start: first schedule, see makespan.envs.improve.start.
        policies: ``neighbourhood/policy``.
        checkpoint: of the trained policy; empty for the one that ships.
        sizes: how many of the sizes, from the smallest on.
    """

    moves: tuple[int, ...] = (500,)
    start: str = "fdd-mwkr"
    policies: tuple[str, ...] = (
        "n6/pretrained",
        "n6/tabu-list",
        "n6/annealing",
        "n5/annealing",
        "n6/no-return",
        "n6/best-improvement",
        "n6/first-improvement",
        "n6/greedy",
        "n5/greedy",
        "n5/random",
    )
    checkpoint: str = ""
    sizes: int = 8


def main() -> None:
    """Run, print and write."""
    import torch

    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(1)
    sizes = [f"{jobs}x{machines}" for jobs, machines in TAILLARD_SIZES[: options.sizes]]
    for moves in options.moves:
        rows = []
        if moves in L2S:
            values = dict(zip(sizes, L2S[moves], strict=False))
            rows.append({"policy": "L2S, recalled", **values, "mean": _mean(values), "s": None})
        for spec in options.policies:
            neighbourhood, name = spec.split("/")
            given = {"checkpoint": options.checkpoint} if name == "pretrained" else {}
            policy = POLICIES[name](**given)
            values, started = {}, time.process_time()
            for size in sizes:
                instances = SUITES[f"ta{size}"]()
                problem = make_problem(
                    instances, start=options.start, moves=moves, neighbourhood=neighbourhood
                )
                solutions = rollout(problem, instances, policy, np.random.default_rng(0))
                gaps = []
                for instance, solution in zip(instances, solutions, strict=True):
                    solution.validate(instance)
                    known = best_known(instance.name)
                    assert known is not None
                    gaps.append(gap(solution.objective(instance), known))
                values[size] = round(float(np.mean(gaps)), 2)
            seconds = (time.process_time() - started) / (10 * len(sizes))
            rows.append({"policy": spec, **values, "mean": _mean(values), "s": round(seconds, 3)})
            print(rows[-1], flush=True)
        title = f"{moves} moves from {options.start}: mean gap, %; s: CPU seconds an instance"
        print_table(title, rows)
        print("written:", write_results(f"improve_{options.start}_{moves}", rows, machine([])))


def _mean(values: dict[str, float]) -> float:
    return round(float(np.mean(list(values.values()))), 2)


if __name__ == "__main__":
    main()
