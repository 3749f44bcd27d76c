"""Make the environments of a family from instances, or a generator, and named options."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from makespan.envs.core.env import SchedulingEnv
from makespan.envs.core.errors import UsageError
from makespan.envs.core.instance import Instance
from makespan.envs.core.problem import FixedInstances, Generator, Problem
from makespan.envs.core.vector_env import SchedulingVectorEnv

InstanceT = TypeVar("InstanceT", bound=Instance)


def load_instances(
    source: InstanceT | Sequence[InstanceT] | str | Path,
    read: Callable[[Path], InstanceT],
    named: Callable[[str], InstanceT],
) -> list[InstanceT]:
    """Instances from a benchmark name, a file path, an instance, or several.

    Args:
        source: what a person gave.
        read: the instance in a file; raises InstanceError.
        named: the benchmark of that name; raises UnknownNameError.
    """
    if isinstance(source, str):
        path = Path(source)
        looks_like_file = path.suffix or len(path.parts) > 1 or path.is_file()
        return [read(path) if looks_like_file else named(source)]
    if isinstance(source, Path):
        return [read(source)]
    if isinstance(source, Instance):
        return [source]
    return list(source)


@dataclass(frozen=True)
class EnvironmentMaker(Generic[InstanceT]):
    """What an environment id of a family stands for.

    Attributes:
        make_problem: ``make_problem(generator or instances, **options of the problem)``.
        make_generator: ``make_generator(**its options)``: random instances.
        load: instances from whatever a person may give, see :func:`load_instances`.
        problem_options: names of the options of the problem; all others are the generator's.
    """

    make_problem: Callable[..., Problem[InstanceT]]
    make_generator: Callable[..., Generator[InstanceT]]
    load: Callable[[Any], list[InstanceT]]
    problem_options: Sequence[str]

    def env(
        self,
        instance: Any = None,
        observation: Any = "graph",
        illegal_action: Any = "terminate",
        render_mode: str | None = None,
        **options: Any,
    ) -> SchedulingEnv[InstanceT]:
        """The single environment.

        Args:
            instance: fixed: a benchmark name, a file, an instance; or several instances to draw
                from. None: random ones.
            observation, illegal_action, render_mode: see :class:`SchedulingEnv`.
            options: of the problem, and without a fixed instance also of the generator.

        Raises:
            UsageError: for an option of the generator with a fixed instance.
        """
        problem, source = self._parts(instance, options)
        return SchedulingEnv(problem, source, observation, illegal_action, render_mode)

    def vector_env(
        self,
        num_envs: int,
        instance: Any = None,
        observation: Any = "graph",
        illegal_action: Any = "terminate",
        autoreset_mode: Any = "NextStep",
        copy: bool = True,
        render_mode: str | None = None,
        **options: Any,
    ) -> SchedulingVectorEnv:
        """The same as a native vector environment; arguments as for :meth:`env`."""
        problem, source = self._parts(instance, options)
        return SchedulingVectorEnv(
            num_envs,
            problem,
            source,
            observation,
            illegal_action,
            autoreset_mode,
            copy,
            render_mode,
        )

    def _parts(
        self, instance: Any, options: dict[str, Any]
    ) -> tuple[Problem[InstanceT], Generator[InstanceT]]:
        """Problem and source of instances."""
        physics = {name: options.pop(name) for name in self.problem_options if name in options}
        if instance is None:
            generator = self.make_generator(**options)
            return self.make_problem(generator, **physics), generator
        if options:
            raise UsageError(f"{', '.join(sorted(options))}: not with a fixed instance")
        instances = self.load(instance)
        return self.make_problem(instances, **physics), FixedInstances(instances)
