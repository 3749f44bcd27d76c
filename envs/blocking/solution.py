"""A schedule of the blocking job shop and its validator, written from the definition alone.

Definition, see :mod:`makespan.envs.blocking.instance`: a job enters the machine of an operation at
``start``, not while that is down, is processed until ``end``, which the duration and the machine's
shutdowns determine, and leaves at ``leave``: the moment at which it enters its next machine, or the
end of its last operation. Two jobs are never on a machine together, though one may leave at the
moment at which the other enters. Without swaps, the moves of one moment can be put in an order in
which every machine is left before it is entered.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.blocking.instance import BlockingInstance, worst_makespan
from makespan.envs.core.columns import ColumnSchedule
from makespan.envs.core.errors import InvalidSolutionError


class Row(NamedTuple):
    """One operation; times in the instance's unit."""

    job: int
    operation: int  # position in the job, from 0
    machine: int
    start: int  # the job enters the machine
    end: int  # of processing
    leave: int  # the job leaves the machine

    def __str__(self) -> str:
        return (
            f"job {self.job}, operation {self.operation} "
            f"({self.start} to {self.end}, leaves at {self.leave})"
        )


def processing_end(
    shutdowns: list[tuple[int, int]], on_down: str, start: int, duration: int
) -> int:
    """When an operation ends that begins at ``start``, while its machine is up."""
    end = start + duration
    for down, up in shutdowns:
        if start < down < end:  # a shutdown at the very start is no interruption but a closed door
            if on_down == "resume":
                end += up - down
            elif on_down == "restart":
                end = up + duration
    return end


@dataclass(frozen=True, eq=False)
class BlockingSolution(ColumnSchedule[Row]):
    """When and where each operation is processed, as columns of equal length, in any order.

    A solution may be wrong or incomplete; :meth:`validate` tells.

    Attributes:
        jobs, positions, machines: (n,) int64, from 0.
        starts, ends, leaves: (n,) int64, see :class:`Row`.

    Raises:
        InvalidSolutionError: when a column is not a vector of integers or lengths differ.
    """

    kind: ClassVar[str] = "blocking-job-shop-solution"
    row: ClassVar[type[Row]] = Row
    row_name: ClassVar[str] = "operations"

    jobs: NDArray[np.int64]
    positions: NDArray[np.int64]
    machines: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    leaves: NDArray[np.int64]

    @classmethod
    def from_starts(cls, instance: BlockingInstance, starts: list[int]) -> Self:
        """Build from one start per operation, in the order of the instance."""
        rows = []
        for job, (first, last) in enumerate(pairwise(instance.job_offsets.tolist())):
            for op in range(first, last):
                machine = int(instance.machines[op])
                end = processing_end(
                    instance.shutdowns[machine],
                    instance.on_down,
                    starts[op],
                    int(instance.durations[op]),
                )
                leave = starts[op + 1] if op + 1 < last else end
                rows.append(Row(job, op - first, machine, starts[op], end, leave))
        return cls.from_rows(rows)

    def objective(self, instance: Any) -> float:
        """The makespan; that of the worst schedule when an operation is missing.

        So a search among episodes takes none for the best that a deadlock has ended.
        """
        complete = len(self.starts) >= instance.num_operations
        return float(self.makespan if complete else worst_makespan(instance))

    def validate(self, instance: BlockingInstance) -> None:
        """Raise InvalidSolutionError listing every violated constraint with numbers."""
        rows = sorted(self.rows())
        violations = list(_uncounted(rows, instance))
        if not violations:
            violations += [
                *(sentence for row in rows for sentence in _wrong_by_itself(row, instance)),
                *_wrong_order(rows),
                *_together(rows),
            ]
        if not violations and not instance.swap:
            violations += list(_swaps(rows))
        if violations:
            raise InvalidSolutionError(violations)


def _uncounted(rows: list[Row], instance: BlockingInstance) -> Iterator[str]:
    """Operations that are not there exactly once."""
    found = Counter((row.job, row.operation) for row in rows)
    lengths = np.diff(instance.job_offsets).tolist()
    expected = [(job, i) for job, length in enumerate(lengths) for i in range(length)]
    missing = [one for one in expected if one not in found]
    nothing_else = rows and missing and len(rows) + len(missing) == len(expected)
    if nothing_else and all((job, i + 1) not in found for job, i in missing):
        yield "the episode ended in a deadlock: only operations at the ends of jobs are missing"
    for job, operation in sorted(found.keys() - set(expected)):
        yield f"job {job}, operation {operation}: unknown, the instance has no such operation"
    for job, operation in expected:
        times = found[job, operation]
        if times == 0:
            yield f"job {job}, operation {operation}: missing"
        elif times > 1:
            yield f"job {job}, operation {operation}: found {times} times, expected once"


def _wrong_by_itself(row: Row, instance: BlockingInstance) -> Iterator[str]:
    """What is wrong with an operation whatever the others do."""
    op = int(instance.job_offsets[row.job]) + row.operation
    if row.machine != instance.machines[op]:
        yield f"{row}: found machine {row.machine}, expected {instance.machines[op]}"
        return
    if row.start < 0:
        yield f"{row}: starts before time 0"
    shutdowns = instance.shutdowns[row.machine]
    for down, up in shutdowns:
        if down <= row.start < up:
            yield f"{row}: enters machine {row.machine}, which is down from {down} to {up}"
    end = processing_end(shutdowns, instance.on_down, row.start, int(instance.durations[op]))
    if row.end != end:
        yield f"{row}: found end {row.end}, expected {end} on machine {row.machine}"
    if row.leave < row.end:
        yield f"{row}: leaves before its end"


def _wrong_order(rows: list[Row]) -> Iterator[str]:
    """Jobs that are nowhere, or in two places, between two operations, or stay after the last."""
    for before, after in pairwise(rows):
        if before.job == after.job and before.leave != after.start:
            yield f"{before}: expected to leave when {after} starts"
    for _, group in groupby(rows, key=attrgetter("job")):
        last = list(group)[-1]
        if last.leave != last.end:
            yield f"{last}: expected to leave at its end, it is the last of its job"


def _by_machine(rows: list[Row]) -> Iterator[tuple[int, list[Row]]]:
    ordered = sorted(rows, key=attrgetter("machine", "start", "leave"))
    for machine, group in groupby(ordered, key=attrgetter("machine")):
        yield machine, list(group)


def _together(rows: list[Row]) -> Iterator[str]:
    for machine, group in _by_machine(rows):
        for before, after in pairwise(group):
            if after.start < before.leave:
                yield f"machine {machine}: {before} and {after} are there together"


def _swaps(rows: list[Row]) -> Iterator[str]:
    """Circles of jobs that change places: moves of one moment that no order makes one by one.

    A move is the start of an operation; one without predecessor in the job comes from outside, and
    the end of a job is the move (job, None).
    """
    moment = {(row.job, row.operation): row.start for row in rows}
    before: dict[tuple[int, int], set[tuple[int, int]]] = {move: set() for move in moment}
    for job, operation in moment:
        if operation:
            before[job, operation].add((job, operation - 1))
    for _, group in _by_machine(rows):
        for first, second in pairwise(group):
            leaving = (first.job, first.operation + 1)  # the move by which the first one leaves
            entering = (second.job, second.operation)
            if leaving in moment and leaving != entering:
                before[entering].add(leaving)
    try:
        list(TopologicalSorter(before).static_order())
    except CycleError as error:
        jobs = sorted({job for job, _ in error.args[1]})
        time = moment[error.args[1][0]]
        yield f"jobs {', '.join(map(str, jobs))} change places at {time}, but swaps are not allowed"
