"""Constraint programming for task graphs: OR-Tools CP-SAT.

The model: per task a start and one literal per processor, exactly one true; an optional interval
per task and processor, no overlap on a processor; for each edge the target starts after the end of
the source, and after the delay between the groups of processors that the two run in, unless a
literal says that they share a processor. Heads and tails of the dynamic program over tasks and
processors cut off what cannot be. Source of interval models: Laborie, Rogerie, Shaw & Vilim, IBM
ILOG CP optimizer for scheduling, Constraints 23, 2018.
"""

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from makespan.baselines.cpsat import CpSatOptions, Improvements, cp_solver, note, run
from makespan.baselines.dag.lists import ListScheduler
from makespan.baselines.limits import time_limit
from makespan.envs.core.solution import Result
from makespan.envs.dag.bounds import lower_bound
from makespan.envs.dag.instance import TaskGraphInstance
from makespan.envs.dag.solution import TaskGraphSolution

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

#: Heuristics whose best schedule the search starts from; nothing worse is ever returned.
HINTS = ("heft", "lookahead-heft", "peft", "min-min", "dls")


@dataclass(frozen=True)
class CpSat(CpSatOptions):
    """CP-SAT with a time limit, a bound and, if it gets that far, a proof of optimality.

    Proofs come within a minute up to about 50 tasks on 4 to 16 processors. Ctrl-C ends the search
    early: the best schedule is returned, with ``details["interrupted"]``.

    Attributes:
        workers, time_limit_s: see :class:`CpSatOptions`.
        name: for tables.

    Raises:
        UsageError: for a value outside its range.
    """

    name: str = field(default="cp-sat", init=False)

    def solve(
        self, instance: TaskGraphInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[TaskGraphSolution]:
        """Solve until optimality is proven or time is up.

        Args:
            instance: to solve.
            time_limit_s: seconds; a smaller one of the solver's own counts.
            rng: seeds CP-SAT.

        Returns:
            The best schedule; ``details`` has ``improvements`` as (seconds, makespan), the first of
            them the best heuristic's, and whether the search was ``interrupted``.
        """
        from ortools.sat.python import cp_model  # takes a second: not on the clock

        started = time.perf_counter()
        limit = time_limit(self.time_limit_s, time_limit_s)
        best = min(
            (ListScheduler(rule).solve(instance).solution for rule in HINTS),
            key=lambda solution: solution.makespan,
        )
        improvements: Improvements = [(time.perf_counter() - started, best.makespan)]
        model = _build(instance, best.makespan)
        model.add_hint(best)
        left = limit - (time.perf_counter() - started)
        solver = cp_solver(self.workers, left, rng)
        status, interrupted = run(solver, model.model, improvements, started)
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            best = model.solution(instance, solver)
            note(improvements, started, best.makespan)
        return Result(
            best,
            time.perf_counter() - started,
            lower_bound=max(lower_bound(instance), math.ceil(solver.best_objective_bound - 1e-6)),
            optimal=status == cp_model.OPTIMAL,
            details={"improvements": improvements, "interrupted": interrupted},
        )


class _Model(NamedTuple):
    model: "cp_model.CpModel"
    starts: "list[cp_model.IntVar]"  # per task
    on: "list[dict[int, cp_model.IntVar]]"  # per task: its eligible processors

    def add_hint(self, solution: TaskGraphSolution) -> None:
        """Let the search start from a schedule."""
        for row in solution.rows():
            self.model.add_hint(self.starts[row.task], row.start)
            for p, literal in self.on[row.task].items():
                self.model.add_hint(literal, p == row.processor)

    def solution(
        self, instance: TaskGraphInstance, solver: "cp_model.CpSolver"
    ) -> TaskGraphSolution:
        """The schedule that the solver found."""
        processors = [
            next(p for p, literal in on.items() if solver.boolean_value(literal)) for on in self.on
        ]
        starts = [solver.value(start) for start in self.starts]
        return TaskGraphSolution.from_tasks(instance, processors, starts)


def _build(instance: TaskGraphInstance, horizon: int) -> _Model:
    """The model of all schedules that end by ``horizon``."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    makespan = model.new_int_var(lower_bound(instance), horizon, "makespan")
    starts, on, ends = [], [], []
    on_processor: list[list[Any]] = [[] for _ in instance.processors]
    for task, name in enumerate(instance.tasks):
        eligible = np.flatnonzero(instance.eligible[task]).tolist()
        start = model.new_int_var(0, horizon, name)
        chosen = {p: model.new_bool_var(f"{name} on {p}") for p in eligible}
        model.add_exactly_one(chosen.values())
        for p, literal in chosen.items():
            interval = model.new_optional_fixed_size_interval_var(
                start, int(instance.costs[task, p]), literal, f"{name} on {p}"
            )
            on_processor[p].append(interval)

        def of_processor(
            table: Any, task: int = task, chosen: dict[int, Any] = chosen
        ) -> "cp_model.LinearExpr":
            values = [int(table[task, p]) for p in chosen]
            return cp_model.LinearExpr.weighted_sum(list(chosen.values()), values)

        model.add(start >= of_processor(instance.heads))
        model.add(start + of_processor(instance.tails) <= makespan)
        starts.append(start)
        on.append(chosen)
        ends.append(start + of_processor(instance.costs))
    for intervals in on_processor:
        model.add_no_overlap(intervals)
    groups = _groups(instance)
    in_group = [_group_literals(model, chosen, groups) for chosen in on]
    for edge, (source, target) in enumerate(instance.edges.tolist()):
        model.add(starts[target] >= ends[source])
        if not instance.delays[edge].any():
            continue
        same = model.new_bool_var(f"edge {edge} stays")
        for p, literal in on[source].items():
            there = on[target].get(p)
            model.add_bool_or([~same, ~literal] + ([] if there is None else [there]))
        for a, from_group in in_group[source].items():
            for b, to_group in in_group[target].items():
                delay = int(instance.delays[edge, _link(instance, groups, a, b)])
                if delay:
                    condition = [from_group, to_group] + ([~same] if a == b else [])
                    model.add(starts[target] >= ends[source] + delay).only_enforce_if(condition)
    model.minimize(makespan)
    return _Model(model, starts, on)


def _groups(instance: TaskGraphInstance) -> list[list[int]]:
    """Processors by groups within and between which all links are of one kind."""
    groups: list[list[int]] = []
    link = instance.link
    for p in range(instance.num_processors):
        for group in groups:
            others = np.setdiff1d(np.arange(instance.num_processors), [p, group[0]])
            within = link[p, group[0]], link[group[0], p]
            alike = (
                (link[p, others] == link[group[0], others]).all()
                and (link[others, p] == link[others, group[0]]).all()
                and within[0] == within[1]
                and (len(group) == 1 or within[0] == link[group[0], group[1]])
            )
            if alike:
                group.append(p)
                break
        else:
            groups.append([p])
    return groups


def _link(instance: TaskGraphInstance, groups: list[list[int]], a: int, b: int) -> int:
    """Kind of link from group ``a`` to a processor of ``b`` that is not the same."""
    return int(instance.link[groups[a][0], groups[b][0] if a != b else groups[b][-1]])


def _group_literals(
    model: "cp_model.CpModel", chosen: dict[int, Any], groups: list[list[int]]
) -> dict[int, Any]:
    """For each group with a processor that can run the task: whether the task runs in it."""
    literals = {}
    for index, group in enumerate(groups):
        members = [chosen[p] for p in group if p in chosen]
        if len(members) == 1:
            literals[index] = members[0]
        elif members:
            literals[index] = model.new_bool_var("")
            model.add(sum(members) == literals[index])
    return literals
