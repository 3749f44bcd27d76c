"""Run a policy over instances: what turns a policy into a solver.

Decisions with a single legal candidate are taken without asking the policy.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import UsageError
from makespan.envs.core.instance import Instance
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.core.solution import Result, Solution

#: Highest temperature; it leaves chance alone to decide, and illegal candidates at -inf.
MAX_TEMPERATURE = 1e6

InstanceT = TypeVar("InstanceT", bound=Instance)
InstanceT_contra = TypeVar("InstanceT_contra", bound=Instance, contravariant=True)


class Policy(Protocol):
    """Decides online, for a batch: sees what has been revealed by now and nothing else.

    Attributes:
        name: for tables.
    """

    name: str

    def start(self, problem: Problem[Any], state: Any, observation: Observation) -> None:
        """Called once after all rows are loaded, e.g. to encode the static graph."""

    def act(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """One legal action for each of ``rows`` (the rows that need a decision)."""


class ScorePolicy(ABC):
    """A policy that scores candidates and takes the highest, or samples by its scores.

    Args:
        name: for tables.
        temperature: T; actions are drawn from softmax(scores / T), T = 0 takes the highest score
            (ties: the lowest index). One number, or one per row of the batch.

    Raises:
        UsageError: for a temperature below 0 or above ``MAX_TEMPERATURE``.
    """

    #: Options that the problem must have for this policy, by name.
    requires: Mapping[str, str] = MappingProxyType({})
    #: Whether it was learnt; reports compare what was with the best of what was not.
    learnt: ClassVar[bool] = False
    #: Whether it knows what an online policy cannot: a reference, not a rule to beat.
    sees_future: bool = False

    def __init__(self, name: str, temperature: float | NDArray[np.float64] = 0.0) -> None:
        self.name = name
        self.temperature = np.asarray(temperature, dtype=np.float64)
        if not ((self.temperature >= 0) & (self.temperature <= MAX_TEMPERATURE)).all():
            raise UsageError(
                f"temperature: found {temperature}, expected 0 to {MAX_TEMPERATURE:,.0f}"
            )

    def start(self, problem: Problem[Any], state: Any, observation: Observation) -> None:
        """Called once after all rows are loaded.

        Raises:
            UsageError: when the problem lacks an option that this policy requires.
        """
        options = problem.options()
        for option, value in self.requires.items():
            if options.get(option) != value:
                raise UsageError(
                    f"{self.name} needs a problem with {option}={value!r}, "
                    f"found {options.get(option)!r}"
                )

    @abstractmethod
    def scores(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.floating[Any]]:
        """Scores (len(rows), candidates), -inf where illegal."""

    def act(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """One legal action for each of ``rows``, by the Gumbel-max trick."""
        scores = self.scores(problem, state, observation, rows)
        if self.temperature.any():
            temperature = self.temperature if not self.temperature.ndim else self.temperature[rows]
            scores = scores + np.expand_dims(temperature, -1) * rng.gumbel(size=scores.shape)
        return scores.argmax(axis=1)  # type: ignore[no-any-return]

    @property
    def weights_hash(self) -> str:
        """Tells apart what was learnt at different times; empty for what was not learnt."""
        return ""

    @abstractmethod
    def with_temperature(self, temperature: float | NDArray[np.float64]) -> Self:
        """The same policy at another temperature."""


class Solver(Protocol[InstanceT_contra]):
    """Takes a whole instance and returns the best solution it found."""

    @property
    def name(self) -> str:
        """For tables."""

    def solve(
        self, instance: InstanceT_contra, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[Any]:
        """Solve one instance within ``time_limit_s`` wall-clock seconds (None: its own limit)."""


def step_forced(
    problem: Problem[Any],
    state: Any,
    observation: Observation,
    done: NDArray[np.bool_],
    returns: NDArray[np.float64],
) -> int:
    """Take every decision that has one legal candidate, until each row has a choice or is done.

    Args:
        done: (batch,) rows that have ended; updated in place.
        returns: (batch,) the rewards of the decisions taken are added to it.

    Returns:
        The number of decisions taken.
    """
    mask = observation.action_mask
    rewards = np.zeros(len(mask))
    taken = 0
    while True:
        forced = ~done & (mask.sum(axis=1, dtype=np.int64) == 1)
        count = int(forced.sum())
        if not count:
            return taken
        actions = np.where(forced, mask.argmax(axis=1), -1)
        problem.step(state, observation, actions, rewards, done)
        returns += rewards
        taken += count


def rollout(
    problem: Problem[InstanceT],
    instances: Sequence[InstanceT],
    policy: Policy,
    rng: np.random.Generator,
) -> list[Solution[InstanceT]]:
    """Solutions of all instances by one batched run of ``policy``, in the order given.

    Raises:
        InstanceError: when an instance exceeds the problem's maximum sizes.
    """
    state = problem.allocate(len(instances))
    observation = problem.spec.allocate(len(instances))
    for row, instance in enumerate(instances):
        problem.load(state, observation, row, instance)
    policy.start(problem, state, observation)
    done = np.zeros(len(instances), dtype=np.bool_)
    rewards = np.zeros(len(instances))
    while True:
        step_forced(problem, state, observation, done, rewards)
        rows = np.flatnonzero(~done)
        if not len(rows):
            return [problem.solution(state, row) for row in range(len(instances))]
        actions = np.full(len(instances), -1, dtype=np.int64)
        actions[rows] = policy.act(problem, state, observation, rows, rng)
        problem.step(state, observation, actions, rewards, done)


@dataclass(frozen=True)
class RolloutSolver(Generic[InstanceT]):
    """A policy as a solver: one greedy run.

    Attributes:
        name: for tables.
        policy: what decides.
        make_problem: the problem sized for the given instances.
    """

    name: str
    policy: Policy
    make_problem: Callable[[Sequence[InstanceT]], Problem[InstanceT]]

    def solve(
        self, instance: InstanceT, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[Any]:
        """Run the policy once; it stops by itself, so the time limit is not needed."""
        started = time.perf_counter()
        solution = rollout(self.make_problem([instance]), [instance], self.policy, rng)[0]
        return Result(solution, time.perf_counter() - started)
