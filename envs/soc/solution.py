"""A schedule of a stream and its validator, written from the definition alone.

Definition: a task runs once, on one processor that can run it, for its true duration, without
interruption; not before its job has entered, nor before the data of each producer, sent when the
producer ended, have arrived; a processor runs one task at a time. Job k enters at its time, or when
the number of jobs in the system falls below the cap; a job leaves when its last task ends. What
starts at the horizon or later is not part of the schedule.
Source: DS3, Arda et al., IEEE Transactions on Computers 69(8), 2020.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.columns import column, malformed, read_rows
from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.soc.instance import StreamInstance

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("jobs", "tasks", "processors", "starts", "ends")


class Row(NamedTuple):
    """One task that has run, in Python integers, which do not overflow."""

    job: int
    task: int  # of its job type, in the platform's order
    processor: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"job {self.job}, task {self.task} ({self.start} to {self.end})"


class Stay(NamedTuple):
    """A job in the system; ``left`` is None when it is still there at the horizon."""

    entered: int
    left: int | None


@dataclass(frozen=True, eq=False)
class StreamSolution:
    """When and where each task ran, as columns of equal length, in any order.

    Attributes:
        jobs: (n,) int64, number of the job in the stream.
        tasks: (n,) int64, task of its job type, in the platform's order.
        processors: (n,) int64.
        starts, ends: (n,) int64, microseconds.

    Raises:
        InvalidSolutionError: when a column is not a vector of integers or lengths differ.
    """

    kind: ClassVar[str] = "soc-schedule"
    version: ClassVar[int] = 1

    jobs: NDArray[np.int64]
    tasks: NDArray[np.int64]
    processors: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in COLUMNS:
            object.__setattr__(self, name, column(getattr(self, name), name))
        lengths = {name: len(getattr(self, name)) for name in COLUMNS}
        if len(set(lengths.values())) > 1:
            raise malformed(f"columns: found the lengths {lengths}, expected equal")

    def rows(self) -> Iterator[Row]:
        """The tasks in the order of the columns."""
        return map(Row, *(getattr(self, name).tolist() for name in COLUMNS))

    def objective(self, instance: StreamInstance) -> float:
        """Mean latency (us) of the counted jobs; jobs cut by the horizon count up to it."""
        stays = self.stays(instance)[instance.warmup :]
        total = sum(
            (instance.horizon if stay.left is None else stay.left) - stay.entered for stay in stays
        )
        return total / instance.counted

    def stays(self, instance: StreamInstance) -> list[Stay]:
        """When each job entered and left, from the definition.

        A job without all its tasks leaves at the horizon; without a horizon it counts as leaving
        with the last of the tasks it has, which :meth:`validate` refuses.
        """
        ends: dict[int, list[int]] = defaultdict(list)
        for row in self.rows():
            ends[row.job].append(row.end)
        offsets = instance.platform.task_offsets.tolist()
        present: list[int] = []  # times at which jobs leave
        stays = []
        entered = 0
        for job in range(instance.entering):
            entered += int(instance.gaps[job])
            while instance.cap and len(present) >= instance.cap:
                entered = max(entered, heapq.heappop(present))
            while present and present[0] <= entered:
                heapq.heappop(present)
            kind = int(instance.types[job])
            found = ends.get(job, [])
            complete = len(found) == offsets[kind + 1] - offsets[kind]
            left: int | None = max([entered, *found])
            if instance.horizon and (not complete or max(found) > instance.horizon):
                left = None
            if left is not None:
                heapq.heappush(present, left)
            stays.append(Stay(entered, left))
        return stays

    def validate(self, instance: StreamInstance) -> None:
        """Raise InvalidSolutionError listing every violated constraint with numbers."""
        rows = list(self.rows())
        tasks = np.diff(instance.platform.task_offsets)[instance.types].tolist()
        known = [
            row
            for row in rows
            if 0 <= row.job < instance.entering
            and 0 <= row.task < tasks[row.job]
            and 0 <= row.processor < instance.platform.num_processors
        ]
        violations = [
            *_uncounted(rows, known, tasks[: instance.entering], instance.horizon),
            *_wrong_by_themselves(known, instance),
            *_too_early(known, self.stays(instance), instance),
            *_overlapping(known),
        ]
        if violations:
            raise InvalidSolutionError(violations)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StreamSolution):
            return NotImplemented
        return sorted(self.rows()) == sorted(other.rows())

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.rows())))

    def to_frame(self, instance: StreamInstance) -> "pd.DataFrame":
        """One line per task by start: job, job type, task, processor (names), start, end."""
        import pandas as pd

        platform = instance.platform
        offsets = platform.task_offsets.tolist()
        lines = []
        for row in sorted(self.rows(), key=attrgetter("start", "job", "task")):
            kind = int(instance.types[row.job])
            lines.append(
                (
                    row.job,
                    platform.job_names[kind],
                    platform.task_names[offsets[kind] + row.task],
                    platform.processor_names[row.processor],
                    row.start,
                    row.end,
                )
            )
        columns = ["job", "job_type", "task", "processor", "start_us", "end_us"]
        return pd.DataFrame(lines, columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which :meth:`from_dict` rebuilds the solution."""
        return {
            "kind": self.kind,
            "version": self.version,
            "tasks": [row._asdict() for row in sorted(self.rows())],
        }

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Rebuild a solution; raises InvalidSolutionError naming the field at fault."""
        rows = read_rows(data, cls.kind, cls.version, "tasks", Row)
        columns = np.array(rows, dtype=np.int64).reshape(-1, len(COLUMNS)).T
        return cls(*columns)


def _uncounted(rows: list[Row], known: list[Row], tasks: list[int], horizon: int) -> Iterator[str]:
    """Tasks that are not there exactly once; with a horizon, some may be missing."""
    valid = set(known)
    for row in rows:
        if row not in valid:
            yield f"{row} on processor {row.processor}: no such task or processor"
    times: dict[tuple[int, int], int] = defaultdict(int)
    for row in known:
        times[row.job, row.task] += 1
    for job, count in enumerate(tasks):
        for task in range(count):
            found = times[job, task]
            if found > 1 or (found == 0 and not horizon):
                yield f"job {job}, task {task}: found {found} times, expected once"


def _wrong_by_themselves(rows: list[Row], instance: StreamInstance) -> Iterator[str]:
    """Wrong processors, durations, and starts beyond the horizon."""
    platform = instance.platform
    offsets = platform.task_offsets.tolist()
    for row in rows:
        task = offsets[int(instance.types[row.job])] + row.task
        cluster = int(platform.cluster_of[row.processor])
        expected = int(platform.cost[task, cluster])
        if expected < 0:
            yield f"{row}: found processor {row.processor}, which cannot run it"
            continue
        factor = float(instance.factors[row.job, row.task])
        true = max(1, math.floor(expected * factor + 0.5)) if expected else 0
        if row.end - row.start != true:
            yield f"{row}: takes {row.end - row.start}, expected {true}"
        if instance.horizon and row.start >= instance.horizon:
            yield f"{row}: starts at the horizon {instance.horizon} or later"


def _too_early(rows: list[Row], stays: list[Stay], instance: StreamInstance) -> Iterator[str]:
    """Tasks that start before their job has entered or before their data are there."""
    platform = instance.platform
    offsets = platform.task_offsets.tolist()
    placed = {(row.job, row.task): row for row in rows}
    producers: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for producer, consumer, volume in platform.edges.tolist():
        producers[consumer].append((producer, volume))
    for row in rows:
        entered = stays[row.job].entered
        if row.start < entered:
            yield f"{row}: starts before its job has entered at {entered}"
        first = offsets[int(instance.types[row.job])]
        for task, volume in producers[first + row.task]:
            before = placed.get((row.job, task - first))
            if before is None:
                yield f"{row}: runs without its producer, task {task - first}"
                continue
            if before.processor == row.processor:
                moving = volume // platform.same_core_bandwidth
            else:
                a, b = platform.cluster_of[[before.processor, row.processor]]
                moving = volume // int(platform.bandwidths[a, b])
            if row.start < before.end + moving:
                yield (f"{row}: starts before the data of {before} arrive at {before.end + moving}")


def _overlapping(rows: list[Row]) -> Iterator[str]:
    """Tasks that start on a processor before an earlier one has left it."""
    by_processor: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_processor[row.processor].append(row)
    for processor, group in sorted(by_processor.items()):
        group.sort(key=attrgetter("start", "end"))
        for before, after in pairwise(group):
            if after.start < before.end:
                yield f"processor {processor}: {before} and {after} overlap"
