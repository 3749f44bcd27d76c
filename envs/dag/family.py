"""The family of task graphs: its environments, and its record for the command lines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from makespan.envs.core.env import SchedulingEnv
from makespan.envs.core.errors import UsageError
from makespan.envs.core.family import Family
from makespan.envs.core.problem import FixedInstances, Generator
from makespan.envs.core.vector_env import SchedulingVectorEnv
from makespan.envs.dag.generator import LayeredGenerator, StructuredGenerator
from makespan.envs.dag.instance import TaskGraphInstance
from makespan.envs.dag.problem import OPTIONS, DagProblem

InstanceSource = TaskGraphInstance | Sequence[TaskGraphInstance] | str | Path
GENERATORS = (LayeredGenerator, StructuredGenerator)


def load(source: InstanceSource) -> list[TaskGraphInstance]:
    """Instances from a name (``"heft-2002"``), a file path, an instance, or several.

    Raises:
        InstanceError: for a broken or missing file.
        UnknownNameError: for a name that is neither known nor a file.
    """
    if isinstance(source, TaskGraphInstance):
        return [source]
    if not isinstance(source, str | Path):
        return list(source)
    from makespan.envs.dag.formats import read_instance
    from makespan.envs.dag.suites import load_instance

    path = Path(source)
    looks_like_file = path.suffix or len(path.parts) > 1 or path.is_file()
    if isinstance(source, Path) or looks_like_file:
        return [read_instance(path)]
    return [load_instance(source)]


def _parts(
    generator: Generator[TaskGraphInstance] | None,
    instance: InstanceSource | None,
    options: dict[str, Any],
) -> tuple[DagProblem, Generator[TaskGraphInstance]]:
    """Problem and source of instances of an environment."""
    modes = {name: options.pop(name) for name in OPTIONS if name in options}
    if instance is None:
        source = LayeredGenerator(**options) if generator is None else generator
        if options and generator is not None:
            raise UsageError(f"{', '.join(sorted(options))}: not with a generator")
        return make_problem(source, **modes), source  # type: ignore[arg-type]
    if options or generator is not None:
        given = [*options, *(["generator"] if generator is not None else [])]
        raise UsageError(f"{', '.join(sorted(given))}: not with a fixed instance")
    instances = load(instance)
    return DagProblem.for_instances(instances, **modes), FixedInstances(instances)


def make_env(
    instance: InstanceSource | None = None,
    generator: Generator[TaskGraphInstance] | None = None,
    observation: Any = "graph",
    illegal_action: Any = "terminate",
    render_mode: str | None = None,
    **options: Any,
) -> SchedulingEnv[TaskGraphInstance]:
    """``makespan/DagScheduling-v0`` as a single environment.

    Args:
        instance: fixed: a name, a file, an instance; or several instances to draw from.
        generator: of random instances; None: a :class:`LayeredGenerator`.
        observation, illegal_action, render_mode: see :class:`SchedulingEnv`.
        options: of the problem (``actions``, ``placement``, ``dispatch``, ``lookahead``), and of
            the layered generator, e.g. ``tasks=(10, 40), processors=4``.
    """
    problem, source = _parts(generator, instance, options)
    return SchedulingEnv(problem, source, observation, illegal_action, render_mode)


def make_vector_env(
    num_envs: int,
    instance: InstanceSource | None = None,
    generator: Generator[TaskGraphInstance] | None = None,
    observation: Any = "graph",
    illegal_action: Any = "terminate",
    autoreset_mode: Any = "NextStep",
    copy: bool = True,
    render_mode: str | None = None,
    **options: Any,
) -> SchedulingVectorEnv:
    """The same as a native vector environment; arguments as for :func:`make_env`."""
    problem, source = _parts(generator, instance, options)
    return SchedulingVectorEnv(
        num_envs, problem, source, observation, illegal_action, autoreset_mode, copy, render_mode
    )


def _draw(instance: Any, solution: Any, path: Path, **options: Any) -> None:
    from makespan.envs.dag.render import draw  # matplotlib takes a second to import

    draw(instance, solution, path, **options)


def make_problem(
    source: Sequence[TaskGraphInstance] | LayeredGenerator | StructuredGenerator, **modes: str
) -> DagProblem:
    """The problem sized for the given instances, or for all that a generator can give."""
    if isinstance(source, GENERATORS):
        return DagProblem(source.largest, **modes)
    return DagProblem.for_instances(source, **modes)


def make_family() -> Family:
    """The record of the family of task graphs."""
    from makespan.baselines.dag import POLICIES, SOLVERS
    from makespan.envs.dag.bounds import (
        best_known,
        longest_span,
        lower_bound,
        schedule_length_ratio,
    )
    from makespan.envs.dag.formats import read_instance, write_solution
    from makespan.envs.dag.suites import SUITES

    return Family(
        name="dag",
        env_ids=("makespan/DagScheduling-v0",),
        make_problem=make_problem,
        problem_options=OPTIONS,
        generators={
            "dag": LayeredGenerator(),
            "structured-dag": StructuredGenerator(size=(3, 4)),
        },
        suites=SUITES,
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=best_known,
        lower_bound=lower_bound,
        draw=_draw,
        policies=POLICIES,
        solvers=SOLVERS,
        metrics={"SLR": schedule_length_ratio, "longest span": longest_span},
    )
