"""Schedules of pipeline-parallel training: 1F1B, a greedy zero-bubble rule, CP-SAT.

Source of the rules: Zero bubble pipeline parallelism (ICLR 2024); 1F1B as in PipeDream (SOSP 2019).
"""

import math
import time
from typing import Any

import numpy as np

from makespan.baselines.limits import time_limit
from makespan.envs.core.solution import Result
from makespan.envs.dag.pipeline import (
    BACKWARD,
    FORWARD,
    WEIGHT,
    PipelineInstance,
    PipelineSolution,
    lower_bound,
)


def one_forward_one_backward(instance: PipelineInstance) -> PipelineSolution:
    """1F1B: stage s of p holds up to p - s forwards; backward and weight pass are one.

    So the stage before gets its gradient only after the weight pass.
    """
    warm_up = np.minimum(np.arange(instance.stages, 0, -1), instance.memory)
    return _dispatch(instance, warm_up, fused=True)


def zero_bubble(instance: PipelineInstance) -> PipelineSolution:
    """Greedy: a backward before a forward, and a weight pass where neither could run."""
    return _dispatch(instance, instance.memory, fused=False)


def _dispatch(instance: PipelineInstance, memory: Any, fused: bool) -> PipelineSolution:
    """Always the pass that can start first of all stages; ties: backward, forward, weight."""
    stages, m = instance.stages, instance.microbatches
    starts = np.zeros((3, stages, m), dtype=np.int64)
    done = np.zeros((3, stages), dtype=np.int64)  # passes of each kind are in order
    free = np.zeros(stages, dtype=np.int64)

    def earliest(kind: int, stage: int) -> int | None:
        """When the next pass of a kind can start; None: not known yet, or not allowed."""
        i = int(done[kind, stage])
        owes = done[BACKWARD, stage] > done[WEIGHT, stage]
        full = done[FORWARD, stage] - done[WEIGHT, stage] >= memory[stage]
        if i == m or (kind == FORWARD and full) or (fused and owes and kind != WEIGHT):
            return None
        parent = instance.parent(kind, stage, i)
        if parent is None:
            return int(free[stage])
        if fused and kind == BACKWARD and parent[1] != stage:
            parent = (WEIGHT, *parent[1:])
        if done[parent[:2]] <= i:
            return None
        delay = instance.communication if parent[1] != stage else 0
        return max(int(free[stage]), int(starts[parent] + instance.times[parent[:2]]) + delay)

    preference = (BACKWARD, FORWARD, WEIGHT)
    for _ in range(3 * stages * m):
        start, _, stage, kind = min(
            (start, rank, stage, kind)
            for stage in range(stages)
            for rank, kind in enumerate(preference)
            for start in [earliest(kind, stage)]
            if start is not None
        )
        starts[kind, stage, done[kind, stage]] = start
        free[stage] = start + instance.times[kind, stage]
        done[kind, stage] += 1
    return PipelineSolution(starts)


def solve_pipeline(
    instance: PipelineInstance, time_limit_s: float | None = None, workers: int = 0
) -> Result[PipelineSolution]:
    """CP-SAT: the least longest span, starting from the greedy schedule, the worst it returns.

    Args:
        instance: to solve.
        time_limit_s: seconds; None: the default of all solvers.
        workers: threads; 0: one per core.
    """
    from ortools.sat.python import cp_model

    started = time.perf_counter()
    best = zero_bubble(instance)
    least = lower_bound(instance)
    model = cp_model.CpModel()
    horizon = int((best.starts + instance.times[:, :, None]).max()) + least
    span = model.new_int_var(least, int(best.objective(instance)), "span")
    start: dict[tuple[int, int, int], Any] = {}
    for key in instance.passes():
        start[key] = model.new_int_var(0, horizon, str(key))
        model.add_hint(start[key], int(best.starts[key]))
    for kind, stage, i in instance.passes():
        parent = instance.parent(kind, stage, i)
        if parent is not None:
            delay = instance.communication if parent[1] != stage else 0
            model.add(
                start[kind, stage, i] >= start[parent] + int(instance.times[parent[:2]]) + delay
            )
        if i:
            before = start[kind, stage, i - 1] + int(instance.times[kind, stage])
            model.add(start[kind, stage, i] >= before)
    for stage in range(instance.stages):
        length = [int(t) for t in instance.times[:, stage]]
        model.add_no_overlap(
            model.new_fixed_size_interval_var(start[kind, stage, i], length[kind], "")
            for kind in range(3)
            for i in range(instance.microbatches)
        )
        # forwards and weight passes are in order, so memory is a distance between the two
        limit = int(instance.memory[stage])
        for i in range(instance.microbatches - limit):
            released = start[WEIGHT, stage, i] + length[WEIGHT]
            model.add(start[FORWARD, stage, i + limit] >= released)
        last = instance.microbatches - 1
        model.add(start[WEIGHT, stage, last] + length[WEIGHT] - start[FORWARD, stage, 0] <= span)
    model.minimize(span)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.catch_sigint_signal = False
    solver.parameters.max_time_in_seconds = time_limit(None, time_limit_s)
    status: Any = solver.solve(model)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        starts = np.empty_like(best.starts)
        for key, variable in start.items():
            starts[key] = solver.value(variable)
        best = PipelineSolution(starts)
    return Result(
        best,
        time.perf_counter() - started,
        lower_bound=max(least, math.ceil(solver.best_objective_bound - 1e-6)),
        optimal=status == cp_model.OPTIMAL,
    )
