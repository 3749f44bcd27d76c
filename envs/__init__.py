"""Every environment, registered with Gymnasium on import, and the families behind them."""

from collections.abc import Callable
from importlib import import_module

import gymnasium

from makespan.envs.core.family import Family

#: Environment id -> family's folder, its makers of the single and of the vector environment.
_ENVIRONMENTS = {
    "makespan/DagScheduling-v0": ("dag", "make_env", "make_vector_env"),
    "makespan/FlexibleJobShop-v0": ("jobshop", "make_flexible_env", "make_flexible_vector_env"),
    "makespan/JobShop-v0": ("jobshop", "make_env", "make_vector_env"),
    "makespan/LLMRouting-v0": ("routing", "make_env", "make_vector_env"),
    "makespan/MemoryMapping-v0": ("memory", "make_env", "make_vector_env"),
    "makespan/OffsetAllocation-v0": ("offsets", "make_env", "make_vector_env"),
    "makespan/SoC-v0": ("soc", "make_env", "make_vector_env"),
}


def _lazy(module: str) -> Callable[[], Family]:
    def make_family() -> Family:
        family: Family = import_module(module).make_family()
        return family

    return make_family


#: Families by the word on the command line; calling an entry imports the family.
FAMILIES: dict[str, Callable[[], Family]] = {
    "dag": _lazy("makespan.envs.dag.family"),
    "jobshop": _lazy("makespan.envs.jobshop.family"),
    "memory": _lazy("makespan.envs.memory.family"),
    "offsets": _lazy("makespan.envs.offsets.family"),
    "routing": _lazy("makespan.envs.routing.family"),
    "soc": _lazy("makespan.envs.soc.family"),
}

for _id, (_folder, _single, _vector) in _ENVIRONMENTS.items():
    gymnasium.register(
        id=_id,
        entry_point=f"makespan.envs.{_folder}.family:{_single}",
        vector_entry_point=f"makespan.envs.{_folder}.family:{_vector}",
        # the environments check actions and calls themselves; wrappers would halve the speed
        disable_env_checker=True,
        order_enforce=False,
    )
