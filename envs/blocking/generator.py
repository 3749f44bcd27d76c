"""Random blocking job shops, and shutdowns for given ones.

Time is cut into periods. At the beginning of every period but the first, each machine that is up
shuts down with a given probability, for a time uniform over a range. Periods end long after good
schedules have ended.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from makespan.envs.blocking.instance import ON_DOWN_MODES, BlockingInstance
from makespan.envs.blocking.problem import Sizes
from makespan.envs.core.errors import UnknownNameError
from makespan.envs.core.ranges import Range, RealRange, check_range, check_real_range, ends
from makespan.envs.jobshop.generator import JobShopGenerator
from makespan.envs.jobshop.instance import MAX_TOTAL_DURATION, JobShopInstance

#: Number of periods, per job and machine; a busy machine has one operation per period and job.
PERIODS = 4
#: Longest shutdown in periods; the shortest takes one time unit.
LONGEST = 2


def draw_shutdowns(
    shop: JobShopInstance, probability: float, rng: np.random.Generator
) -> list[list[tuple[int, int]]]:
    """Shutdowns of each machine; a period is the mean duration, rounded, at least 1.

    Args:
        shop: the job shop.
        probability: that a machine that is up shuts down in a period, 0 to 1.
        rng: the source of chance.
    """
    period = max(1, round(float(shop.durations.mean())))
    periods = PERIODS * (shop.num_jobs + shop.num_machines)
    fails = rng.random((shop.num_machines, periods)) < probability
    lengths = rng.integers(1, LONGEST * period + 1, size=fails.shape)
    shutdowns = []
    for machine in range(shop.num_machines):
        pairs: list[tuple[int, int]] = []
        up = 0
        for number in np.flatnonzero(fails[machine, 1:]) + 1:
            start = int(number) * period
            if start > up:
                up = start + int(lengths[machine, number])
                pairs.append((start, up))
        shutdowns.append(pairs)
    return shutdowns


@dataclass(frozen=True)
class BlockingGenerator:
    """Classical job shops as of :class:`JobShopGenerator`, blocking and with shutdowns.

    Attributes:
        jobs: number of jobs.
        machines: number of machines, and so of operations of every job.
        durations: smallest and largest processing time, at least 1.
        shutdowns: smallest and largest probability that a machine shuts down in a period; the one
            of an instance is uniform between them.
        swap: whether jobs may change places in a circle.
        on_down: what becomes of an interrupted operation: resume, restart or hold.

    Raises:
        UsageError, UnknownNameError: for a value outside its range.
    """

    jobs: Range = 10
    machines: Range = 5
    durations: Range = (1, 99)
    shutdowns: RealRange = (0.0, 0.2)
    swap: bool = True
    on_down: str = "resume"

    @cached_property
    def _shop(self) -> JobShopGenerator:
        return JobShopGenerator(self.jobs, self.machines, self.durations)

    def __post_init__(self) -> None:
        _ = self._shop  # which checks its part
        check_range("durations", self.durations, 1, MAX_TOTAL_DURATION)
        check_real_range("shutdowns", self.shutdowns, 0, 1)
        if self.on_down not in ON_DOWN_MODES:
            raise UnknownNameError("on_down mode", self.on_down, ON_DOWN_MODES)

    def grown(self, progress: float) -> Self:
        """The same with jobs and machines up to ``progress`` of the way from low to high."""
        shop = self._shop.grown(progress)
        return replace(self, jobs=shop.jobs, machines=shop.machines)

    @property
    def largest(self) -> Sizes:
        """Sizes that no sampled instance exceeds."""
        jobs, machines, operations, _ = self._shop.largest
        return Sizes(jobs, machines, operations, machines * PERIODS * (jobs + machines))

    def sample(self, rng: np.random.Generator) -> BlockingInstance:
        """A fresh instance; the same generator state gives the same instance."""
        shop = self._shop.sample(rng)
        probability = float(rng.uniform(*ends(self.shutdowns)))
        shutdowns = draw_shutdowns(shop, probability, rng)
        return BlockingInstance.from_shop(
            shop, shutdowns, self.swap, self.on_down, name=f"{shop.name}-blocking"
        )
