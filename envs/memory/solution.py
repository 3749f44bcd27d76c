"""A memory plan and its validator, written from the definition alone.

Definition: every access is served from slow or from fast memory. Fast memory serves a read if the
buffer has stayed at its offset since the access before, served there too (no-copy), or if a copy
from slow memory has brought it (copy), whose window is the instructions after ``start`` and before
the read, ``start`` being no earlier than the access before. It serves a write at any offset that is
free at the instruction; a write after a read of the same buffer from fast memory in the same
instruction stays where it is. A buffer takes up its piece of fast memory for the instructions of
the window, or since the access before, up to the access; nothing else may be there then. A copy
needs the content to be in slow memory: inputs are from the start, what a write puts into fast
memory is not until a later read is served from slow memory, for which the program stands still
while the buffer moves back (an eviction). An output is moved back after its last access, too.

Time of copies, static model: for every interval of instructions, the copies whose windows lie in it
need no more time than these take with everything in slow memory (Hall's condition for one channel
whose jobs may be interrupted). Dynamic model: the copies are simulated beside the plan, the one due
first goes first, and the program stands still until those that are due are done.
"""

import heapq
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.columns import column
from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.memory.instance import MemoryInstance

if TYPE_CHECKING:
    import pandas as pd

DROP, NO_COPY, COPY = range(3)
ACTION_NAMES = ("drop", "no-copy", "copy")
COLUMNS = ("actions", "starts", "offsets")
#: Violations of one kind that are listed; one mistake can make thousands.
LISTED = 20


class Rectangle(NamedTuple):
    """A piece of fast memory over time, both ends included."""

    access: int
    buffer: int
    first: int  # instruction
    last: int
    offset: int  # bytes
    size: int


class Copy(NamedTuple):
    """A copy from slow to fast memory."""

    access: int
    first: int  # first instruction of its window
    due: int  # the instruction that reads
    time: int


@dataclass(frozen=True, eq=False)
class MemoryPlan:
    """What serves each access, in the order of the instance's accesses.

    A plan may be wrong; :meth:`validate` tells.

    Attributes:
        actions: (accesses,) int64: 0 drop (slow memory), 1 no-copy, 2 copy.
        starts: (accesses,) int64, of a copy the instruction after which it may begin, -1 for the
            start of the program; not used for other actions.
        offsets: (accesses,) int64, bytes, where the buffer lies in fast memory; -1 for a drop.

    Raises:
        InvalidSolutionError: when a column is not a vector of integers or lengths differ.
    """

    kind: ClassVar[str] = "memory-plan"
    version: ClassVar[int] = 1

    actions: NDArray[np.int64]
    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in COLUMNS:
            object.__setattr__(self, name, column(getattr(self, name), name))
        lengths = {name: len(getattr(self, name)) for name in COLUMNS}
        if len(set(lengths.values())) > 1:
            raise InvalidSolutionError([f"columns: found the lengths {lengths}, expected equal"])

    @classmethod
    def all_slow(cls, instance: MemoryInstance) -> Self:
        """Everything in slow memory."""
        count = instance.num_accesses
        return cls(np.full(count, DROP), np.full(count, -1), np.full(count, -1))

    @property
    def fast(self) -> NDArray[np.bool_]:
        """(accesses,) which are served from fast memory."""
        return self.actions != DROP  # type: ignore[no-any-return]

    def objective(self, instance: MemoryInstance) -> float:
        """Latency of the program under the instance's copy model, stalls included."""
        return float(self.latency(instance, instance.copy_model))

    def latency(self, instance: MemoryInstance, copy_model: str) -> int:
        """Latency under a copy model; ``"static"`` counts no time for waiting for copies."""
        latencies = instance.latencies(self.fast)
        total = int(latencies.sum()) + sum(stall for _, stall in self.evictions(instance))
        if copy_model == "dynamic":
            total += sum(self.copy_stalls(instance, latencies.tolist()).values())
        return total

    def evictions(self, instance: MemoryInstance) -> list[tuple[int, int]]:
        """(access, time) of every eviction; for an output at the end, its last access."""
        times = instance.evict_times.tolist()
        following = instance.next.tolist()
        found = []
        for access, (buffer, in_slow_before) in enumerate(self._content(instance)):
            if self.actions[access] == DROP:
                if not in_slow_before:
                    found.append((access, times[buffer]))
                continue
            ends = following[access] < 0 and instance.outputs[buffer]
            if ends and (instance.writes[access] or not in_slow_before):
                found.append((access, times[buffer]))
        return found

    def _content(self, instance: MemoryInstance) -> Iterator[tuple[int, bool]]:
        """Of each access its buffer, and whether what it finds (its new content) is in slow."""
        in_slow = [True] * instance.num_buffers
        columns = (instance.buffers.tolist(), instance.writes.tolist(), self.actions.tolist())
        for buffer, write, action in zip(*columns, strict=True):
            yield buffer, in_slow[buffer] or write
            if action == DROP:
                in_slow[buffer] = True
            elif write:
                in_slow[buffer] = False

    def copies(self, instance: MemoryInstance) -> list[Copy]:
        """Every copy into fast memory."""
        chosen = np.flatnonzero(self.actions == COPY)
        times = instance.copy_times[instance.buffers[chosen]]
        columns = (chosen, self.starts[chosen] + 1, instance.instructions[chosen], times)
        return [Copy(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]

    def copy_stalls(self, instance: MemoryInstance, latencies: list[int]) -> dict[int, int]:
        """{instruction: time} that the program waits for copies when their time is simulated."""
        released: dict[int, list[Copy]] = {}
        for copy in self.copies(instance):
            released.setdefault(copy.first, []).append(copy)
        queue: list[tuple[int, int, int]] = []  # due, access, time left
        stalls: dict[int, int] = {}
        for t, latency in enumerate(latencies):
            for copy in released.get(t, []):
                heapq.heappush(queue, (copy.due, copy.access, copy.time))
            while queue and queue[0][0] <= t:
                stalls[t] = stalls.get(t, 0) + heapq.heappop(queue)[2]
            left = latency
            while queue and left:
                due, access, time = heapq.heappop(queue)
                if time > left:
                    heapq.heappush(queue, (due, access, time - left))
                left -= min(time, left)
        return {t: time for t, time in stalls.items() if time}

    def rectangles(self, instance: MemoryInstance) -> list[Rectangle]:
        """Where each buffer lies when, one for each access served from fast memory."""
        times, previous = instance.instructions.tolist(), instance.previous.tolist()
        pieces, buffers = instance.pieces.tolist(), instance.buffers.tolist()
        found = []
        for access in np.flatnonzero(self.fast).tolist():
            last, before, buffer = times[access], previous[access], buffers[access]
            first = last
            if self.actions[access] == COPY:
                first = int(self.starts[access]) + 1
            elif before >= 0 and not instance.writes[access]:
                first = times[before] + 1
            elif before >= 0 and times[before] == last and self.actions[before] != DROP:
                continue  # a write in the place of the read
            offset = int(self.offsets[access])
            found.append(Rectangle(access, buffer, first, last, offset, pieces[buffer]))
        return found

    def validate(self, instance: MemoryInstance) -> None:
        """Raise InvalidSolutionError listing every violated constraint with numbers."""
        if len(self.actions) != instance.num_accesses:
            raise InvalidSolutionError(
                [f"found {len(self.actions)} decisions, expected {instance.num_accesses}"]
            )
        violations = list(self._wrong_decisions(instance))
        if not violations:  # the following need decisions that make sense
            violations += self._overlaps(instance)
            if instance.copy_model == "static":
                violations += self._overdrawn(instance)
        if violations:
            raise InvalidSolutionError(violations)

    def _wrong_decisions(self, instance: MemoryInstance) -> Iterator[str]:
        """What is wrong with a decision by itself, and with what was decided before."""
        times, previous = instance.instructions.tolist(), instance.previous.tolist()
        content = self._content(instance)
        columns = (self.actions.tolist(), self.starts.tolist(), self.offsets.tolist())
        for access, ((buffer, in_slow), action, start, offset) in enumerate(
            zip(content, *columns, strict=True)
        ):
            where = instance.access_label(access)
            write, before = bool(instance.writes[access]), previous[access]
            was_fast = before >= 0 and self.actions[before] != DROP
            if action not in (DROP, NO_COPY, COPY):
                yield f"{where}: found action {action}, expected 0, 1 or 2"
            if action == DROP:
                if offset != -1:
                    yield f"{where}: found offset {offset}, expected -1 for a drop"
                continue
            size = int(instance.pieces[buffer])
            if offset < 0 or offset + size > instance.capacity or offset % instance.alignment:
                yield (
                    f"{where}: found bytes {offset} to {offset + size}, expected a multiple of "
                    f"{instance.alignment} within 0 to {instance.capacity}"
                )
            if action == COPY:
                earliest = times[before] if before >= 0 else -1
                if write:
                    yield f"{where}: found a copy, expected one only for a read"
                elif not in_slow:
                    yield f"{where}: copied, but the content is only in fast memory"
                if not earliest <= start < times[access]:
                    yield (
                        f"{where}: copy after instruction {start}, "
                        f"expected {earliest} to {times[access] - 1}"
                    )
            elif not write and not was_fast:
                yield f"{where}: no-copy, but it is not in fast memory since the access before"
            elif (not write or (was_fast and times[before] == times[access])) and (
                offset != self.offsets[before]
            ):
                yield (
                    f"{where}: found at offset {offset}, expected {self.offsets[before]} "
                    "as at the access before"
                )

    def _overlaps(self, instance: MemoryInstance) -> list[str]:
        """Buffers that take up the same bytes at the same time."""
        rectangles = sorted(self.rectangles(instance), key=lambda r: r.first)
        if not rectangles:
            return []
        table = np.array(rectangles, dtype=np.int64)
        first, last, low = table[:, 2], table[:, 3], table[:, 4]
        high = low + table[:, 5]
        ends = np.searchsorted(first, last, side="right").tolist()
        found: list[str] = []
        for i, end in enumerate(ends):
            later = slice(i + 1, end)
            meets = np.flatnonzero((low[later] < high[i]) & (low[i] < high[later]))
            for j in (meets + i + 1).tolist():
                if len(found) < LISTED:
                    one, other = rectangles[i], rectangles[j]
                    found.append(f"{_shown(instance, one)} and {_shown(instance, other)} overlap")
        return found

    def _overdrawn(self, instance: MemoryInstance) -> list[str]:
        """Intervals of instructions whose copies need more time than there is (Hall)."""
        copies = sorted(self.copies(instance), key=lambda copy: copy.due)
        if not copies:
            return []
        first, due, time = (np.array(copies, dtype=np.int64)[:, column] for column in (1, 2, 3))
        before = np.concatenate([[0], np.cumsum(instance.slow_latencies)])
        found: list[str] = []
        for begin in np.unique(first).tolist():
            inside = first >= begin
            needed = np.cumsum(np.where(inside, time, 0))
            supplied = before[due] - before[begin]
            wrong = np.flatnonzero(inside & (needed > supplied))
            if len(wrong) and len(found) < LISTED:
                worst = int(wrong[0])
                found.append(
                    f"instructions {begin} to {due[worst] - 1}: the copies within need "
                    f"{needed[worst]}, the instructions take {supplied[worst]}"
                )
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemoryPlan):
            return NotImplemented
        return all(np.array_equal(getattr(self, c), getattr(other, c)) for c in COLUMNS)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, column).tobytes() for column in COLUMNS))

    def to_frame(self, instance: MemoryInstance) -> "pd.DataFrame":
        """One line per access: instruction, tensor, access, action, start, offset."""
        import pandas as pd

        return pd.DataFrame(self._rows(instance))

    def _rows(self, instance: MemoryInstance) -> list[dict[str, Any]]:
        names = instance.buffer_names or [str(k) for k in range(instance.num_buffers)]
        return [
            {
                "instruction": int(instance.instructions[i]),
                "tensor": names[instance.buffers[i]],
                "access": "write" if instance.writes[i] else "read",
                "action": ACTION_NAMES[self.actions[i]],
                "start": int(self.starts[i]),
                "offset": int(self.offsets[i]),
            }
            for i in range(instance.num_accesses)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which :meth:`from_dict` rebuilds the plan."""
        return {
            "kind": self.kind,
            "version": self.version,
            **{column: getattr(self, column).tolist() for column in COLUMNS},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild a plan; raises InvalidSolutionError naming the field, whatever ``data`` is."""
        if not isinstance(data, dict):
            raise InvalidSolutionError([f"found {reprlib.repr(data)}, expected an object"])
        for field, expected in (("kind", cls.kind), ("version", cls.version)):
            if data.get(field) != expected:
                found = reprlib.repr(data.get(field))
                raise InvalidSolutionError([f"field '{field}': found {found}, expected {expected}"])
        return cls(*(data.get(column, ()) for column in COLUMNS))


def _shown(instance: MemoryInstance, r: Rectangle) -> str:
    label = instance.buffer_label(r.buffer)
    return f"{label} (instructions {r.first} to {r.last}, bytes {r.offset} to {r.offset + r.size})"
