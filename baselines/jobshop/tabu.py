"""Tabu search for the job shop and the flexible job shop.

A run of tabu search (see :mod:`~makespan.baselines.jobshop.tabu_kernel`) lasts until it stalls. The
first runs start from schedules of a randomised rule, later ones between two of the best schedules
found: weighted means of the positions in their topological orders give an order that is feasible
again and shares what the two have in common. Sources: Nowicki & Smutnicki (1996) and Zhang et al.,
Computers & Operations Research 35(1), 2008, for tabu search; Peng, Lu & Cheng, Computers &
Operations Research 53, 2015, for searching from between elite schedules.
"""

import math
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.jobshop import tabu_kernel as kernel
from makespan.baselines.jobshop.schedules import starts_and_alternatives, work_left
from makespan.baselines.limits import DEFAULT_TIME_LIMIT_S, check_time_limit, time_limit
from makespan.envs.core.errors import UsageError
from makespan.envs.core.ranges import check_least
from makespan.envs.core.rollout import Solver
from makespan.envs.core.solution import Result
from makespan.envs.jobshop import disjunctive
from makespan.envs.jobshop.bounds import lower_bound
from makespan.envs.jobshop.examples import WAITING_PAYS
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.solution import JobShopSolution

#: Share of the time limit that the solver of the first schedule may take.
START_SHARE = 0.5
#: Seconds between two looks at the clock, about.
CHUNK_S = 0.02
#: Largest and smallest weight of a parent in a new start.
PARENT_WEIGHTS = 0.3, 0.7


#: Order and alternatives, (n,) each, of the schedule from which a run starts.
Start = tuple[NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True)
class TabuSearch:
    """Tabu search with restarts between elite schedules.

    Limited by moves alone, the result depends on the instance and the random generator alone.
    Ctrl-C ends the search early: the best schedule is returned, with ``details["interrupted"]``.

    Attributes:
        neighbourhood: of a critical path; moves to other machines are always added.
        max_moves: moves after which the search ends, each restart counted as one; None: no limit.
        time_limit_s: seconds, see :func:`~makespan.baselines.limits.time_limit`; when nothing else
            is given, ``max_moves`` is the only limit.
        stall_moves: moves without a new best of the run after which a run ends.
        elites: number of schedules of different makespan that are kept.
        start: solver of the first schedule, for up to half of the time, or as long as it takes
            when moves are the only limit; None: a rule (non-delay, most work remaining).
        name: for tables.

    Raises:
        UsageError: for a value outside its range.
    """

    neighbourhood: Literal["n5", "n6"] = "n6"
    max_moves: int | None = None
    time_limit_s: float | None = None
    stall_moves: int = 4000
    elites: int = 5
    start: Solver[JobShopInstance] | None = None
    name: str = field(default="tabu", init=False)

    def __post_init__(self) -> None:
        if self.neighbourhood not in kernel.NEIGHBOURHOODS:
            raise UsageError(f"neighbourhood: found {self.neighbourhood!r}, expected n5 or n6")
        check_least(self, max_moves=1, stall_moves=1, elites=1)
        check_time_limit(self.time_limit_s)

    def solve(
        self, instance: JobShopInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[JobShopSolution]:
        """Search until a limit is reached, or the makespan equals a lower bound.

        Args:
            instance: to solve.
            time_limit_s: seconds; a smaller one of the solver's own counts. Compiling does not.
            rng: the source of all chance.

        Returns:
            The best schedule; ``details`` has the number of ``moves`` made and ``evaluated``, of
            ``runs``, ``improvements`` as (seconds, makespan), and whether it was ``interrupted``.
        """
        compile_kernels()
        default = DEFAULT_TIME_LIMIT_S if self.max_moves is None else math.inf
        limit = time_limit(self.time_limit_s, time_limit_s, default)
        search = _Search(self, instance, limit, rng)
        try:
            search.run()
        except KeyboardInterrupt:
            if search.best is None:
                raise
            search.interrupted = True
        return search.result()


class _Schedule(NamedTuple):
    makespan: int
    order: NDArray[np.int32]  # (n,) topological order of the operations
    chosen: NDArray[np.int32]  # (n,) alternative of each operation


class _Search:
    """One call of :meth:`TabuSearch.solve`."""

    def __init__(
        self,
        options: TabuSearch,
        instance: JobShopInstance,
        time_limit_s: float,
        rng: np.random.Generator,
    ) -> None:
        self.started = time.perf_counter()
        self.options = options
        self.instance = instance
        self.time_limit_s = time_limit_s
        self.rng = rng
        self.graph = disjunctive.allocate(instance.job_offsets, instance.num_machines)
        self.alternatives = kernel.Alternatives(
            instance.alternative_offsets.astype(np.int32),
            instance.machines.astype(np.int32),
            instance.durations.astype(np.int32),
            np.zeros(instance.num_operations, dtype=np.int32),
        )
        self.memory = kernel.allocate_memory(instance.num_operations, int(rng.integers(2**63)))
        self.tenure = 10 + instance.num_jobs // instance.num_machines  # Zhang et al. (2008)
        self.bound = lower_bound(instance)
        self.best: _Schedule | None = None
        self.elites: list[_Schedule] = []
        self.improvements: list[tuple[float, int]] = []
        self.runs = 0
        self.chunk = 1
        self.interrupted = False

    def run(self) -> None:
        """Runs of tabu search until a limit or the bound is reached."""
        while True:
            order, chosen = self._next_start()
            self._run_from(order, chosen)
            self.runs += 1
            if self._over():
                return

    def result(self) -> Result[JobShopSolution]:
        """The best schedule so far."""
        assert self.best is not None
        self._place(self.best.order, self.best.chosen)
        solution = JobShopSolution.from_operations(
            self.instance, self.graph.machine, self.graph.head[:-1]
        )
        return Result(
            solution,
            self._seconds(),
            lower_bound=self.bound,
            optimal=solution.makespan == self.bound,
            details={
                "moves": self._moves(),
                "evaluated": int(self.memory.counts[kernel.EVALUATED]),
                "runs": self.runs,
                "improvements": self.improvements,
                "interrupted": self.interrupted,
            },
        )

    def _seconds(self) -> float:
        return time.perf_counter() - self.started

    def _moves(self) -> int:
        return int(self.memory.counts[kernel.STEP])

    def _over(self) -> bool:
        """Whether a limit or the lower bound is reached, or Ctrl-C has ended the first schedule."""
        limit = self.options.max_moves
        return (
            self.interrupted
            or self._seconds() >= self.time_limit_s
            or (limit is not None and self._moves() >= limit)
            or (self.best is not None and self.best.makespan == self.bound)
        )

    def _place(self, order: NDArray[np.int32], chosen: NDArray[np.int32]) -> int:
        """Make the graph that of a schedule; returns the makespan."""
        self.alternatives.chosen[:] = chosen
        self.graph.machine[:] = self.alternatives.machine[chosen]
        self.graph.duration[:-1] = self.alternatives.duration[chosen]
        return int(disjunctive.select(self.graph, order))

    def _run_from(self, order: NDArray[np.int32], chosen: NDArray[np.int32]) -> None:
        """Tabu search from a schedule until it stalls or the search is over."""
        memory = self.memory
        if self.runs:
            memory.counts[kernel.STEP] += 1  # else runs without any move would never end
        memory.until[:] = 0
        memory.best_order[:], memory.best_chosen[:] = order, chosen
        makespan = self._place(order, chosen)
        memory.counts[[kernel.MAKESPAN, kernel.BEST]] = makespan
        memory.counts[kernel.IMPROVED] = memory.counts[kernel.STEP]
        self._record()
        ended = False
        while not ended and not self._over():
            ended = self._advance()
            self._record()
        self._keep(self._best_of_run())

    def _advance(self) -> bool:
        """Make the moves of about ``CHUNK_S`` seconds; returns whether the run has ended."""
        moves = self.chunk
        if self.options.max_moves is not None:
            moves = min(moves, self.options.max_moves - self._moves())
        started = time.perf_counter()
        ended: bool = kernel.search(
            self.graph,
            self.alternatives,
            self.memory,
            kernel.NEIGHBOURHOODS.index(self.options.neighbourhood),
            moves,
            self.options.stall_moves,
            self.tenure,
            self.bound,
        )
        taken = time.perf_counter() - started
        if taken < CHUNK_S / 2 and not ended:  # a run that ended early says nothing of the speed
            self.chunk *= 2
        elif taken > CHUNK_S * 2:
            self.chunk = max(1, self.chunk // 2)
        return ended

    def _best_of_run(self) -> _Schedule:
        memory = self.memory
        makespan = int(memory.counts[kernel.BEST])
        return _Schedule(makespan, memory.best_order.copy(), memory.best_chosen.copy())

    def _record(self) -> None:
        """Note the best schedule of the run if it is the best of all."""
        makespan = int(self.memory.counts[kernel.BEST])
        if self.best is None or makespan < self.best.makespan:
            self.best = self._best_of_run()
            self.improvements.append((self._seconds(), makespan))

    def _keep(self, schedule: _Schedule) -> None:
        """Keep the best few schedules, of each makespan the newest."""
        others = [elite for elite in self.elites if elite.makespan != schedule.makespan]
        elites = sorted([*others, schedule], key=lambda elite: elite.makespan)
        self.elites = elites[: self.options.elites]

    def _next_start(self) -> Start:
        """Order and alternatives of the schedule from which the next run starts."""
        n = self.instance.num_operations
        if self.runs == 0 and self.options.start is not None:
            return self._given_start(self.options.start)
        if self.runs == 0:
            return self._rule_start(np.ones(n))
        if self.runs < self.options.elites or len(self.elites) < 2:
            return self._rule_start(self.rng.uniform(0.5, 1.5, n))
        first, second = self.rng.choice(len(self.elites), 2, replace=False)
        return self._between(self.elites[first], self.elites[second])

    def _given_start(self, solver: Solver[JobShopInstance]) -> Start:
        limit = None if math.isinf(self.time_limit_s) else START_SHARE * self.time_limit_s
        result = solver.solve(self.instance, limit, self.rng)
        self.interrupted = bool(result.details.get("interrupted"))
        starts, chosen = starts_and_alternatives(self.instance, result.solution)
        ends = starts + self.instance.durations[chosen]
        return np.lexsort((ends, starts)).astype(np.int32), chosen

    def _rule_start(self, spread: NDArray[np.float64]) -> Start:
        order = np.zeros(self.instance.num_operations, dtype=np.int32)
        kernel.construct(
            self.instance.job_offsets,
            self.alternatives,
            self.instance.num_machines,
            work_left(self.instance) * spread,
            order,
        )
        return order, self.alternatives.chosen.copy()

    def _between(self, a: _Schedule, b: _Schedule) -> Start:
        """A schedule between two: feasible since weighted positions keep the order of each job."""
        n = len(a.order)
        weight = self.rng.uniform(*PARENT_WEIGHTS)
        position = np.empty(n)
        position[a.order] = weight * np.arange(n)
        position[b.order] += (1 - weight) * np.arange(n)
        chosen = np.where(self.rng.random(n) < weight, a.chosen, b.chosen)
        return np.argsort(position, kind="stable").astype(np.int32), chosen


@cache
def compile_kernels() -> None:
    """Compile the kernels, once per process, so that no search's clock counts it."""
    _Search(TabuSearch(max_moves=3), WAITING_PAYS, math.inf, np.random.default_rng(0)).run()
