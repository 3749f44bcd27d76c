"""A job-shop schedule and its validator, written from the definition alone.

Definition: every operation is processed once, on one of its machines, for its processing time,
without interruption and not before time 0; an operation starts when its predecessor in the job has
ended or later; of two operations on a machine one ends before the other starts. So an operation of
length zero may lie between two others, or at the start or end of one, but not inside.
Source: Pinedo, Scheduling: Theory, Algorithms, and Systems, chapter 7.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import attrgetter
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from makespan.envs.core.columns import ColumnSchedule, column, malformed
from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.jobshop.instance import JobShopInstance


class Row(NamedTuple):
    """One scheduled operation, in Python integers, which do not overflow."""

    job: int
    operation: int  # position in the job, from 0
    machine: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"{_label(self.job, self.operation)} ({self.start} to {self.end})"


@dataclass(frozen=True, eq=False)
class JobShopSolution(ColumnSchedule[Row]):
    """When and where each operation is processed, as columns of equal length, in any order.

    A solution may be wrong or incomplete; :meth:`validate` tells.

    Attributes:
        jobs: (n,) int64, job of each scheduled operation, from 0.
        positions: (n,) int64, its position in the job, from 0.
        machines: (n,) int64, its machine, from 0.
        starts: (n,) int64, in the instance's time unit.
        ends: (n,) int64.

    Raises:
        InvalidSolutionError: when a column is not a vector of integers or lengths differ.
    """

    kind: ClassVar[str] = "job-shop-solution"
    row: ClassVar[type[Row]] = Row
    row_name: ClassVar[str] = "operations"

    jobs: NDArray[np.int64]
    positions: NDArray[np.int64]
    machines: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def from_operations(
        cls, instance: JobShopInstance, machines: ArrayLike, starts: ArrayLike
    ) -> Self:
        """Build from one machine and one start per operation, in the order of the instance.

        Args:
            instance: gives the durations.
            machines: (operations,) the machine chosen for each operation.
            starts: (operations,) start times.

        Raises:
            InvalidSolutionError: for wrong lengths or a machine that an operation cannot use.
        """
        machine_column, start_column = column(machines, "machines"), column(starts, "starts")
        count = instance.num_operations
        if len(machine_column) != count or len(start_column) != count:
            raise malformed(
                f"found {len(machine_column)} machines and {len(start_column)} starts, "
                f"expected {count}, one per operation"
            )
        operations = np.repeat(np.arange(count), np.diff(instance.alternative_offsets))
        chosen = np.flatnonzero(instance.machines == machine_column[operations])
        if len(chosen) != count:
            wrong = np.setdiff1d(np.arange(count), operations[chosen])
            raise InvalidSolutionError(
                f"{instance.operation_label(operation)}: found machine "
                f"{machine_column[operation]}, which cannot process it"
                for operation in wrong.tolist()
            )
        jobs = instance.job_of_operation.astype(np.int64)
        return cls(
            jobs=jobs,
            positions=np.arange(count) - instance.job_offsets[jobs],
            machines=machine_column,
            starts=start_column,
            ends=start_column + instance.durations[chosen],
        )

    def validate(self, instance: JobShopInstance) -> None:
        """Raise InvalidSolutionError listing every violated constraint with numbers."""
        durations = _durations(instance)
        rows = list(self.rows())
        known = [row for row in rows if (row.job, row.operation) in durations]
        violations = [
            *_uncounted(rows, durations),
            *(sentence for row in known for sentence in _wrong_by_itself(row, durations)),
            *_out_of_order(known),
            *_overlapping(known),
        ]
        if violations:
            raise InvalidSolutionError(violations)


Durations = dict[tuple[int, int], dict[int, int]]


def _durations(instance: JobShopInstance) -> Durations:
    """``{(job, position): {machine: duration}}`` of all operations."""
    machines, durations = instance.machines.tolist(), instance.durations.tolist()
    table: Durations = {}
    operation = 0
    for job, length in enumerate(np.diff(instance.job_offsets).tolist()):
        for position in range(length):
            first, last = instance.alternative_offsets[operation : operation + 2].tolist()
            table[job, position] = dict(
                zip(machines[first:last], durations[first:last], strict=True)
            )
            operation += 1
    return table


def _uncounted(rows: list[Row], durations: Durations) -> Iterator[str]:
    """Operations that are not there exactly once."""
    times = dict.fromkeys(durations, 0)
    for row in rows:
        if (row.job, row.operation) in times:
            times[row.job, row.operation] += 1
        else:
            yield f"{_label(row.job, row.operation)}: unknown, the instance has no such operation"
    for (job, operation), found in times.items():
        if found == 0:
            yield f"{_label(job, operation)}: missing"
        elif found > 1:
            yield f"{_label(job, operation)}: found {found} times, expected once"


def _wrong_by_itself(row: Row, durations: Durations) -> Iterator[str]:
    """What is wrong with an operation whatever the others do."""
    if row.start < 0:
        yield f"{row}: starts before time 0"
    alternatives = durations[row.job, row.operation]
    if row.machine not in alternatives:
        yield f"{row}: found machine {row.machine}, expected one of {sorted(alternatives)}"
    elif row.end - row.start != alternatives[row.machine]:
        yield (
            f"{row}: takes {row.end - row.start}, expected {alternatives[row.machine]} "
            f"on machine {row.machine}"
        )


def _out_of_order(rows: list[Row]) -> Iterator[str]:
    """Operations that start before their predecessor in the job has ended."""
    for before, after in pairwise(sorted(rows)):
        same_job = before.job == after.job and before.operation != after.operation
        if same_job and after.start < before.end:
            yield f"{after}: starts before its predecessor {before} has ended"


def _overlapping(rows: list[Row]) -> Iterator[str]:
    """Operations that start on a machine before an earlier one has left it."""
    by_machine = sorted(rows, key=attrgetter("machine", "start", "end"))
    for machine, group in groupby(by_machine, key=attrgetter("machine")):
        last: Row | None = None  # of those before, the one that ends last
        for row in group:
            if last is not None and row.start < last.end:
                yield f"machine {machine}: {last} and {row} overlap"
            if last is None or row.end > last.end:
                last = row


def _label(job: int, operation: int) -> str:
    return f"job {job}, operation {operation}"
