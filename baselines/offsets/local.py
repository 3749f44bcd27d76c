"""Local search over placement orders: simulated annealing, and hill climbing.

An order is decoded by first fit, which reaches an optimal solution for some order; runs start from
the best greedy order and then from the best order found. Hill climbing over orders is one of the
allocators of Apache TVM (USMP); see :mod:`~makespan.baselines.offsets.decode_kernel` for the moves.
"""

import math
import time
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from makespan.baselines.limits import DEFAULT_TIME_LIMIT_S, check_time_limit, time_limit
from makespan.baselines.offsets import decode_kernel as kernel
from makespan.baselines.offsets.greedy import (
    ORDERS,
    allocate,
    buffers_of,
    order_of,
    place_in_order,
)
from makespan.envs.core.errors import UsageError
from makespan.envs.core.solution import Result
from makespan.envs.offsets.bounds import lower_bound
from makespan.envs.offsets.examples import WITH_FIXED
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.solution import OffsetSolution

#: Temperatures at the begin and the end of a run, as shares of the lower bound.
HOT, COLD = 0.003, 0.0002
#: Moves of the first run; each run is twice as long as the one before.
FIRST_RUN = 1000
#: Seconds between two looks at the clock, about: the length of runs is limited by it.
LONGEST_RUN_S = 1.0


@dataclass(frozen=True)
class LocalSearch:
    """Simulated annealing over orders in runs of growing length.

    Limited by moves alone, the result depends on the instance and the random generator alone.
    Ctrl-C ends the search early: the best solution is returned, with ``details["interrupted"]``.

    Attributes:
        climb: accept no worse order at all: hill climbing.
        max_moves: moves after which the search ends; None: no limit.
        time_limit_s: seconds, see :func:`~makespan.baselines.limits.time_limit`; when nothing else
            is given, ``max_moves`` is the only limit.
        name: for tables.

    Raises:
        UsageError: for a value outside its range.
    """

    climb: bool = False
    max_moves: int | None = None
    time_limit_s: float | None = None
    name: str = field(default="local-search", init=False)

    def __post_init__(self) -> None:
        if self.max_moves is not None and self.max_moves < 1:
            raise UsageError(f"max_moves: found {self.max_moves}, expected at least 1")
        check_time_limit(self.time_limit_s)

    def solve(
        self, instance: OffsetInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[OffsetSolution]:
        """Search until a limit or the bound is reached.

        Args:
            instance: to solve.
            time_limit_s: seconds; a smaller one of the solver's own counts. Compiling does not.
            rng: the source of all chance.

        Returns:
            The best solution; ``details`` has the number of ``moves``, ``improvements`` as
            (seconds, peak) after each run, and whether the search was ``interrupted``.
        """
        if instance is not WITH_FIXED:
            _compile()
        default = DEFAULT_TIME_LIMIT_S if self.max_moves is None else math.inf
        limit = time_limit(self.time_limit_s, time_limit_s, default)
        started = time.perf_counter()
        bound = lower_bound(instance)
        orders = [order_of(instance, order) for order in ORDERS]
        starts = [place_in_order(instance, order) for order in orders]
        peaks = [int((offsets + instance.nbytes).max()) for offsets in starts]
        peak = min(peaks)
        order = orders[peaks.index(peak)]
        best = starts[peaks.index(peak)]
        improvements = [(time.perf_counter() - started, peak)]
        buffers, placement = buffers_of(instance), allocate(instance.num_buffers)
        moves, run, interrupted = 0, FIRST_RUN, False
        try:
            while peak > bound:
                left = math.inf if self.max_moves is None else self.max_moves - moves
                began = time.perf_counter()
                if left <= 0 or began - started >= limit:
                    break
                length = int(min(run, left))
                found = kernel.anneal(
                    buffers,
                    placement,
                    order,
                    best,
                    length,
                    HOT * bound,
                    COLD * bound,
                    bound,
                    peak,
                    self.climb,
                    rng,
                )
                moves += length
                if found < peak:
                    peak = int(found)
                    improvements.append((time.perf_counter() - started, peak))
                if not self.climb:  # the next run starts from the best solution
                    ranked = np.argsort(best, kind="stable")
                    order = ranked[instance.offset[ranked] < 0].astype(np.int32)
                taken = time.perf_counter() - began
                room = min(LONGEST_RUN_S, limit - (time.perf_counter() - started))
                run = max(1, int(min(2.0 * run, run * room / max(taken, 1e-9))))
        except KeyboardInterrupt:
            interrupted = True
        solution = OffsetSolution(best)
        return Result(
            solution,
            time.perf_counter() - started,
            lower_bound=bound,
            optimal=solution.objective(instance) == bound,
            details={"moves": moves, "improvements": improvements, "interrupted": interrupted},
        )


@cache
def _compile() -> None:
    """Compile the kernels, once per process, so that no search's clock counts it."""
    LocalSearch(max_moves=3).solve(WITH_FIXED, None, np.random.default_rng(0))
