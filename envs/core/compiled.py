"""Call numba kernels with little overhead."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar, Self, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.core.instance import Instance
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem

InstanceT = TypeVar("InstanceT", bound=Instance)


class CompiledProblem(Problem[InstanceT]):
    """A problem whose step is a numba kernel, in one version for a thread and one for several.

    Both are called with state, observation, actions, rewards, terminated and the constants.

    Attributes:
        kernels: the step, and the step with rows shared among threads.
        parallel_rows: rows from which threads are used; below, launching them costs more than it
            saves.
        largest: sizes to which all instances are padded, a named tuple.
        constants: what else the kernels are given, of the same types for all problems of a class.
    """

    kernels: ClassVar[tuple[Any, Any]]
    parallel_rows: ClassVar[int]
    largest: Any
    constants: tuple[Any, ...]

    @classmethod
    def for_instances(cls, instances: Sequence[InstanceT], *arguments: Any, **options: Any) -> Self:
        """The smallest problem that holds all ``instances``; raises UsageError for none.

        Args:
            instances: at least one.
            arguments, options: of the class, after the sizes.
        """
        if not instances:
            raise UsageError("instances: found none, expected at least one")
        extents = [cls.extent(instance) for instance in instances]
        sizes = np.max(extents, axis=0).tolist()
        return cls(extents[0]._make(sizes), *arguments, **options)  # type: ignore[call-arg]

    @staticmethod
    def extent(instance: Any) -> Any:
        """Sizes of an instance, in the named tuple of ``largest``."""
        return instance.sizes

    def fits(self, instance: InstanceT) -> str | None:
        """None when the instance fits, else what is too large."""
        extent = self.extent(instance)
        for what, found, limit in zip(extent._fields, extent, self.largest, strict=True):
            if found > limit:
                return f"{instance.name}: {found} {what}, the problem was made for {limit}"
        return None

    def check_fits(self, instance: InstanceT) -> None:
        """Raise InstanceError when the instance is too large."""
        problem = self.fits(instance)
        if problem is not None:
            raise InstanceError(problem)

    def step(
        self,
        state: Any,
        observation: Observation,
        actions: NDArray[np.int64],
        rewards: NDArray[np.float64],
        terminated: NDArray[np.bool_],
    ) -> None:
        """One decision per row, see :meth:`Problem.step`."""
        self.bind_step(state, observation, actions, rewards, terminated)()

    def bind_step(
        self,
        state: Any,
        observation: Observation,
        actions: NDArray[np.int64],
        rewards: NDArray[np.float64],
        terminated: NDArray[np.bool_],
    ) -> Callable[[], None]:
        """:meth:`step` on these arrays, in threads when there are rows enough to pay for them."""
        check_step_arrays(len(state[0]), actions, rewards, terminated)
        parallel = len(actions) >= self.parallel_rows and numba.get_num_threads() > 1
        step = self._parallel_step if parallel else self._serial_step
        return partial(step, state, observation, actions, rewards, terminated, *self.constants)

    @cached_property
    def _serial_step(self) -> Callable[..., None]:
        return self._compiled(self.kernels[0])

    @cached_property
    def _parallel_step(self) -> Callable[..., None]:
        return self._compiled(self.kernels[1])

    def _compiled(self, step: Any) -> Callable[..., None]:
        return entry_point(
            step,
            self.allocate(1),
            self.spec.allocate(1),
            np.zeros(1, dtype=np.int64),
            np.zeros(1),
            np.zeros(1, dtype=np.bool_),
            *self.constants,
        )


def mode_index(option: str, mode: str, modes: Sequence[str]) -> int:
    """The number by which a kernel knows a mode; raises UnknownNameError for none of ``modes``."""
    if mode not in modes:
        raise UnknownNameError(f"{option} mode", mode, modes)
    return modes.index(mode)


def entry_point(kernel: Any, *arguments: Any) -> Callable[..., Any]:
    """The machine code of ``kernel`` for the types of ``arguments``, compiled now if need be.

    Calling a numba dispatcher looks up the types of all arguments each time, which for tuples of
    many arrays takes longer than a simulator step. The caller promises to pass the same types.
    """
    signature = tuple(kernel.typeof_pyval(argument) for argument in arguments)
    kernel.compile(signature)
    return kernel.overloads[signature].entry_point  # type: ignore[no-any-return]


def check_step_arrays(
    rows: int,
    actions: NDArray[np.int64],
    rewards: NDArray[np.float64],
    terminated: NDArray[np.bool_],
) -> None:
    """Raise UsageError unless these are what a compiled step expects: it would not notice."""
    for name, array, dtype in (
        ("actions", actions, np.int64),
        ("rewards", rewards, np.float64),
        ("terminated", terminated, np.bool_),
    ):
        if array.dtype != dtype or array.shape != (rows,) or not array.flags.c_contiguous:
            layout = "contiguous" if array.flags.c_contiguous else "strided"
            raise UsageError(
                f"{name}: found {array.dtype} {array.shape}, {layout}; "
                f"expected {np.dtype(dtype)} ({rows},), contiguous"
            )
