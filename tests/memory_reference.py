"""The memory-mapping game in plain Python, slow, from its rules, to compare kernels with.

Places are found in an occupancy set of (instruction, byte), copy time by Hall's condition over all
intervals: nothing here is incremental.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.problem import MemoryProblem
from makespan.envs.memory.solution import MemoryPlan

DROP, NO_COPY, COPY = range(3)


class Option(NamedTuple):
    """A legal candidate."""

    action: int
    offset: int
    start: int
    first: int  # instruction from which the place is occupied
    stall: int


class Game:
    """One game with the static copy model; places by the lowest offset."""

    def __init__(self, instance: MemoryInstance) -> None:
        self.instance = instance
        self.chosen: list[Option] = []
        self.occupied: dict[int, set[int]] = {}  # instruction -> bytes
        self.copies: list[tuple[int, int, int]] = []  # first and last instruction, time

    def place(self, access: int) -> int | None:
        """Offset of the buffer after the access before, or None."""
        before = int(self.instance.previous[access])
        if before < 0 or self.chosen[before].action == DROP:
            return None
        return self.chosen[before].offset

    def in_slow(self, access: int) -> bool:
        """Whether the content is in slow memory before the access."""
        j = int(self.instance.previous[access])
        while j >= 0:
            if self.chosen[j].action == DROP:
                return True
            if self.instance.writes[j]:
                return False
            j = int(self.instance.previous[j])
        return True

    def free(self, offset: int, size: int, first: int, last: int) -> bool:
        if offset + size > self.instance.capacity:
            return False
        wanted = set(range(offset, offset + size))
        return not any(wanted & self.occupied.get(t, set()) for t in range(first, last + 1))

    def lowest(self, size: int, first: int, last: int) -> int | None:
        offsets = range(self.instance.capacity - size + 1)
        return next((o for o in offsets if self.free(o, size, first, last)), None)

    def feasible(self, copies: list[tuple[int, int, int]]) -> bool:
        """Hall: every interval supplies the copies within."""
        supply = self.instance.slow_latencies.tolist()
        for x in range(len(supply)):
            for y in range(x - 1, len(supply)):
                needed = sum(time for first, last, time in copies if x <= first and last <= y)
                if needed > sum(supply[x : y + 1]):
                    return False
        return True

    def options(self) -> list[Option]:
        """The legal candidates of the next access, by action."""
        instance, access = self.instance, len(self.chosen)
        t, buffer = int(instance.instructions[access]), int(instance.buffers[access])
        size, write = int(instance.pieces[buffer]), bool(instance.writes[access])
        before, place = int(instance.previous[access]), self.place(access)
        then = int(instance.instructions[before]) if before >= 0 else -1
        evict = int(instance.evict_times[buffer])
        slow = self.in_slow(access)
        found = [Option(DROP, -1, -1, t, 0 if write or slow else evict)]
        at_end = instance.next[access] < 0 and bool(instance.outputs[buffer])
        stall = evict if at_end and (write or not slow) else 0
        if write and place is not None and then == t:
            found.append(Option(NO_COPY, place, -1, t + 1, stall))
        elif write:
            offset = self.lowest(size, t, t)
            if offset is not None:
                found.append(Option(NO_COPY, offset, -1, t, stall))
        elif place is not None and self.free(place, size, then + 1, t):
            found.append(Option(NO_COPY, place, -1, then + 1, stall))
        if not write and slow:
            demand = int(instance.copy_times[buffer])
            for start in range(t - 1, then - 1, -1):
                if self.feasible([*self.copies, (start + 1, t - 1, demand)]):
                    offset = self.lowest(size, start + 1, t)
                    if offset is not None:
                        found.append(Option(COPY, offset, start, start + 1, 0))
                    break
        return found

    def take(self, option: Option) -> None:
        instance, access = self.instance, len(self.chosen)
        t, buffer = int(instance.instructions[access]), int(instance.buffers[access])
        if option.action != DROP:
            span = range(option.offset, option.offset + int(instance.pieces[buffer]))
            for time in range(option.first, t + 1):
                self.occupied.setdefault(time, set()).update(span)
        if option.action == COPY:
            demand = int(instance.copy_times[buffer])
            self.copies.append((option.start + 1, t - 1, demand))
        self.chosen.append(option)

    def latency(self) -> int:
        """With everything that is undecided in slow memory, stalls included."""
        fast = np.zeros(self.instance.num_accesses, dtype=np.bool_)
        fast[: len(self.chosen)] = [option.action != DROP for option in self.chosen]
        stalls = sum(option.stall for option in self.chosen)
        return int(self.instance.latencies(fast).sum()) + stalls


class Episodes(NamedTuple):
    """Every episode that the mask allows."""

    plans: list[MemoryPlan]
    returns: NDArray[np.float64]
    objectives: NDArray[np.float64]

    @property
    def best(self) -> float:
        return float(self.objectives.min())


def every_episode(problem: MemoryProblem, instance: MemoryInstance) -> Episodes:
    """All action strings, breadth first in one batch."""

    def take(arrays: Any, rows: NDArray[np.int64]) -> Any:
        return type(arrays)(*(array[rows] for array in arrays))

    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    returns = np.zeros(1)
    for _ in range(instance.num_accesses):
        rows, actions = observation.action_mask.nonzero()
        state, observation = take(state, rows), take(observation, rows)
        rewards, terminated = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.bool_)
        problem.step(state, observation, actions.copy(), rewards, terminated)
        returns = returns[rows] + rewards
    assert terminated.all()
    count = range(len(rows))
    return Episodes(
        [problem.solution(state, row) for row in count],
        returns,
        np.array([problem.metrics(state, row)["objective"] for row in count]),
    )
