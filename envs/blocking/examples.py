"""Instances small enough to check by hand, with known optima."""

from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.jobshop.instance import JobShopInstance

_CROSSING = JobShopInstance.from_routes([[(0, 3), (1, 2)], [(1, 2), (0, 4)]], name="crossing")

#: Two jobs that need each other's machine: at time 3 they change places and end at 7, as with
#: unlimited buffers.
CROSSING = BlockingInstance.from_shop(_CROSSING, name="crossing-swap")
#: The same without swaps: one job has to pass before the other begins, optimum 11.
CROSSING_WITHOUT_SWAP = BlockingInstance.from_shop(_CROSSING, swap=False, name="crossing")

#: Every example by its name.
EXAMPLES = {one.name: one for one in (CROSSING, CROSSING_WITHOUT_SWAP)}
