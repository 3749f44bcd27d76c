"""The better of two plans, in the spirit of mallocMuZero-prod: a policy and XLA's heuristic."""

import time
from dataclasses import dataclass, field

import numpy as np

from makespan.baselines.memory.msa import MemorySpaceAssignment
from makespan.envs.core.rollout import Solver
from makespan.envs.core.solution import Result
from makespan.envs.memory.instance import MemoryInstance


@dataclass(frozen=True)
class Hybrid:
    """Runs two solvers and keeps the plan of lower latency; never worse than either.

    Attributes:
        first: a solver; None: the policy that ships.
        second: another one; None: XLA's memory-space assignment.
        name: for tables.
    """

    first: Solver[MemoryInstance] | None = None
    second: Solver[MemoryInstance] | None = None
    name: str = field(default="hybrid", init=False)

    def solve(
        self, instance: MemoryInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[object]:
        """Both, each with half of the time."""
        started = time.perf_counter()
        half = None if time_limit_s is None else time_limit_s / 2
        first = self.first or _pretrained()
        second = self.second or MemorySpaceAssignment()
        results = {solver.name: solver.solve(instance, half, rng) for solver in (first, second)}
        latency = {name: r.solution.objective(instance) for name, r in results.items()}
        chosen = min(latency, key=latency.__getitem__)
        return Result(
            results[chosen].solution, time.perf_counter() - started, details={"chosen": chosen}
        )


def _pretrained() -> Solver[MemoryInstance]:
    from makespan.baselines.registry import make_solver
    from makespan.baselines.runner import registered_family

    return make_solver(registered_family("memory"), "pretrained")
