"""Constraint programming for memory mapping: OR-Tools CP-SAT.

The model decides for every access whether it is served in place (no-copy) or by a copy with a given
start. It is at least as free as the game: starts and offsets are chosen, not found by a rule.

- A box in time and bytes for each choice; boxes do not overlap (``NoOverlap2D``), and, redundantly,
  their sizes at a time do not exceed the capacity.
- Copies take their time from the instructions of their window, each of which offers what it takes
  with everything in slow memory.
- The latency of an instruction is at least its arithmetic and at least its traffic; a read from
  slow memory of what is only in fast memory costs an eviction.
"""

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from makespan.baselines.cpsat import CpSatOptions, Improvements, cp_solver, note, run
from makespan.baselines.limits import time_limit
from makespan.envs.core.errors import UsageError
from makespan.envs.core.rollout import Solver
from makespan.envs.core.solution import Result
from makespan.envs.memory.bounds import lower_bound
from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.relaxation import accesses_since_write
from makespan.envs.memory.solution import COPY, DROP, NO_COPY, MemoryPlan

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

#: Share of the time limit that the solver of the hint may take.
HINT_SHARE = 0.3
#: Starts of a copy that the model offers at most; they are thinned out beyond, the latest kept.
MAX_STARTS = 24


@dataclass(frozen=True)
class CpSat(CpSatOptions):
    """CP-SAT with a time limit, a bound and, if it gets that far, a proof of optimality.

    Optima are those of plans whose copies use the offered starts; where starts are thinned out
    (reads more than ``MAX_STARTS`` instructions after the access before) no bound is claimed.
    Ctrl-C ends the search early: the best plan is returned, with ``details["interrupted"]``.

    Attributes:
        workers, time_limit_s: see :class:`CpSatOptions`.
        hint: solver whose plan CP-SAT starts from; nothing worse is ever returned. None: everything
            in slow memory.
        name: for tables.

    Raises:
        UsageError: for a value outside its range, or when solving an instance whose copy model is
            dynamic.
    """

    hint: Solver[MemoryInstance] | None = None
    name: str = field(default="cp-sat", init=False)

    def solve(
        self, instance: MemoryInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[MemoryPlan]:
        """Solve until optimality is proven or time is up.

        Returns:
            The best plan; ``details`` has the ``status``, ``improvements`` as (seconds, latency),
            and whether the search was ``interrupted``.
        """
        from ortools.sat.python import cp_model  # takes a second: not on the clock

        if instance.copy_model != "static":
            raise UsageError("cp-sat: found the copy model dynamic, expected static")
        started = time.perf_counter()
        limit = time_limit(self.time_limit_s, time_limit_s)
        best = MemoryPlan.all_slow(instance)
        if self.hint is not None:
            best = self.hint.solve(instance, HINT_SHARE * limit, rng).solution
        latency = int(best.objective(instance))
        improvements: Improvements = [(time.perf_counter() - started, latency)]
        model = _Model(instance)
        model.add_hint(best)
        left = limit - (time.perf_counter() - started)
        solver = cp_solver(self.workers, max(left, 0.01), rng)
        status, interrupted = run(solver, model.model, improvements, started)
        optimal = False
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            found = model.plan(solver)
            if found.objective(instance) <= best.objective(instance):
                best = found
                note(improvements, started, int(best.objective(instance)))
            optimal = status == cp_model.OPTIMAL and model.complete
        bound = lower_bound(instance)
        if model.complete and status != cp_model.MODEL_INVALID:
            bound = max(bound, math.ceil(solver.best_objective_bound - 1e-6))
        return Result(
            best,
            time.perf_counter() - started,
            lower_bound=bound,
            optimal=optimal,
            details={
                "status": solver.status_name(status),
                "improvements": improvements,
                "interrupted": interrupted,
            },
        )


class _Model:
    """The variables of an instance, and how to read a plan from them.

    Attributes:
        model: for CP-SAT.
        complete: whether every start of every copy is offered.
    """

    def __init__(self, instance: MemoryInstance) -> None:
        from ortools.sat.python import cp_model

        self.instance, self.model = instance, cp_model.CpModel()
        self.complete = True
        count = instance.num_accesses
        self.times: list[int] = instance.instructions.tolist()
        self.previous: list[int] = instance.previous.tolist()
        self.writes: list[bool] = instance.writes.tolist()
        pieces = instance.pieces
        self.unit = int(np.gcd.reduce(pieces))  # a multiple of the alignment, as all pieces are
        self.capacity = instance.capacity // self.unit
        self.size = (pieces[instance.buffers] // self.unit).tolist()
        self.stays = [self.model.new_bool_var(f"stays {i}") for i in range(count)]
        self.copies: list[dict[int, Any]] = [self._copy_variables(i) for i in range(count)]
        self.fast = [
            self.stays[i] + sum(self.copies[i].values()) if self.copies[i] else self.stays[i]
            for i in range(count)
        ]
        highest = [max(self.capacity - size, 0) for size in self.size]
        self.offsets = [self.model.new_int_var(0, high, "") for high in highest]
        for i in range(count):
            self._add_choice(i)
        self._add_space()
        self._add_supply()
        self.model.minimize(self._latency() + self._evictions())

    def _copy_variables(self, i: int) -> dict[int, Any]:
        """Start -> whether access i is served by a copy from there on."""
        if self.writes[i] or self.size[i] > self.capacity:
            return {}
        before = self.previous[i]
        starts = list(range(self.times[before] if before >= 0 else -1, self.times[i]))
        if len(starts) > MAX_STARTS:
            self.complete = False
            recent = starts[-MAX_STARTS // 2 :]
            older = np.linspace(0, len(starts) - len(recent) - 1, MAX_STARTS // 2).astype(int)
            starts = [*(starts[j] for j in dict.fromkeys(older.tolist())), *recent]
        return {a: self.model.new_bool_var(f"copy {i} from {a}") for a in starts}

    def _add_choice(self, i: int) -> None:
        """What access i may be, given the accesses before."""
        before = self.previous[i]
        if self.copies[i]:
            self.model.add(self.fast[i] <= 1)
        if self.size[i] > self.capacity:
            self.model.add(self.stays[i] == 0)
        elif not self.writes[i]:
            if before < 0:
                self.model.add(self.stays[i] == 0)
            else:
                self.model.add(self.stays[i] <= self.fast[before])
                equal = self.offsets[i] == self.offsets[before]
                self.model.add(equal).only_enforce_if(self.stays[i])
            since = accesses_since_write(i, self.previous, self.writes)
            if since and self.copies[i]:
                drops = sum(1 - self.fast[j] for j in since)
                self.model.add(sum(self.copies[i].values()) <= drops)

    def _add_space(self) -> None:
        """No two pieces at the same time at the same bytes."""
        times, heights, sizes = [], [], []

        def box(i: int, first: int, present: Any) -> None:
            length = self.times[i] + 1 - first
            times.append(
                self.model.new_optional_fixed_size_interval_var(first, length, present, "")
            )
            sizes.append(self.size[i])
            heights.append(
                self.model.new_optional_fixed_size_interval_var(
                    self.offsets[i], self.size[i], present, ""
                )
            )

        for i, before in enumerate(self.previous):
            if self.size[i] > self.capacity:
                continue
            if not self.writes[i]:
                if before >= 0:
                    box(i, self.times[before] + 1, self.stays[i])
                for start, present in self.copies[i].items():
                    box(i, start + 1, present)
            elif before >= 0 and self.times[before] == self.times[i]:
                # in the place of the read, if that was fast
                both, anew = self.model.new_bool_var(""), self.model.new_bool_var("")
                self.model.add(both + anew == self.stays[i])
                self.model.add(both <= self.fast[before])
                self.model.add(anew + self.fast[before] <= 1)
                self.model.add(self.offsets[i] == self.offsets[before]).only_enforce_if(both)
                box(i, self.times[i], anew)
            else:
                box(i, self.times[i], self.stays[i])
        self.model.add_cumulative(times, sizes, self.capacity)
        self.model.add_no_overlap_2d(times, heights)

    def _add_supply(self) -> None:
        """Copies take whole time units from the instructions of their windows."""
        supply = self.instance.slow_latencies.tolist()
        demand = self.instance.copy_times[self.instance.buffers].tolist()
        taken: dict[int, list[Any]] = {}
        for i, copies in enumerate(self.copies):
            if not copies or not demand[i]:
                continue
            parts = []
            for t in range(min(copies) + 1, self.times[i]):
                most = min(supply[t], demand[i])
                if not most:
                    continue
                part = self.model.new_int_var(0, most, "")
                self.model.add(part <= most * sum(x for a, x in copies.items() if a < t))
                taken.setdefault(t, []).append(part)
                parts.append(part)
            self.model.add(sum(parts) == demand[i] * sum(copies.values()))
        for t, parts in taken.items():
            self.model.add(sum(parts) <= supply[t])

    def _latency(self) -> Any:
        instance = self.instance
        slow, compute = instance.slow_latencies.tolist(), instance.compute.tolist()
        traffic = np.zeros(instance.num_instructions, dtype=np.int64)
        np.add.at(traffic, instance.instructions, instance.slow_times)
        relief = (instance.slow_times - instance.fast_times).tolist()
        total: Any = 0
        for t, (first, last) in enumerate(
            zip(instance.access_offsets[:-1].tolist(), instance.access_offsets[1:].tolist(),
                strict=True)
        ):  # fmt: skip
            latency = self.model.new_int_var(compute[t], max(slow[t], compute[t]), "")
            saved = sum(relief[i] * self.fast[i] for i in range(first, last))
            self.model.add(latency >= int(traffic[t]) - saved)
            total += latency
        return total

    def _evictions(self) -> Any:
        """Time of the evictions: of reads that are dropped, and of outputs at the end."""
        instance = self.instance
        times = instance.evict_times.tolist()
        following = instance.next.tolist()
        total: Any = 0
        for i, buffer in enumerate(instance.buffers.tolist()):
            since = accesses_since_write(i, self.previous, self.writes)
            if not self.writes[i] and since:
                evicts = self.model.new_bool_var("")
                drops = sum(1 - self.fast[j] for j in since)
                self.model.add(evicts >= 1 - self.fast[i] - drops)
                total += times[buffer] * evicts
            if following[i] < 0 and instance.outputs[buffer] and (since or self.writes[i]):
                last = [i] if self.writes[i] else [i, *since]
                evicts = self.model.new_bool_var("")
                self.model.add(evicts >= 1 - sum(1 - self.fast[j] for j in last))
                total += times[buffer] * evicts
        return total

    def add_hint(self, plan: MemoryPlan) -> None:
        """Let the search start from a plan."""
        for i in range(self.instance.num_accesses):
            self.model.add_hint(self.stays[i], int(plan.actions[i] == NO_COPY))
            for start, variable in self.copies[i].items():
                chosen = plan.actions[i] == COPY and plan.starts[i] == start
                self.model.add_hint(variable, int(chosen))
            if plan.actions[i] != DROP:
                self.model.add_hint(self.offsets[i], int(plan.offsets[i]) // self.unit)

    def plan(self, solver: "cp_model.CpSolver") -> MemoryPlan:
        """The plan that the solver found."""
        count = self.instance.num_accesses
        actions, starts, offsets = np.full(count, DROP), np.full(count, -1), np.full(count, -1)
        for i in range(count):
            start = next((a for a, x in self.copies[i].items() if solver.boolean_value(x)), None)
            if start is not None:
                actions[i], starts[i] = COPY, start
            elif solver.boolean_value(self.stays[i]):
                actions[i] = NO_COPY
            if actions[i] != DROP:
                offsets[i] = solver.value(self.offsets[i]) * self.unit
        return MemoryPlan(actions, starts, offsets)
