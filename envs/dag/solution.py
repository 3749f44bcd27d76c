"""A schedule of a task graph and its validator, written from the definition alone.

Definition: every task runs once, on a processor that can run it, for its cost there, without
interruption and not before time 0; of two tasks on a processor one ends before the other starts;
for every edge (u, v) the target starts no earlier than the end of the source plus, when they run on
different processors, volume divided by bandwidth, rounded down. A task of length zero may lie
between two others, or at the start or end of one, but not inside.
Source: Topcuoglu, Hariri & Wu, IEEE Transactions on Parallel and Distributed Systems 13(3), 2002.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from makespan.envs.core.columns import ColumnSchedule, column, malformed
from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.dag.instance import TaskGraphInstance

if TYPE_CHECKING:
    import pandas as pd


class Row(NamedTuple):
    """One scheduled task, in Python integers, which do not overflow."""

    task: int
    processor: int
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class TaskGraphSolution(ColumnSchedule[Row]):
    """Where and when each task runs, as columns of equal length, in any order.

    A solution may be wrong or incomplete; :meth:`validate` tells.

    Attributes:
        tasks: (n,) int64, index of each scheduled task.
        processors: (n,) int64, index of its processor.
        starts: (n,) int64, in the instance's time unit.
        ends: (n,) int64.

    Raises:
        InvalidSolutionError: when a column is not a vector of integers or lengths differ.
    """

    kind: ClassVar[str] = "task-graph-solution"
    row: ClassVar[type[Row]] = Row
    row_name: ClassVar[str] = "tasks"

    tasks: NDArray[np.int64]
    processors: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def from_tasks(
        cls, instance: TaskGraphInstance, processors: ArrayLike, starts: ArrayLike
    ) -> Self:
        """Build from one processor and one start per task, in the order of the instance.

        Raises:
            InvalidSolutionError: for wrong lengths or a processor that cannot run its task.
        """
        processor, start = column(processors, "processors"), column(starts, "starts")
        count = instance.num_tasks
        if len(processor) != count or len(start) != count:
            raise malformed(
                f"found {len(processor)} processors and {len(start)} starts, expected {count}, "
                "one per task"
            )
        tasks = np.arange(count)
        known = (processor >= 0) & (processor < instance.num_processors)
        cost = np.where(known, instance.costs[tasks, np.where(known, processor, 0)], -1)
        if (cost < 0).any():
            raise InvalidSolutionError(
                f"task {instance.tasks[task]!r}: found processor {processor[task]}, "
                "which cannot run it"
                for task in np.flatnonzero(cost < 0)
            )
        return cls(tasks, processor, start, start + cost)

    def validate(self, instance: TaskGraphInstance) -> None:
        """Raise InvalidSolutionError listing every violated constraint with numbers."""
        rows = list(self.rows())
        known = [row for row in rows if 0 <= row.task < instance.num_tasks]
        placed = [row for row in known if 0 <= row.processor < instance.num_processors]
        violations = [
            *_uncounted(rows, instance),
            *(sentence for row in known for sentence in _wrong_by_itself(row, instance)),
            *_too_early(placed, instance),
            *_overlapping(placed, instance),
        ]
        if violations:
            raise InvalidSolutionError(violations)

    def to_named_frame(self, instance: TaskGraphInstance) -> "pd.DataFrame":
        """One line per task, in the order of the instance: names of task and processor, times."""
        import pandas as pd

        named = [
            (instance.tasks[row.task], instance.processors[row.processor], row.start, row.end)
            for row in sorted(self.rows())
        ]
        return pd.DataFrame(named, columns=list(Row._fields))


def _uncounted(rows: list[Row], instance: TaskGraphInstance) -> Iterator[str]:
    """Tasks that are not there exactly once."""
    times = [0] * instance.num_tasks
    for row in rows:
        if 0 <= row.task < instance.num_tasks:
            times[row.task] += 1
        else:
            yield f"task {row.task}: unknown, the instance has {instance.num_tasks} tasks"
    for task, found in enumerate(times):
        if found == 0:
            yield f"task {instance.tasks[task]!r}: missing"
        elif found > 1:
            yield f"task {instance.tasks[task]!r}: found {found} times, expected once"


def _wrong_by_itself(row: Row, instance: TaskGraphInstance) -> Iterator[str]:
    """What is wrong with a task whatever the others do."""
    name = repr(instance.tasks[row.task])
    if row.start < 0:
        yield f"task {name}: starts at {row.start}, before time 0"
    if not 0 <= row.processor < instance.num_processors:
        yield (
            f"task {name}: found processor {row.processor}, expected 0 to "
            f"{instance.num_processors - 1}"
        )
        return
    cost = int(instance.costs[row.task, row.processor])
    processor = repr(instance.processors[row.processor])
    if cost < 0:
        yield f"task {name}: found on processor {processor}, which cannot run it"
    elif row.end - row.start != cost:
        yield f"task {name}: takes {row.end - row.start}, expected {cost} on processor {processor}"


def _too_early(rows: list[Row], instance: TaskGraphInstance) -> Iterator[str]:
    """Tasks that start before the result of a parent has arrived."""
    by_task = {row.task: row for row in rows}
    for (u, v), volume in zip(instance.edges.tolist(), instance.volumes.tolist(), strict=True):
        if u not in by_task or v not in by_task:
            continue
        before, after = by_task[u], by_task[v]
        delay = 0
        if before.processor != after.processor:
            delay = volume // int(instance.bandwidths[before.processor, after.processor])
        if after.start < before.end + delay:
            yield (
                f"task {instance.tasks[v]!r}: starts at {after.start}, but the result of "
                f"{instance.tasks[u]!r} (end {before.end}, communication {delay}) arrives at "
                f"{before.end + delay}"
            )


def _overlapping(rows: list[Row], instance: TaskGraphInstance) -> Iterator[str]:
    """Tasks that start on a processor before an earlier one has left it."""
    last: dict[int, Row] = {}  # of those before on each processor, the one that ends last
    for row in sorted(rows, key=lambda row: (row.processor, row.start, row.end)):
        before = last.get(row.processor)
        if before is not None and row.start < before.end:
            yield (
                f"processor {instance.processors[row.processor]!r}: "
                f"{instance.tasks[before.task]!r} ({before.start} to {before.end}) and "
                f"{instance.tasks[row.task]!r} ({row.start} to {row.end}) overlap"
            )
        if before is None or row.end > before.end:
            last[row.processor] = row
