"""Instances small enough to check by hand, with known optima.

Time unit: slow memory moves one byte in it, fast memory any number in none, copies one byte.
"""

import math
from collections.abc import Sequence

import numpy as np

from makespan.envs.memory.instance import MemoryInstance


def _example(
    name: str,
    compute: Sequence[int],
    tensors: Sequence[tuple[int, Sequence[int], bool]],
    capacity: int,
) -> MemoryInstance:
    """``tensors``: size, instructions of the accesses, whether the first one is a write."""
    accesses = sorted(
        (t, number == 0 and written, k)
        for k, (_, times, written) in enumerate(tensors)
        for number, t in enumerate(times)
    )
    times, writes, buffers = (np.array(column) for column in zip(*accesses, strict=True))
    sizes = np.array([size for size, _, _ in tensors], dtype=np.int64)
    return MemoryInstance(
        name=name,
        sizes=sizes,
        outputs=np.zeros(len(sizes), dtype=np.bool_),
        access_offsets=np.searchsorted(times, np.arange(len(compute) + 1)).astype(np.int32),
        buffers=buffers.astype(np.int32),
        writes=writes,
        access_bytes=sizes[buffers],
        compute=np.array(compute, dtype=np.int64),
        capacity=capacity,
        slow_bandwidth=1.0,
        copy_bandwidth=1.0,
        fast_read_bandwidth=math.inf,
        fast_write_bandwidth=math.inf,
    )


#: Capacity: keeping the larger buffer saves 8, the smaller one 6. Optimum 6.
CAPACITY = _example("capacity", [0, 0, 0, 0], [(4, [0, 3], True), (3, [1, 2], True)], 4)
#: Supply: three weights whose copies fill the windows {0}, {1, 2}, {2, 3} to the last. Optimum 10.
SUPPLY = _example(
    "supply", [5, 1, 2, 1, 1], [(2, [1], False), (3, [3], False), (4, [4], False)], 10
)
#: Compute bound: fast memory is worthless for the first buffer. Optimum 19.
COMPUTE_BOUND = _example("compute-bound", [9, 9, 1], [(4, [0, 1], True), (3, [1, 2], True)], 4)
#: Reuse against another buffer. Optimum 11.
REUSE = _example("reuse", [4, 0, 0, 4, 0, 0], [(3, [1, 5], False), (3, [2, 4], True)], 3)
#: Fragmentation: with free choice of offsets nothing is lost, with the lowest 2.
FRAGMENTATION = _example(
    "fragmentation", [0] * 6, [(2, [0, 2], True), (2, [1, 5], True), (4, [3, 4], True)], 6
)

#: Every example by its name.
EXAMPLES = {
    example.name: example for example in (CAPACITY, SUPPLY, COMPUTE_BOUND, REUSE, FRAGMENTATION)
}
