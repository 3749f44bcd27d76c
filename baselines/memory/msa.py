"""XLA's memory-space assignment, as far as this game has a counterpart for it.

Described from the sources of openxla/xla (Apache-2.0): cost_analysis.cc, algorithm.cc,
prefetch_interval_picker.cc, best_fit_repacker.cc; written anew here. Buffers are taken in the order
of a score; for each, its accesses in the order of time go through a fixed cascade:

1. *no-copy*: stay in fast memory since the access before (a write: from itself on), in a chunk
   found by best fit, if the time between is not too long;
2. if the only copy is in fast memory and it cannot stay: *evict*;
3. *prefetch*: a copy whose length in time is near a preferred one, else alternately later and
   earlier ones, the first that finds space and copy time;
4. else the access is served from slow memory.

What differs from XLA: evictions are not asynchronous in this game but make the program stand still,
so where one is needed, keeping the value in slow memory from its write on (its reads prefetched) is
tried as well, and what saves more is kept. Fast memory is empty when the program starts, so there
is no prefetch across programs. Outputs are written to slow memory. There are no loops, pinned or
coloured buffers; a buffer lies in one piece that is copied as a whole, so there are no slices.
XLA's retries only give asynchronous evictions more time, so they have no counterpart either.

When not even the shortest prefetch of a buffer finds a place and repacks are left (none by default,
as in XLA), all chunks are placed anew by XLA's best-fit repacker, and the buffer is tried again.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.memory.space import CopyResource, Space
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.ranges import check_least
from makespan.envs.core.solution import Result
from makespan.envs.memory.examples import EXAMPLES
from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.solution import COPY, DROP, NO_COPY, MemoryPlan

SCALES = ("root", "size", "none")
ORDERS = ("score", "size")


@dataclass(frozen=True)
class MemorySpaceAssignment:
    """XLA's heuristic with its options.

    Attributes:
        min_overlap: a prefetch takes at least this times the time of the copy.
        preferred_overlap: length of a prefetch that is tried first, in times of the copy.
        max_overlap: longest time in fast memory without use, in times of copying all of it.
        scale: what the benefit of a buffer is divided by: the root of its size (XLA's default), its
            size, or nothing.
        order: ``"score"``, or ``"size"`` for the order without cost analysis.
        repacks: how often fast memory may be packed anew.
        max_outstanding: most prefetches under way at an instruction; -1 for no limit.
        name: for tables.

    Raises:
        UsageError: for a value outside its range.
        UnknownNameError: for an unknown scale or order.
    """

    min_overlap: float = 0.8
    preferred_overlap: float = 1.5
    max_overlap: float = 10.0
    scale: Literal["root", "size", "none"] = "root"
    order: Literal["score", "size"] = "score"
    repacks: int = 0
    max_outstanding: int = -1
    name: str = field(default="msa", init=False)

    def __post_init__(self) -> None:
        check_least(self, min_overlap=0, preferred_overlap=0, max_overlap=0, repacks=0)
        if self.max_outstanding < -1:
            found = self.max_outstanding
            raise UsageError(f"max_outstanding: found {found}, expected -1 or at least 0")
        if self.scale not in SCALES:
            raise UnknownNameError("scale", self.scale, SCALES)
        if self.order not in ORDERS:
            raise UnknownNameError("order", self.order, ORDERS)

    def solve(
        self, instance: MemoryInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[MemoryPlan]:
        """Assign once; it stops by itself."""
        compile_kernels()
        started = time.perf_counter()
        plan = _Assignment(instance, self).run()
        return Result(plan, time.perf_counter() - started)


@cache
def compile_kernels() -> None:
    """Compile what assigning needs, once per process, so that no clock counts it."""
    for example in EXAMPLES.values():
        _Assignment(example, MemorySpaceAssignment()).run()


class _Assignment:
    """One run over all buffers."""

    def __init__(self, instance: MemoryInstance, options: MemorySpaceAssignment) -> None:
        self.instance, self.options = instance, options
        count = instance.num_accesses
        self.times: list[int] = instance.instructions.tolist()
        self.writes: list[bool] = instance.writes.tolist()
        self.actions = np.full(count, DROP)
        self.starts = np.full(count, -1)
        self.offsets = np.full(count, -1)
        latencies = instance.slow_latencies
        self.before = np.concatenate([[0], np.cumsum(latencies)])  # time before each instruction
        alignment = instance.alignment
        self.capacity = instance.capacity // alignment * alignment
        self.longest = options.max_overlap * self.capacity / instance.copy_bandwidth
        self.benefits, self.savings = _benefits(instance)
        self.space = Space(self.capacity, 2 * count + 2)
        self.copies = CopyResource(latencies, count + 1)
        self.outstanding = np.zeros(instance.num_instructions, dtype=np.int64)
        self.chains = np.full(count, -1)  # of each access in fast memory, see Space
        self.repacks = options.repacks
        self.crowded = False  # whether the last value found no place for a prefetch

    def run(self) -> MemoryPlan:
        """The plan."""
        order = np.argsort(self.instance.buffers, kind="stable")
        starts = np.searchsorted(self.instance.buffers[order], np.arange(self.instance.num_buffers))
        accesses = [part.tolist() for part in np.split(order, starts[1:])]
        for buffer in self._order(accesses):
            if self.instance.pieces[buffer] <= self.capacity:
                self._allocate(buffer, accesses[buffer])
        return MemoryPlan(self.actions, self.starts, self.offsets)

    def _order(self, accesses: list[list[int]]) -> list[int]:
        """Buffers, the most worthwhile first."""
        sizes = self.instance.sizes.tolist()
        keys = []
        for buffer, indices in enumerate(accesses):
            if not indices:
                continue
            score = 0.0
            for number, access in enumerate(indices):
                benefit = float(self.benefits[access])
                both = score > 0 and benefit > 0
                score = score + benefit if both or number == 0 else max(score, benefit)
            divisor = {"root": sizes[buffer] ** 0.5, "size": sizes[buffer], "none": 1}
            score /= divisor[self.options.scale]
            duration = self.times[indices[-1]] - self.times[indices[0]]
            last, first = self.times[indices[-1]], self.times[indices[0]]
            if self.options.order == "size":
                score = 0.0
            keys.append((-score, -sizes[buffer], -duration, last, first, buffer))
        return [key[-1] for key in sorted(keys)]

    def _allocate(self, buffer: int, accesses: list[int]) -> None:
        """All accesses of one buffer, value by value; a write begins a new one."""
        begin = 0
        for end in range(1, len(accesses) + 1):
            if end == len(accesses) or self.writes[accesses[end]]:
                self._allocate_value(buffer, accesses[begin:end])
                begin = end

    def _allocate_value(self, buffer: int, accesses: list[int]) -> None:
        """One value; once more on a repacked memory if there was no place."""
        before = self.space.count
        self.crowded = False
        copies = self._place_better(buffer, accesses)
        if self.crowded and self.repacks:
            self.repacks -= 1
            self._take_back(accesses, before, copies)
            moved = self.space.repack()
            for access in np.flatnonzero(self.chains >= 0).tolist() if moved else []:
                self.offsets[access] = moved[int(self.chains[access])]
            self._place_better(buffer, accesses)

    def _place_better(self, buffer: int, accesses: list[int]) -> list[tuple[int, int, int]]:
        """One value: its write, unless it is an input, and its reads; returns its copies.

        Where it would be evicted, keeping it in slow memory from its write on is tried as well.
        """
        written = self.writes[accesses[0]]
        reads = accesses[1:] if written else accesses
        slow = not written or not reads or bool(self.instance.outputs[buffer])
        slow = slow or self._in_place(accesses[0])
        count = self.space.count
        saved, evicted, copies = self._place(buffer, accesses, reads, slow)
        if not evicted:
            return copies
        columns = (self.actions, self.starts, self.offsets, self.chains)
        found = [column[accesses].copy() for column in columns]
        rectangles = self.space.table[count : self.space.count].copy()
        self._take_back(accesses, count, copies)
        other, _, more = self._place(buffer, accesses, reads, True)
        if other >= saved:
            return more
        self._take_back(accesses, count, more)
        for column, values in zip(columns, found, strict=True):
            column[accesses] = values
        for rectangle in rectangles.tolist():
            self.space.add(*rectangle)
        for copy in copies:
            self._add_copy(*copy)
        return copies

    def _place(
        self, buffer: int, accesses: list[int], reads: list[int], in_slow: bool
    ) -> tuple[int, bool, list[tuple[int, int, int]]]:
        """The cascade for every read.

        Args:
            buffer: to place.
            accesses: of one value; the write first, unless it is an input.
            reads: those that read.
            in_slow: whether the content is in slow memory from the start.

        Returns:
            time saved less the eviction's, whether there is one, and the copies made.
        """
        written = len(accesses) > len(reads)
        offset, saved, evicted = -1, 0, False  # offset: where it is in fast memory
        copies: list[tuple[int, int, int]] = []
        for number, read in enumerate(reads):
            before = reads[number - 1] if number else (accesses[0] if written else -1)
            first_segment = number == 0 and not in_slow
            if first_segment or offset >= 0:
                chain = before if first_segment else int(self.chains[before])
                place = self._stay(buffer, before, reads[number:], offset, chain, first_segment)
                if place >= 0:
                    served = (before, read) if first_segment else (read,)
                    for access in served:
                        self.actions[access], self.offsets[access] = NO_COPY, place
                        self.chains[access] = chain
                        saved += int(self.savings[access])
                    offset = place
                    continue
                if not first_segment and not in_slow:  # evicted, and this read comes from there
                    saved -= int(self.instance.evict_times[buffer])
                    in_slow, evicted, offset = True, True, -1
                    continue
                in_slow, offset = True, -1
            if self._prefetch(buffer, before, read, copies):
                offset = int(self.offsets[read])
                saved += int(self.savings[read])
        return saved, evicted, copies

    def _in_place(self, write: int) -> bool:
        """Whether the same instruction reads the buffer from fast memory."""
        before = int(self.instance.previous[write])
        return before >= 0 and self.times[before] == self.times[write]

    def _elapsed(self, start: int, end: int) -> float:
        """Time strictly between two instructions with everything in slow memory."""
        return float(self.before[max(end, 0)] - self.before[start + 1])

    def _stay(
        self,
        buffer: int,
        before: int,
        reads: list[int],
        offset: int,
        chain: int,
        first_segment: bool,
    ) -> int:
        """Step 1: the offset of the buffer up to the next read, or -1."""
        begin = self.times[before] + (0 if first_segment else 1)
        end = self.times[reads[0]]
        if self._elapsed(self.times[before], end) > self.longest:
            return -1
        size = int(self.instance.pieces[buffer])
        if offset >= 0:
            if not self.space.is_free(offset, size, begin, end):
                return -1
            self.space.add(offset, size, begin, end, chain)
            return offset
        for read in reversed(reads):  # a place that is free to the last use, or an earlier one
            place = self.space.best_fit(size, begin, self.times[read])
            if place >= 0:
                self.space.add(place, size, begin, end, chain)
                return place
        return -1

    def _prefetch(
        self, buffer: int, before: int, read: int, done: list[tuple[int, int, int]]
    ) -> bool:
        """Step 3: a copy for this read."""
        end, size = self.times[read], int(self.instance.pieces[buffer])
        demand = int(self.instance.copy_times[buffer])
        available = self.times[before] if before >= 0 else -1
        for start in self._candidate_starts(read, available, end, demand):
            if not self._admits(start, end, demand):
                continue
            place = self.space.best_fit(size, start + 1, end)
            if place < 0:
                continue
            self.space.add(place, size, start + 1, end, read)
            self._add_copy(start, end, demand)
            done.append((start, end, demand))
            self.actions[read], self.starts[read], self.offsets[read] = COPY, start, place
            self.chains[read] = read
            return True
        return False

    def _candidate_starts(self, read: int, available: int, end: int, demand: int) -> Iterator[int]:
        """Starts of a prefetch: the preferred one, then alternately later and earlier ones."""
        options = self.options
        # elapsed(a) falls as a grows, over a = available .. end - 1
        elapsed = self.before[end] - self.before[available + 1 : end + 1]
        allowed = np.flatnonzero(elapsed <= self.longest)
        relief = int(self.savings[read])
        enough = np.flatnonzero(options.min_overlap * demand <= elapsed + relief)
        if not len(allowed) or not len(enough) or enough[-1] < allowed[0]:
            return
        earliest, latest = int(allowed[0]), int(enough[-1])
        size = int(self.instance.pieces[self.instance.buffers[read]])
        if self.space.best_fit(size, available + latest + 1, end) < 0:
            self.crowded = True
            return  # not even the shortest copy has a place
        wanted = options.preferred_overlap * demand
        preferred = earliest + int(np.abs(wanted - elapsed[earliest : latest + 1]).argmin())
        yield available + preferred
        step = max(1, (preferred - earliest) // 100)
        later, earlier = preferred + 1, preferred - step
        while later <= latest or earlier >= earliest:
            if later <= latest:
                yield available + later
                later += 1
            if earlier >= earliest:
                yield available + earlier
                earlier -= step

    def _take_back(
        self, accesses: list[int], count: int, copies: list[tuple[int, int, int]]
    ) -> None:
        """Undo the placement of a buffer: all but ``count`` rectangles, and these copies."""
        self.space.count = count
        for copy in copies:
            self.copies.remove(*copy)
            self.outstanding[copy[0] + 1 : copy[1]] -= 1
        self.actions[accesses], self.starts[accesses], self.offsets[accesses] = DROP, -1, -1
        self.chains[accesses] = -1

    def _admits(self, start: int, end: int, time: int) -> bool:
        """Whether a copy is within the limits of time and number."""
        most = self.options.max_outstanding
        if most >= 0 and self.outstanding[start + 1 : end].max(initial=0) >= most:
            return False
        return self.copies.admits(start, end, time)

    def _add_copy(self, start: int, end: int, time: int) -> None:
        self.copies.add(start, end, time)
        self.outstanding[start + 1 : end] += 1


def _benefits(instance: MemoryInstance) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Benefit of each access as XLA counts it, and what it saves with all others in slow memory."""
    traffic = np.zeros(instance.num_instructions, dtype=np.int64)
    np.add.at(traffic, instance.instructions, instance.slow_times)
    at = instance.instructions
    over = traffic[at] - instance.compute[at]
    relief = instance.slow_times - instance.fast_times
    return np.where(over > 0, relief, over), np.clip(np.minimum(relief, over), 0, None)
