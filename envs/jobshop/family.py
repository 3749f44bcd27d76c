"""The job-shop family: its environments, and its record for the command lines."""

from collections.abc import Sequence
from pathlib import Path

from makespan.envs.core.entry_points import EntryPoints, load_instances
from makespan.envs.core.family import Family
from makespan.envs.jobshop.generator import FlexibleJobShopGenerator, JobShopGenerator
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.kernel import DECODE_MODES, LOOKAHEAD_MODES
from makespan.envs.jobshop.problem import JobShopProblem

InstanceSource = JobShopInstance | Sequence[JobShopInstance] | str | Path


def load(source: InstanceSource) -> list[JobShopInstance]:
    """Instances from a benchmark name (``"ta01"``), a file path, an instance, or several.

    Raises:
        InstanceError: for a broken or missing file.
        UnknownNameError: for a name that is neither a benchmark nor a file.
    """
    from makespan.envs.jobshop.formats import read_instance
    from makespan.envs.jobshop.suites import load_instance

    return load_instances(source, JobShopInstance, read_instance, load_instance)


def make_problem(
    source: Sequence[JobShopInstance] | JobShopGenerator | FlexibleJobShopGenerator,
    decode: str = "active",
    lookahead: str = "none",
) -> JobShopProblem:
    """The problem sized for the given instances, or for all that a generator can give."""
    if isinstance(source, JobShopGenerator | FlexibleJobShopGenerator):
        return JobShopProblem(source.largest, decode, lookahead)
    return JobShopProblem.for_instances(source, decode, lookahead)


_OPTIONS: dict[str, tuple[str, ...]] = {
    "decode": ("active", *(mode for mode in DECODE_MODES if mode != "active")),
    "lookahead": LOOKAHEAD_MODES,
}
_SIZES = {"jobs": 10, "machines": 10}
_ENTRY = EntryPoints(load, JobShopGenerator, make_problem, _OPTIONS, _SIZES)
_FLEXIBLE_ENTRY = EntryPoints(load, FlexibleJobShopGenerator, make_problem, _OPTIONS, _SIZES)
make_env, make_vector_env = _ENTRY.make_env, _ENTRY.make_vector_env
make_flexible_env = _FLEXIBLE_ENTRY.make_env
make_flexible_vector_env = _FLEXIBLE_ENTRY.make_vector_env


def make_family() -> Family:
    """The record of the job-shop family."""
    from makespan.baselines.jobshop import POLICIES, SOLVERS
    from makespan.envs.jobshop.bounds import best_known, lower_bound
    from makespan.envs.jobshop.formats import read_instance, write_solution
    from makespan.envs.jobshop.render import draw
    from makespan.envs.jobshop.suites import SUITES

    return Family(
        name="jobshop",
        env_ids=("makespan/JobShop-v0", "makespan/FlexibleJobShop-v0"),
        make_problem=make_problem,
        problem_options=_OPTIONS,
        generators={
            "jobshop": JobShopGenerator(jobs=(10, 20), machines=10),
            "flexible-jobshop": FlexibleJobShopGenerator(jobs=(10, 20), machines=(5, 10)),
        },
        suites=SUITES,
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=best_known,
        lower_bound=lower_bound,
        draw=draw,
        policies=POLICIES,
        solvers=SOLVERS,
    )
