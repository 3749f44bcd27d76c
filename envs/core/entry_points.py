"""What ``gymnasium.make`` and ``gymnasium.make_vec`` call: the same for every family."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from makespan.envs.core.env import SchedulingEnv
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.problem import FixedInstances, Generator, Problem
from makespan.envs.core.vector_env import SchedulingVectorEnv

InstanceT = TypeVar("InstanceT")


def load_instances(
    source: InstanceT | str | Path | Sequence[InstanceT | str | Path],
    kind: type[InstanceT],
    read_instance: Callable[[Path], InstanceT],
    load_instance: Callable[[str], InstanceT],
) -> list[InstanceT]:
    """Instances from a name, a file, an instance, or several of these.

    A text is a file when there is such a file or when it ends like one (``.json``).

    Args:
        source: what to load.
        kind: class of the instances.
        read_instance: reads a file; raises InstanceError for a broken or missing one.
        load_instance: knows the names; raises UnknownNameError for another.

    Raises:
        UsageError: for anything else.
    """
    if isinstance(source, kind):
        return [source]
    if isinstance(source, str | Path):
        path = Path(source)
        is_file = isinstance(source, Path) or path.suffix[1:].isalpha() or path.is_file()
        return [read_instance(path) if is_file else load_instance(str(source))]
    if not isinstance(source, Iterable):
        raise UsageError(
            f"instance: found {source!r}, expected a name, a file, a {kind.__name__}, or several"
        )
    parts = [load_instances(part, kind, read_instance, load_instance) for part in source]
    return [instance for part in parts for instance in part]


@dataclass(frozen=True)
class EntryPoints:
    """Makers of the environments of one id.

    Attributes:
        load: instances from a name, a file, an instance, or several; with what is given of
            ``instance_options``.
        generator: a dataclass whose instances draw random instances.
        make_problem: ``make_problem(source, **options)``, see :class:`Family`.
        problem_options: names of the options of the problem.
        defaults: of the generator's fields, where they differ from its own.
        instance_options: names of options that change given instances.
    """

    load: Callable[..., list[Any]]
    generator: Any
    make_problem: Callable[..., Problem[Any]]
    problem_options: Collection[str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    instance_options: Collection[str] = ()

    def make_env(
        self,
        instance: Any = None,
        *,
        observation: Any = "graph",
        illegal_action: Any = "terminate",
        render_mode: str | None = None,
        **options: Any,
    ) -> SchedulingEnv[Any]:
        """A single environment.

        Args:
            instance: fixed: a name, a file, an instance; or several of these to draw from. None:
                random.
            observation, illegal_action, render_mode: see :class:`SchedulingEnv`.
            options: of the problem; for random instances fields of the family's generator, or
                ``generator``, an object that draws them.

        Raises:
            UnknownNameError: for an option or a name that does not exist.
            UsageError: for options that exclude each other.
            InstanceError: for a broken or missing file.
        """
        problem, source = self._parts(instance, **options)
        return SchedulingEnv(problem, source, observation, illegal_action, render_mode)

    def make_vector_env(
        self,
        num_envs: int,
        instance: Any = None,
        *,
        observation: Any = "graph",
        illegal_action: Any = "terminate",
        autoreset_mode: Any = "NextStep",
        copy: bool = True,
        render_mode: str | None = None,
        **options: Any,
    ) -> SchedulingVectorEnv:
        """The same as a native vector environment, see :class:`SchedulingVectorEnv`."""
        problem, source = self._parts(instance, **options)
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
        self, instance: Any, generator: Generator[Any] | None = None, **options: Any
    ) -> tuple[Problem[Any], Generator[Any]]:
        """Problem and source of instances."""
        modes = {name: options.pop(name) for name in self.problem_options if name in options}
        if instance is None:
            source = self._generator(generator, options)
            return self.make_problem(source, **modes), source
        change = {name: options.pop(name) for name in self.instance_options if name in options}
        self._check_unused(options)
        if options or generator is not None:
            given = sorted(options) or ["generator"]
            raise UsageError(f"{', '.join(given)}: not with a fixed instance")
        instances = self.load(instance, **change)
        return self.make_problem(instances, **modes), FixedInstances(instances)

    def _generator(
        self, generator: Generator[Any] | None, options: dict[str, Any]
    ) -> Generator[Any]:
        self._check_unused(options)
        for name in options:
            if name in self.instance_options and name not in self._fields:
                raise UsageError(f"{name}: only with a fixed instance")
        if generator is None:
            made: Generator[Any] = self.generator(**{**self.defaults, **options})
            return made
        if options:
            raise UsageError(f"{', '.join(sorted(options))}: not with a generator")
        return generator

    @property
    def _fields(self) -> list[str]:
        return [entry.name for entry in fields(self.generator)]

    def _check_unused(self, options: dict[str, Any]) -> None:
        """Raise UnknownNameError for an option that nothing knows."""
        known = [*self.problem_options, *self.instance_options, *self._fields]
        for name in options:
            if name not in known:
                raise UnknownNameError("option", name, ["instance", "generator", *known])
