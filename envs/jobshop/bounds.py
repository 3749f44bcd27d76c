"""Lower bounds on the makespan, and dated best known bounds of benchmark instances."""

import csv
from functools import cache
from importlib import resources
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.family import BestKnown
from makespan.envs.jobshop.instance import JobShopInstance

#: See BOUNDS_LICENSE.md beside them.
DATA_FILES = ("best_known.csv", "flexible_best_known.csv")


def lower_bound(instance: JobShopInstance) -> int:
    """The largest of three quick bounds on the makespan, in time units.

    With the shortest duration of every operation, its head (work before it in its job) and its tail
    (work after it):

    - the work of each job;
    - for each machine, the smallest head, the work and the smallest tail of the operations that can
      be processed nowhere else;
    - together, the machines have the time from the smallest head to the smallest tail of what each
      can process, and that must hold all the work. (Only where operations can choose.)
    """
    heads, tails, job_work = _heads_and_tails(instance)
    bound = max(int(job_work.max()), _machine_bound(instance, heads, tails))
    if instance.is_flexible:
        bound = max(bound, _shared_bound(instance, heads, tails))
    return bound


def _heads_and_tails(
    instance: JobShopInstance,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(operations,) work before and after each in its job, and (jobs,) work of each job."""
    shortest = instance.min_durations
    first = instance.job_offsets[:-1]
    job_work = np.add.reduceat(shortest, first)
    done = np.cumsum(shortest)  # up to and with each operation, from the first job on
    before_job = done[first] - shortest[first]
    heads = done - shortest - before_job[instance.job_of_operation]
    tails = job_work[instance.job_of_operation] - heads - shortest
    return heads, tails, job_work


def _machine_bound(
    instance: JobShopInstance, heads: NDArray[np.int64], tails: NDArray[np.int64]
) -> int:
    fixed = np.flatnonzero(np.diff(instance.alternative_offsets) == 1)
    machines = instance.machines[instance.alternative_offsets[fixed]]
    work = np.zeros(instance.num_machines, dtype=np.int64)
    np.add.at(work, machines, instance.min_durations[fixed])
    head = _smallest(instance.num_machines, machines, heads[fixed])
    tail = _smallest(instance.num_machines, machines, tails[fixed])
    return int((head + work + tail).max())


def _shared_bound(
    instance: JobShopInstance, heads: NDArray[np.int64], tails: NDArray[np.int64]
) -> int:
    operation = np.repeat(np.arange(instance.num_operations), np.diff(instance.alternative_offsets))
    head = _smallest(instance.num_machines, instance.machines, heads[operation])
    tail = _smallest(instance.num_machines, instance.machines, tails[operation])
    needed = int(instance.min_durations.sum() + head.sum() + tail.sum())
    used = len(np.unique(instance.machines))
    return -(-needed // used)


def _smallest(
    num_machines: int, machines: NDArray[np.int32], values: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(machines,) the smallest value of each machine, 0 for a machine that has none."""
    none = np.iinfo(np.int64).max
    smallest = np.full(num_machines, none, dtype=np.int64)
    np.minimum.at(smallest, machines, values)
    smallest[smallest == none] = 0
    return smallest


def best_known(name: str) -> BestKnown | None:
    """Dated bounds of the benchmark instance of this name, e.g. ``"ta41"``; None when not known."""
    return _best_known().get(name)


@cache
def _best_known() -> MappingProxyType[str, BestKnown]:
    table = {}
    for file in DATA_FILES:
        text = resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        for row in csv.DictReader(lines):
            table[row["name"]] = BestKnown(
                lower_bound=int(row["lower_bound"]),
                upper_bound=int(row["upper_bound"]),
                as_of=row["as_of"],
                source=row["source"],
            )
    return MappingProxyType(table)
