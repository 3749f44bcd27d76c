"""The blocking job shop: its environment, and its record for the command lines."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from makespan.envs.blocking.formats import read_instance
from makespan.envs.blocking.generator import BlockingGenerator
from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.blocking.problem import OPTIONS, BlockingProblem
from makespan.envs.core.env import SchedulingEnv
from makespan.envs.core.family import Family
from makespan.envs.core.making import EnvironmentMaker, load_instances
from makespan.envs.core.vector_env import SchedulingVectorEnv


def load(source: Any) -> list[BlockingInstance]:
    """Instances from a name (``"la21-10"``), a file path, an instance, or several.

    Raises:
        InstanceError: for a broken or missing file.
        UnknownNameError: for a name that is neither an instance nor a file.
    """
    from makespan.envs.blocking.suites import load_instance

    return load_instances(source, read_instance, load_instance)


def make_problem(
    source: Sequence[BlockingInstance] | BlockingGenerator, **options: Any
) -> BlockingProblem:
    """The problem sized for the given instances, or for all that a generator can give."""
    if isinstance(source, BlockingGenerator):
        return BlockingProblem(source.largest, **options)
    return BlockingProblem.for_instances(source, **options)


_maker = EnvironmentMaker(make_problem, BlockingGenerator, load, tuple(OPTIONS))


def _of_the_shop(instance: Any, options: dict[str, Any]) -> Any:
    """The fixed instances with ``swap`` and ``on_down`` as given, which are theirs to hold."""
    if instance is None:
        return None
    given = {name: options.pop(name) for name in ("swap", "on_down") if name in options}
    return [replace(one, **given) for one in load(instance)]


def make_env(instance: Any = None, **options: Any) -> SchedulingEnv[BlockingInstance]:
    """``makespan/BlockingJobShop-v0`` as a single environment.

    Args:
        instance: fixed: a name, a file, an instance; or several instances to draw from.
        options: ``swap`` and ``on_down`` of the shop, ``deadlock`` of the problem; without a fixed
            instance those of :class:`BlockingGenerator`; and see :class:`EnvironmentMaker`.
    """
    return _maker.env(_of_the_shop(instance, options), **options)


def make_vector_env(num_envs: int, instance: Any = None, **options: Any) -> SchedulingVectorEnv:
    """The same as a native vector environment."""
    return _maker.vector_env(num_envs, _of_the_shop(instance, options), **options)


def _draw(instance: Any, solution: Any, path: Path, **options: Any) -> None:
    from makespan.envs.blocking.render import draw  # matplotlib takes a second to import

    draw(instance, solution, path, **options)


def _waiting(instance: BlockingInstance, solution: Any) -> float:
    """Share of the time on machines that jobs are done and block them."""
    held = solution.leaves - solution.starts
    return float((solution.leaves - solution.ends).sum() / max(held.sum(), 1))


def make_family() -> Family:
    """The record of the blocking family; solutions are written as the job shop's."""
    from makespan.baselines.blocking import POLICIES, SOLVERS
    from makespan.envs.blocking.bounds import best_known, lower_bound
    from makespan.envs.blocking.suites import SUITES
    from makespan.envs.jobshop.formats import write_solution

    return Family(
        name="blocking",
        env_ids=("makespan/BlockingJobShop-v0",),
        make_problem=make_problem,
        problem_options=OPTIONS,
        generators={"blocking": BlockingGenerator(jobs=(10, 20), machines=(5, 15))},
        suites=SUITES,
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=best_known,
        lower_bound=lower_bound,
        draw=_draw,
        policies=POLICIES,
        solvers=SOLVERS,
        metrics={"blocked share": _waiting},
    )
