"""The memory-mapping family: its environment, and its record for the command lines."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium

from makespan.envs.core.env import SchedulingEnv
from makespan.envs.core.errors import UsageError
from makespan.envs.core.family import Family, Source
from makespan.envs.core.problem import FixedInstances, Generator
from makespan.envs.core.vector_env import SchedulingVectorEnv
from makespan.envs.memory.generator import MemoryGenerator
from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.problem import OPTIONS, MemoryProblem

InstanceSource = MemoryInstance | Sequence[MemoryInstance] | str | Path


def load(source: InstanceSource) -> list[MemoryInstance]:
    """Instances from a benchmark name, a file path, an instance, or several.

    Raises:
        InstanceError: for a broken or missing file.
        UnknownNameError: for a name that is neither a benchmark nor a file.
    """
    if isinstance(source, MemoryInstance):
        return [source]
    if not isinstance(source, str | Path):
        return list(source)
    from makespan.envs.memory.formats import read_instance
    from makespan.envs.memory.suites import load_instance

    path = Path(source)
    looks_like_file = path.suffix or len(path.parts) > 1 or path.is_file()
    if isinstance(source, Path) or looks_like_file:
        return [read_instance(path)]
    return [load_instance(source)]


def _parts(
    instance: InstanceSource | None, options: dict[str, Any]
) -> tuple[MemoryProblem, Generator[MemoryInstance]]:
    """Problem and source of instances of an environment."""
    physics = {name: options.pop(name) for name in OPTIONS if name in options}
    if instance is None:
        generator = MemoryGenerator(**options)
        return MemoryProblem(generator.largest, **physics), generator
    copy_model = options.pop("copy_model", None)
    if options:
        raise UsageError(f"{', '.join(sorted(options))}: not with a fixed instance")
    instances = load(instance)
    if copy_model is not None:
        instances = [replace(given, copy_model=copy_model) for given in instances]
    return MemoryProblem.for_instances(instances, **physics), FixedInstances(instances)


def make_env(
    instance: InstanceSource | None = None,
    observation: Any = "graph",
    illegal_action: Any = "terminate",
    render_mode: str | None = None,
    image: tuple[int, int] | None = None,
    **options: Any,
) -> gymnasium.Env[Any, Any]:
    """``makespan/MemoryMapping-v0`` as a single environment.

    Args:
        instance: fixed: a benchmark name, a file, an instance; or several instances to draw from.
            None: random programs.
        observation, illegal_action, render_mode: see :class:`SchedulingEnv`.
        image: height and width of an occupancy image that is added to the observation, see
            :class:`~makespan.envs.memory.image.OccupancyImage`.
        options: ``copy_model``; ``placement``, ``lookahead``, ``copy_start``, ``strict`` of the
            game, see :mod:`makespan.envs.memory.kernel`; without a fixed instance also those of
            :class:`MemoryGenerator`, e.g. ``instructions=(20, 60), structure="unet"``.
    """
    problem, source = _parts(instance, options)
    env = SchedulingEnv(problem, source, observation, illegal_action, render_mode)
    if image is None:
        return env
    from makespan.envs.memory.image import OccupancyImage

    return OccupancyImage(env, image)


def make_vector_env(
    num_envs: int,
    instance: InstanceSource | None = None,
    observation: Any = "graph",
    illegal_action: Any = "terminate",
    autoreset_mode: Any = "NextStep",
    copy: bool = True,
    render_mode: str | None = None,
    **options: Any,
) -> SchedulingVectorEnv:
    """The same as a native vector environment; arguments as for :func:`make_env`."""
    problem, source = _parts(instance, options)
    return SchedulingVectorEnv(
        num_envs, problem, source, observation, illegal_action, autoreset_mode, copy, render_mode
    )


def make_problem(
    source: Sequence[MemoryInstance] | MemoryGenerator, **options: str
) -> MemoryProblem:
    """The problem sized for the given instances, or for all that a generator can give."""
    if isinstance(source, Sequence):
        return MemoryProblem.for_instances(source, **options)
    return MemoryProblem(source.largest, **options)


def _draw(instance: Any, solution: Any, path: Path, **options: Any) -> None:
    from makespan.envs.memory.render import draw  # matplotlib takes a second to import

    draw(instance, solution, path, **options)


def _from_module(text: str, training: bool = False) -> list[MemoryInstance]:
    """Instances of ``package.module:factory``, ``...@hardware`` or ``...@hardware-percent``."""
    from makespan.envs.memory.suites import CAPACITY_SHARES, SUITE_HARDWARE, split_name
    from makespan.envs.memory.trace import load_factory, trace_module

    target, hardware, share = split_name(text)
    module, arguments = load_factory(target)
    name = target.rpartition(":")[2] + ("-train" if training else "")
    program = trace_module(module, arguments, training=training, name=name)
    shares = CAPACITY_SHARES if share is None else (share,)
    return [program.on(hardware or SUITE_HARDWARE, share) for share in shares]


def make_family() -> Family:
    """The record of the memory-mapping family."""
    from makespan.baselines.memory import POLICIES, SOLVERS
    from makespan.envs.memory.bounds import best_known, lower_bound
    from makespan.envs.memory.formats import read_instance, write_solution
    from makespan.envs.memory.suites import SUITES

    return Family(
        name="memory",
        env_ids=("makespan/MemoryMapping-v0",),
        make_problem=make_problem,
        problem_options=OPTIONS,
        generators={"memory": MemoryGenerator()},
        suites=SUITES,
        read_instance=read_instance,
        write_solution=write_solution,
        best_known=best_known,
        lower_bound=lower_bound,
        draw=_draw,
        policies=POLICIES,
        solvers=SOLVERS,
        metrics={
            "all slow": lambda instance, plan: float(instance.all_slow),
            "static": lambda instance, plan: float(plan.latency(instance, "static")),
            "dynamic": lambda instance, plan: float(plan.latency(instance, "dynamic")),
        },
        sources={
            "module": Source(
                "PACKAGE.MODULE:FACTORY[@HARDWARE[-PERCENT]]",
                "A function that returns a torch module and a tuple of example inputs; capacity in "
                "percent of the maximum load.",
                _from_module,
            ),
            "training_module": Source(
                "PACKAGE.MODULE:FACTORY[@HARDWARE[-PERCENT]]",
                "The same with the gradients of the mean of its outputs.",
                partial(_from_module, training=True),
            ),
        },
    )
