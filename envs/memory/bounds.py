"""Lower bounds on the latency of a program."""

from functools import lru_cache

from makespan.envs.core.family import BestKnown
from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.relaxation import relax, single_bound

#: Programs with more accesses are not relaxed: many seconds for the linear program.
MOST_ACCESSES = 6000


@lru_cache(maxsize=256)
def lower_bound(instance: MemoryInstance) -> int:
    """The optimum of the linear program without offsets; of a large program, everything fast.

    Fractions of a second for two thousand accesses.
    """
    if instance.num_accesses > MOST_ACCESSES:
        return single_bound(instance)
    return relax(instance).bound


def best_known(name: str) -> BestKnown | None:
    """No benchmark with published optima exists for this game."""
    return None
