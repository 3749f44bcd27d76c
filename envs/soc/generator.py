"""Random streams: job types by the platform's shares, exponential gaps, Gaussian noise.

Sources: DS3 (arrivals ``int(expovariate(1 / scale))``, at most 12 jobs in the system), SoCRATES
(noise; a queue filled at the start, there "pseudo steady state").
"""

import dataclasses
import warnings
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from makespan.envs.core.errors import UsageError
from makespan.envs.core.ranges import (
    Range,
    RealRange,
    check_range,
    check_real_range,
    draw,
    ends,
    grown,
)
from makespan.envs.soc.bounds import offered_load
from makespan.envs.soc.instance import MAX_JOBS, MAX_TIME, Sizes, StreamInstance
from makespan.envs.soc.platform import JobType, Platform, load_platform

#: Share of the sampled platforms that are left as they are when ``variation`` is above 0.
UNCHANGED = 0.5


class UnstableLoadWarning(UserWarning):
    """Open arrivals bring more work than the processors can do: latency grows with the stream."""


def warn_if_unstable(load: float) -> None:
    """Warn of an offered load of 1 or more under open arrivals."""
    if load >= 1:
        warnings.warn(
            f"offered load {load:.2f}: at 1 or more the number of jobs in the system grows without "
            "limit under open arrivals; use a cap or a larger mean gap",
            UnstableLoadWarning,
            stacklevel=3,
        )


@dataclass(frozen=True)
class StreamGenerator:
    """Streams on shipped platforms.

    Attributes:
        platforms: names of platforms to draw from.
        jobs: fewest and most jobs of a stream.
        load: lowest and highest offered load, see
            :func:`~makespan.envs.soc.bounds.offered_load`; uniform between.
        scale: mean gap between arrivals (microseconds) instead of a load; 0 to use the load.
        cap: most jobs in the system; 0 for open arrivals.
        noise: lowest and highest standard deviation of the durations' factors.
        prefill: jobs that enter at time 0.
        warmup: jobs at the start that do not count.
        horizon: end of the observation (microseconds), 0 for none; only with open arrivals.
        variation: spread of random changes to half of the platforms: fewer processors, and times
            scaled by task and by cluster, log-normal with this deviation; 0 for none.

    Raises:
        UsageError: for a value outside its range.

    Warns:
        UnstableLoadWarning: for open arrivals with an offered load of 1 or more.
    """

    platforms: tuple[str, ...] = ("ds3-default",)
    jobs: Range = 20
    load: RealRange = (0.3, 1.0)
    scale: float = 0.0
    cap: int = 12
    noise: RealRange = 0.0
    prefill: int = 1
    warmup: int = 0
    horizon: int = 0
    variation: float = 0.0

    def __post_init__(self) -> None:
        if not self.platforms or isinstance(self.platforms, str):
            raise UsageError(f"platforms: found {self.platforms!r}, expected a list of names")
        fewest, _ = check_range("jobs", self.jobs, 1, MAX_JOBS)
        _, heaviest = check_real_range("load", self.load, 1e-3, 100)
        check_real_range("noise", self.noise, 0, 1)
        for field, high in (
            ("scale", 1e9),
            ("cap", MAX_JOBS),
            ("variation", 1),
            ("prefill", MAX_JOBS),
            ("warmup", MAX_JOBS),
            ("horizon", MAX_TIME),
        ):
            if not 0 <= getattr(self, field) <= high:
                raise UsageError(f"{field}: found {getattr(self, field)}, expected 0 to {high:g}")
        if self.warmup >= fewest:
            raise UsageError(f"warmup: found {self.warmup}, expected less than {fewest} jobs")
        if self.horizon and self.cap:
            raise UsageError(f"horizon: found {self.horizon}, expected 0 with a cap")
        loads = [
            offered_load(load_platform(name), self.scale) if self.scale else heaviest
            for name in self.platforms
        ]
        if not self.cap:
            warn_if_unstable(max(loads))

    def grown(self, progress: float) -> Self:
        """The same with streams up to ``progress`` of the way from shortest to longest."""
        return replace(self, jobs=grown(self.jobs, progress))

    @property
    def largest(self) -> Sizes:
        """Sizes that no sampled instance exceeds."""
        sizes, jobs = [], ends(self.jobs)[1]
        for name in self.platforms:
            platform = load_platform(name)
            width = int(np.diff(platform.task_offsets).max())
            stream = StreamInstance(
                name,
                platform,
                np.zeros(jobs, dtype=np.int32),
                np.zeros(jobs, dtype=np.int64),
                np.ones((jobs, width)),
            )
            sizes.append(stream.sizes)
        return Sizes(*np.max(sizes, axis=0).tolist())

    def sample(self, rng: np.random.Generator) -> StreamInstance:
        """A fresh stream; the same generator state gives the same stream."""
        platform = load_platform(self.platforms[rng.integers(len(self.platforms))])
        if self.variation and rng.random() >= UNCHANGED:
            platform = varied(platform, self.variation, rng)
        jobs = draw(rng, self.jobs)
        scale = self.scale or offered_load(platform, 1.0) / rng.uniform(*ends(self.load))
        gaps = rng.exponential(scale, jobs).astype(np.int64)
        gaps[: max(self.prefill, 1)] = 0
        noise = float(rng.uniform(*ends(self.noise)))
        width = int(np.diff(platform.task_offsets).max())
        factors = 1 + noise * rng.standard_normal((jobs, width))
        return StreamInstance(
            name=f"{platform.name}-{jobs}",
            platform=platform,
            types=rng.choice(len(platform.jobs), jobs, p=platform.probability).astype(np.int32),
            gaps=gaps,
            factors=factors,
            noise=noise,
            cap=self.cap,
            warmup=self.warmup,
            horizon=self.horizon,
        )


def varied(platform: Platform, spread: float, rng: np.random.Generator) -> Platform:
    """A platform with fewer processors and other times, and the same task graphs.

    Args:
        platform: to start from.
        spread: standard deviation of the logarithm of the factors on times.
        rng: generator.
    """
    clusters = tuple(
        dataclasses.replace(
            cluster, cores=int(rng.integers((cluster.cores + 1) // 2, cluster.cores + 1))
        )
        for cluster in platform.clusters
    )
    by_cluster = dict(
        zip(platform.cluster_names, rng.lognormal(0, spread, len(clusters)), strict=True)
    )
    jobs = []
    for job in platform.jobs:
        tasks = {}
        for task, times in job.tasks.items():
            factor = rng.lognormal(0, spread)
            tasks[task] = {
                name: round(time * factor * by_cluster[name]) for name, time in times.items()
            }
        jobs.append(
            JobType(job.name, tasks, job.edges, probability=job.probability * rng.uniform(0.5, 1.5))
        )
    return dataclasses.replace(
        platform, name=f"{platform.name}-varied", clusters=clusters, jobs=tuple(jobs)
    )
