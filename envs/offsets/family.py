"""The offset-allocation family: its environment, and its record for the command lines."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from makespan.envs.core.env import SchedulingEnv
from makespan.envs.core.errors import UsageError
from makespan.envs.core.family import Family, Source
from makespan.envs.core.problem import FixedInstances, Generator
from makespan.envs.core.vector_env import SchedulingVectorEnv
from makespan.envs.offsets.generator import OffsetGenerator
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.kernel import DECODE_MODES
from makespan.envs.offsets.problem import OffsetProblem

InstanceSource = OffsetInstance | Sequence[OffsetInstance] | str | Path


def load(source: InstanceSource) -> list[OffsetInstance]:
    """Instances from a suite's instance (``"cuts-3"``), a file path, an instance, or several.

    Raises:
        InstanceError: for a broken or missing file.
        UnknownNameError: for a name that is neither an instance nor a file.
    """
    if isinstance(source, OffsetInstance):
        return [source]
    if not isinstance(source, str | Path):
        return list(source)
    from makespan.envs.offsets.formats import read_instance
    from makespan.envs.offsets.suites import load_instance

    if isinstance(source, Path):
        return [read_instance(source)]
    path = Path(source)
    looks_like_file = path.suffix or len(path.parts) > 1 or path.is_file()
    return [read_instance(path) if looks_like_file else load_instance(source)]


def _parts(
    instance: InstanceSource | None, decode: str, capacity: int | None, options: dict[str, Any]
) -> tuple[OffsetProblem, Generator[OffsetInstance]]:
    """Problem and source of instances of an environment."""
    if instance is None:
        if capacity is not None:
            raise UsageError("capacity: only with a fixed instance")
        source = OffsetGenerator(**options)
        return OffsetProblem(source.largest, decode), source
    if options:
        raise UsageError(f"{', '.join(sorted(options))}: not with a fixed instance")
    instances = load(instance)
    if capacity is not None:
        instances = [replace(one, capacity=capacity) for one in instances]
    return OffsetProblem.for_instances(instances, decode), FixedInstances(instances)


def make_env(
    instance: InstanceSource | None = None,
    decode: str = "active",
    capacity: int | None = None,
    observation: Any = "graph",
    illegal_action: Any = "terminate",
    render_mode: str | None = None,
    **options: Any,
) -> SchedulingEnv[OffsetInstance]:
    """``makespan/OffsetAllocation-v0`` as a single environment.

    Args:
        instance: fixed: a suite's instance, a file, an instance; or several instances to draw from.
        decode: which buffers may be placed next and where, see
            :mod:`makespan.envs.offsets.kernel`.
        capacity: of the memory, for fixed instances: a peak within it is as good as can be.
        observation, illegal_action, render_mode: see :class:`SchedulingEnv`.
        options: of the generator, e.g. ``buffers=(100, 200), structure="cuts"``.
    """
    problem, source = _parts(instance, decode, capacity, options)
    return SchedulingEnv(problem, source, observation, illegal_action, render_mode)


def make_vector_env(
    num_envs: int,
    instance: InstanceSource | None = None,
    decode: str = "active",
    capacity: int | None = None,
    observation: Any = "graph",
    illegal_action: Any = "terminate",
    autoreset_mode: Any = "NextStep",
    copy: bool = True,
    render_mode: str | None = None,
    **options: Any,
) -> SchedulingVectorEnv:
    """The same as a native vector environment; arguments as for :func:`make_env`."""
    problem, source = _parts(instance, decode, capacity, options)
    return SchedulingVectorEnv(
        num_envs, problem, source, observation, illegal_action, autoreset_mode, copy, render_mode
    )


def _draw(instance: Any, solution: Any, path: Path, **options: Any) -> None:
    from makespan.envs.offsets.render import draw  # matplotlib takes a second to import

    draw(instance, solution, path, **options)


def make_problem(
    source: Sequence[OffsetInstance] | OffsetGenerator, decode: str = "active"
) -> OffsetProblem:
    """The problem sized for the given instances, or for all that a generator can give."""
    if isinstance(source, OffsetGenerator):
        return OffsetProblem(source.largest, decode)
    return OffsetProblem.for_instances(source, decode)


def _read_with_capacity(text: str) -> list[OffsetInstance]:
    """The instance of ``"BYTES:FILE"``."""
    from makespan.envs.offsets.formats import read_instance

    capacity, colon, path = text.partition(":")
    if not colon or not capacity.isdecimal() or len(capacity) > 18 or not int(capacity):
        raise UsageError(f"--fit: found {text!r}, expected BYTES:FILE, e.g. 1048576:buffers.csv")
    return [read_instance(path, capacity=int(capacity))]


def make_family() -> Family:
    """The record of the offset-allocation family."""
    from makespan.baselines.offsets import POLICIES, SOLVERS
    from makespan.envs.offsets.bounds import best_known, lower_bound
    from makespan.envs.offsets.formats import read_instance, write_solution
    from makespan.envs.offsets.suites import SUITES

    return Family(
        name="offsets",
        env_ids=("makespan/OffsetAllocation-v0",),
        make_problem=make_problem,
        problem_options={"decode": DECODE_MODES},
        generators={"offsets": OffsetGenerator(buffers=(100, 200))},
        suites=SUITES,
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=best_known,
        lower_bound=lower_bound,
        draw=_draw,
        policies=POLICIES,
        solvers=SOLVERS,
        metrics={
            "peak (bytes)": lambda instance, solution: float(solution.peak(instance)),
            "peak / load": lambda instance, solution: solution.peak(instance) / instance.max_load,
        },
        sources={
            "fit": Source(
                "BYTES:FILE",
                "Your own instance and the capacity of its memory: a peak within it is optimal.",
                _read_with_capacity,
            )
        },
    )
