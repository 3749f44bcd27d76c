"""An anytime solver of the (flexible) job shop: learned construction, search, constraint polishing.

The stages hand their best schedule on: a rule (at once), the shipped policy greedily and sampled,
tabu search from the best of these, then CP-SAT on neighbourhoods until time is up. Whenever it is
stopped there is a schedule, and it is the best one met.

Polishing is large neighbourhood search: some operations, those nearest to a moment or all of some
machines, are free; all others keep their machine and their order on it; CP-SAT looks for a shorter
schedule. The number of free operations grows when it proves that there is none, and shrinks when it
has no answer in time. Sources: Shaw, CP 1998; for windows of time and machines Carchrae & Beck,
Principles for the design of large neighborhood search, JMMA 8(3), 2009.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.cpsat import CpSatOptions, cp_solver, run
from makespan.baselines.jobshop import exact
from makespan.baselines.jobshop.schedules import starts_and_alternatives
from makespan.baselines.jobshop.tabu import TabuSearch, compile_kernels
from makespan.baselines.limits import DEFAULT_TIME_LIMIT_S, time_limit
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.core.rollout import ScorePolicy, Solver, rollout
from makespan.envs.core.solution import Result
from makespan.envs.jobshop.bounds import lower_bound
from makespan.envs.jobshop.examples import WAITING_PAYS
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.problem import JobShopProblem
from makespan.envs.jobshop.solution import JobShopSolution

#: Time at which a stage has to end, as a share of the limit.
POLICY_UNTIL, TABU_UNTIL = 0.15, 0.6
#: Most samples of the policy in a batch.
SAMPLES = 64
#: Longest time of one neighbourhood, seconds.
NEIGHBOURHOOD_S = 3.0
#: Free operations at first, at least, and the factor of their number.
FIRST_FREE, LEAST_FREE, GROWTH = 60, 10, 1.3


@dataclass(frozen=True)
class Anytime(CpSatOptions):
    """Policy, sampling, tabu search and CP-SAT within a time limit.

    Ctrl-C ends the search early: the best schedule is returned, with ``details["interrupted"]``.

    Attributes:
        workers, time_limit_s: see :class:`CpSatOptions`.
        name: for tables.

    Raises:
        UsageError: for a value outside its range.
    """

    name: str = field(default="anytime", init=False)

    def solve(
        self, instance: JobShopInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[JobShopSolution]:
        """Search until time is up or the makespan equals a lower bound.

        Args:
            instance: to solve.
            time_limit_s: seconds; a smaller one of the solver's own counts.
            rng: the source of all chance.

        Returns:
            The best schedule; ``details`` has ``improvements`` as (seconds, makespan), ``stages``
            as (name, seconds at its end, makespan), and whether it was ``interrupted``.
        """
        limit = time_limit(self.time_limit_s, time_limit_s, DEFAULT_TIME_LIMIT_S)
        search = _Search(
            instance, limit, self.workers, _network(instance.max_alternatives > 1), rng
        )
        try:
            search.run()
        except KeyboardInterrupt:
            if search.best is None:
                raise
            search.interrupted = True
        return search.result()


@cache
def _network(flexible: bool) -> ScorePolicy:
    """The shipped policy; all that takes time once is done, so that no clock counts it."""
    from ortools.sat.python import cp_model  # noqa: F401

    from makespan.baselines.jobshop import POLICIES  # which knows of this module

    compile_kernels()
    policy: ScorePolicy = POLICIES["pretrained-flexible" if flexible else "pretrained"]()
    problem = JobShopProblem.for_instances([WAITING_PAYS], **policy.requires)
    rollout(problem, [WAITING_PAYS], policy, np.random.default_rng(0))
    return policy


class _TimeIsUp(Exception):  # noqa: N818 - no error
    """Raised between two decisions."""


@dataclass
class _Timed:
    """A policy that stops when time is up."""

    policy: ScorePolicy
    deadline: float
    name: str = "timed"

    def start(self, problem: Problem[Any], state: Any, observation: Observation) -> None:
        self.policy.start(problem, state, observation)

    def act(self, *arguments: Any) -> NDArray[np.int64]:
        if time.perf_counter() > self.deadline:
            raise _TimeIsUp
        return self.policy.act(*arguments)


@dataclass(frozen=True)
class _Known:
    """A solver that knows its answer."""

    solution: JobShopSolution
    name: str = "known"

    def solve(self, *_: Any) -> Result[JobShopSolution]:
        return Result(self.solution, 0.0)


class _Search:
    """One call of :meth:`Anytime.solve`."""

    def __init__(
        self,
        instance: JobShopInstance,
        limit: float,
        workers: int | None,
        policy: ScorePolicy,
        rng: np.random.Generator,
    ) -> None:
        self.instance, self.limit, self.workers, self.rng = instance, limit, workers, rng
        self.policy = policy
        self.bound = lower_bound(instance)
        self.best: JobShopSolution | None = None
        self.improvements: list[tuple[float, int]] = []
        self.stages: list[tuple[str, float, int]] = []
        self.interrupted = False
        self.proven = False
        self.started = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def run(self) -> None:
        """All stages in their order."""
        stages: list[tuple[str, Callable[[], None]]] = [
            ("rule", self._rule),
            ("policy", self._policy),
            ("tabu", self._tabu),
            ("polishing", self._polish),
        ]
        for name, stage in stages:
            if self.best is None or not (self._over() or self.interrupted):
                stage()
                assert self.best is not None
                self.stages.append((name, self.seconds(), self.best.makespan))

    def result(self) -> Result[JobShopSolution]:
        assert self.best is not None
        return Result(
            self.best,
            self.seconds(),
            lower_bound=self.best.makespan if self.proven else self.bound,
            optimal=self.proven or self.best.makespan == self.bound,
            details={
                "improvements": self.improvements,
                "stages": self.stages,
                "interrupted": self.interrupted,
            },
        )

    def _over(self) -> bool:
        reached = self.best is not None and self.best.makespan <= self.bound
        return reached or self.proven or self.seconds() >= self.limit

    def _offer(self, solution: JobShopSolution) -> bool:
        """Keep a schedule if it is the best; returns whether it is."""
        if self.best is not None and solution.makespan >= self.best.makespan:
            return False
        self.best = solution
        self._note(self.seconds(), solution.makespan)
        return True

    def _note(self, seconds: float, makespan: int) -> None:
        if not self.improvements or makespan < self.improvements[-1][1]:
            self.improvements.append((seconds, makespan))

    def _ask(self, solver: Solver[JobShopInstance], until: float) -> None:
        """Let a solver work up to a share of the limit."""
        begun = self.seconds()
        left = until * self.limit - begun
        if left > 0:
            result = solver.solve(self.instance, left, self.rng)
            for seconds, makespan in result.details.get("improvements", ()):
                self._note(begun + seconds, makespan)
            self._take(result)

    def _take(self, result: Result[JobShopSolution]) -> None:
        """Offer what a solver found, which Ctrl-C may have ended."""
        self._offer(result.solution)
        self.interrupted |= bool(result.details.get("interrupted"))

    def _rule(self) -> None:
        """The first schedule of tabu search, that of a rule, after a single move."""
        self._take(TabuSearch(max_moves=1).solve(self.instance, None, self.rng))

    def _policy(self) -> None:
        """One greedy run, then samples, twice as many each time, until the stage is over."""
        problem = JobShopProblem.for_instances([self.instance], **self.policy.requires)
        deadline = self.started + POLICY_UNTIL * self.limit
        count, temperature = 1, 0.0
        try:
            while count <= SAMPLES:
                policy = _Timed(self.policy.with_temperature(temperature), deadline)
                for solution in rollout(problem, [self.instance] * count, policy, self.rng):
                    self._offer(solution)  # type: ignore[arg-type]
                count, temperature = 2 * count, 1.0
        except _TimeIsUp:
            pass

    def _tabu(self) -> None:
        assert self.best is not None
        self._ask(TabuSearch(start=_Known(self.best)), TABU_UNTIL)

    def _polish(self) -> None:
        """Large neighbourhood search until time is up."""
        size = float(FIRST_FREE)
        n = self.instance.num_operations
        while not (self._over() or self.interrupted):
            free = self._free_operations(round(size))
            answer = self._shorter(free)
            if answer is None:
                size = max(size / GROWTH, LEAST_FREE)
            elif not answer:
                self.proven = bool(free.all())
                size = min(size * GROWTH, n)

    def _free_operations(self, count: int) -> NDArray[np.bool_]:
        """(operations,) those nearest to a moment, or those of some machines."""
        assert self.best is not None
        starts, chosen = starts_and_alternatives(self.instance, self.best)
        n = len(starts)
        if count >= n or self.rng.random() < 0.5:
            moment = starts[self.rng.integers(n)]
            distance = np.abs(starts - moment)
        else:
            rank = self.rng.permutation(self.instance.num_machines)
            distance = rank[self.instance.machines[chosen]]
        free = np.zeros(n, dtype=np.bool_)
        free[np.argsort(distance, kind="stable")[:count]] = True
        return free

    def _shorter(self, free: NDArray[np.bool_]) -> bool | None:
        """Look for a shorter schedule; True when found, False when there is none, None unknown."""
        from ortools.sat.python import cp_model

        assert self.best is not None
        instance = self.instance
        starts, chosen = starts_and_alternatives(instance, self.best)
        model = exact.build(instance, self.best.makespan - 1)
        ends = starts + instance.durations[chosen]
        machines = instance.machines[chosen]
        fixed = np.flatnonzero(~free)
        for operation in fixed.tolist():
            model.model.add(model.present[chosen[operation]] == 1)
        order = fixed[np.lexsort((ends[fixed], starts[fixed], machines[fixed]))]
        for a, b in zip(order[:-1].tolist(), order[1:].tolist(), strict=True):
            if machines[a] == machines[b]:
                model.model.add(
                    model.starts[b] >= model.starts[a] + int(instance.durations[chosen[a]])
                )
        seconds = min(NEIGHBOURHOOD_S, self.limit - self.seconds())
        solver = cp_solver(self.workers, seconds, self.rng)
        status, self.interrupted = run(solver, model.model, [], self.started)
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return self._offer(model.solution(instance, solver))
        return False if status == cp_model.INFEASIBLE else None
