"""The (flexible) job-shop instance.

A job is a chain of operations. An operation occupies one machine, without interruption, for its
processing time; a machine processes one operation at a time. In the flexible job shop an operation
offers several alternatives (machine, duration); the classical job shop is the case of one each.
Source of the definitions: Pinedo, Scheduling: Theory, Algorithms, and Systems, chapter 7.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from makespan.envs.core.errors import InstanceError
from makespan.envs.core.instance import Instance

#: Largest total of durations (time units): kernels count time in 32-bit integers.
MAX_TOTAL_DURATION = 2**30


@dataclass(frozen=True, eq=False)
class JobShopInstance(Instance):
    """Jobs, their operations in order, and the alternatives of each operation.

    Operations are numbered job by job, alternatives operation by operation; machines and jobs from
    zero. Times are integers in the instance's own unit.

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

    @classmethod
    def from_routes(
        cls,
        routes: Sequence[Sequence[Any]],
        num_machines: int | None = None,
        name: str = "job-shop",
    ) -> Self:
        """Build from nested lists.

        Args:
            routes: one list per job of operations; an operation is a pair (machine, duration) or a
                list of such pairs, its alternatives.
            num_machines: number of machines; the largest index + 1 when None.
            name: a label.
        """
        job_offsets, alternative_offsets = [0], [0]
        machines: list[int] = []
        durations: list[int] = []
        for job, route in enumerate(routes):
            for position, operation in enumerate(route):
                for pair in _alternatives(operation, job, position):
                    machines.append(pair[0])
                    durations.append(pair[1])
                alternative_offsets.append(len(machines))
            job_offsets.append(len(alternative_offsets) - 1)
        if num_machines is None:
            num_machines = max(machines, default=-1) + 1
        return cls(
            name=name,
            num_machines=num_machines,
            job_offsets=np.asarray(job_offsets, dtype=np.int32),
            alternative_offsets=np.asarray(alternative_offsets, dtype=np.int32),
            machines=_integers(machines, "machines", np.int32),
            durations=_integers(durations, "durations", np.int64),
        )

    @classmethod
    def from_matrices(
        cls, machines: ArrayLike, durations: ArrayLike, name: str = "job-shop"
    ) -> Self:
        """Build the classical rectangular case.

        Args:
            machines: (jobs, operations per job) machine indices from 0.
            durations: (jobs, operations per job) processing times.
            name: a label.
        """
        machine_matrix = np.asarray(machines)
        duration_matrix = np.asarray(durations)
        if machine_matrix.ndim != 2 or machine_matrix.shape != duration_matrix.shape:
            raise InstanceError(
                f"machines {machine_matrix.shape} and durations {duration_matrix.shape}: "
                "expected two matrices of the same shape (jobs, operations)"
            )
        jobs, length = machine_matrix.shape
        return cls(
            name=name,
            num_machines=int(machine_matrix.max(initial=-1)) + 1,
            job_offsets=np.arange(jobs + 1, dtype=np.int32) * np.int32(length),
            alternative_offsets=np.arange(jobs * length + 1, dtype=np.int32),
            machines=_integers(machine_matrix.ravel(), "machines", np.int32),
            durations=_integers(duration_matrix.ravel(), "durations", np.int64),
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
        return np.repeat(np.arange(self.num_jobs, dtype=np.int32), np.diff(self.job_offsets))

    @cached_property
    def max_alternatives(self) -> int:
        """Largest number of alternatives of an operation; 1 in the classical job shop."""
        return int(np.diff(self.alternative_offsets).max(initial=1))

    @property
    def is_flexible(self) -> bool:
        """Whether some operation can choose its machine."""
        return self.max_alternatives > 1

    @cached_property
    def min_durations(self) -> NDArray[np.int64]:
        """(operations,) shortest processing time over the alternatives."""
        return np.minimum.reduceat(self.durations, self.alternative_offsets[:-1])

    def operation_label(self, operation: int) -> str:
        """``"job 3, operation 2"`` for messages."""
        job = int(self.job_of_operation[operation])
        return f"job {job}, operation {operation - int(self.job_offsets[job])}"

    def check(self) -> None:
        """Raise InstanceError naming the job and operation at fault."""
        if self.num_machines < 1:
            raise InstanceError(f"num_machines: found {self.num_machines}, expected at least 1")
        if self.num_jobs < 1:
            raise InstanceError("jobs: found 0, expected at least 1")
        _check_offsets("job_offsets", self.job_offsets, self.num_operations, "job", "operation")
        _check_offsets(
            "alternative_offsets",
            self.alternative_offsets,
            len(self.machines),
            "operation",
            "alternative",
        )
        if len(self.machines) != len(self.durations):
            raise InstanceError(
                f"durations: found {len(self.durations)}, expected {len(self.machines)} "
                "(one per alternative)"
            )
        wrong = (self.machines < 0) | (self.machines >= self.num_machines)
        if wrong.any():
            where = int(wrong.argmax())
            raise InstanceError(
                f"{self._alternative_label(where)}: found machine {self.machines[where]}, "
                f"expected 0 to {self.num_machines - 1}"
            )
        if (self.durations < 0).any():
            where = int((self.durations < 0).argmax())
            raise InstanceError(
                f"{self._alternative_label(where)}: found duration {self.durations[where]}, "
                "expected at least 0"
            )
        self._check_overflow()
        if self.is_flexible:
            self._check_distinct_alternatives()

    def _alternative_label(self, alternative: int) -> str:
        operation = int(np.searchsorted(self.alternative_offsets, alternative, side="right")) - 1
        return self.operation_label(operation)

    def _check_overflow(self) -> None:
        longest = np.maximum.reduceat(self.durations, self.alternative_offsets[:-1])
        total = float(longest.sum(dtype=np.float64))
        if total > MAX_TOTAL_DURATION:
            where = int(longest.argmax())
            raise InstanceError(
                f"durations: their total is {total:.0f}, expected at most {MAX_TOTAL_DURATION} "
                f"(largest: {longest[where]} at {self.operation_label(where)}); "
                "use a coarser time unit"
            )

    def _check_distinct_alternatives(self) -> None:
        operation = np.repeat(np.arange(self.num_operations), np.diff(self.alternative_offsets))
        key = np.sort(operation.astype(np.int64) * self.num_machines + self.machines)
        repeated = key[1:][key[1:] == key[:-1]]
        if len(repeated):
            where, machine = divmod(int(repeated[0]), self.num_machines)
            raise InstanceError(
                f"{self.operation_label(where)}: found machine {machine} twice among its "
                "alternatives, expected distinct machines"
            )


def _alternatives(operation: Any, job: int, position: int) -> list[Any]:
    """The list of (machine, duration) pairs of an operation given as a pair or a list of pairs."""
    pairs = list(operation) if np.ndim(operation[0]) else [operation]
    for pair in pairs:
        if len(pair) != 2:
            raise InstanceError(
                f"job {job}, operation {position}: found {pair!r}, expected (machine, duration)"
            )
    return pairs


def _integers(values: ArrayLike, field: str, dtype: type[np.integer]) -> NDArray[Any]:
    """``values`` as integers of ``dtype``; raises InstanceError for fractions and overflow."""
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        found = next((v for v in array.ravel().tolist() if v != int(v)), array.dtype)
        raise InstanceError(f"{field}: found {found!r}, expected integers")
    limits = np.iinfo(dtype)
    if array.size and (array.min() < limits.min or array.max() > limits.max):
        raise InstanceError(
            f"{field}: found {array.min()} to {array.max()}, expected values within "
            f"{limits.min} to {limits.max}"
        )
    return array.astype(dtype)


def _check_offsets(field: str, offsets: NDArray[Any], end: int, owner: str, item: str) -> None:
    if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != end:
        raise InstanceError(f"{field}: expected to start at 0 and end at {end}")
    empty = np.diff(offsets) < 1
    if empty.any():
        raise InstanceError(f"{owner} {int(empty.argmax())}: found no {item}, expected at least 1")
