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

    def features(self, option: Option) -> dict[str, float]:
        """What is said beside some names of CANDIDATE_FEATURES, of a legal candidate."""
        instance, access = self.instance, len(self.chosen)
        t, buffer = int(instance.instructions[access]), int(instance.buffers[access])
        write, size = bool(instance.writes[access]), int(instance.pieces[buffer])
        elapsed = np.concatenate([[0], np.cumsum(instance.slow_latencies)])
        unit = instance.num_instructions / max(instance.all_slow, 1)
        before, following = int(instance.previous[access]), int(instance.next[access])
        since = int(instance.instructions[before]) + 1 if before >= 0 else 0
        then = int(instance.instructions[following]) if following >= 0 else t
        copy_time = int(instance.copy_times[buffer])
        others = np.ones(instance.num_accesses, dtype=np.bool_)
        last = others.copy()
        others[access] = False
        only_copy = option.action == NO_COPY and (write or not self.in_slow(access))
        copied_again = following >= 0 and not instance.writes[following] and not only_copy
        return {
            "drop": option.action == DROP,
            "no_copy": option.action == NO_COPY,
            "copy": option.action == COPY,
            "legal": True,
            "write": write,
            "size": size / instance.capacity if instance.capacity else 0,
            "gain": (self.latency() - self.latency(option)) * unit,
            "stall": option.stall * unit,
            "last_gain": float(instance.latencies(others)[t] - instance.latencies(last)[t]) * unit,
            "next_distance": float(elapsed[then] - elapsed[t]) * unit,
            "recopy_demand": copied_again * copy_time * unit,
            "recopy_supply": copied_again * float(elapsed[then] - elapsed[t + 1]) * unit,
            "window": max(t - option.first, 0) / 16 if option.action != DROP else 0,
            "supply_slack": (float(elapsed[t] - elapsed[since]) - copy_time) * unit,
            "offset": option.offset / instance.capacity if option.action != DROP else 0,
            "accesses_left": float((instance.buffers[access:] == buffer).sum()) / 8,
            "only_copy": only_copy,
        }

    def whole(self) -> dict[str, float]:
        """The same of GLOBAL_FEATURES."""
        instance, access = self.instance, len(self.chosen)
        t = int(instance.instructions[access])
        buffer = int(instance.buffers[access])
        unit = instance.num_instructions / max(instance.all_slow, 1)
        decided = [option.action != DROP for option in self.chosen]
        own = [i for i in range(instance.num_accesses) if instance.instructions[i] == t]
        times = (instance.slow_times, instance.fast_times)
        traffic = sum(int(times[i < access and decided[i]][i]) for i in own)
        taken = len(self.occupied.get(t, set()))
        moved = instance.evict_times[buffer] / max(instance.copy_times[buffer], 1)
        return {
            "progress": access / instance.num_accesses,
            "latency": self.cost() / max(instance.all_slow, 1),
            "bound": instance.all_fast / max(instance.all_slow, 1),
            "taken": taken / instance.capacity if instance.capacity else 0,
            "compute": int(instance.compute[t]) * unit,
            "traffic": traffic * unit,
            "copy_speed": float(moved),
        }

    def latency(self, *more: Option) -> int:
        """With everything that is undecided in slow memory, stalls left out."""
        chosen = [*self.chosen, *more]
        fast = np.zeros(self.instance.num_accesses, dtype=np.bool_)
        fast[: len(chosen)] = [option.action != DROP for option in chosen]
        return int(self.instance.latencies(fast).sum())

    def cost(self) -> int:
        """The same with stalls."""
        return self.latency() + sum(option.stall for option in self.chosen)


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
