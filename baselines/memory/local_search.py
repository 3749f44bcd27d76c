"""Local search over plans by the simulator itself: change a few decisions, play all again.

A plan is a wish for every access (fast memory, slow memory, or what a rule says); the game turns
wishes into a valid plan, so any change can be tried. It is played from shortly before the change,
and until the outlook is worse than before.
"""

import math
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.limits import check_time_limit, time_limit
from makespan.baselines.memory import msa, relaxed
from makespan.baselines.memory.msa import MemorySpaceAssignment
from makespan.baselines.memory.relaxed import MixedInteger
from makespan.envs.core.errors import UnknownNameError
from makespan.envs.core.ranges import check_least
from makespan.envs.core.rollout import Solver
from makespan.envs.core.solution import Result
from makespan.envs.memory import kernel
from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.problem import MemoryProblem
from makespan.envs.memory.relaxation import TOLERANCE
from makespan.envs.memory.solution import MemoryPlan

#: Decisions between two looks at the clock.
DECISIONS_PER_ROUND = 100_000
#: Share of the time limit that the solvers of the start may take.
START_SHARE = 0.5


@dataclass(frozen=True)
class LocalSearch:
    """Hill climbing that also takes some changes which make no difference.

    Ctrl-C ends the search early: the best plan is returned, with ``details["interrupted"]``. Before
    the solvers of the start are done there is none, and it is not caught.

    Attributes:
        start: solver whose plan the search begins from; None: the better of the relaxation's
            (:class:`MixedInteger`) and XLA's. Its plan is returned if nothing better is found.
        placement: where buffers are put, see :mod:`makespan.envs.memory.kernel`.
        time_limit_s: seconds, see :func:`~makespan.baselines.limits.time_limit`.
        rounds: changes tried at most; 0 for no limit.
        name: for tables.

    Raises:
        UsageError: for a value outside its range.
    """

    start: Solver[MemoryInstance] | None = None
    placement: str = "worth"
    time_limit_s: float | None = None
    rounds: int = 0
    name: str = field(default="local-search", init=False)

    def __post_init__(self) -> None:
        check_time_limit(self.time_limit_s)
        check_least(self, rounds=0)
        if self.placement not in kernel.PLACEMENTS:
            raise UnknownNameError("placement", self.placement, kernel.PLACEMENTS)

    def solve(
        self, instance: MemoryInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[MemoryPlan]:
        """Search until time is up.

        Args:
            instance: to solve.
            time_limit_s: seconds; a smaller one of the solver's own counts.
            rng: of the changes.

        Returns:
            The best plan; ``details`` has ``improvements`` as (seconds, latency), ``rounds``, and
            whether the search was ``interrupted``.
        """
        problem = MemoryProblem.for_instances([instance], placement=self.placement)
        placement = kernel.PLACEMENTS.index(self.placement)
        state, observation = problem.allocate(1), problem.spec.allocate(1)
        problem.load(state, observation, 0, instance)
        nothing: NDArray[np.int8] = np.zeros(instance.num_accesses, dtype=np.int8)
        kernel.improve(state, 0, nothing, 0, placement, rng)  # compiles: not on the clock
        if self.start is None:
            msa.compile_kernels()
            relaxed.compile_kernels()
        started = time.perf_counter()
        limit = time_limit(self.time_limit_s, time_limit_s)
        given = self._starts(instance, START_SHARE * limit, rng)
        plan: MemoryPlan = min(
            (result.solution for result in given), key=lambda plan: plan.objective(instance)
        )
        wishes: NDArray[np.int8] = min(
            (
                result.details.get("wishes", result.solution.fast.astype(np.int8))
                for result in given
            ),
            key=lambda wishes: int(kernel.decode(state, 0, wishes, placement)),
        ).copy()
        best = int(min(kernel.decode(state, 0, wishes, placement), plan.objective(instance)))
        bound = max((r.lower_bound for r in given if r.lower_bound is not None), default=None)
        enough = (bound or 0) + 2 * TOLERANCE * instance.all_slow  # then there is nothing to gain
        improvements = [(time.perf_counter() - started, best)]
        each = max(1, DECISIONS_PER_ROUND // instance.num_accesses)
        most = self.rounds or math.inf
        tried, interrupted = 0, False
        try:
            while time.perf_counter() - started < limit and tried < most and best > enough:
                count = int(min(each, most - tried))
                found = int(kernel.improve(state, 0, wishes, count, placement, rng))
                tried += count
                if found < best:
                    best = found
                    improvements.append((time.perf_counter() - started, best))
        except KeyboardInterrupt:
            interrupted = True
        if kernel.decode(state, 0, wishes, placement) < plan.objective(instance):
            plan = problem.solution(state, 0)
        return Result(
            plan,
            time.perf_counter() - started,
            lower_bound=bound,
            details={"improvements": improvements, "rounds": tried, "interrupted": interrupted},
        )

    def _starts(
        self, instance: MemoryInstance, limit: float, rng: np.random.Generator
    ) -> list[Result[MemoryPlan]]:
        """What the solvers of the start find; the second needs hardly any time."""
        starts: list[Solver[MemoryInstance]] = [MixedInteger(), MemorySpaceAssignment()]
        if self.start is not None:
            starts = [self.start]
        return [solver.solve(instance, limit, rng) for solver in starts]
