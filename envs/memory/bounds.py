"""A quick lower bound on the latency of a program; a stronger one is in the exact solver."""

from makespan.envs.core.family import BestKnown
from makespan.envs.memory.instance import MemoryInstance


def lower_bound(instance: MemoryInstance) -> int:
    """Latency with every access fast that fast memory can serve by itself, all at once.

    A buffer must fit into the capacity; under the static copy model, what instruction 0 reads has
    no time to be copied.
    """
    capacity = instance.capacity // instance.alignment * instance.alignment
    fast = instance.pieces[instance.buffers] <= capacity
    if instance.copy_model == "static":
        needs_time = instance.copy_times[instance.buffers] > 0
        fast &= ~((instance.instructions == 0) & ~instance.writes & needs_time)
    return int(instance.latencies(fast).sum())


def best_known(name: str) -> BestKnown | None:
    """No benchmark with published optima exists for this game."""
    return None
