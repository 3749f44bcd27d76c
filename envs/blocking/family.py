"""The blocking job shop: its environment, and its record for the command lines."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from makespan.envs.blocking.formats import read_instance
from makespan.envs.blocking.generator import BlockingGenerator
from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.blocking.problem import OPTIONS, BlockingProblem
from makespan.envs.core.entry_points import EntryPoints, load_instances
from makespan.envs.core.family import Family


def load(source: Any, **changed: Any) -> list[BlockingInstance]:
    """Instances from a name (``"la21-10"``), a file path, an instance, or several.

    Args:
        source: what to load.
        changed: ``swap`` and ``on_down`` where they are not to be those of the instances.

    Raises:
        InstanceError: for a broken or missing file.
        UnknownNameError: for a name that is neither an instance nor a file.
    """
    from makespan.envs.blocking.suites import load_instance

    instances = load_instances(source, BlockingInstance, read_instance, load_instance)
    return [replace(one, **changed) for one in instances] if changed else instances


def make_problem(
    source: Sequence[BlockingInstance] | BlockingGenerator, **options: Any
) -> BlockingProblem:
    """The problem sized for the given instances, or for all that a generator can give."""
    if isinstance(source, BlockingGenerator):
        return BlockingProblem(source.largest, **options)
    return BlockingProblem.for_instances(source, **options)


_ENTRY = EntryPoints(
    load,
    BlockingGenerator,
    make_problem,
    OPTIONS,
    instance_options=("swap", "on_down"),
)
make_env, make_vector_env = _ENTRY.make_env, _ENTRY.make_vector_env


def _waiting(instance: BlockingInstance, solution: Any) -> float:
    """Share of the time on machines that jobs are done and block them."""
    held = solution.leaves - solution.starts
    return float((solution.leaves - solution.ends).sum() / max(held.sum(), 1))


def make_family() -> Family:
    """The record of the blocking family; solutions are written as the job shop's."""
    from makespan.baselines.blocking import POLICIES, SOLVERS
    from makespan.envs.blocking.bounds import best_known, lower_bound
    from makespan.envs.blocking.render import draw
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
        draw=draw,
        policies=POLICIES,
        solvers=SOLVERS,
        metrics={"blocked share": _waiting},
    )
