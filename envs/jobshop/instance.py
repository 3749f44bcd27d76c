"""The (flexible) job-shop instance.

A job is a chain of operations. An operation occupies one machine, without interruption, for its
processing time; a machine processes one operation at a time. In the flexible job shop an operation
offers several alternatives (machine, duration); the classical job shop is the case of one each.
Source of the definitions: Pinedo, Scheduling: Theory, Algorithms, and Systems, chapter 7.
"""

import reprlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from makespan.envs.core.errors import InstanceError
from makespan.envs.core.instance import Instance, integer

#: Largest total of durations (time units): kernels count time in 32-bit integers.
MAX_TOTAL_DURATION = 2**30
#: Largest number of machines: everybody keeps arrays of that length.
MAX_MACHINES = 2**20
#: Largest number of jobs, and of operations of a job, that a file may announce or a generator draw;
#: far beyond what fits in memory as a product.
MAX_COUNT = 2**20


class Sizes(NamedTuple):
    """What an instance, or the largest of many, takes up."""

    jobs: int
    machines: int
    operations: int
    alternatives: int  # of an operation


@dataclass(frozen=True, eq=False)
class JobShopInstance(Instance):
    """Jobs, their operations in order, and the alternatives of each operation.

    Operations are numbered job by job, alternatives operation by operation; machines and jobs from
    zero. Times are integers in the instance's own unit. Arrays of another integer type, and lists,
    are converted on construction.

    Attributes:
        num_machines: number of machines.
        job_offsets: (jobs + 1,) int32; job j has operations ``job_offsets[j]:job_offsets[j + 1]``.
        alternative_offsets: (operations + 1,) int32, the same for alternatives of an operation.
        machines: (alternatives,) int32, machine of each alternative.
        durations: (alternatives,) int64, processing time of each alternative, at least 0.

    Raises:
        InstanceError: when any of this is violated; the message names the job and operation.
    """

    kind: ClassVar[str] = "job-shop"

    num_machines: int
    job_offsets: NDArray[np.int32]
    alternative_offsets: NDArray[np.int32]
    machines: NDArray[np.int32]
    durations: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InstanceError(f"name: found {reprlib.repr(self.name)}, expected text")
        count = integer(self.num_machines, "num_machines", 1, MAX_MACHINES)
        object.__setattr__(self, "num_machines", count)
        for field, dtype in (
            ("job_offsets", np.int32),
            ("alternative_offsets", np.int32),
            ("machines", np.int32),
            ("durations", np.int64),
        ):
            object.__setattr__(self, field, integers(getattr(self, field), field, dtype))
        super().__post_init__()

    @classmethod
    def from_routes(
        cls,
        routes: Iterable[Iterable[Any]],
        num_machines: int | None = None,
        name: str = "job-shop",
    ) -> Self:
        """Build from nested lists.

        Args:
            routes: one list per job of operations; an operation is a pair (machine, duration) or a
                list of such pairs, its alternatives.
            num_machines: number of machines; the largest index + 1 when None.
            name: a label.

        Raises:
            InstanceError: naming the job and operation at fault.
        """
        jobs = [
            listed(route, f"job {job}", "operations")
            for job, route in enumerate(listed(routes, "routes", "jobs"))
        ]
        return cls._from_alternatives(_each_operation(jobs, _pairs), num_machines, name)

    @classmethod
    def from_matrices(
        cls, machines: ArrayLike, durations: ArrayLike, name: str = "job-shop"
    ) -> Self:
        """Build the classical rectangular case.

        Args:
            machines: (jobs, operations per job) machine indices from 0.
            durations: (jobs, operations per job) processing times.
            name: a label.

        Raises:
            InstanceError: for matrices of different shape, without elements, or not of integers.
        """
        machine_matrix, duration_matrix = (
            _array(machines, "machines"),
            _array(durations, "durations"),
        )
        if machine_matrix.ndim != 2 or machine_matrix.shape != duration_matrix.shape:
            raise InstanceError(
                f"machines {machine_matrix.shape} and durations {duration_matrix.shape}: "
                "expected two matrices of the same shape (jobs, operations)"
            )
        if not machine_matrix.size:
            raise InstanceError(f"machines: found the shape {machine_matrix.shape}, expected no 0")
        job_offsets, alternative_offsets = rectangular_offsets(*machine_matrix.shape)
        flat = integers(machine_matrix.ravel(), "machines", np.int32)
        return cls(
            name=name,
            num_machines=int(flat.max()) + 1,
            job_offsets=job_offsets,
            alternative_offsets=alternative_offsets,
            machines=flat,
            durations=duration_matrix.ravel(),
        )

    @classmethod
    def _from_alternatives(
        cls, jobs: list[list[list[tuple[Any, Any]]]], num_machines: int | None, name: str
    ) -> Self:
        """Build from ``jobs[job][operation][alternative] = (machine, duration)``."""
        limit = MAX_MACHINES
        if num_machines is not None:
            limit = integer(num_machines, "number of machines", 1, MAX_MACHINES)
        job_offsets, alternative_offsets = [0], [0]
        machines: list[int] = []
        durations: list[int] = []
        for job, operations in enumerate(jobs):
            if not operations:
                raise InstanceError(f"job {job}: found no operation, expected at least 1")
            for position, alternatives in enumerate(operations):
                where = f"job {job}, operation {position}"
                if not alternatives:
                    raise InstanceError(f"{where}: found no alternative, expected at least 1")
                for machine, duration in alternatives:
                    machines.append(integer(machine, f"{where}: machine", 0, limit - 1))
                    durations.append(integer(duration, f"{where}: duration", 0, MAX_TOTAL_DURATION))
                alternative_offsets.append(len(machines))
            job_offsets.append(len(alternative_offsets) - 1)
        return cls(
            name=name,
            num_machines=max(machines, default=0) + 1 if num_machines is None else limit,
            job_offsets=np.asarray(job_offsets, dtype=np.int32),
            alternative_offsets=np.asarray(alternative_offsets, dtype=np.int32),
            machines=np.asarray(machines, dtype=np.int32),
            durations=np.asarray(durations, dtype=np.int64),
        )

    @property
    def num_jobs(self) -> int:
        """Number of jobs."""
        return len(self.job_offsets) - 1

    @property
    def num_operations(self) -> int:
        """Number of operations of all jobs."""
        return len(self.alternative_offsets) - 1

    @cached_property
    def job_of_operation(self) -> NDArray[np.int32]:
        """(operations,) job of each operation."""
        jobs = np.arange(self.num_jobs, dtype=np.int32)
        return _read_only(np.repeat(jobs, np.diff(self.job_offsets)))

    @cached_property
    def max_alternatives(self) -> int:
        """Largest number of alternatives of an operation; 1 in the classical job shop."""
        if not self.is_flexible:
            return 1
        return int(np.diff(self.alternative_offsets).max())

    @property
    def sizes(self) -> Sizes:
        """Jobs, machines, operations and most alternatives of an operation."""
        return Sizes(self.num_jobs, self.num_machines, self.num_operations, self.max_alternatives)

    @property
    def size(self) -> str:
        """``"15x10"`` for 15 jobs on 10 machines."""
        return f"{self.num_jobs}x{self.num_machines}"

    @property
    def is_flexible(self) -> bool:
        """Whether some operation can choose its machine."""
        return len(self.machines) > self.num_operations

    @cached_property
    def min_durations(self) -> NDArray[np.int64]:
        """(operations,) shortest processing time over the alternatives."""
        return _read_only(np.minimum.reduceat(self.durations, self.alternative_offsets[:-1]))

    def operation_label(self, operation: int) -> str:
        """``"job 3, operation 2"`` for messages."""
        job = int(self.job_of_operation[operation])
        return f"job {job}, operation {operation - int(self.job_offsets[job])}"

    def to_dict(self) -> dict[str, Any]:
        """Nested plain data, as a person would write it.

        ``{"kind": "job-shop", "version": 1, "name": ..., "machines": 2, "jobs": [[operation, ...],
        ...]}`` where an operation is ``{"machine": 0, "duration": 3}``, or a list of these when
        it can choose its machine.
        """
        pairs = [
            {"machine": machine, "duration": duration}
            for machine, duration in zip(
                self.machines.tolist(), self.durations.tolist(), strict=True
            )
        ]
        ends = self.alternative_offsets.tolist()
        operations: list[Any] = [
            pairs[first] if last == first + 1 else pairs[first:last]
            for first, last in pairwise(ends)
        ]
        bounds = self.job_offsets.tolist()
        return {
            "kind": self.kind,
            "version": self.version,
            "name": self.name,
            "machines": self.num_machines,
            "jobs": [operations[first:last] for first, last in pairwise(bounds)],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild an instance from :meth:`to_dict`'s form; the name may be left out.

        Raises:
            InstanceError: naming the field, job and operation at fault, whatever ``data`` is.
        """
        cls.check_header(data)
        _check_fields(data, "instance", {"machines", "jobs"}, {"kind", "version", "name"})
        jobs = [
            listed(operations, f"job {job}", "operations")
            for job, operations in enumerate(listed(data["jobs"], "field 'jobs'", "jobs"))
        ]
        alternatives = _each_operation(jobs, _pairs_from_objects)
        count = integer(data["machines"], "field 'machines'", 1, MAX_MACHINES)
        return cls._from_alternatives(alternatives, count, data.get("name", cls.kind))

    def check(self) -> None:
        """Raise InstanceError naming the job and operation at fault.

        Each test is one pass over an array; only a failed one looks for the place. Training builds
        thousands of instances.
        """
        if self.num_operations < 1:
            raise InstanceError("alternative_offsets: found no operation, expected at least 1")
        if self.num_jobs < 1:
            raise InstanceError("jobs: found 0, expected at least 1")
        _check_offsets("job_offsets", self.job_offsets, self.num_operations)
        _check_offsets("alternative_offsets", self.alternative_offsets, len(self.machines))
        if len(self.machines) != len(self.durations):
            raise InstanceError(
                f"durations: found {len(self.durations)}, expected {len(self.machines)} "
                "(one per alternative)"
            )
        # Seen as unsigned, a negative number is larger than any allowed one.
        if self.machines.view(np.uint32).max() >= self.num_machines:
            wrong = (self.machines < 0) | (self.machines >= self.num_machines)
            self._complain("machine", self.machines, wrong, f"0 to {self.num_machines - 1}")
        longest = int(self.durations.view(np.uint64).max())
        if longest > MAX_TOTAL_DURATION:
            wrong = (self.durations < 0) | (self.durations > MAX_TOTAL_DURATION)
            self._complain("duration", self.durations, wrong, f"0 to {MAX_TOTAL_DURATION}")
        if longest * self.num_operations > MAX_TOTAL_DURATION:
            self._check_total()
        if self.is_flexible:
            self._check_distinct_alternatives()

    def _complain(
        self, what: str, values: NDArray[Any], wrong: NDArray[np.bool_], expected: str
    ) -> None:
        where = int(wrong.argmax())
        operation = int(np.searchsorted(self.alternative_offsets, where, side="right")) - 1
        raise InstanceError(
            f"{self.operation_label(operation)}: {what}: found {values[where]}, expected {expected}"
        )

    def _check_total(self) -> None:
        longest = np.maximum.reduceat(self.durations, self.alternative_offsets[:-1])
        total = int(longest.sum())  # at most 2**31 operations of at most 2**30: no overflow
        if total > MAX_TOTAL_DURATION:
            where = int(longest.argmax())
            raise InstanceError(
                f"durations: their total is {total}, expected at most {MAX_TOTAL_DURATION} "
                f"(largest: {longest[where]} at {self.operation_label(where)}); "
                "use a coarser time unit"
            )

    def _check_distinct_alternatives(self) -> None:
        operation = np.repeat(np.arange(self.num_operations), np.diff(self.alternative_offsets))
        key = np.sort(operation * np.int64(self.num_machines) + self.machines)
        repeated = key[1:][key[1:] == key[:-1]]
        if len(repeated):
            where, machine = divmod(int(repeated[0]), self.num_machines)
            raise InstanceError(
                f"{self.operation_label(where)}: found machine {machine} twice among its "
                "alternatives, expected distinct machines"
            )


@lru_cache(maxsize=64)
def rectangular_offsets(jobs: int, length: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Job and alternative offsets of a classical instance, ``length`` operations per job.

    Returns:
        (jobs + 1,) and (jobs * length + 1,) int32, read-only and shared.
    """
    return (
        _read_only(np.arange(jobs + 1, dtype=np.int32) * np.int32(length)),
        _read_only(np.arange(jobs * length + 1, dtype=np.int32)),
    )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _array(values: ArrayLike, field: str) -> NDArray[Any]:
    """``values`` as an array of integers of some type; raises InstanceError."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError):  # e.g. rows of different length
        raise InstanceError(
            f"{field}: found {reprlib.repr(values)}, expected an array of integers"
        ) from None
    if array.size and array.dtype.kind not in "iu":
        raise InstanceError(
            f"{field}: found {reprlib.repr(array.ravel().tolist())} ({array.dtype}), "
            "expected integers of at most 64 bits"
        )
    return array


def integers(values: ArrayLike, field: str, dtype: type[np.signedinteger[Any]]) -> NDArray[Any]:
    """``values`` as a vector of ``dtype``; raises InstanceError when that would change a value."""
    if isinstance(values, np.ndarray) and values.dtype == dtype and values.ndim == 1:
        return values
    array = _array(values, field)
    if array.ndim != 1:
        raise InstanceError(f"{field}: found the shape {array.shape}, expected one dimension")
    limits = np.iinfo(dtype)
    if array.size and (array.min() < limits.min or array.max() > limits.max):
        raise InstanceError(
            f"{field}: found {array.min()} to {array.max()}, expected values within "
            f"{limits.min} to {limits.max}"
        )
    return array.astype(dtype)


def listed(value: Any, where: str, items: str) -> list[Any]:
    """``value`` as a list of ``items``; text and objects are none."""
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        raise InstanceError(f"{where}: found {reprlib.repr(value)}, expected a list of {items}")
    return list(value)


def _each_operation(
    jobs: list[list[Any]], pairs: Callable[[Any, str], list[tuple[Any, Any]]]
) -> list[list[list[tuple[Any, Any]]]]:
    """``pairs(operation, where)`` of every operation."""
    return [
        [pairs(operation, f"job {job}, operation {i}") for i, operation in enumerate(operations)]
        for job, operations in enumerate(jobs)
    ]


def _pairs(operation: Any, where: str) -> list[tuple[Any, Any]]:
    """The (machine, duration) pairs of an operation given as a pair or as a list of pairs."""
    items = listed(operation, where, "(machine, duration)")
    if items and not isinstance(items[0], Iterable):
        items = [items]
    pairs = [tuple(listed(item, where, "machine and duration")) for item in items]
    for pair in pairs:
        if len(pair) != 2:
            raise InstanceError(
                f"{where}: found {reprlib.repr(pair)}, expected (machine, duration)"
            )
    return pairs


def _pairs_from_objects(operation: Any, where: str) -> list[tuple[Any, Any]]:
    """The (machine, duration) pairs of an operation: one object or a list of them."""
    objects = operation if isinstance(operation, list) else [operation]
    for alternative in objects:
        if not isinstance(alternative, dict):
            raise InstanceError(
                f"{where}: found {reprlib.repr(alternative)}, "
                "expected an object with 'machine' and 'duration'"
            )
        _check_fields(alternative, where, {"machine", "duration"}, set())
    return [(alternative["machine"], alternative["duration"]) for alternative in objects]


def _check_fields(data: dict[Any, Any], where: str, required: set[str], optional: set[str]) -> None:
    """Raise InstanceError for a field that is missing or unknown."""
    if not required <= set(data):
        raise InstanceError(
            f"{where}: missing {', '.join(map(repr, sorted(required - set(data))))}"
        )
    unknown = set(data) - required - optional
    if unknown:
        shown = ", ".join(sorted(map(reprlib.repr, unknown)))
        raise InstanceError(
            f"{where}: found unknown field(s) {shown}, "
            f"expected only {', '.join(map(repr, sorted(required | optional)))}"
        )


def _check_offsets(field: str, offsets: NDArray[Any], end: int) -> None:
    if offsets[0] != 0 or offsets[-1] != end:
        raise InstanceError(
            f"{field}: found {offsets[0]} to {offsets[-1]}, expected to start at 0 and end at {end}"
        )
    if not (offsets[1:] > offsets[:-1]).all():
        where = int((offsets[1:] <= offsets[:-1]).argmax())
        raise InstanceError(
            f"{field}: found {offsets[where]} followed by {offsets[where + 1]} at index {where}, "
            "expected increasing numbers (nothing may be empty)"
        )
