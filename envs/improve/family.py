"""The improvement of job-shop schedules: its environment, and its record for the command lines."""

from collections.abc import Sequence
from typing import Any

from makespan.envs.core.entry_points import EntryPoints
from makespan.envs.core.family import Family
from makespan.envs.improve.problem import OPTIONS, ImproveProblem
from makespan.envs.jobshop import family as jobshop
from makespan.envs.jobshop.generator import JobShopGenerator
from makespan.envs.jobshop.instance import JobShopInstance


def make_problem(
    source: Sequence[JobShopInstance] | JobShopGenerator, **options: Any
) -> ImproveProblem:
    """The problem sized for the given instances, or for all that a generator can give."""
    if isinstance(source, JobShopGenerator):
        return ImproveProblem(source.largest, **options)
    return ImproveProblem.for_instances(source, **options)


_SIZES = {"jobs": 10, "machines": 10}
_ENTRY = EntryPoints(jobshop.load, JobShopGenerator, make_problem, OPTIONS, _SIZES)
make_env, make_vector_env = _ENTRY.make_env, _ENTRY.make_vector_env


def make_family() -> Family:
    """The record of the improvement family: instances, files and bounds are the job shop's."""
    from makespan.baselines.improve import POLICIES, SOLVERS
    from makespan.envs.jobshop.bounds import best_known, lower_bound
    from makespan.envs.jobshop.formats import read_instance, write_solution
    from makespan.envs.jobshop.render import draw
    from makespan.envs.jobshop.suites import SUITES

    return Family(
        name="improve",
        env_ids=("makespan/JobShopImprove-v0",),
        make_problem=make_problem,
        problem_options=OPTIONS,
        generators={"improve": JobShopGenerator(jobs=(10, 20), machines=(10, 15))},
        suites={name: suite for name, suite in SUITES.items() if not name.startswith("flexible")},
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=best_known,
        lower_bound=lower_bound,
        draw=draw,
        policies=POLICIES,
        solvers=SOLVERS,
    )
