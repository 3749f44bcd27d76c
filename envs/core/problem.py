"""The contract of a problem: a batch of deterministic simulators behind plain arrays.

A problem is what a family supplies; :class:`~makespan.envs.core.env.SchedulingEnv`, the vector
environment, rollouts, policies, the trainer and the evaluator all work on this and on nothing else.
Chance lives in the instance, so ``(instance, actions)`` determines everything.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import UsageError
from makespan.envs.core.instance import Instance
from makespan.envs.core.observation import Observation, ObservationSpec
from makespan.envs.core.solution import Solution

InstanceT = TypeVar("InstanceT", bound=Instance)
InstanceT_co = TypeVar("InstanceT_co", bound=Instance, covariant=True)


class Generator(Protocol[InstanceT_co]):
    """A source of random instances."""

    def sample(self, rng: np.random.Generator) -> InstanceT_co:
        """A fresh instance; the same generator state gives the same instance."""


class GrowingGenerator(Generator[InstanceT_co], Protocol[InstanceT_co]):
    """A generator whose sizes can follow a curriculum."""

    def grown(self, progress: float) -> Self:
        """The generator with the high end of each size moved ``progress`` of the way from low."""


class Problem(ABC, Generic[InstanceT]):
    """Steps a batch of instances and writes what may be observed.

    ``state`` is a NamedTuple of arrays with a leading batch axis and belongs to the caller; a
    problem itself holds only sizes and options, so one problem serves any number of states.

    Attributes:
        name: of the problem, e.g. ``"jobshop"``; stored in checkpoints.
        spec: sizes and names of the observation.
    """

    #: Episodes that every row counts as played before, where rewards depend on their number; a
    #: trainer sets it, whose rows are new in each iteration.
    first_episode: int = 0

    name: ClassVar[str]
    spec: ObservationSpec

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: without cached properties, which may be machine code of this process."""
        return {
            name: value
            for name, value in vars(self).items()
            if not isinstance(getattr(type(self), name, None), cached_property)
        }

    @classmethod
    def instance_type(cls) -> type[Instance]:
        """The class of its instances, as the class statement says: ``Problem[Jobs]``."""
        bases = [base for part in cls.__mro__ for base in vars(part).get("__orig_bases__", ())]
        named = [kind for base in bases for kind in get_args(base) if isinstance(kind, type)]
        return named[0] if named else Instance

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The named options that change the physics (e.g. ``decode``), for tables and cards."""

    @abstractmethod
    def allocate(self, batch: int) -> Any:
        """State for ``batch`` instances; every row is unloaded."""

    @abstractmethod
    def fits(self, instance: InstanceT) -> str | None:
        """None when the instance fits the maximum sizes, else a sentence that says why not."""

    @abstractmethod
    def load(self, state: Any, observation: Observation, row: int, instance: InstanceT) -> None:
        """Put ``instance`` into ``row``, at its start, and write the row's whole observation."""

    @abstractmethod
    def step(
        self,
        state: Any,
        observation: Observation,
        actions: NDArray[np.int64],
        rewards: NDArray[np.float64],
        terminated: NDArray[np.bool_],
    ) -> None:
        """Apply one decision per row and refresh the observation, in place.

        Args:
            state: from :meth:`allocate`.
            observation: the arrays that :meth:`load` wrote; only changing keys are touched.
            actions: (batch,) index of a legal candidate, or -1 to leave the row untouched.
                The caller has checked legality.
            rewards: (batch,) written: the change of a bound on the objective divided by the
                instance's scale; 0 for untouched rows.
            terminated: (batch,) written for rows that were stepped: whether the episode ended.
        """

    @abstractmethod
    def solution(self, state: Any, row: int) -> Solution[InstanceT]:
        """The finished row as a solution (a copy)."""

    @abstractmethod
    def worst_case_reward(self, state: Any, row: int) -> float:
        """Reward that ends a row as badly as can be; given when an illegal action ends it."""

    @abstractmethod
    def metrics(self, state: Any, row: int) -> dict[str, float]:
        """Raw figures of a row: at least ``objective`` and ``lower_bound`` (of the whole instance).

        For a row that has not finished, ``objective`` is the current bound. Rewards sum to
        ``(initial_bound - objective) / initial_bound``; ``initial_bound`` may be left out where it
        is the lower bound. (It is an upper bound where a plan is improved step by step.)
        """

    @abstractmethod
    def render(self, state: Any, row: int) -> NDArray[np.uint8]:
        """An (height, width, 3) picture of the row's partial or complete solution."""

    def follow(self, state: Any, row: int, solution: Any) -> int:
        """The legal action of ``row`` that keeps closest to a solution of its instance.

        What learning from a solver needs; a family without it can only learn from policies.

        Raises:
            UsageError: when the problem does not offer it.
        """
        raise UsageError(f"{self.name}: solutions cannot be followed step by step")

    def bind_step(
        self,
        state: Any,
        observation: Observation,
        actions: NDArray[np.int64],
        rewards: NDArray[np.float64],
        terminated: NDArray[np.bool_],
    ) -> Callable[[], None]:
        """:meth:`step` on these arrays, ready to be called again and again."""
        return partial(self.step, state, observation, actions, rewards, terminated)


class FixedInstances(Generic[InstanceT]):
    """A generator that draws from the given instances."""

    def __init__(self, instances: Sequence[InstanceT]) -> None:
        self.instances = list(instances)

    def sample(self, rng: np.random.Generator) -> InstanceT:
        """One of the instances, all equally likely."""
        if len(self.instances) == 1:
            return self.instances[0]
        return self.instances[rng.integers(len(self.instances))]
