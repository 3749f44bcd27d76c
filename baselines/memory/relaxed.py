"""What is fast without offsets, by mixed-integer programming; then the game finds the offsets."""

import time
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from makespan.baselines.limits import check_time_limit, time_limit
from makespan.envs.core.solution import Result
from makespan.envs.memory import kernel
from makespan.envs.memory.examples import CAPACITY
from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.problem import MemoryProblem
from makespan.envs.memory.relaxation import relax
from makespan.envs.memory.solution import MemoryPlan


@dataclass(frozen=True)
class MixedInteger:
    """HiGHS on the relaxation of :mod:`makespan.envs.memory.relaxation`, and the game on its plan.

    What the relaxation has in fast memory is wished for in the game, which grants what fits, under
    each way of choosing places; the best plan is returned.

    Attributes:
        time_limit_s: seconds, see :func:`~makespan.baselines.limits.time_limit`.
        name: for tables.

    Raises:
        UsageError: for a time limit that is not above 0.
    """

    time_limit_s: float | None = None
    name: str = field(default="milp", init=False)

    def __post_init__(self) -> None:
        check_time_limit(self.time_limit_s)

    def solve(
        self, instance: MemoryInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[MemoryPlan]:
        """Solve until optimality is proven or time is up.

        Ctrl-C is not caught: HiGHS hands out nothing before its end.

        Returns:
            The plan and the proven bound; ``details`` has the ``wishes``: (accesses,) int8.
        """
        compile_kernels()
        started = time.perf_counter()
        found = relax(instance, time_limit(self.time_limit_s, time_limit_s))
        wishes = np.zeros(instance.num_accesses, dtype=np.int8)
        if found.fast is not None:
            wishes = (found.fast > 0.5).astype(np.int8)
        plans = granted(instance, wishes)
        plan = min(plans, key=lambda plan: plan.objective(instance))
        seconds = time.perf_counter() - started
        return Result(plan, seconds, lower_bound=found.bound, details={"wishes": wishes})


@cache
def compile_kernels() -> None:
    """Compile what granting wishes needs, once per process, so that no clock counts it."""
    granted(CAPACITY, np.zeros(CAPACITY.num_accesses, dtype=np.int8))


def granted(instance: MemoryInstance, wishes: np.ndarray) -> list[MemoryPlan]:
    """The plans that the game makes of wishes, one for each way of choosing places."""
    problem = MemoryProblem.for_instances([instance])
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    plans = []
    for placement in range(len(kernel.PLACEMENTS)):
        kernel.decode(state, 0, wishes, placement)
        plans.append(problem.solution(state, 0))
    return plans
