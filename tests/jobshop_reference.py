"""The job shop in plain Python, slow and written from the definitions, to compare kernels with."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.problem import JobShopProblem
from makespan.envs.jobshop.solution import JobShopSolution, Row

#: Mean durations of slack after which the apparent tardiness cost of an operation is 1/e.
ATC_DURATIONS = 3.0


def routes(instance: JobShopInstance) -> list[list[list[tuple[int, int]]]]:
    """``[job][operation][alternative] = (machine, duration)``."""
    pairs = list(zip(instance.machines.tolist(), instance.durations.tolist(), strict=True))
    operations = [pairs[i:j] for i, j in pairwise(instance.alternative_offsets.tolist())]
    return [operations[i:j] for i, j in pairwise(instance.job_offsets.tolist())]


def optimum(instance: JobShopInstance) -> int:
    """The smallest makespan, by CP-SAT on one core."""
    model = cp_model.CpModel()
    horizon = int(instance.durations.sum())
    makespan = model.new_int_var(0, horizon, "")
    on_machine: list[list[Any]] = [[] for _ in range(instance.num_machines)]
    for job in routes(instance):
        ready: Any = 0
        for alternatives in job:
            start, end = (model.new_int_var(0, horizon, "") for _ in range(2))
            chosen = [model.new_bool_var("") for _ in alternatives]
            model.add_exactly_one(chosen)
            for (machine, duration), used in zip(alternatives, chosen, strict=True):
                on_machine[machine].append(
                    model.new_optional_interval_var(start, duration, end, used, "")
                )
            model.add(start >= ready)
            ready = end
        model.add(makespan >= ready)
    for intervals in on_machine:
        model.add_no_overlap(intervals)
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    solver.parameters.catch_sigint_signal = False  # it would leave Ctrl-C killing the process
    solver.parameters.num_workers = 1
    solver.solve(model)
    assert solver.status_name() == "OPTIMAL"
    return int(solver.objective_value)


# ---------------------------------------------------------------- classes of schedules


def _placed(solution: JobShopSolution) -> Iterator[tuple[Row, int, list[Row]]]:
    """Each operation, the end of its predecessor in the job, and the others on its machine."""
    rows = list(solution.rows())
    ends = {(row.job, row.operation): row.end for row in rows}
    for row in rows:
        others = [other for other in rows if other.machine == row.machine and other != row]
        yield row, ends.get((row.job, row.operation - 1), 0), others


def is_semi_active(solution: JobShopSolution) -> bool:
    """No operation can start earlier with the orders on the machines as they are."""
    return all(
        row.start == max([ready, *(other.end for other in others if other.start < row.start)])
        for row, ready, others in _placed(solution)
    )


def is_active(solution: JobShopSolution) -> bool:
    """No operation can start earlier, on its machine, without delaying another."""
    for row, ready, others in _placed(solution):
        length = row.end - row.start
        for start in [ready, *(other.end for other in others if other.end > ready)]:
            free = all(start + length <= o.start or o.end <= start for o in others)
            if start < row.start and free:
                return False
    return True


def is_nondelay(solution: JobShopSolution) -> bool:
    """No machine is idle while an operation that it will process is ready."""
    return all(
        any(other.start <= time < other.end for other in others)
        for row, ready, others in _placed(solution)
        for time in range(ready, row.start)
    )


# ---------------------------------------------------------------- simulator


class Candidate(NamedTuple):
    job: int
    alternative: int
    machine: int
    duration: int
    job_ready: int
    machine_ready: int  # end of the last operation on the machine
    start: int
    end: int


class Shop:
    """One job shop, decided candidate by candidate."""

    def __init__(self, instance: JobShopInstance, decode: str) -> None:
        self.instance, self.decode = instance, decode
        self.routes = routes(instance)
        self.rows: list[Row] = []
        self.bound = 0
        self.bound = self.initial_bound = self.lower_bound()

    def next_operation(self, job: int) -> int:
        return sum(row.job == job for row in self.rows)

    def left(self, job: int) -> list[list[tuple[int, int]]]:
        """Operations of the job that are not scheduled."""
        return self.routes[job][self.next_operation(job) :]

    def job_ready(self, job: int) -> int:
        return max((row.end for row in self.rows if row.job == job), default=0)

    def machine_ready(self, machine: int) -> int:
        return max((row.end for row in self.rows if row.machine == machine), default=0)

    def candidates(self) -> list[Candidate]:
        found = []
        for job in range(len(self.routes)):
            for alternative, (machine, duration) in enumerate(next(iter(self.left(job)), [])):
                ready, free = self.job_ready(job), self.machine_ready(machine)
                start = max(ready, free)
                if self.decode == "insert":
                    start = self.first_gap(machine, duration, ready)
                found.append(
                    Candidate(
                        job, alternative, machine, duration, ready, free, start, start + duration
                    )
                )
        return found

    def first_gap(self, machine: int, duration: int, ready: int) -> int:
        others = [row for row in self.rows if row.machine == machine]
        starts = [ready, *(row.end for row in others if row.end > ready)]
        return min(
            start
            for start in starts
            if all(start + duration <= row.start or row.end <= start for row in others)
        )

    def legal(self) -> list[Candidate]:
        candidates = self.candidates()
        if self.decode == "nondelay":
            first = min(c.start for c in candidates)
            return [c for c in candidates if c.start == first]
        if self.decode == "active":
            soonest = min(candidates, key=lambda c: c.end)
            return [
                c
                for c in candidates
                if c == soonest or (c.machine == soonest.machine and c.start < soonest.end)
            ]
        return candidates

    def take(self, choice: Candidate) -> None:
        position = self.next_operation(choice.job)
        self.rows.append(Row(choice.job, position, choice.machine, choice.start, choice.end))
        self.bound = max(self.bound, self.lower_bound())

    def lower_bound(self) -> int:
        """See the module of the kernel; time only grows, so the largest seen so far counts."""
        bounds = [max((row.end for row in self.rows), default=0)]
        candidates = self.candidates()
        for job in {c.job for c in candidates}:
            # the earliest end of its next operation, then everything else at its shortest
            end = min(c.end for c in candidates if c.job == job)
            bounds.append(end + sum(map(shortest, self.left(job)[1:])))
        if self.rows and self.decode == "insert":
            return max(bounds)
        machines = range(self.instance.num_machines)
        left = [operation for job in range(len(self.routes)) for operation in self.left(job)]
        for machine in machines:
            fixed = [op for op in left if len(op) == 1 and op[0][0] == machine]
            if fixed:
                bounds.append(self.machine_ready(machine) + sum(map(shortest, fixed)))
        if self.instance.is_flexible or not self.rows:
            total = sum(map(self.machine_ready, machines)) + sum(map(shortest, left))
            bounds.append(-(-total // len(machines)))
        return max(bounds)

    def trial(self, chosen: Candidate) -> int:
        """Makespan when ATC completes the schedule without delay after ``chosen``."""
        position = [self.next_operation(job) for job in range(len(self.routes))]
        job_ready = [self.job_ready(job) for job in range(len(self.routes))]
        machine_ready = [self.machine_ready(m) for m in range(self.instance.num_machines)]
        bound = self.bound
        step: Any = chosen
        while True:
            position[step.job] += 1
            job_ready[step.job] = step.end
            machine_ready[step.machine] = max(machine_ready[step.machine], step.end)
            left = [job[done:] for job, done in zip(self.routes, position, strict=True)]
            candidates = [
                Candidate(job, k, m, d, 0, 0, max(job_ready[job], machine_ready[m]), 0)
                for job, operations in enumerate(left)
                if operations
                for k, (m, d) in enumerate(operations[0])
            ]
            if not candidates:
                return max(job_ready)
            step = min(candidates, key=lambda c: (c.start, self._atc(c, left[c.job], bound)))
            step = step._replace(end=step.start + step.duration)
            paths = [
                min(c.start for c in candidates if c.job == job) + sum(map(shortest, operations))
                for job, operations in enumerate(left)
                if operations
            ]
            bound = max(bound, *paths)

    def _atc(self, c: Candidate, left: list[list[tuple[int, int]]], due: int) -> np.float32:
        """Minus the logarithm of the apparent tardiness cost, in single precision as the kernel."""
        slack = np.float32(max(due - c.start - sum(map(shortest, left)), 0))
        mean = float(np.mean(self.instance.durations))
        return np.float32(np.log(max(c.duration, 1))) + slack * np.float32(
            1 / max(mean, 1e-9) / ATC_DURATIONS
        )


def shortest(alternatives: list[tuple[int, int]]) -> int:
    return min(duration for _, duration in alternatives)


# ---------------------------------------------------------------- all episodes of the kernel


class Episodes(NamedTuple):
    """Every episode that the mask allows."""

    solutions: list[JobShopSolution]
    returns: NDArray[np.float64]
    objectives: NDArray[np.float64]
    lower_bound: float

    @property
    def best(self) -> float:
        return float(self.objectives.min())


def _take(arrays: Any, rows: NDArray[np.int64]) -> Any:
    return type(arrays)(*(array[rows] for array in arrays))


def every_episode(problem: JobShopProblem, instance: JobShopInstance) -> Episodes:
    """Breadth first, all rows in one batch: every operation is one level."""
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    lower_bound = problem.metrics(state, 0)["lower_bound"]
    returns = np.zeros(1)
    for _ in range(instance.num_operations):
        rows, actions = observation.action_mask.nonzero()
        state, observation = _take(state, rows), _take(observation, rows)
        rewards, terminated = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.bool_)
        problem.step(state, observation, actions.copy(), rewards, terminated)
        returns = returns[rows] + rewards
    assert terminated.all()
    return Episodes(
        [problem.solution(state, row) for row in range(len(rows))],
        returns,
        np.array([problem.metrics(state, row)["objective"] for row in range(len(rows))]),
        lower_bound,
    )
