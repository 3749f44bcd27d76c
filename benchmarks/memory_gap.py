"""Gap to the optimum of the static model on generated programs small enough for CP-SAT to prove.

The optimum is over free starts and offsets, so part of a gap may be what the game's rules cost.

    python benchmarks/memory_gap.py
"""

import numpy as np
import tyro

from makespan.baselines.memory.exact import CpSat
from makespan.baselines.registry import make_solver
from makespan.baselines.runner import registered_family
from makespan.benchmarks.common import machine, print_table, write_results
from makespan.envs.memory.generator import MemoryGenerator

#: Not used by training or by a suite.
SEED = 0x6170


def main(
    programs: int = 40,
    instructions: tuple[int, int] = (8, 12),
    policies: tuple[str, ...] = ("msa", "short-pilot", "pretrained", "local-search:rounds=400"),
    limit_s: float = 6.0,
) -> None:
    """Solve and compare.

    Args:
        programs: number drawn; those that are not proved in time are left out.
        instructions: smallest and largest number.
        policies: specifications as for evaluate.py.
        limit_s: seconds of CP-SAT, and of each policy, per program.
    """
    family, generator = registered_family("memory"), MemoryGenerator(instructions)
    solvers = {spec: make_solver(family, spec) for spec in policies}
    gaps: dict[str, list[float]] = {spec: [] for spec in policies}
    for number in range(programs):
        instance = generator.sample(np.random.default_rng([SEED, number]))
        exact = CpSat(workers=1).solve(instance, limit_s, np.random.default_rng(0))
        exact.solution.validate(instance)
        if not exact.optimal:
            continue
        optimum = exact.solution.objective(instance)
        for spec, solver in solvers.items():
            plan = solver.solve(instance, limit_s, np.random.default_rng(0)).solution
            plan.validate(instance)
            gaps[spec].append(100 * (plan.objective(instance) / optimum - 1))
    rows = [
        {
            "solver": spec,
            "programs": len(values),
            "mean gap %": float(np.mean(values)),
            "largest %": float(np.max(values)),
            "optimal": sum(value < 1e-9 for value in values),
        }
        for spec, values in gaps.items()
    ]
    print_table("Gap to the proved optimum", rows)
    write_results("memory_gap", rows, machine(["ortools", "numba", "torch"]))


if __name__ == "__main__":
    tyro.cli(main)
