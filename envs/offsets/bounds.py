"""Lower bounds on the objective."""

from functools import reduce
from math import gcd

import numpy as np

from makespan.envs.core.family import BestKnown
from makespan.envs.offsets.instance import OffsetInstance


def lower_bound(instance: OffsetInstance) -> int:
    """The largest of these bounds, in bytes; the objective is at least the capacity, if any.

    - the largest load of a section: bytes that are alive together;
    - the same with sizes rounded up to the granularity of all offsets (the greatest common divisor
      of the alignments), but for one buffer, the uppermost, of each section;
    - the ends of buffers with fixed offsets;
    - the largest stack of a section: the buffers without one, each not below the lowest place that
      the fixed ones leave free for it.
    """
    bound = max(instance.max_load, instance.capacity)
    step = reduce(gcd, instance.alignment.tolist())
    if step > 1:
        bound = max(bound, _padded_load(instance, step))
    if instance.has_fixed:
        fixed = instance.offset >= 0
        bound = max(bound, int((instance.offset + instance.nbytes)[fixed].max()))
        bound = max(bound, _stacked_load(instance))
    return bound


def _padded_load(instance: OffsetInstance, step: int) -> int:
    """The largest load when every offset is a multiple of ``step``."""
    padding = -instance.nbytes % step
    total = instance.loads.copy()
    largest = np.zeros_like(total)
    for first, last, extra in zip(
        instance.first_section.tolist(),
        instance.last_section.tolist(),
        padding.tolist(),
        strict=True,
    ):
        total[first:last] += extra
        np.maximum(largest[first:last], extra, out=largest[first:last])
    return int((total - largest).max())


def _stacked_load(instance: OffsetInstance) -> int:
    """The largest end of the free buffers of a section, stacked by their lowest free offsets."""
    top = np.zeros_like(instance.loads)
    free = np.flatnonzero(instance.offset < 0).tolist()
    for address, buffer in sorted((_lowest_free(instance, buffer), buffer) for buffer in free):
        life = slice(instance.first_section[buffer], instance.last_section[buffer])
        top[life] = np.maximum(top[life], address) + instance.nbytes[buffer]
    return int(top.max())


def _lowest_free(instance: OffsetInstance, buffer: int) -> int:
    """The lowest offset of a buffer that is clear of those with fixed offsets."""
    alignment, size = int(instance.alignment[buffer]), int(instance.nbytes[buffer])
    in_the_way = (
        (instance.offset >= 0)
        & (instance.lower < instance.upper[buffer])
        & (instance.lower[buffer] < instance.upper)
    )
    begins, ends = instance.offset[in_the_way], (instance.offset + instance.nbytes)[in_the_way]
    address = 0
    for begin, end in sorted(zip(begins.tolist(), ends.tolist(), strict=True)):
        if address + size <= begin:
            break
        address = max(address, -(-end // alignment) * alignment)
    return address


def best_known(name: str) -> BestKnown | None:
    """None: no instance ships whose best peak is published."""
    return None
