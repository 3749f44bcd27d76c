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
    - the ends of buffers with fixed offsets.
    """
    bound = max(instance.max_load, instance.capacity)
    step = reduce(gcd, instance.alignment.tolist())
    if step > 1:
        bound = max(bound, _padded_load(instance, step))
    if instance.has_fixed:
        fixed = instance.offset >= 0
        bound = max(bound, int((instance.offset + instance.nbytes)[fixed].max()))
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


def best_known(name: str) -> BestKnown | None:
    """None: no instance ships whose best peak is published."""
    return None
