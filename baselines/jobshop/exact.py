"""Constraint programming for the job shop and the flexible job shop: OR-Tools CP-SAT.

The model: an interval per operation (flexible: an optional one per alternative, exactly one
present), no overlap on a machine, precedences in a job. Source of the model: Laborie, Rogerie,
Shaw & Vilim, IBM ILOG CP optimizer for scheduling, Constraints 23, 2018.
"""

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from makespan.baselines.cpsat import CpSatOptions, Improvements, cp_solver, note, run
from makespan.baselines.jobshop.schedules import starts_and_alternatives
from makespan.baselines.limits import time_limit
from makespan.envs.core.errors import MakespanError
from makespan.envs.core.rollout import Solver
from makespan.envs.core.solution import Result
from makespan.envs.jobshop.bounds import lower_bound
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.solution import JobShopSolution

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

#: Share of the time limit that the solver of the hint may take.
HINT_SHARE = 0.5


@dataclass(frozen=True)
class CpSat(CpSatOptions):
    """CP-SAT with a time limit, a bound and, if it gets that far, a proof of optimality.

    Ctrl-C ends the search early: the best schedule is returned, with ``details["interrupted"]``.
    With ``workers=1`` and time to finish, the same random generator gives the same schedule.

    Attributes:
        workers, time_limit_s: see :class:`CpSatOptions`.
        hint: solver whose schedule CP-SAT starts from, for up to half of the time. Nothing worse is
            ever returned.
        name: for tables.

    Raises:
        UsageError: for a value outside its range.
    """

    hint: Solver[JobShopInstance] | None = None
    name: str = field(default="cp-sat", init=False)

    def solve(
        self, instance: JobShopInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[JobShopSolution]:
        """Solve until optimality is proven or time is up.

        Args:
            instance: to solve.
            time_limit_s: seconds; a smaller one of the solver's own counts.
            rng: seeds the hint and CP-SAT.

        Returns:
            The best schedule; ``details`` has ``improvements`` as (seconds, makespan), and whether
            the search was ``interrupted``.

        Raises:
            MakespanError: when there is no hint and no schedule was found in time.
        """
        from ortools.sat.python import cp_model  # takes a second: not on the clock

        started = time.perf_counter()
        limit = time_limit(self.time_limit_s, time_limit_s)
        asked = _ask(self.hint, instance, limit, rng)
        hint = None if asked is None else asked.solution
        improvements: Improvements = []
        if hint is not None:
            note(improvements, started, hint.makespan)
        if asked is not None and asked.details.get("interrupted"):
            return Result(
                asked.solution,
                time.perf_counter() - started,
                lower_bound=lower_bound(instance),
                details={"improvements": improvements, "interrupted": True},
            )
        model = build(instance, hint.makespan if hint else None)
        if hint is not None:
            _add_hint(model, instance, hint)
        left = limit - (time.perf_counter() - started)
        solver = cp_solver(self.workers, left, rng)
        status, interrupted = run(solver, model.model, improvements, started)
        solution = hint
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            solution = model.solution(instance, solver)
            note(improvements, started, solution.makespan)
        if solution is None:
            reason = "was interrupted" if interrupted else f"found none within {limit:g} s"
            raise MakespanError(
                f"{instance.name}: CP-SAT {reason}, so there is no schedule; "
                "give it more time, or a hint to fall back on"
            )
        return Result(
            solution,
            time.perf_counter() - started,
            lower_bound=max(lower_bound(instance), math.ceil(solver.best_objective_bound)),
            optimal=status == cp_model.OPTIMAL,
            details={"improvements": improvements, "interrupted": interrupted},
        )


def _ask(
    solver: Solver[JobShopInstance] | None,
    instance: JobShopInstance,
    time_limit_s: float,
    rng: np.random.Generator,
) -> Result[JobShopSolution] | None:
    """What the solver of the hint found, or None."""
    if solver is None:
        return None
    return solver.solve(instance, HINT_SHARE * time_limit_s, rng)


class _Model(NamedTuple):
    model: "cp_model.CpModel"
    starts: "list[cp_model.IntVar]"  # per operation
    present: "list[cp_model.IntVar]"  # per alternative

    def solution(self, instance: JobShopInstance, solver: "cp_model.CpSolver") -> JobShopSolution:
        """The schedule that the solver found."""
        chosen = [x for x, present in enumerate(self.present) if solver.boolean_value(present)]
        starts = [solver.value(start) for start in self.starts]
        return JobShopSolution.from_operations(instance, instance.machines[chosen], starts)


def build(instance: JobShopInstance, horizon: int | None) -> _Model:
    """The model of all schedules that end by ``horizon``; None: of all that waste no time."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    longest = np.maximum.reduceat(instance.durations, instance.alternative_offsets[:-1])
    horizon = int(longest.sum()) if horizon is None else horizon
    makespan = model.new_int_var(lower_bound(instance), horizon, "makespan")
    starts, present = [], []
    on_machine: list[list[Any]] = [[] for _ in range(instance.num_machines)]
    ends = []
    for operation in range(instance.num_operations):
        start = model.new_int_var(0, horizon, instance.operation_label(operation))
        alternatives = range(*instance.alternative_offsets[operation : operation + 2].tolist())
        chosen = [model.new_bool_var(f"alternative {x}") for x in alternatives]
        model.add_exactly_one(chosen)
        for x, is_chosen in zip(alternatives, chosen, strict=True):
            interval = model.new_optional_fixed_size_interval_var(
                start, int(instance.durations[x]), is_chosen, f"interval {x}"
            )
            on_machine[instance.machines[x]].append(interval)
        durations = instance.durations[alternatives.start : alternatives.stop].tolist()
        starts.append(start)
        present += chosen
        ends.append(start + cp_model.LinearExpr.weighted_sum(chosen, durations))
    last_of_job = set((instance.job_offsets[1:] - 1).tolist())
    for operation, end in enumerate(ends):
        model.add(end <= (makespan if operation in last_of_job else starts[operation + 1]))
    for intervals in on_machine:
        model.add_no_overlap(intervals)
    model.minimize(makespan)
    return _Model(model, starts, present)


def _add_hint(model: _Model, instance: JobShopInstance, hint: JobShopSolution) -> None:
    """Let the search start from a schedule."""
    hinted, chosen = starts_and_alternatives(instance, hint)
    for start, value in zip(model.starts, hinted.tolist(), strict=True):
        model.model.add_hint(start, value)
    is_chosen = np.isin(np.arange(len(model.present)), chosen)
    for present, choice in zip(model.present, is_chosen.tolist(), strict=True):
        model.model.add_hint(present, choice)
