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
from makespan.baselines.offsets.greedy import ORDERS, allocate, best_greedy, buffers_of
from makespan.envs.core.ranges import check_least
from makespan.envs.core.solution import Result
from makespan.envs.offsets.bounds import lower_bound
from makespan.envs.offsets.examples import ALIGNED
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.solution import OffsetSolution

#: Temperatures at the begin and the end of a run, as shares of the lower bound.
HOT, COLD = 0.003, 0.0002
#: Moves of the first run; each run is twice as long as the one before.
FIRST_RUN = 1000
#: Seconds between two looks at the clock, about: under a time limit no run is longer.
LONGEST_RUN_S = 1.0


@dataclass(frozen=True)
class LocalSearch:
    """Simulated annealing over orders in runs of growing length.

    Limited by moves alone, the result depends on the instance and the random generator alone.
    Ctrl-C ends the search after the run in hand: the best solution is returned, with
    ``details["interrupted"]``.

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
        check_least(self, max_moves=1)
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
        _compile()
        default = DEFAULT_TIME_LIMIT_S if self.max_moves is None else math.inf
        limit = time_limit(self.time_limit_s, time_limit_s, default)
        search = _Search(self, instance, limit)
        interrupted = False
        try:
            search.run(rng)
        except KeyboardInterrupt:
            interrupted = True
        return search.result(interrupted)


class _Search:
    """One call of :meth:`LocalSearch.solve`; the first order is the best greedy one."""

    def __init__(self, options: LocalSearch, instance: OffsetInstance, time_limit_s: float) -> None:
        self.started = time.perf_counter()
        self.options, self.instance, self.time_limit_s = options, instance, time_limit_s
        self.bound = lower_bound(instance)
        began = self._seconds()
        self.best, self.order = best_greedy(instance)
        self.decode_s = (self._seconds() - began) / len(ORDERS)  # one whole order
        self.peak = int((self.best + instance.nbytes).max())
        self.improvements = [(self._seconds(), max(self.peak, instance.capacity))]
        self.moves = 0

    def _seconds(self) -> float:
        return time.perf_counter() - self.started

    def run(self, rng: np.random.Generator) -> None:
        """Runs of growing length until a limit or the bound is reached."""
        buffers, placement = buffers_of(self.instance), allocate(self.instance.num_buffers)
        most = math.inf if self.options.max_moves is None else self.options.max_moves
        length = self._within_time(FIRST_RUN, 1 / (2 * self.decode_s))
        while self.peak > self.bound and self.moves < most and self._seconds() < self.time_limit_s:
            length = int(min(length, most - self.moves))
            began = self._seconds()
            peak = kernel.anneal(
                buffers,
                placement,
                self.order,
                self.best,
                length,
                HOT * self.bound,
                COLD * self.bound,
                self.bound,
                self.peak,
                self.options.climb,
                rng,
            )
            self.moves += length
            if peak < self.peak:
                self.peak = int(peak)
                self.improvements.append((self._seconds(), max(self.peak, self.instance.capacity)))
            if not self.options.climb:  # the next run starts from the best solution
                ranked = np.argsort(self.best, kind="stable")
                self.order = ranked[self.instance.offset[ranked] < 0].astype(np.int32)
            speed = length / max(self._seconds() - began, 1e-9)
            length = self._within_time(2 * length, speed)

    def _within_time(self, length: int, speed: float) -> int:
        """``length``, or as many moves as end in time at ``speed`` per second."""
        if self.time_limit_s == math.inf:  # then the clock must not matter
            return length
        room = min(LONGEST_RUN_S, self.time_limit_s - self._seconds())
        return max(1, int(min(length, speed * room)))

    def result(self, interrupted: bool) -> Result[OffsetSolution]:
        """The best solution so far."""
        solution = OffsetSolution(self.best)
        return Result(
            solution,
            self._seconds(),
            lower_bound=self.bound,
            optimal=solution.objective(self.instance) == self.bound,
            details={
                "moves": self.moves,
                "improvements": self.improvements,
                "interrupted": interrupted,
            },
        )


@cache
def _compile() -> None:
    """Compile the kernels, once per process, so that no search's clock counts it.

    The example is one that greedy allocators do not solve.
    """
    _Search(LocalSearch(max_moves=3), ALIGNED, math.inf).run(np.random.default_rng(0))
