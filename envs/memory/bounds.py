"""A quick lower bound on the latency of a program; the others are in the exact solver."""

from makespan.envs.core.family import BestKnown
from makespan.envs.memory.instance import MemoryInstance


def lower_bound(instance: MemoryInstance) -> int:
    """Latency with everything that fits into fast memory by itself served from there, all at once.

    Beside that, each instruction's fast accesses cannot take up more than the capacity, and an
    input that is read for the first time in instruction 0 has no time to be copied.
    """
    import numpy as np

    fits = instance.pieces[instance.buffers] <= instance.capacity // instance.alignment * (
        instance.alignment
    )
    first = instance.instructions == 0
    no_time = first & ~instance.writes & (instance.copy_times[instance.buffers] > 0)
    if instance.copy_model == "dynamic":
        no_time[:] = False
    return int(instance.latencies(np.asarray(fits & ~no_time)).sum())


def best_known(name: str) -> BestKnown | None:
    """No benchmark with published optima exists for this game."""
    return None
