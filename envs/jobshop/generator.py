"""Random job shops for training, and the benchmark instances of Taillard from their seeds.

Sources:

- E. Taillard, Benchmarks for basic scheduling problems, European Journal of Operational Research 64
  (1993) 278-285.
- W. Song, X. Chen, Q. Li, Z. Cao, Flexible job-shop scheduling via graph neural network and deep
  reinforcement learning, IEEE Transactions on Industrial Informatics (2023).
- R. Wang, G. Wang, J. Sun, F. Deng, J. Chen, Flexible job shop scheduling via dual attention
  network based reinforcement learning, IEEE Transactions on Neural Networks and Learning Systems
  (2023).
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.ranges import Range, check_range, draw, ends, grown
from makespan.envs.jobshop.instance import (
    MAX_COUNT,
    MAX_MACHINES,
    MAX_TOTAL_DURATION,
    JobShopInstance,
    Sizes,
    rectangular_offsets,
)
from makespan.envs.jobshop.taillard_seeds import TAILLARD_SEEDS


@dataclass(frozen=True)
class JobShopGenerator:
    """Classical job shops: every job visits every machine once, in a random order.

    The recipe of Taillard (1993), with durations uniform over a range.

    Attributes:
        jobs: number of jobs.
        machines: number of machines, and so of operations of every job.
        durations: smallest and largest processing time.

    Raises:
        UsageError: for a value outside its range.
    """

    jobs: Range
    machines: Range
    durations: Range = (1, 99)

    def __post_init__(self) -> None:
        check_range("jobs", self.jobs, 1, MAX_COUNT)
        check_range("machines", self.machines, 1, MAX_MACHINES)
        check_range("durations", self.durations, 0, MAX_TOTAL_DURATION)

    def grown(self, progress: float) -> Self:
        """The same with jobs and machines up to ``progress`` of the way from low to high."""
        return replace(
            self,
            jobs=grown(self.jobs, progress),
            machines=grown(self.machines, progress),
        )

    @property
    def largest(self) -> Sizes:
        """Sizes that no sampled instance exceeds."""
        jobs, machines = ends(self.jobs)[1], ends(self.machines)[1]
        return Sizes(jobs, machines, jobs * machines, 1)

    def sample(self, rng: np.random.Generator) -> JobShopInstance:
        """A fresh instance; the same generator state gives the same instance."""
        jobs, machines = draw(rng, self.jobs), draw(rng, self.machines)
        low, high = ends(self.durations)
        job_offsets, alternative_offsets = rectangular_offsets(jobs, machines)
        return JobShopInstance(
            name=f"{jobs}x{machines}",
            num_machines=machines,
            job_offsets=job_offsets,
            alternative_offsets=alternative_offsets,
            # Ranks of independent keys are a uniform permutation, all jobs at once.
            machines=rng.random((jobs, machines)).argsort(axis=1).astype(np.int32).ravel(),
            durations=rng.integers(low, high + 1, size=jobs * machines),
        )


@dataclass(frozen=True)
class FlexibleJobShopGenerator:
    """Flexible job shops: operations with a random subset of the machines to choose from.

    With the defaults the recipe of Song et al. (2023), there called SD1: the number of operations
    of a job, the number of alternatives of an operation and its mean duration are uniform over
    their ranges; the alternatives are distinct machines, all subsets equally likely; a duration is
    uniform within ``variation`` of the mean, rounded and kept within ``durations``. The recipe of
    Wang et al. (2023), SD2, is ``operations=machines, durations=(1, 99), variation=None``.

    Attributes:
        jobs: number of jobs.
        machines: number of machines.
        operations: number of operations of a job; None for 80 % to 120 % of the machines.
        alternatives: number of machines that can process an operation; None for one to all.
        durations: smallest and largest processing time.
        variation: largest relative distance of a duration from the mean of its operation; None
            draws every duration by itself.

    Raises:
        UsageError: for a value outside its range, or more alternatives than machines.
    """

    jobs: Range
    machines: Range
    operations: Range | None = None
    alternatives: Range | None = None
    durations: Range = (1, 20)
    variation: float | None = 0.2

    def __post_init__(self) -> None:
        check_range("jobs", self.jobs, 1, MAX_COUNT)
        fewest, _ = check_range("machines", self.machines, 1, MAX_MACHINES)
        if self.operations is not None:
            check_range("operations", self.operations, 1, MAX_COUNT)
        if self.alternatives is not None:
            _, most = check_range("alternatives", self.alternatives, 1, MAX_MACHINES)
            if most > fewest:
                raise UsageError(
                    f"alternatives: found up to {most} for an operation, expected at most the "
                    f"smallest number of machines, {fewest}"
                )
        check_range("durations", self.durations, 0, MAX_TOTAL_DURATION)
        if self.variation is not None and not 0 <= self.variation <= 1:
            raise UsageError(f"variation: found {self.variation}, expected 0 to 1, or None")

    def grown(self, progress: float) -> Self:
        """The same with jobs and machines up to ``progress`` of the way from low to high."""
        return replace(
            self,
            jobs=grown(self.jobs, progress),
            machines=grown(self.machines, progress),
        )

    @property
    def largest(self) -> Sizes:
        """Sizes that no sampled instance exceeds."""
        jobs, machines = ends(self.jobs)[1], ends(self.machines)[1]
        operations = ends(self.operations or _around(machines))[1]
        alternatives = ends(self.alternatives or machines)[1]
        return Sizes(jobs, machines, jobs * operations, alternatives)

    def sample(self, rng: np.random.Generator) -> JobShopInstance:
        """A fresh instance; the same generator state gives the same instance."""
        jobs, machines = draw(rng, self.jobs), draw(rng, self.machines)
        lengths = _draw_many(rng, self.operations or _around(machines), jobs)
        operations = int(lengths.sum())
        choices = _draw_many(rng, self.alternatives or (1, machines), operations)
        rank = rng.random((operations, machines)).argsort(axis=1).argsort(axis=1)
        operation, machine = np.nonzero(rank < choices[:, np.newaxis])
        return JobShopInstance(
            name=f"{jobs}x{machines}-flexible",
            num_machines=machines,
            job_offsets=_offsets(lengths),
            alternative_offsets=_offsets(choices),
            machines=machine.astype(np.int32),
            durations=self._durations(rng, operations, operation),
        )

    def _durations(
        self, rng: np.random.Generator, operations: int, operation: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """(alternatives,) durations, given the operation of each alternative."""
        low, high = ends(self.durations)
        if self.variation is None:
            return rng.integers(low, high + 1, size=len(operation))
        mean = rng.integers(low, high + 1, size=operations)
        shortest = np.maximum(low, np.rint(mean * (1 - self.variation)).astype(np.int64))
        longest = np.minimum(high, np.rint(mean * (1 + self.variation)).astype(np.int64))
        durations: NDArray[np.int64] = rng.integers(shortest[operation], longest[operation] + 1)
        return durations


def taillard_instance(name: str) -> JobShopInstance:
    """One of Taillard's benchmark instances ``"ta01"`` to ``"ta80"``, made from its two seeds.

    Raises:
        UnknownNameError: for another name.
    """
    if name not in TAILLARD_SEEDS:
        raise UnknownNameError("Taillard instance", name, TAILLARD_SEEDS)
    jobs, machines, time_seed, machine_seed = TAILLARD_SEEDS[name]
    times = _LinearCongruential(time_seed)
    durations = [[times.uniform(1, 99) for _ in range(machines)] for _ in range(jobs)]
    shuffler = _LinearCongruential(machine_seed)
    routes = []
    for _ in range(jobs):
        route = list(range(machines))
        for i in range(machines):
            j = shuffler.uniform(i, machines - 1)
            route[i], route[j] = route[j], route[i]
        routes.append(route)
    return JobShopInstance.from_matrices(routes, durations, name)


class _LinearCongruential:
    """The portable generator of Taillard (1993): x <- 16807 x mod (2^31 - 1)."""

    MODULUS = 2**31 - 1

    def __init__(self, seed: int) -> None:
        self.state = seed

    def uniform(self, low: int, high: int) -> int:
        """The next integer of ``low`` to ``high``."""
        self.state = 16807 * self.state % self.MODULUS
        return low + int(self.state / self.MODULUS * (high - low + 1))


def _draw_many(rng: np.random.Generator, value: Range, count: int) -> NDArray[np.int64]:
    low, high = ends(value)
    return rng.integers(low, high + 1, size=count)


def _around(machines: int) -> tuple[int, int]:
    """80 % and 120 % of the number of machines, rounded down, at least one operation."""
    return max(1, machines * 8 // 10), max(1, machines * 12 // 10)


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    offsets = np.zeros(len(counts) + 1, dtype=np.int32)
    np.cumsum(counts, out=offsets[1:])
    return offsets
