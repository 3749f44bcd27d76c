"""Greedy allocators: buffers in a fixed order, each placed by first or best fit.

The same as the rules of these names under ``decode`` first-fit and best-fit, without a simulator
around: for instances of ten thousand buffers and more, and as the start of searches.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.offsets import decode_kernel as kernel
from makespan.envs.core.errors import UnknownNameError
from makespan.envs.core.solution import Result
from makespan.envs.offsets.bounds import lower_bound
from makespan.envs.offsets.examples import ALIGNED
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.solution import OffsetSolution


def _area(instance: OffsetInstance) -> NDArray[np.float64]:
    area: NDArray[np.float64] = instance.nbytes * (instance.upper - instance.lower).astype(float)
    return area


#: First and second key of each order, the lowest first; ties go to the lowest index.
ORDERS: dict[str, Callable[[OffsetInstance], tuple[NDArray[np.generic], NDArray[np.generic]]]] = {
    "size": lambda i: (-i.nbytes, i.lower - i.upper),
    "area": lambda i: (-_area(i), -i.nbytes),
    "duration": lambda i: (i.lower - i.upper, -i.nbytes),
    "start": lambda i: (i.lower, -i.nbytes),
}


def buffers_of(instance: OffsetInstance) -> kernel.Buffers:
    """What the kernels read."""
    return kernel.Buffers(
        instance.first_section,
        instance.last_section,
        instance.nbytes,
        instance.alignment,
        instance.offset,
    )


def allocate(count: int) -> kernel.Placement:
    """Room for ``count`` buffers."""
    narrow, wide = (np.empty((4, count), np.int32), np.empty((2, count), np.int64))
    return kernel.Placement(narrow[0], narrow[1], wide[0], wide[1], narrow[2], narrow[3])


def order_of(instance: OffsetInstance, order: str) -> NDArray[np.int32]:
    """(free,) the buffers without a fixed offset in that order."""
    first, second = ORDERS[order](instance)
    ranked = np.lexsort((second, first))
    return ranked[instance.offset[ranked] < 0].astype(np.int32)


def place_in_order(
    instance: OffsetInstance, order: NDArray[np.int32], fit: str = "first"
) -> NDArray[np.int64]:
    """(buffers,) offsets when the buffers of ``order`` are placed one after the other."""
    buffers = buffers_of(instance)
    placement = allocate(instance.num_buffers)
    placed = kernel.start(buffers, placement)
    kernel.decode(buffers, placement, placed, order, 0, len(order), kernel.FITS.index(fit))
    offsets = np.empty(instance.num_buffers, dtype=np.int64)
    kernel.offsets_of(placement, offsets)
    return offsets


def best_greedy(instance: OffsetInstance) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """(buffers,) offsets of the best of all orders under first fit, and that order."""
    orders = [order_of(instance, order) for order in ORDERS]
    placed = [place_in_order(instance, order) for order in orders]
    peaks = [int((offsets + instance.nbytes).max()) for offsets in placed]
    best = peaks.index(min(peaks))
    return placed[best], orders[best]


@cache
def compile_kernels() -> None:
    """Compile what placing in order needs, once per process, so that no clock counts it."""
    best_greedy(ALIGNED)


@dataclass(frozen=True)
class Greedy:
    """One pass over the buffers in a fixed order.

    Attributes:
        order: a key of :data:`ORDERS`.
        fit: ``"first"`` takes the lowest gap that holds the buffer, ``"best"`` the smallest.
        name: for tables.

    Raises:
        UnknownNameError: for an unknown order or fit.
    """

    order: Literal["size", "area", "duration", "start"] = "size"
    fit: Literal["first", "best"] = "first"
    name: str = field(default="greedy", init=False)

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise UnknownNameError("order", self.order, ORDERS)
        if self.fit not in kernel.FITS:
            raise UnknownNameError("fit", self.fit, kernel.FITS)

    def solve(
        self, instance: OffsetInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[OffsetSolution]:
        """Place all buffers; it stops by itself, so the time limit is not needed."""
        compile_kernels()
        started = time.perf_counter()
        offsets = place_in_order(instance, order_of(instance, self.order), self.fit)
        seconds = time.perf_counter() - started
        solution, bound = OffsetSolution(offsets), lower_bound(instance)
        return Result(solution, seconds, bound, solution.objective(instance) == bound)
