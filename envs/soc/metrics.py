"""Figures of a schedule of a stream besides its mean latency.

Energy follows DS3 (Arda et al., IEEE Transactions on Computers 69(8), 2020; power models of
https://github.com/segemena/DS3 at 056c930): a busy core takes its dynamic power C f V^2, every core
its leakage, and memory and GPU a constant power. C comes from the cluster's measured power with as
many busy cores, less the leakage of all; here the number of busy cores is followed exactly, where
DS3 samples it every 10 us. Leakage is taken at ambient temperature, where DS3 has a thermal model
that lets it rise.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from makespan.envs.soc.instance import StreamInstance
from makespan.envs.soc.platform import Cluster
from makespan.envs.soc.solution import StreamSolution

#: Leakage model of DS3 (Odroid XU3): V C1 T^2 exp(-C2 / T) + I_GATE V, for four big cores.
C1, C2, I_GATE = 0.002488, 2660.0, 0.000519
CORES_OF_LEAKAGE_MODEL = 4
AMBIENT_KELVIN = 273.0 + 42.0


def latencies(instance: StreamInstance, solution: StreamSolution) -> NDArray[np.int64]:
    """(counted jobs,) microseconds in the system; jobs cut by the horizon count up to it."""
    stays = solution.stays(instance)[instance.warmup :]
    return np.array(
        [(instance.horizon if s.left is None else s.left) - s.entered for s in stays],
        dtype=np.int64,
    )


def median_latency(instance: StreamInstance, solution: StreamSolution) -> float:
    """Microseconds."""
    return float(np.median(latencies(instance, solution)))


def p95_latency(instance: StreamInstance, solution: StreamSolution) -> float:
    """95th percentile, microseconds."""
    return float(np.percentile(latencies(instance, solution), 95))


def censored(instance: StreamInstance, solution: StreamSolution) -> float:
    """Number of counted jobs that are still in the system at the horizon."""
    return float(sum(s.left is None for s in solution.stays(instance)[instance.warmup :]))


def span(instance: StreamInstance, solution: StreamSolution) -> int:
    """Microseconds from 0 to the horizon or the end of the last task."""
    return instance.horizon or max(1, int(solution.ends.max(initial=1)))


def throughput(instance: StreamInstance, solution: StreamSolution) -> float:
    """Completed jobs per millisecond."""
    complete = sum(s.left is not None for s in solution.stays(instance))
    return 1000.0 * complete / span(instance, solution)


def utilisations(instance: StreamInstance, solution: StreamSolution) -> dict[str, float]:
    """Share of the time that each processor runs a task, by the processor's name."""
    end = span(instance, solution)
    busy = np.zeros(instance.platform.num_processors)
    durations = np.minimum(solution.ends, end) - solution.starts
    np.add.at(busy, solution.processors, durations)
    return dict(zip(instance.platform.processor_names, (busy / end).tolist(), strict=True))


def utilisation(instance: StreamInstance, solution: StreamSolution) -> float:
    """Mean over the processors, percent."""
    return 100.0 * float(np.mean(list(utilisations(instance, solution).values())))


def deadline_misses(instance: StreamInstance, solution: StreamSolution) -> float:
    """Share of the counted jobs that take longer than their deadline, percent."""
    due = instance.platform.deadlines[instance.types[instance.warmup : instance.entering]]
    return 100.0 * float((latencies(instance, solution) > due).mean())


def little_gap(instance: StreamInstance, solution: StreamSolution) -> float:
    """How far the figures of completed jobs miss Little's law, percent of the number in the system.

    The mean number of jobs in the system, followed over time, against the rate of completions times
    the mean latency of completed jobs. 0 when every job was completed; above, it is what leaving
    out unfinished jobs would hide.
    """
    end = span(instance, solution)
    stays = solution.stays(instance)
    entries = [(stay.entered, 1) for stay in stays]
    area, number, last = 0, 0, 0
    for time, change in sorted([*entries, *((s.left, -1) for s in stays if s.left is not None)]):
        area += number * (time - last)
        number, last = number + change, time
    area += number * (end - last)
    completed = sum(s.left - s.entered for s in stays if s.left is not None)
    return 100.0 * (area - completed) / max(area, 1)


def energy(instance: StreamInstance, solution: StreamSolution) -> float:
    """Millijoules, see the module; NaN when the platform states no power."""
    platform = instance.platform
    end = span(instance, solution)
    total = platform.base_power_w * end
    for k, cluster in enumerate(platform.clusters):
        power = busy_power(cluster)
        if power is None:
            return math.nan
        total += cluster.cores * leakage(cluster) * end
        on = platform.cluster_of[solution.processors] == k
        times = np.minimum(np.concatenate([solution.starts[on], solution.ends[on]]), end)
        change = np.repeat([1, -1], on.sum())
        order = np.lexsort((change, times))  # what ends makes room for what starts
        busy = np.maximum(np.cumsum(change[order])[:-1], 0)
        total += float((power[busy] * np.diff(times[order])).sum())
    return total * 1e-3  # W us = uJ


def busy_power(cluster: Cluster) -> NDArray[np.float64] | None:
    """(cores + 1,) dynamic watts of a cluster by its number of busy cores; None without figures."""
    if not cluster.power_w or not cluster.opp_mhz_mv:
        return None
    frequency = _frequency(cluster)
    volts = {f: v / 1000 for f, v in cluster.opp_mhz_mv}
    threshold, profile = next(
        ((f, watts) for f, watts in cluster.power_w if frequency <= f), cluster.power_w[-1]
    )
    scale = frequency * volts[frequency] ** 2
    scale /= threshold * volts.get(threshold, volts[frequency]) ** 2
    still = len(profile) * leakage(cluster)
    return np.array([0.0, *(max(watts - still, 0.0) * scale for watts in profile[: cluster.cores])])


def leakage(cluster: Cluster) -> float:
    """Watts that each core takes, busy or idle, at ambient temperature; 0 without figures."""
    if not cluster.opp_mhz_mv:
        return 0.0
    volts = dict(cluster.opp_mhz_mv)[_frequency(cluster)] / 1000
    current = C1 * AMBIENT_KELVIN**2 * math.exp(-C2 / AMBIENT_KELVIN) + I_GATE
    return cluster.leakage_share * volts * current / CORES_OF_LEAKAGE_MODEL


def _frequency(cluster: Cluster) -> int:
    return cluster.frequency_mhz or cluster.opp_mhz_mv[-1][0]


#: Columns of ``evaluate.py``'s tables.
METRICS: Mapping[str, Callable[[StreamInstance, StreamSolution], float]] = {
    "median_us": median_latency,
    "p95_us": p95_latency,
    "jobs_per_ms": throughput,
    "utilisation_%": utilisation,
    "energy_mJ": energy,
    "late_%": deadline_misses,
    "censored": censored,
    "little_gap_%": little_gap,
}
