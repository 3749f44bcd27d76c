"""The job-shop family: its environments, and its record for the command lines."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from makespan.envs.core.env import SchedulingEnv
from makespan.envs.core.errors import UsageError
from makespan.envs.core.family import Family
from makespan.envs.core.problem import FixedInstances, Generator
from makespan.envs.core.vector_env import SchedulingVectorEnv
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
    if isinstance(source, JobShopInstance):
        return [source]
    if not isinstance(source, str | Path):
        return list(source)
    from makespan.envs.jobshop.formats import read_instance
    from makespan.envs.jobshop.suites import load_instance

    if isinstance(source, Path):
        return [read_instance(source)]
    path = Path(source)
    looks_like_file = path.suffix or len(path.parts) > 1 or path.is_file()
    return [read_instance(path) if looks_like_file else load_instance(source)]


def _parts(
    generator: type[JobShopGenerator] | type[FlexibleJobShopGenerator],
    instance: InstanceSource | None,
    decode: str,
    lookahead: str,
    options: dict[str, Any],
) -> tuple[JobShopProblem, Generator[JobShopInstance]]:
    """Problem and source of instances of an environment."""
    if instance is None:
        source = generator(**{"jobs": 10, "machines": 10, **options})
        return JobShopProblem(source.largest, decode, lookahead), source
    if options:
        raise UsageError(f"{', '.join(sorted(options))}: not with a fixed instance")
    instances = load(instance)
    return JobShopProblem.for_instances(instances, decode, lookahead), FixedInstances(instances)


def make_env(
    generator: type[JobShopGenerator] | type[FlexibleJobShopGenerator] = JobShopGenerator,
    instance: InstanceSource | None = None,
    decode: str = "active",
    lookahead: str = "none",
    observation: Any = "graph",
    illegal_action: Any = "terminate",
    render_mode: str | None = None,
    **options: Any,
) -> SchedulingEnv[JobShopInstance]:
    """``makespan/JobShop-v0`` and ``makespan/FlexibleJobShop-v0`` as single environments.

    Args:
        generator: of random instances, used when ``instance`` is None.
        instance: fixed: a benchmark name, a file, an instance; or several instances to draw from.
        decode: schedule-generation scheme, see :mod:`makespan.envs.jobshop.kernel`.
        lookahead: trial schedules as features, see :mod:`makespan.envs.jobshop.kernel`.
        observation, illegal_action, render_mode: see :class:`SchedulingEnv`.
        options: of the generator, e.g. ``jobs=(6, 15), machines=10, durations=(1, 99)``.
    """
    problem, source = _parts(generator, instance, decode, lookahead, options)
    return SchedulingEnv(problem, source, observation, illegal_action, render_mode)


def make_vector_env(
    num_envs: int,
    generator: type[JobShopGenerator] | type[FlexibleJobShopGenerator] = JobShopGenerator,
    instance: InstanceSource | None = None,
    decode: str = "active",
    lookahead: str = "none",
    observation: Any = "graph",
    illegal_action: Any = "terminate",
    autoreset_mode: Any = "NextStep",
    copy: bool = True,
    render_mode: str | None = None,
    **options: Any,
) -> SchedulingVectorEnv:
    """The same as native vector environments; arguments as for :func:`make_env`."""
    problem, source = _parts(generator, instance, decode, lookahead, options)
    return SchedulingVectorEnv(
        num_envs, problem, source, observation, illegal_action, autoreset_mode, copy, render_mode
    )


make_flexible_env = partial(make_env, FlexibleJobShopGenerator)


def make_flexible_vector_env(num_envs: int, **options: Any) -> SchedulingVectorEnv:
    """``makespan/FlexibleJobShop-v0`` as a native vector environment."""
    return make_vector_env(num_envs, FlexibleJobShopGenerator, **options)


def _draw(instance: Any, solution: Any, path: Path, **options: Any) -> None:
    from makespan.envs.jobshop.render import draw  # matplotlib takes a second to import

    draw(instance, solution, path, **options)


def make_problem(
    source: Sequence[JobShopInstance] | JobShopGenerator | FlexibleJobShopGenerator,
    decode: str = "active",
    lookahead: str = "none",
) -> JobShopProblem:
    """The problem sized for the given instances, or for all that a generator can give."""
    if isinstance(source, JobShopGenerator | FlexibleJobShopGenerator):
        return JobShopProblem(source.largest, decode, lookahead)
    return JobShopProblem.for_instances(source, decode, lookahead)


def make_family() -> Family:
    """The record of the job-shop family."""
    from makespan.baselines.jobshop import POLICIES, SOLVERS
    from makespan.envs.jobshop.bounds import best_known, lower_bound
    from makespan.envs.jobshop.formats import read_instance, write_solution
    from makespan.envs.jobshop.suites import SUITES

    return Family(
        name="jobshop",
        env_ids=("makespan/JobShop-v0", "makespan/FlexibleJobShop-v0"),
        make_problem=make_problem,
        problem_options={
            "decode": ("active", *(m for m in DECODE_MODES if m != "active")),
            "lookahead": LOOKAHEAD_MODES,
        },
        generators={
            "jobshop": JobShopGenerator(jobs=(10, 20), machines=10),
            "flexible-jobshop": FlexibleJobShopGenerator(jobs=(10, 20), machines=(5, 10)),
        },
        suites=SUITES,
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=best_known,
        lower_bound=lower_bound,
        draw=_draw,
        policies=POLICIES,
        solvers=SOLVERS,
    )
