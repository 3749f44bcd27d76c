"""A system on chip and the job types that run on it: what all streams of a system share.

Processors of one cluster are identical. A job type is a task graph; a task takes a given time on
each cluster that can run it, and an edge carries a volume of data. Moving it between two processors
takes ``volume // bandwidth`` from the end of the producer on, whatever else is moved at that time.

Source of the model: DS3, Arda et al., IEEE Transactions on Computers 69(8), 2020.
"""

import dataclasses
import hashlib
import heapq
import json
import math
import reprlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.core.files import parse_json

if TYPE_CHECKING:
    from makespan.envs.dag.instance import TaskGraphInstance

#: Largest time, volume or bandwidth in a file: kernels count time in 32-bit integers.
MAX_NUMBER = 2**24
#: Largest number of processors, job types, and tasks of a job type.
MAX_COUNT = 2**12
#: Shipped platforms by name: file, and what it is.
PRESETS: Mapping[str, str] = {
    "ds3-default": "ds3_default.json",  # 16 processors, six job types
    "ds3-cpu": "ds3_cpu.json",  # the same job types on the eight processors without accelerators
    "toy": "toy.json",  # three processors, ten synthetic graphs of ten tasks
}
#: Jobs are due this many times their isolated optimum after they enter, unless a file says
#: otherwise; the deadlines in DS3's files are placeholders.
DEADLINE_FACTOR = 2


@dataclass(frozen=True)
class Cluster:
    """Identical processors and their power.

    Attributes:
        name: e.g. ``"A15"``.
        cores: number of processors.
        opp_mhz_mv: operating points: frequency (MHz) and voltage (mV), ascending.
        power_w: power of the cluster (W) with 1, 2, ... busy cores at a frequency (MHz); of the
            first frequency that is not below the one in use.
        leakage_share: of the leakage of a big core.
        frequency_mhz: in use; None for the highest. Times in the file are at the highest.
    """

    name: str
    cores: int
    opp_mhz_mv: tuple[tuple[int, int], ...] = ()
    power_w: tuple[tuple[int, tuple[float, ...]], ...] = ()
    leakage_share: float = 1.0
    frequency_mhz: int | None = None

    @property
    def slowdown(self) -> float:
        """Factor on all times at the frequency in use: highest frequency / frequency."""
        if self.frequency_mhz is None:
            return 1.0
        return self.opp_mhz_mv[-1][0] / self.frequency_mhz


@dataclass(frozen=True)
class JobType:
    """A task graph.

    Attributes:
        name: e.g. ``"WiFi_Receiver"``.
        tasks: name -> {cluster: microseconds at the highest frequency}, any order.
        edges: (producer, consumer, volume).
        probability: share among the jobs of a stream (relative weight).
        isolated_optimum_us: shortest time of one job alone on the platform, where it is known.
        deadline_us: after entering; None for ``DEADLINE_FACTOR`` times the isolated optimum (or its
            bound).
    """

    name: str
    tasks: Mapping[str, Mapping[str, int]]
    edges: tuple[tuple[str, str, int], ...]
    probability: float = 1.0
    isolated_optimum_us: int | None = None
    deadline_us: int | None = None


@dataclass(frozen=True, eq=False)
class Platform:
    """Clusters, bandwidths and job types; arrays for the kernels are derived.

    Attributes:
        name: a label.
        source: where the numbers were published.
        clusters: K of them.
        bandwidth: (cluster, cluster, volume per microsecond), symmetric, one entry per pair.
        same_core_bandwidth: between two tasks on the same processor.
        jobs: J job types.
        base_power_w: power that is always taken (memory, GPU).

    Raises:
        InstanceError: for a cycle, an unknown task or cluster, a task that no processor can run, a
            negative or too large number, or a duplicate; the message names it.
    """

    kind: ClassVar[str] = "soc-platform"
    version: ClassVar[int] = 1

    name: str
    source: str
    clusters: tuple[Cluster, ...]
    bandwidth: tuple[tuple[str, str, int], ...]
    same_core_bandwidth: int
    jobs: tuple[JobType, ...]
    base_power_w: float = 0.0

    def __post_init__(self) -> None:
        _check_clusters(self.clusters)
        _check_bandwidth(self)
        if not 1 <= len(self.jobs) <= MAX_COUNT:
            raise InstanceError(f"jobs: found {len(self.jobs)}, expected 1 to {MAX_COUNT}")
        _check_distinct("job type", [job.name for job in self.jobs])
        ordered = tuple(_checked_job(job, self.cluster_names) for job in self.jobs)
        object.__setattr__(self, "jobs", ordered)
        if not any(job.probability > 0 for job in self.jobs):
            raise InstanceError("probability: found 0 for every job type, expected one above 0")

    # ------------------------------------------------------------------ arrays

    @property
    def cluster_names(self) -> tuple[str, ...]:
        """(K,) names."""
        return tuple(cluster.name for cluster in self.clusters)

    @cached_property
    def cores(self) -> NDArray[np.int32]:
        """(K,) processors of each cluster; they are numbered cluster by cluster."""
        return np.array([cluster.cores for cluster in self.clusters], dtype=np.int32)

    @cached_property
    def cluster_of(self) -> NDArray[np.int32]:
        """(P,) cluster of each processor."""
        return np.repeat(np.arange(len(self.clusters), dtype=np.int32), self.cores)

    @cached_property
    def processor_names(self) -> tuple[str, ...]:
        """(P,) e.g. ``"A15-2"``, or the cluster's name when it has one processor."""
        return tuple(
            f"{cluster.name}-{core}" if cluster.cores > 1 else cluster.name
            for cluster in self.clusters
            for core in range(cluster.cores)
        )

    @property
    def num_processors(self) -> int:
        """P."""
        return int(self.cores.sum())

    @cached_property
    def task_offsets(self) -> NDArray[np.int32]:
        """(J + 1,): tasks ``task_offsets[j]:task_offsets[j + 1]`` of type j, producers first."""
        counts = [len(job.tasks) for job in self.jobs]
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)

    @cached_property
    def task_names(self) -> tuple[str, ...]:
        """(T,) names."""
        return tuple(name for job in self.jobs for name in job.tasks)

    @cached_property
    def cost(self) -> NDArray[np.int32]:
        """(T, K) expected microseconds at the frequencies in use, -1 where it cannot run."""
        table = np.full((len(self.task_names), len(self.clusters)), -1, dtype=np.int32)
        rows = [times for job in self.jobs for times in job.tasks.values()]
        for task, times in enumerate(rows):
            for k, cluster in enumerate(self.clusters):
                if cluster.name in times:
                    table[task, k] = math.floor(times[cluster.name] * cluster.slowdown + 0.5)
        return table

    @cached_property
    def edges(self) -> NDArray[np.int32]:
        """(E, 3) producer, consumer, volume; by producer, then consumer."""
        rows = []
        for job, offset in zip(self.jobs, self.task_offsets.tolist(), strict=False):
            number = {name: offset + index for index, name in enumerate(job.tasks)}
            rows += [(number[a], number[b], volume) for a, b, volume in job.edges]
        return np.array(sorted(rows), dtype=np.int32).reshape(-1, 3)

    @cached_property
    def bandwidths(self) -> NDArray[np.int32]:
        """(K, K) between different processors of two clusters."""
        number = {name: k for k, name in enumerate(self.cluster_names)}
        table = np.zeros((len(number), len(number)), dtype=np.int32)
        for a, b, value in self.bandwidth:
            table[number[a], number[b]] = table[number[b], number[a]] = value
        return table

    @cached_property
    def probability(self) -> NDArray[np.float64]:
        """(J,) normalised."""
        weights = np.array([job.probability for job in self.jobs], dtype=np.float64)
        return weights / weights.sum()  # type: ignore[no-any-return]

    @property
    def job_names(self) -> tuple[str, ...]:
        """(J,) names."""
        return tuple(job.name for job in self.jobs)

    @cached_property
    def deadlines(self) -> NDArray[np.int64]:
        """(J,) microseconds after entering."""
        from makespan.envs.soc.bounds import isolated_bounds

        bounds = isolated_bounds(self)
        given = [job.deadline_us for job in self.jobs]
        return np.array(
            [
                DEADLINE_FACTOR * int(bound) if due is None else due
                for due, bound in zip(given, bounds, strict=True)
            ],
            dtype=np.int64,
        )

    # ------------------------------------------------------------------ variants, plain data

    def task_graph(self, job_type: str) -> "TaskGraphInstance":
        """One job alone as the static problem of the family ``dag``, with the same processors.

        Raises:
            UnknownNameError: for an unknown job type.
            InstanceError: when data would take time on one processor, which that problem excludes.
        """
        from makespan.envs.dag.instance import TaskGraphInstance

        if job_type not in self.job_names:
            raise UnknownNameError("job type", job_type, self.job_names)
        job = self.job_names.index(job_type)
        first, end = self.task_offsets[job : job + 2].tolist()
        edges = self.edges[(self.edges[:, 0] >= first) & (self.edges[:, 0] < end)]
        if (edges[:, 2] >= self.same_core_bandwidth).any():
            raise InstanceError(f"{self.name}, {job_type}: data take time on the same processor")
        cluster = self.cluster_of
        return TaskGraphInstance.from_arrays(
            self.cost[first:end][:, cluster],
            edges[:, :2] - first,
            edges[:, 2],
            # a cluster of one processor needs no bandwidth within
            np.maximum(self.bandwidths, 1)[np.ix_(cluster, cluster)],
            f"{self.name}-{job_type}",
            self.task_names[first:end],
            self.processor_names,
        )

    def at(self, frequencies: Mapping[str, int]) -> "Platform":
        """The platform with some clusters at another operating point.

        Args:
            frequencies: cluster -> MHz.

        Raises:
            UnknownNameError: for an unknown cluster.
            UsageError: for a frequency that is not an operating point.
        """
        for name, frequency in frequencies.items():
            if name not in self.cluster_names:
                raise UnknownNameError("cluster", name, self.cluster_names)
            points = self.clusters[self.cluster_names.index(name)].opp_mhz_mv
            if frequency not in [f for f, _ in points]:
                raise UsageError(
                    f"{name}: found {frequency} MHz, expected one of {[f for f, _ in points]}"
                )
        clusters = tuple(
            dataclasses.replace(cluster, frequency_mhz=frequencies[cluster.name])
            if cluster.name in frequencies
            else cluster
            for cluster in self.clusters
        )
        jobs = tuple(dataclasses.replace(job, isolated_optimum_us=None) for job in self.jobs)
        return dataclasses.replace(self, clusters=clusters, jobs=jobs)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that :meth:`from_dict` takes."""
        return {
            "kind": self.kind,
            "version": self.version,
            "name": self.name,
            "source": self.source,
            "clusters": [
                {
                    **dataclasses.asdict(cluster),
                    "opp_mhz_mv": [list(point) for point in cluster.opp_mhz_mv],
                    "power_w": {str(f): list(watts) for f, watts in cluster.power_w},
                }
                for cluster in self.clusters
            ],
            "bandwidth": [list(entry) for entry in self.bandwidth],
            "same_core_bandwidth": self.same_core_bandwidth,
            "base_power_w": self.base_power_w,
            "jobs": [
                {
                    **{f.name: getattr(job, f.name) for f in dataclasses.fields(job)},
                    "tasks": {name: dict(times) for name, times in job.tasks.items()},
                    "edges": [list(edge) for edge in job.edges],
                }
                for job in self.jobs
            ],
        }

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Build from plain data; raises InstanceError naming the field at fault."""
        data = _mapping(data, "platform")
        for field, expected in (("kind", cls.kind), ("version", cls.version)):
            if data.get(field) != expected:
                raise InstanceError(
                    f"field {field!r}: found {data.get(field)!r}, expected {expected!r}"
                )
        _check_fields(data, cls, "platform", "kind", "version")
        return cls(
            name=_text(_get(data, "name", "platform"), "name"),
            source=_text(data.get("source", ""), "source"),
            clusters=tuple(_read_cluster(c) for c in _list(_get(data, "clusters"), "clusters")),
            bandwidth=_triples(_get(data, "bandwidth"), "bandwidth"),
            same_core_bandwidth=_integer(
                _get(data, "same_core_bandwidth"), "same_core_bandwidth", 1
            ),
            jobs=tuple(_read_job(job) for job in _list(_get(data, "jobs"), "jobs")),
            base_power_w=_number(data.get("base_power_w", 0.0), "base_power_w"),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Platform):
            return NotImplemented
        return self is other or self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Platform({self.name!r}, {self.key})"

    @cached_property
    def key(self) -> str:
        """Identifies the content."""
        return hashlib.sha256(json.dumps(self.to_dict()).encode()).hexdigest()[:16]


@lru_cache
def load_platform(name: str) -> Platform:
    """A shipped platform; raises UnknownNameError with close matches."""
    if name not in PRESETS:
        raise UnknownNameError("platform", name, PRESETS)
    text = resources.files("makespan.envs.soc").joinpath(PRESETS[name]).read_text("utf-8")
    return Platform.from_dict(parse_json(text, InstanceError))


# ---------------------------------------------------------------------- checks


def _check_distinct(what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InstanceError(f"{what} {name!r}: found twice, expected distinct names")
        seen.add(name)


def _check_clusters(clusters: Sequence[Cluster]) -> None:
    if not clusters:
        raise InstanceError("clusters: found none, expected at least one")
    _check_distinct("cluster", [cluster.name for cluster in clusters])
    for cluster in clusters:
        if not 1 <= cluster.cores <= MAX_COUNT:
            raise InstanceError(
                f"cluster {cluster.name!r}: cores: found {cluster.cores}, expected 1 to {MAX_COUNT}"
            )
        points = [frequency for frequency, _ in cluster.opp_mhz_mv]
        if cluster.frequency_mhz is not None and cluster.frequency_mhz not in points:
            raise InstanceError(
                f"cluster {cluster.name!r}: frequency_mhz: found {cluster.frequency_mhz}, expected "
                f"one of {points}, its operating points (opp_mhz_mv)"
            )
        if any(len(watts) < cluster.cores for _, watts in cluster.power_w):
            raise InstanceError(
                f"cluster {cluster.name!r}: power_w: expected a power for each of 1 to "
                f"{cluster.cores} busy cores"
            )


def _check_bandwidth(platform: Platform) -> None:
    names = platform.cluster_names
    seen = set()
    for a, b, value in platform.bandwidth:
        for name in (a, b):
            if name not in names:
                raise InstanceError(f"bandwidth: found unknown cluster {name!r}, expected {names}")
        if value < 1:
            raise InstanceError(f"bandwidth {a!r} to {b!r}: found {value}, expected at least 1")
        if frozenset((a, b)) in seen:
            raise InstanceError(f"bandwidth {a!r} to {b!r}: found twice, expected once")
        seen.add(frozenset((a, b)))
    for index, a in enumerate(names):
        for b in names[index:]:
            alone = a == b and platform.clusters[index].cores == 1
            if frozenset((a, b)) not in seen and not alone:
                raise InstanceError(f"bandwidth {a!r} to {b!r}: missing")


def _checked_job(job: JobType, clusters: Sequence[str]) -> JobType:
    """The job type with its tasks in topological order."""
    where = f"job type {job.name!r}"
    if not 1 <= len(job.tasks) <= MAX_COUNT:
        raise InstanceError(f"{where}: found {len(job.tasks)} tasks, expected 1 to {MAX_COUNT}")
    if not job.probability >= 0:
        raise InstanceError(f"{where}: probability: found {job.probability}, expected at least 0")
    for task, times in job.tasks.items():
        if not times:
            raise InstanceError(f"{where}, task {task!r}: no processor can run it")
        for cluster, time in times.items():
            if cluster not in clusters:
                raise InstanceError(
                    f"{where}, task {task!r}: found unknown cluster {cluster!r}, expected one of "
                    f"{', '.join(clusters)}"
                )
            if not 0 <= time <= MAX_NUMBER:
                raise InstanceError(
                    f"{where}, task {task!r}: found {time} us on {cluster!r}, expected 0 to "
                    f"{MAX_NUMBER}"
                )
    seen = set()
    for a, b, volume in job.edges:
        for task in (a, b):
            if task not in job.tasks:
                raise InstanceError(f"{where}, edge {a!r} to {b!r}: unknown task {task!r}")
        if (a, b) in seen:
            raise InstanceError(f"{where}, edge {a!r} to {b!r}: found twice, expected once")
        if not 0 <= volume <= MAX_NUMBER:
            raise InstanceError(
                f"{where}, edge {a!r} to {b!r}: volume: found {volume}, expected 0 to {MAX_NUMBER}"
            )
        seen.add((a, b))
    order = _topological(list(job.tasks), [(a, b) for a, b, _ in job.edges], where)
    return dataclasses.replace(job, tasks={name: dict(job.tasks[name]) for name in order})


def _topological(tasks: list[str], edges: list[tuple[str, str]], where: str) -> list[str]:
    """Producers before consumers, otherwise as given; raises InstanceError naming a cycle."""
    consumers: dict[str, list[str]] = {task: [] for task in tasks}
    producers: dict[str, set[str]] = {task: set() for task in tasks}
    for a, b in edges:
        consumers[a].append(b)
        producers[b].add(a)
    position = {task: index for index, task in enumerate(tasks)}
    heap = [position[task] for task in tasks if not producers[task]]
    order = []
    waiting = {task: len(producers[task]) for task in tasks}
    while heap:
        task = tasks[heapq.heappop(heap)]
        order.append(task)
        for consumer in consumers[task]:
            waiting[consumer] -= 1
            if not waiting[consumer]:
                heapq.heappush(heap, position[consumer])
    if len(order) == len(tasks):
        return order
    # every task left has a producer that is left: walking back must come round
    left = set(tasks) - set(order)
    path = [next(task for task in tasks if task in left)]
    while path[-1] not in path[:-1]:
        path.append(next(task for task in tasks if task in producers[path[-1]] & left))
    cycle = path[path.index(path[-1]) :][::-1]
    raise InstanceError(f"{where}: found the cycle {' -> '.join(cycle)}, expected none")


# ---------------------------------------------------------------------- plain data


def _read_cluster(data: Any) -> Cluster:
    data = _mapping(data, "clusters")
    name = _text(_get(data, "name", "cluster"), "cluster name")
    where = f"cluster {name!r}"
    _check_fields(data, Cluster, where)
    points = tuple(
        (_integer(f, f"{where}: opp_mhz_mv", 1), _integer(v, f"{where}: opp_mhz_mv", 1))
        for f, v in (
            _pair(p, f"{where}: opp_mhz_mv")
            for p in _list(data.get("opp_mhz_mv", []), f"{where}: opp_mhz_mv")
        )
    )
    power = tuple(
        (
            _integer(_from_text(f), f"{where}: power_w", 1),
            tuple(_number(w, f"{where}: power_w") for w in _list(watts, f"{where}: power_w")),
        )
        for f, watts in _mapping(data.get("power_w", {}), f"{where}: power_w").items()
    )
    frequency = data.get("frequency_mhz")
    return Cluster(
        name,
        _integer(_get(data, "cores", where), f"{where}: cores", 1),
        tuple(sorted(points)),
        tuple(sorted(power)),
        _number(data.get("leakage_share", 1.0), f"{where}: leakage_share"),
        None if frequency is None else _integer(frequency, f"{where}: frequency_mhz", 1),
    )


def _read_job(data: Any) -> JobType:
    data = _mapping(data, "jobs")
    name = _text(_get(data, "name", "job type"), "job type name")
    where = f"job type {name!r}"
    _check_fields(data, JobType, where)
    tasks = {
        str(task): {
            str(cluster): _integer(time, f"{where}, task {task!r}, {cluster!r}", 0)
            for cluster, time in _mapping(times, f"{where}, task {task!r}").items()
        }
        for task, times in _mapping(_get(data, "tasks", where), f"{where}: tasks").items()
    }
    optional = {}
    for field in ("isolated_optimum_us", "deadline_us"):
        if data.get(field) is not None:
            optional[field] = _integer(data[field], f"{where}: {field}", 0)
    return JobType(
        name,
        tasks,
        _triples(_get(data, "edges", where), f"{where}: edges"),
        _number(data.get("probability", 1.0), f"{where}: probability"),
        **optional,
    )


def _check_fields(data: Mapping[str, Any], kind: type[Any], where: str, *also: str) -> None:
    """Raise InstanceError for what is no field: a misspelt one would be ignored."""
    names = {field.name for field in dataclasses.fields(kind)}
    unknown = set(data) - names - set(also)
    if unknown:
        raise InstanceError(
            f"{where}: unknown field(s) {sorted(unknown)}, expected {sorted(names)}"
        )


def _get(data: Mapping[str, Any], field: str, where: str = "platform") -> Any:
    if field not in data:
        raise InstanceError(f"{where}: field {field!r} is missing")
    return data[field]


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InstanceError(f"{where}: found {reprlib.repr(value)}, expected an object")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InstanceError(f"{where}: found {reprlib.repr(value)}, expected a list")
    return value


def _pair(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise InstanceError(f"{where}: found {reprlib.repr(value)}, expected a pair")
    return value


def _triples(value: Any, where: str) -> tuple[tuple[str, str, int], ...]:
    found = []
    for entry in _list(value, where):
        if not isinstance(entry, list) or len(entry) != 3:
            raise InstanceError(
                f"{where}: found {reprlib.repr(entry)}, expected [from, to, number]"
            )
        a, b, number = entry
        label = f"{where}, {a!r} to {b!r}"
        found.append((_text(a, where), _text(b, where), _integer(number, label, 0)))
    return tuple(found)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InstanceError(f"{where}: found {reprlib.repr(value)}, expected text")
    return value


def _integer(value: Any, where: str, low: int) -> int:
    if type(value) is not int or not low <= value <= MAX_NUMBER:
        raise InstanceError(
            f"{where}: found {reprlib.repr(value)}, expected an integer from {low} to {MAX_NUMBER}"
        )
    return value


def _from_text(key: Any) -> Any:
    """The integer that a key of a JSON object stands for, or the key when it is none."""
    try:
        return int(key)
    except ValueError:
        return key


def _number(value: Any, where: str) -> float:
    if type(value) not in (int, float) or not 0 <= value <= sys.float_info.max:
        raise InstanceError(
            f"{where}: found {reprlib.repr(value)}, expected a number of at least 0"
        )
    return float(value)
