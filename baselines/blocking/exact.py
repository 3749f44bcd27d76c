"""Constraint programming for the blocking job shop: OR-Tools CP-SAT.

With shutdowns it knows them all from the beginning, so its result is a reference from below for
what decides online, not a competitor. The model: an operation occupies its machine from its start
to the start of the next operation of its job; no overlap on a machine. When an operation ends is a
function of its start, made of pieces on which it rises with the start or is constant; one piece is
chosen. Without swaps every start gets a number, larger than that of the operation before it in the
job and of the move by which the job before it leaves the machine; circles have no such numbers.
Source of the blocking model: Mascis & Pacciarelli, European Journal of Operational Research 143(3),
2002.
"""

import math
import time
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from makespan.baselines.blocking.rules import RULES, Pilot, RulePolicy
from makespan.baselines.cpsat import CpSatOptions, Improvements, cp_solver, note, run
from makespan.baselines.limits import time_limit
from makespan.envs.blocking.bounds import lower_bound
from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.blocking.problem import BlockingProblem
from makespan.envs.blocking.solution import BlockingSolution, processing_end
from makespan.envs.core.rollout import rollout
from makespan.envs.core.solution import Result

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


@dataclass(frozen=True)
class CpSat(CpSatOptions):
    """CP-SAT from the best schedule of the rules, with a time limit, a bound and maybe a proof.

    Ctrl-C ends the search early: the best schedule is returned, with ``details["interrupted"]``.

    Attributes:
        workers, time_limit_s: see :class:`CpSatOptions`.
        name: for tables.

    Raises:
        UsageError: for a value outside its range.
    """

    name: str = field(default="cp-sat", init=False)

    def solve(
        self, instance: BlockingInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[BlockingSolution]:
        """Solve until optimality is proven or time is up; nothing worse than the rules."""
        from ortools.sat.python import cp_model  # takes a second: not on the clock

        started = time.perf_counter()
        limit = time_limit(self.time_limit_s, time_limit_s)
        solution = _best_rule(instance)
        improvements: Improvements = [(time.perf_counter() - started, solution.makespan)]
        model = _build(instance, solution.makespan)
        for start, value in zip(model.starts, _starts(instance, solution), strict=True):
            model.model.add_hint(start, value)
        left = limit - (time.perf_counter() - started)
        solver = cp_solver(self.workers, left, rng)
        status, interrupted = run(solver, model.model, improvements, started)
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            starts = [solver.value(start) for start in model.starts]
            solution = BlockingSolution.from_starts(instance, starts)
            note(improvements, started, solution.makespan)
        return Result(
            solution,
            time.perf_counter() - started,
            lower_bound=max(lower_bound(instance), math.ceil(solver.best_objective_bound)),
            optimal=status == cp_model.OPTIMAL,
            details={"improvements": improvements, "interrupted": interrupted},
        )


def _best_rule(instance: BlockingInstance) -> BlockingSolution:
    problem = BlockingProblem.for_instances([instance], lookahead="dispatch")
    rng = np.random.default_rng(0)
    policies = [*map(RulePolicy, RULES), Pilot()]
    solutions = [rollout(problem, [instance], policy, rng)[0] for policy in policies]
    best: BlockingSolution = min(solutions, key=lambda found: found.objective(instance))  # type: ignore[assignment]
    return best


def _starts(instance: BlockingInstance, solution: BlockingSolution) -> list[int]:
    """In the order of the instance's operations."""
    order = np.argsort(instance.job_offsets[solution.jobs] + solution.positions)
    starts: list[int] = solution.starts[order].tolist()
    return starts


class Piece(NamedTuple):
    """Starts from ``first`` to ``last`` give the end ``start + value``, or just ``value``."""

    first: int
    last: int
    rises: bool
    value: int


def pieces(
    shutdowns: list[tuple[int, int]], on_down: str, duration: int, horizon: int
) -> list[Piece]:
    """The end of an operation as a function of its start, up to a horizon."""
    ups = [0, *(up for _, up in shutdowns)]
    downs = [*(down for down, _ in shutdowns), horizon + 1]
    found = []
    for up, down in zip(ups, downs, strict=True):
        last = min(down - 1, horizon)
        # within a time of being up, the end changes its form where the operation first meets the
        # shutdown, or where it meets one shutdown more: at most once per later shutdown
        cuts = {up, last + 1}
        for low, high in _changes(shutdowns, on_down, duration, up, last):
            cuts |= {low, high}
        for first, after in pairwise(sorted(cuts)):
            if first < after:
                value = processing_end(shutdowns, on_down, first, duration)
                rises = processing_end(shutdowns, on_down, after - 1, duration) != value
                rises |= after - first == 1
                found.append(Piece(first, after - 1, rises, value - first if rises else value))
    return [piece for piece in found if piece.first <= horizon]


def _changes(
    shutdowns: list[tuple[int, int]], on_down: str, duration: int, up: int, last: int
) -> list[tuple[int, int]]:
    """Starts between which the end jumps, by halving: it never falls, and jumps past a shutdown."""
    jumps = []
    todo = [(up, last)]
    while todo:
        low, high = todo.pop()
        if high <= low:
            continue
        a = processing_end(shutdowns, on_down, low, duration)
        b = processing_end(shutdowns, on_down, high, duration)
        if b - a in (0, high - low):
            continue
        if high == low + 1:
            jumps.append((high, high))
            continue
        middle = (low + high) // 2
        todo += [(low, middle), (middle, high)]
    return jumps


class _Model(NamedTuple):
    model: "cp_model.CpModel"
    starts: "list[cp_model.IntVar]"  # per operation


def _build(instance: BlockingInstance, horizon: int) -> _Model:
    """The model of all schedules that end by ``horizon``."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    makespan = model.new_int_var(lower_bound(instance), horizon, "makespan")
    starts = [model.new_int_var(0, horizon, f"start {op}") for op in range(len(instance.machines))]
    on_machine: list[list[tuple[int, Any]]] = [[] for _ in range(instance.num_machines)]
    for first, last in pairwise(instance.job_offsets.tolist()):
        for op in range(first, last):
            end = _add_end(model, instance, op, starts[op], horizon)
            leave = starts[op + 1] if op + 1 < last else end
            model.add(leave >= end)
            if op + 1 == last:
                model.add(makespan >= end)
            size = model.new_int_var(0, horizon, f"stay {op}")
            interval = model.new_interval_var(starts[op], size, leave, f"interval {op}")
            on_machine[int(instance.machines[op])].append((op, interval))
    for stays in on_machine:
        model.add_no_overlap([interval for _, interval in stays])
    if not instance.swap:
        _forbid_swaps(model, instance, starts, on_machine)
    model.minimize(makespan)
    return _Model(model, starts)


def _add_end(
    model: "cp_model.CpModel", instance: BlockingInstance, op: int, start: Any, horizon: int
) -> Any:
    """The end of an operation; its machine is up at its start."""
    shutdowns = instance.shutdowns[int(instance.machines[op])]
    duration = int(instance.durations[op])
    shutdowns = [pair for pair in shutdowns if pair[0] <= horizon]
    if not shutdowns:
        return start + duration
    end = model.new_int_var(0, horizon, f"end {op}")
    chosen = []
    for piece in pieces(shutdowns, instance.on_down, duration, horizon):
        is_chosen = model.new_bool_var(f"piece {op} {piece.first}")
        model.add(start >= piece.first).only_enforce_if(is_chosen)
        model.add(start <= piece.last).only_enforce_if(is_chosen)
        value = start + piece.value if piece.rises else piece.value
        model.add(end == value).only_enforce_if(is_chosen)
        chosen.append(is_chosen)
    model.add_exactly_one(chosen)
    return end


def _forbid_swaps(
    model: "cp_model.CpModel",
    instance: BlockingInstance,
    starts: list[Any],
    on_machine: list[list[tuple[int, Any]]],
) -> None:
    n = len(starts)
    numbers = [model.new_int_var(0, n, f"number {op}") for op in range(n)]
    last_of_job = set((instance.job_offsets[1:] - 1).tolist())
    for op in range(n):
        if op not in last_of_job:
            model.add(numbers[op + 1] > numbers[op])
    for stays in on_machine:
        for (a, _), (b, _) in combinations(stays, 2):
            a_first = model.new_bool_var(f"{a} before {b}")
            for first, second, literal in ((a, b, a_first), (b, a, a_first.negated())):
                if first in last_of_job:
                    model.add(starts[second] >= starts[first]).only_enforce_if(literal)
                else:
                    model.add(starts[second] >= starts[first + 1]).only_enforce_if(literal)
                    if first + 1 != second:
                        model.add(numbers[second] > numbers[first + 1]).only_enforce_if(literal)
