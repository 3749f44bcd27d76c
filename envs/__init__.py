"""Every environment, registered with Gymnasium on import, and the families behind them."""

from collections.abc import Callable
from importlib import import_module

import gymnasium

from makespan.envs.core.family import Family

#: Families by the word on the command line; calling an entry imports the family.
FAMILIES: dict[str, Callable[[], Family]] = {}


def register(env_id: str, package: str, variant: str = "") -> None:
    """Make an environment known to Gymnasium and its family to the command lines.

    Args:
        env_id: for ``gymnasium.make`` and ``gymnasium.make_vec``.
        package: with the module ``family`` that has ``make_family``, ``make_env`` and
            ``make_vector_env``; its last part is the word on the command lines.
        variant: prefix of the environments of another id of the family: ``"flexible_"`` for
            ``make_flexible_env``.
    """
    module = f"{package}.family"
    gymnasium.register(
        id=env_id,
        entry_point=f"{module}:make_{variant}env",
        vector_entry_point=f"{module}:make_{variant}vector_env",
        # the environments check actions and calls themselves; wrappers would halve the speed
        disable_env_checker=True,
        order_enforce=False,
    )
    FAMILIES[package.rpartition(".")[2]] = _lazy(module)


def _lazy(module: str) -> Callable[[], Family]:
    def make_family() -> Family:
        family: Family = import_module(module).make_family()
        return family

    return make_family


register("makespan/BlockingJobShop-v0", "makespan.envs.blocking")
register("makespan/DagScheduling-v0", "makespan.envs.dag")
register("makespan/JobShop-v0", "makespan.envs.jobshop")
register("makespan/FlexibleJobShop-v0", "makespan.envs.jobshop", "flexible_")
register("makespan/JobShopImprove-v0", "makespan.envs.improve")
register("makespan/MemoryMapping-v0", "makespan.envs.memory")
register("makespan/OffsetAllocation-v0", "makespan.envs.offsets")
register("makespan/LLMRouting-v0", "makespan.envs.routing")
register("makespan/SoC-v0", "makespan.envs.soc")
