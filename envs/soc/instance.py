"""A stream of jobs for a system on chip: the platform, the arrivals, and the true durations.

Job k of the stream enters the system ``gaps[k]`` microseconds after job k - 1 (job 0 at
``gaps[0]``), or later when ``cap`` jobs are in the system by then: *blocked* arrivals, as DS3 has
them. Without a cap arrivals are *open*. The true duration of a task on a processor is its expected
one times the hidden factor of that task of that job, see :func:`true_duration`.

Source: DS3, Arda et al., IEEE Transactions on Computers 69(8), 2020; Gaussian noise as in
SoCRATES, https://github.com/EpiSci/SoCRATES (``max(round(gauss(t, std * t)), 1)``).
"""

import dataclasses
import hashlib
import math
import reprlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import InstanceError
from makespan.envs.core.instance import Instance
from makespan.envs.soc.platform import Platform

#: Largest number of jobs of a stream.
MAX_JOBS = 2**20
#: Largest time in a stream (microseconds): kernels count it in 32-bit integers.
MAX_TIME = 2**30


class Sizes(NamedTuple):
    """What a stream, or the largest of many, takes up."""

    jobs: int
    tasks: int  # of all job types
    width: int  # tasks of the largest job type
    edges: int  # of all job types
    job_types: int
    clusters: int
    processors: int


def true_duration(expected: int, factor: float) -> int:
    """Microseconds that a task really takes: rounded, at least 1 unless nothing was expected."""
    if expected == 0:
        return 0
    return max(1, math.floor(expected * factor + 0.5))


@dataclass(frozen=True, eq=False)
class StreamInstance(Instance):
    """Jobs entering a system on chip one after the other.

    Attributes:
        platform: processors and job types.
        types: (jobs,) int32, type of each job.
        gaps: (jobs,) int64, microseconds between arrivals, see the module.
        factors: (jobs, width) float64, hidden factor on the expected duration of each task, width
            the number of tasks of the platform's largest job type; 1 without noise.
        noise: standard deviation of the factors, which a scheduler may know.
        cap: most jobs in the system at once; 0 for open arrivals.
        warmup: number of jobs at the start that do not count in the objective.
        horizon: end of the observation (microseconds); 0 to run until all jobs are done. Only with
            open arrivals: else the jobs that enter in time would depend on the schedule.

    Raises:
        InstanceError: when any of this is violated.
    """

    kind: ClassVar[str] = "soc-stream"

    platform: Platform
    types: NDArray[np.int32]
    gaps: NDArray[np.int64]
    factors: NDArray[np.float64]
    noise: float = 0.0
    cap: int = 0
    warmup: int = 0
    horizon: int = 0

    def __post_init__(self) -> None:
        for field, dtype, kinds in (
            ("types", np.int32, "iu"),
            ("gaps", np.int64, "iu"),
            ("factors", np.float64, "iuf"),
        ):
            object.__setattr__(self, field, _array(getattr(self, field), field, dtype, kinds))
        super().__post_init__()

    def check(self) -> None:
        """Raise InstanceError naming the field."""
        if not isinstance(self.name, str):
            raise InstanceError(f"name: found {reprlib.repr(self.name)}, expected text")
        jobs = len(self.types)
        _check_integer("number of jobs", jobs, 1, MAX_JOBS)
        _check_integer("cap", self.cap, 0, MAX_JOBS)
        _check_integer("warmup", self.warmup, 0, MAX_JOBS)
        _check_integer("horizon", self.horizon, 0, MAX_TIME)
        if type(self.noise) not in (int, float) or not 0 <= self.noise < math.inf:
            raise InstanceError(f"noise: found {self.noise!r}, expected at least 0")
        shapes = {"types": (jobs,), "gaps": (jobs,), "factors": (jobs, self.width)}
        for field, expected in shapes.items():
            found = getattr(self, field).shape
            if found != expected:
                raise InstanceError(f"{field}: found the shape {found}, expected {expected}")
        if (self.types < 0).any() or (self.types >= len(self.platform.jobs)).any():
            job = int(np.flatnonzero((self.types < 0) | (self.types >= len(self.platform.jobs)))[0])
            raise InstanceError(
                f"types[{job}]: found {self.types[job]}, expected 0 to "
                f"{len(self.platform.jobs) - 1}"
            )
        wrong = (self.gaps < 0) | (self.gaps > MAX_TIME)
        if wrong.any():
            job = int(wrong.argmax())
            raise InstanceError(f"gaps[{job}]: found {self.gaps[job]}, expected 0 to {MAX_TIME}")
        if not (np.isfinite(self.factors) & (np.abs(self.factors) < 1e3)).all():
            raise InstanceError("factors: found one that is not a number below 1000")
        if self.horizon and self.cap:
            raise InstanceError(
                f"horizon: found {self.horizon} with a cap of {self.cap}, expected 0: only with "
                "open arrivals does a horizon leave the same jobs to every schedule"
            )
        if self.counted < 1:
            raise InstanceError(
                f"warmup: found {self.warmup}, which leaves none of the {self.entering} jobs that "
                "enter"
            )
        if self._latest_end() > MAX_TIME:
            raise InstanceError(f"the stream may last longer than {MAX_TIME} us, the most handled")

    @property
    def width(self) -> int:
        """Tasks of the largest job type."""
        return int(np.diff(self.platform.task_offsets).max())

    @property
    def num_jobs(self) -> int:
        """Number of jobs."""
        return len(self.types)

    @cached_property
    def entering(self) -> int:
        """Number of jobs that enter before the horizon; later ones are no part of the episode."""
        if not self.horizon:
            return self.num_jobs
        return int(np.searchsorted(np.cumsum(self.gaps), self.horizon, side="left"))

    @property
    def counted(self) -> int:
        """Number of jobs in the objective."""
        return self.entering - self.warmup

    @property
    def num_tasks(self) -> int:
        """Tasks of all jobs that enter."""
        return int(np.diff(self.platform.task_offsets)[self.types[: self.entering]].sum())

    @property
    def sizes(self) -> Sizes:
        """What the instance takes up."""
        platform = self.platform
        return Sizes(
            self.num_jobs,
            len(platform.task_names),
            self.width,
            len(platform.edges),
            len(platform.jobs),
            len(platform.clusters),
            platform.num_processors,
        )

    @property
    def size(self) -> str:
        """What tables group by: the name up to its number."""
        return self.name.rsplit("-", 1)[0]

    def durations(self, job: int) -> NDArray[np.int64]:
        """(tasks of the job, K) true microseconds, -1 where a cluster cannot run the task."""
        first, last = self.platform.task_offsets[self.types[job] : self.types[job] + 2]
        expected = self.platform.cost[first:last].astype(np.int64)
        factor = self.factors[job, : last - first, None]
        true = np.maximum(np.floor(expected * factor + 0.5), 1).astype(np.int64)
        return np.where(expected > 0, true, expected)

    def _latest_end(self) -> int:
        """All work one after the other, each task where it takes longest, after the last gap."""
        longest = self.platform.cost.max(axis=1).astype(np.int64)
        offsets = self.platform.task_offsets
        work = np.add.reduceat(longest, offsets[:-1])
        factor = max(1.0, float(self.factors.max()))
        bandwidths, same_core = self.platform.bandwidths, self.platform.same_core_bandwidth
        slowest = int(bandwidths[bandwidths > 0].min(initial=same_core))
        moved = sum(self.platform.edges[:, 2].tolist()) * self.num_jobs
        busy = self.gaps.sum() + (work[self.types].sum() + 1) * factor + 1
        return int(busy) + int(moved // slowest)

    def content_hash(self) -> str:
        """SHA-256 of the data (hexadecimal), the name left out."""
        digest = hashlib.sha256(self.kind.encode())
        digest.update(self.platform.key.encode())
        for field in ("types", "gaps", "factors"):
            digest.update(getattr(self, field).tobytes())
        digest.update(repr((self.noise, self.cap, self.warmup, self.horizon)).encode())
        return digest.hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain data; job types by name."""
        names = self.platform.job_names
        data = super().to_dict()
        data["platform"] = self.platform.to_dict()
        data["types"] = [names[j] for j in self.types]
        if not self.noise and (self.factors == 1).all():
            del data["factors"]
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild an instance.

        The platform may be the name of a shipped one, and ``factors`` may be left out.

        Raises:
            InstanceError: naming the field.
        """
        from makespan.envs.soc.platform import load_platform

        cls.check_header(data)
        names = {field.name for field in dataclasses.fields(cls)}
        unknown = set(data) - names - {"kind", "version"}
        if unknown:
            raise InstanceError(f"unknown field(s) {sorted(unknown)}, expected {sorted(names)}")
        for field in ("platform", "types", "gaps"):
            if field not in data:
                raise InstanceError(f"field {field!r} is missing")
        given = data["platform"]
        platform = load_platform(given) if isinstance(given, str) else Platform.from_dict(given)
        number = {name: j for j, name in enumerate(platform.job_names)}
        if not isinstance(data["types"], list):
            raise InstanceError(
                f"types: found {reprlib.repr(data['types'])}, expected a list of job types"
            )
        types = []
        for job, name in enumerate(data["types"]):
            if not isinstance(name, str) or name not in number:
                raise InstanceError(
                    f"types[{job}]: found {reprlib.repr(name)}, expected one of {sorted(number)}"
                )
            types.append(number[name])
        width = int(np.diff(platform.task_offsets).max())
        values = {name: data[name] for name in names & set(data)}
        values |= {"platform": platform, "types": np.array(types, dtype=np.int32)}
        values.setdefault("factors", np.ones((len(types), width)))
        values.setdefault("name", "stream")
        return cls(**values)


def _array(value: Any, field: str, dtype: Any, kinds: str) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in kinds and array.size:
        expected = "numbers" if "f" in kinds else "integers"
        raise InstanceError(f"{field}: found {reprlib.repr(value)}, expected {expected}")
    return array.astype(dtype)


def _check_integer(field: str, value: Any, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise InstanceError(
            f"{field}: found {reprlib.repr(value)}, expected an integer from {low} to {high}"
        )
