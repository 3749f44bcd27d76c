"""Lower bounds on the makespan of a blocking job shop."""

from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.core.family import BestKnown
from makespan.envs.jobshop import bounds


def lower_bound(instance: BlockingInstance) -> int:
    """That of the job shop with unlimited buffers and machines that never shut down."""
    return bounds.lower_bound(instance.shop)


def best_known(name: str) -> BestKnown | None:
    """None: no published bounds are collected."""
    return None
