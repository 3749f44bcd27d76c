"""Lower bounds on latency, upward ranks, and the offered load of a stream.

- Of a job alone: the longest path of the communication-aware recursion: with r(t, k) the shortest
  time from the start of task t on cluster k to the end of the job,
  r(t, k) = time(t, k) + max over consumers s of min over clusters q of (communication + r(s, q)).
- Of a stream: no policy can have a lower mean latency than the mean over its jobs of what each
  would take alone (the isolated optimum where the platform states it and there is no noise, else
  the recursion with the true durations).
- Upward rank of HEFT with times averaged over the processors that can run a task, and communication
  over pairs of different processors: Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from makespan.envs.soc.instance import StreamInstance
from makespan.envs.soc.platform import Platform


def lower_bound(instance: StreamInstance) -> float:
    """On the mean latency of the counted jobs, in microseconds; holds for every policy."""
    platform = instance.platform
    jobs = slice(instance.warmup, instance.entering)
    types = instance.types[jobs]
    if (instance.factors == 1).all():
        bounds = isolated_bounds(platform)[types]
    else:
        bounds = np.zeros(len(types), dtype=np.int64)
        for j in np.unique(types).tolist():
            chosen = types == j
            bounds[chosen] = path_bounds(platform, j, instance.factors[jobs][chosen])
    if instance.horizon:
        bounds = np.minimum(bounds, instance.horizon - np.cumsum(instance.gaps)[jobs])
    return float(int(bounds.sum()) / instance.counted)


@lru_cache(maxsize=256)
def isolated_bounds(platform: Platform) -> NDArray[np.int64]:
    """(J,) least microseconds of one job alone: the optimum if the platform states it."""
    width = int(np.diff(platform.task_offsets).max())
    return np.array(
        [
            int(path_bounds(platform, j, np.ones((1, width)))[0])
            if job.isolated_optimum_us is None
            else job.isolated_optimum_us
            for j, job in enumerate(platform.jobs)
        ],
        dtype=np.int64,
    )


def path_bounds(
    platform: Platform, job_type: int, factors: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(n,) communication-aware longest paths of n jobs of a type.

    Args:
        platform: gives times and communication.
        job_type: which.
        factors: (n, at least the type's tasks) on the expected durations.
    """
    first, end = platform.task_offsets[job_type : job_type + 2].tolist()
    never = 2**60
    expected = platform.cost[first:end].astype(np.int64)  # (tasks, K)
    true = np.maximum(np.floor(expected[None] * factors[:, : end - first, None] + 0.5), 1)
    time = np.where(expected > 0, true, expected).astype(np.int64)  # (n, tasks, K)
    time[:, expected < 0] = never
    behind = np.zeros_like(time)
    longest = np.zeros(len(time), dtype=np.int64)
    for t in range(end - 1, first - 1, -1):
        path = np.minimum(time[:, t - first] + behind[:, t - first], never)
        longest = np.maximum(longest, path.min(axis=1))
        for producer, _, volume in platform.edges[platform.edges[:, 1] == t].tolist():
            ahead = (path[:, None, :] + communication(platform, volume)[None]).min(axis=2)
            behind[:, producer - first] = np.maximum(behind[:, producer - first], ahead)
    return longest


def communication(platform: Platform, volume: int) -> NDArray[np.int64]:
    """(K, K) least microseconds to move ``volume``: within a cluster to any of its processors."""
    band = platform.bandwidths.astype(np.int64)
    table = volume // np.maximum(band, 1)
    same = volume // platform.same_core_bandwidth
    np.fill_diagonal(table, np.where(platform.cores > 1, np.minimum(same, table.diagonal()), same))
    return table


@lru_cache(maxsize=256)
def upward_ranks(platform: Platform) -> NDArray[np.float64]:
    """(T,) mean time from the start of each task to the end of its job, see the module."""
    cost = platform.cost
    cores = np.where(cost >= 0, platform.cores, 0)  # (T, K)
    mean = (np.maximum(cost, 0) * cores).sum(axis=1) / cores.sum(axis=1)
    count = platform.cores.astype(np.int64)
    pairs = np.outer(count, count) - np.diag(count)  # of different processors
    ranks = mean.copy()
    for producer, consumer, volume in platform.edges[::-1].tolist():
        moving = (volume // np.maximum(platform.bandwidths, 1) * pairs).sum() / max(pairs.sum(), 1)
        ranks[producer] = max(ranks[producer], mean[producer] + moving + ranks[consumer])
    ranks.flags.writeable = False
    return ranks  # type: ignore[no-any-return]


def offered_load(platform: Platform, gap_us: float) -> float:
    """Least load of the busiest processor that a stream of one job per ``gap_us`` can have.

    The work is split among clusters to minimise the largest share of time that a processor is busy
    (a linear program); at 1 or more the number of jobs in the system grows without limit.
    """
    from scipy.optimize import linprog

    per_task = np.repeat(platform.probability, np.diff(platform.task_offsets))  # (T,) expected
    task, cluster = np.nonzero(platform.cost >= 0)
    variables = len(task)
    objective = np.append(np.zeros(variables), 1.0)
    busy = np.zeros((len(platform.clusters), variables + 1))
    busy[cluster, np.arange(variables)] = per_task[task] * platform.cost[task, cluster]
    busy[:, -1] = -platform.cores * gap_us
    split = np.zeros((len(per_task), variables + 1))
    split[task, np.arange(variables)] = 1
    found = linprog(objective, busy, np.zeros(len(busy)), split, np.ones(len(split)))
    return float(found.fun)
