"""Constraint programming for offset allocation: OR-Tools CP-SAT.

The model: an interval of addresses per buffer, no two-dimensional overlap of address and life, the
peak above all ends. Everything is counted in the common divisor of sizes, alignments and fixed
offsets: without alignments there is always an optimal solution whose offsets are sums of sizes.
"""

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.cpsat import CpSatOptions, Improvements, cp_solver, note, run
from makespan.baselines.limits import time_limit
from makespan.baselines.offsets.greedy import best_greedy, compile_kernels
from makespan.envs.core.rollout import Solver
from makespan.envs.core.solution import Result
from makespan.envs.offsets.bounds import lower_bound
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.solution import OffsetSolution

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

#: Share of the time limit that the solver of the hint may take.
HINT_SHARE = 0.5


@dataclass(frozen=True)
class CpSat(CpSatOptions):
    """CP-SAT with a time limit, a bound and, if it gets that far, a proof of optimality.

    It starts from the best greedy solution, or from that of ``hint``; nothing worse is returned.
    Ctrl-C ends the search early: the best solution is returned, with ``details["interrupted"]``.
    With ``workers=1`` and time to finish, the same random generator gives the same solution.

    Attributes:
        workers, time_limit_s: see :class:`CpSatOptions`.
        hint: solver whose solution CP-SAT starts from, for up to half of the time.
        name: for tables.

    Raises:
        UsageError: for a value outside its range.
    """

    hint: Solver[OffsetInstance] | None = None
    name: str = field(default="cp-sat", init=False)

    def solve(
        self, instance: OffsetInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[OffsetSolution]:
        """Solve until optimality is proven or time is up.

        Args:
            instance: to solve.
            time_limit_s: seconds; a smaller one of the solver's own counts.
            rng: seeds the hint and CP-SAT.

        Returns:
            The best solution; ``details`` has ``improvements`` as (seconds, objective), and whether
            the search was ``interrupted``.
        """
        from ortools.sat.python import cp_model  # takes a second: not on the clock

        compile_kernels()
        started = time.perf_counter()
        limit = time_limit(self.time_limit_s, time_limit_s)
        bound = lower_bound(instance)
        solution = OffsetSolution(best_greedy(instance)[0])
        if self.hint is not None:
            solution = self.hint.solve(instance, HINT_SHARE * limit, rng).solution
        objective = int(solution.objective(instance))
        improvements: Improvements = [(time.perf_counter() - started, objective)]
        optimal, interrupted = objective == bound, False
        if not optimal:
            model = _build(instance, solution.offsets, objective)
            left = limit - (time.perf_counter() - started)
            solver = cp_solver(self.workers, left, rng)
            status, interrupted = run(solver, model.model, improvements, started, model.unit)
            optimal = status == cp_model.OPTIMAL
            if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
                solution = OffsetSolution(model.offsets(solver))
                note(improvements, started, int(solution.objective(instance)))
            bound = max(bound, math.ceil(solver.best_objective_bound) * model.unit)
        return Result(
            solution,
            time.perf_counter() - started,
            lower_bound=bound,
            optimal=optimal,
            details={"improvements": improvements, "interrupted": interrupted},
        )


class _Model(NamedTuple):
    model: "cp_model.CpModel"
    multiples: "list[cp_model.IntVar]"  # (buffers,) offset / alignment
    alignment: NDArray[np.int64]  # (buffers,) in units
    unit: int  # bytes

    def offsets(self, solver: "cp_model.CpSolver") -> NDArray[np.int64]:
        """(buffers,) in bytes, as the solver found them."""
        multiples = np.array([solver.value(x) for x in self.multiples], dtype=np.int64)
        offsets: NDArray[np.int64] = self.unit * self.alignment * multiples
        return offsets


def _build(instance: OffsetInstance, hint: NDArray[np.int64], objective: int) -> _Model:
    """The model of all solutions no worse than ``objective``, the hint's."""
    from ortools.sat.python import cp_model

    unit = _unit(instance)
    size, fixed = instance.nbytes // unit, instance.offset // unit
    alignment = np.maximum(instance.alignment // unit, 1)
    highest = objective // unit  # the peak of a solver's hint may be no multiple
    model = cp_model.CpModel()
    peak = model.new_int_var(-(-lower_bound(instance) // unit), highest, "peak")
    multiples, lives, addresses = [], [], []
    for j, label in enumerate(instance.ids):
        step = int(alignment[j])
        last = (highest - int(size[j])) // step
        multiple = model.new_int_var(0, last, label)
        if instance.offset[j] >= 0:
            model.add(multiple == int(fixed[j]) // step)
        model.add_hint(multiple, int(hint[j]) // unit // step)
        model.add(step * multiple + int(size[j]) <= peak)
        addresses.append(model.new_fixed_size_interval_var(step * multiple, int(size[j]), label))
        life = int(instance.last_section[j] - instance.first_section[j])
        lives.append(model.new_fixed_size_interval_var(int(instance.first_section[j]), life, label))
        multiples.append(multiple)
    model.add_no_overlap_2d(lives, addresses)
    model.minimize(peak)
    return _Model(model, multiples, alignment, unit)


def _unit(instance: OffsetInstance) -> int:
    """Common divisor of everything that an offset can be made of, in bytes."""
    parts = [instance.nbytes, instance.offset[instance.offset >= 0]]
    if (instance.alignment > 1).any():
        parts.append(instance.alignment)
    if instance.capacity:
        parts.append(np.array([instance.capacity]))
    return int(np.gcd.reduce(np.concatenate(parts)))
