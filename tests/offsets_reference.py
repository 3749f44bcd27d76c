"""Offset allocation in plain Python, slow and written from the definitions, to compare with."""

from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.problem import OffsetProblem
from makespan.envs.offsets.solution import OffsetSolution


@st.composite
def instances(draw: st.DrawFn, most: int = 8, fixed: bool = False) -> OffsetInstance:
    """A few buffers at times 0 to 9; some aligned, at most one with a fixed offset."""
    count = draw(st.integers(2, most))
    lower = draw(st.lists(st.integers(0, 8), min_size=count, max_size=count))
    life = draw(st.lists(st.integers(1, 6), min_size=count, max_size=count))
    size = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    alignment = [1] * count
    if draw(st.booleans()):
        alignment = draw(st.lists(st.sampled_from([1, 2, 4]), min_size=count, max_size=count))
    offset = [-1] * count
    if fixed:
        offset[0] = alignment[0] * draw(st.integers(0, 4))
    upper = [low + length for low, length in zip(lower, life, strict=True)]
    return OffsetInstance.from_columns(lower, upper, size, alignment=alignment, offset=offset)


class Buffer(NamedTuple):
    lower: int
    upper: int
    size: int
    alignment: int
    fixed: int

    def meets(self, other: "Buffer") -> bool:
        """Whether both are live at some time."""
        return self.lower < other.upper and other.lower < self.upper


def buffers_of(instance: OffsetInstance) -> list[Buffer]:
    columns = (instance.lower, instance.upper, instance.nbytes, instance.alignment, instance.offset)
    return list(map(Buffer, *(column.tolist() for column in columns)))


class Memory:
    """One instance, placed buffer by buffer."""

    def __init__(self, instance: OffsetInstance, decode: str = "first-fit") -> None:
        self.buffers, self.decode = buffers_of(instance), decode
        self.offsets = {j: b.fixed for j, b in enumerate(self.buffers) if b.fixed >= 0}
        self.bound = 0

    def left(self) -> list[int]:
        return [j for j in range(len(self.buffers)) if j not in self.offsets]

    @property
    def peak(self) -> int:
        return max((o + self.buffers[j].size for j, o in self.offsets.items()), default=0)

    def free_ranges(self, j: int) -> list[tuple[int, float]]:
        """Ranges of addresses that nothing alive together with buffer j takes, the last endless."""
        taken = sorted(
            (o, o + self.buffers[k].size)
            for k, o in self.offsets.items()
            if self.buffers[k].meets(self.buffers[j])
        )
        ranges: list[tuple[int, float]] = []
        address = 0
        for begin, end in taken:
            if begin > address:
                ranges.append((address, begin))
            address = max(address, end)
        return [*ranges, (address, float("inf"))]

    def places(self, j: int) -> list[tuple[int, float]]:
        """(offset, bytes of the range) of each range that holds buffer j, from below."""
        b = self.buffers[j]
        aligned = [
            (-(-begin // b.alignment) * b.alignment, begin, end)
            for begin, end in self.free_ranges(j)
        ]
        return [(o, end - begin) for o, begin, end in aligned if o + b.size <= end]

    def lowest(self, j: int) -> int:
        return self.places(j)[0][0]

    def position(self, j: int) -> int:
        if self.decode == "best-fit":
            return min(self.places(j), key=lambda place: (place[1], place[0]))[0]
        return self.lowest(j)

    def candidates(self) -> list[int]:
        left = self.left()
        if not left:
            return []
        distinct = [
            j for j in left if all(self.buffers[k] != self.buffers[j] for k in left if k < j)
        ]
        if self.decode != "active":
            return distinct
        end = {j: self.lowest(j) + self.buffers[j].size for j in left}
        first = min(left, key=lambda j: end[j])
        return [
            j
            for j in distinct
            if j == first
            or (self.buffers[j].meets(self.buffers[first]) and self.lowest(j) < end[first])
        ]

    def place(self, j: int) -> None:
        self.offsets[j] = self.position(j)

    def stacks(self) -> int:
        """The largest end of what is left at a time, stacked by lowest free offset."""
        highest = 0
        for time in {b.lower for b in self.buffers}:
            alive = [
                j for j in self.left() if self.buffers[j].lower <= time < self.buffers[j].upper
            ]
            end = 0
            for j in sorted(alive, key=self.lowest):
                end = max(end, self.lowest(j)) + self.buffers[j].size
            highest = max(highest, end)
        return highest


def optimum(instance: OffsetInstance) -> int:
    """The smallest peak, by first fit in every order."""
    best = 2**62
    for order in permutations(Memory(instance).left()):
        memory = Memory(instance)
        for j in order:
            memory.place(j)
            if memory.peak >= best:
                break
        else:
            best = memory.peak
    return best


class Episodes(NamedTuple):
    """Every episode that the mask allows."""

    solutions: list[OffsetSolution]
    returns: NDArray[np.float64]
    objectives: NDArray[np.float64]
    lower_bound: float


def _take(arrays: Any, rows: NDArray[np.int64]) -> Any:
    return type(arrays)(*(array[rows] for array in arrays))


def every_episode(problem: OffsetProblem, instance: OffsetInstance) -> Episodes:
    """Breadth first, all rows in one batch: every buffer is one level."""
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    lower_bound = problem.metrics(state, 0)["lower_bound"]
    returns = np.zeros(1)
    for _ in range(int((instance.offset < 0).sum())):
        rows, actions = observation.action_mask.nonzero()
        state, observation = _take(state, rows), _take(observation, rows)
        rewards, terminated = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.bool_)
        problem.step(state, observation, actions.copy(), rewards, terminated)
        returns = returns[rows] + rewards
    assert terminated.all()
    return Episodes(
        [problem.solution(state, row) for row in range(len(rows))],
        returns,
        np.array([problem.metrics(state, row)["objective"] for row in range(len(rows))]),
        lower_bound,
    )
