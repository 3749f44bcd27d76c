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
        """Both, each with half of the time.

        Returns:
            The better plan and the larger bound; ``details`` has the name of the solver ``chosen``
            and whether one was ``interrupted``.
        """
        solvers = (self.first or _pretrained(), self.second or MemorySpaceAssignment())
        started = time.perf_counter()
        half = None if time_limit_s is None else time_limit_s / 2
        results = [solver.solve(instance, half, rng) for solver in solvers]
        latencies = [result.solution.objective(instance) for result in results]
        chosen = latencies.index(min(latencies))
        bounds = [result.lower_bound for result in results if result.lower_bound is not None]
        return Result(
            results[chosen].solution,
            time.perf_counter() - started,
            lower_bound=max(bounds, default=None),
            optimal=any(result.optimal for result in results),
            details={
                "chosen": solvers[chosen].name,
                "interrupted": any(result.details.get("interrupted") for result in results),
            },
        )


def _pretrained() -> Solver[MemoryInstance]:
    from makespan.baselines.registry import make_solver
    from makespan.baselines.runner import registered_family

    return make_solver(registered_family("memory"), "pretrained")
