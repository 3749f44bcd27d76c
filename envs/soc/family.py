"""The family of streams on a system on chip: environments, and its record for the command lines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from makespan.envs.core.env import SchedulingEnv
from makespan.envs.core.errors import UsageError
from makespan.envs.core.family import Family
from makespan.envs.core.problem import FixedInstances, Generator
from makespan.envs.core.vector_env import SchedulingVectorEnv
from makespan.envs.soc.generator import StreamGenerator
from makespan.envs.soc.instance import StreamInstance
from makespan.envs.soc.kernel import BINDING_MODES, PROCESSOR_MODES
from makespan.envs.soc.problem import StreamProblem

InstanceSource = StreamInstance | Sequence[StreamInstance] | str | Path


def load(source: InstanceSource) -> list[StreamInstance]:
    """Streams from a name (``"ds3-cpu/load-0.5-03"``, ``"toy/Top_1"``), a file, or instances.

    Raises:
        InstanceError: for a broken or missing file.
        UnknownNameError: for a name that is neither known nor a file.
    """
    if isinstance(source, StreamInstance):
        return [source]
    if not isinstance(source, str | Path):
        return list(source)
    from makespan.envs.soc.formats import read_instance
    from makespan.envs.soc.suites import load_instance

    path = Path(source)
    if isinstance(source, Path) or path.suffix == ".json" or path.is_file():
        return [read_instance(path)]
    return [load_instance(source)]


def _parts(
    instance: InstanceSource | None, binding: str, processors: str, options: dict[str, Any]
) -> tuple[StreamProblem, Generator[StreamInstance]]:
    """Problem and source of instances of an environment."""
    if instance is None:
        source = StreamGenerator(**options)
        return StreamProblem(source.largest, binding, processors), source
    if options:
        raise UsageError(f"{', '.join(sorted(options))}: not with a fixed instance")
    instances = load(instance)
    problem = StreamProblem.for_instances(instances, binding, processors)
    return problem, FixedInstances(instances)


def make_env(
    instance: InstanceSource | None = None,
    binding: str = "late",
    processors: str = "distinct",
    observation: Any = "graph",
    illegal_action: Any = "terminate",
    render_mode: str | None = None,
    **options: Any,
) -> SchedulingEnv[StreamInstance]:
    """``makespan/SoC-v0`` as a single environment.

    Args:
        instance: fixed: a name, a file, an instance; or several instances to draw from.
        binding, processors: see :mod:`makespan.envs.soc.kernel`.
        observation, illegal_action, render_mode: see :class:`SchedulingEnv`.
        options: of the generator, e.g. ``platforms=("ds3-cpu",), jobs=(20, 40), cap=0``.
    """
    problem, source = _parts(instance, binding, processors, options)
    return SchedulingEnv(problem, source, observation, illegal_action, render_mode)


def make_vector_env(
    num_envs: int,
    instance: InstanceSource | None = None,
    binding: str = "late",
    processors: str = "distinct",
    observation: Any = "graph",
    illegal_action: Any = "terminate",
    autoreset_mode: Any = "NextStep",
    copy: bool = True,
    render_mode: str | None = None,
    **options: Any,
) -> SchedulingVectorEnv:
    """The same as a native vector environment; arguments as for :func:`make_env`."""
    problem, source = _parts(instance, binding, processors, options)
    return SchedulingVectorEnv(
        num_envs, problem, source, observation, illegal_action, autoreset_mode, copy, render_mode
    )


def _draw(instance: Any, solution: Any, path: Path, **options: Any) -> None:
    from makespan.envs.soc.render import draw  # matplotlib takes a second to import

    draw(instance, solution, path, **options)


def make_problem(
    source: Sequence[StreamInstance] | StreamGenerator,
    binding: str = "late",
    processors: str = "distinct",
) -> StreamProblem:
    """The problem sized for the given streams, or for all that a generator can give."""
    if isinstance(source, StreamGenerator):
        return StreamProblem(source.largest, binding, processors)
    return StreamProblem.for_instances(source, binding, processors)


def make_family() -> Family:
    """The record of the family."""
    from makespan.baselines.soc import POLICIES, SOLVERS
    from makespan.envs.soc.bounds import lower_bound
    from makespan.envs.soc.formats import read_instance, write_solution
    from makespan.envs.soc.metrics import METRICS
    from makespan.envs.soc.platform import PRESETS
    from makespan.envs.soc.suites import SUITES

    return Family(
        name="soc",
        env_ids=("makespan/SoC-v0",),
        make_problem=make_problem,
        problem_options={"binding": BINDING_MODES, "processors": PROCESSOR_MODES},
        generators={
            "soc": StreamGenerator(
                tuple(PRESETS), jobs=(20, 40), load=(0.3, 1.2), noise=(0.0, 0.3), variation=0.3
            )
        },
        suites=SUITES,
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=lambda name: None,
        lower_bound=lower_bound,
        draw=_draw,
        policies=POLICIES,
        solvers=SOLVERS,
        metrics=METRICS,
    )
