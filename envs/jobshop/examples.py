"""Instances small enough to check by hand, with known schedules."""

from collections.abc import Sequence

import numpy as np

from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.solution import JobShopSolution


def _schedule(machines: Sequence[Sequence[tuple[int, int, int]]]) -> JobShopSolution:
    """A schedule from the (job, start, end) of what each machine processes."""
    rows = sorted(
        (job, start, end, machine)
        for machine, processed in enumerate(machines)
        for job, start, end in processed
    )
    jobs, starts, ends, machine_column = np.array(rows, dtype=np.int64).T
    first = np.searchsorted(jobs, jobs)  # a job's operations are sorted by start
    positions = np.arange(len(rows)) - first
    return JobShopSolution(jobs, positions, machine_column, starts, ends)


def _classical(name: str, routes: Sequence[Sequence[tuple[int, int]]]) -> JobShopInstance:
    return JobShopInstance.from_routes(routes, name=name)


#: 6 jobs on 6 machines; optimum 55. Source: H. Fisher, G. L. Thompson, Probabilistic learning
#: combinations of local job-shop scheduling rules, in: Industrial Scheduling, 1963, 225-251.
FT06 = _classical(
    "ft06",
    [
        [(2, 1), (0, 3), (1, 6), (3, 7), (5, 3), (4, 6)],
        [(1, 8), (2, 5), (4, 10), (5, 10), (0, 10), (3, 4)],
        [(2, 5), (3, 4), (5, 8), (0, 9), (1, 1), (4, 7)],
        [(1, 5), (0, 5), (2, 5), (3, 3), (4, 8), (5, 9)],
        [(2, 9), (1, 3), (4, 5), (5, 4), (0, 3), (3, 1)],
        [(1, 3), (3, 3), (5, 9), (0, 10), (4, 4), (2, 1)],
    ],
)

#: An optimal schedule of ft06: makespan 55.
FT06_OPTIMUM = _schedule(
    [
        [(0, 6, 9), (3, 13, 18), (2, 18, 27), (5, 28, 38), (1, 38, 48), (4, 48, 51)],
        [(1, 0, 8), (3, 8, 13), (5, 13, 16), (0, 16, 22), (4, 22, 25), (2, 27, 28)],
        [(2, 0, 5), (0, 5, 6), (1, 8, 13), (4, 13, 22), (3, 22, 27), (5, 42, 43)],
        [(2, 5, 9), (5, 16, 19), (3, 27, 30), (0, 30, 37), (1, 48, 52), (4, 52, 53)],
        [(1, 13, 23), (4, 25, 30), (3, 30, 38), (5, 38, 42), (2, 42, 49), (0, 49, 55)],
        [(2, 9, 17), (5, 19, 28), (1, 28, 38), (4, 38, 42), (0, 42, 45), (3, 45, 54)],
    ],
)

#: Waiting pays: keeping machine 1 idle for one time unit, until job 0 arrives, gives 14; a schedule
#: that never keeps a machine idle while an operation is ready for it needs 20.
WAITING_PAYS = _classical(
    "waiting-pays",
    [
        [(0, 1), (1, 2), (2, 10)],
        [(1, 8), (0, 1), (2, 1)],
    ],
)

#: The optimum of ``WAITING_PAYS``: makespan 14.
WAITING_PAYS_OPTIMUM = _schedule(
    [
        [(0, 0, 1), (1, 11, 12)],
        [(0, 1, 3), (1, 3, 11)],
        [(0, 3, 13), (1, 13, 14)],
    ],
)

#: Every example by its name.
EXAMPLES = {instance.name: instance for instance in (FT06, WAITING_PAYS)}
