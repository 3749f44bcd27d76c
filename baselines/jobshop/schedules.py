"""Schedules as arrays in the order of the instance's operations, for the solvers here."""

import numpy as np
from numpy.typing import NDArray

from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.solution import JobShopSolution


def starts_and_alternatives(
    instance: JobShopInstance, solution: JobShopSolution
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Start and chosen alternative, (operations,) each, of a valid solution.

    Raises:
        InvalidSolutionError: when the solution is not valid for the instance.
    """
    solution.validate(instance)
    n = instance.num_operations
    operation = instance.job_offsets[solution.jobs] + solution.positions
    starts = np.empty(n, dtype=np.int64)
    machines = np.empty(n, dtype=np.int64)
    starts[operation], machines[operation] = solution.starts, solution.machines
    owner = np.repeat(np.arange(n), np.diff(instance.alternative_offsets))
    chosen = np.flatnonzero(instance.machines == machines[owner])
    return starts, chosen.astype(np.int32)


def work_left(instance: JobShopInstance) -> NDArray[np.int64]:
    """(operations,) work of the job from each operation on, by the shortest alternatives."""
    shortest = instance.min_durations
    done = np.cumsum(shortest)  # up to and with each operation, from the first job on
    end_of_job = done[instance.job_offsets[1:] - 1]
    left: NDArray[np.int64] = end_of_job[instance.job_of_operation] - done + shortest
    return left
