"""Wrappers that turn a policy into a stronger solver: sampling and beam search."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import UsageError
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.core.rollout import ScorePolicy, rollout, step_forced
from makespan.envs.core.solution import Result

#: Rows times nodes of one batched rollout; more samples are played in several batches.
BATCH_NODES = 300_000
#: Samples of the first batch when there is a time limit; each batch doubles the one before.
FIRST_BATCH = 8


@dataclass(frozen=True)
class Sampling:
    """The best of ``samples`` runs, the first of them greedy.

    Attributes:
        name: for tables.
        policy: what decides.
        make_problem: the problem sized for the given instances.
        samples: number of runs.
        temperature: of the sampled runs.

    Raises:
        UsageError: unless samples >= 1 and temperature > 0.
    """

    name: str
    policy: ScorePolicy
    make_problem: Callable[[Sequence[Any]], Problem[Any]]
    samples: int = 128
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise UsageError(f"samples: found {self.samples}, expected at least 1")
        if self.temperature <= 0:
            raise UsageError(f"temperature: found {self.temperature}, expected more than 0")

    def solve(
        self, instance: Any, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[Any]:
        """Sample in batches; stops early when the next batch would pass ``time_limit_s``."""
        started = time.perf_counter()
        problem = self.make_problem([instance])
        largest = max(1, BATCH_NODES // problem.spec.max_nodes)
        # under a time limit the first batch only measures what a sample costs
        batch = largest if time_limit_s is None else min(FIRST_BATCH, largest)
        best, value, taken = None, np.inf, 0
        while taken < self.samples:
            count = min(batch, self.samples - taken)
            temperature = np.full(count, self.temperature)
            if not taken:
                temperature[0] = 0
            policy = self.policy.with_temperature(temperature)
            for solution in rollout(problem, [instance] * count, policy, rng):
                objective = solution.objective(instance)
                if objective < value:
                    best, value = solution, objective
            taken += count
            batch = min(2 * batch, largest)
            spent = time.perf_counter() - started
            ahead = min(batch, self.samples - taken)
            if time_limit_s is not None and spent * (1 + ahead / taken) > time_limit_s:
                break
        return Result(best, time.perf_counter() - started, details={"samples": taken})


@dataclass(frozen=True)
class BeamSearch:
    """Keeps the greedy run and the ``width - 1`` other partial solutions of highest likelihood.

    Without its place the greedy run could be dropped for runs that begin more likely and end worse.

    Attributes:
        name: for tables.
        policy: what scores.
        make_problem: the problem sized for the given instances.
        width: partial solutions kept.

    Raises:
        UsageError: unless width >= 1.
    """

    name: str
    policy: ScorePolicy
    make_problem: Callable[[Sequence[Any]], Problem[Any]]
    width: int = 16

    def __post_init__(self) -> None:
        if self.width < 1:
            raise UsageError(f"width: found {self.width}, expected at least 1")

    def solve(
        self, instance: Any, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[Any]:
        """Expand until all kept solutions are complete; the search stops by itself."""
        started = time.perf_counter()
        problem = self.make_problem([instance])
        state, observation = problem.allocate(self.width), problem.spec.allocate(self.width)
        for row in range(self.width):
            problem.load(state, observation, row, instance)
        self.policy.start(problem, state, observation)
        done = np.ones(self.width, dtype=np.bool_)
        done[0] = False
        likelihood = np.where(done, -np.inf, 0.0)
        rewards = np.zeros(self.width)
        while True:
            step_forced(problem, state, observation, done, rewards)
            active = np.flatnonzero(~done)
            if not len(active):
                break
            parents, actions, likelihood = self._expand(
                problem, state, observation, done, likelihood
            )
            for arrays in (state, observation):
                for array in arrays:
                    array[:] = array[parents]
            # a dead branch counts as done, so that it is never expanded
            done[:] = done[parents] | ~np.isfinite(likelihood)
            problem.step(state, observation, actions, rewards, done)
        solutions = [
            problem.solution(state, row)
            for row in range(self.width)
            if np.isfinite(likelihood[row])
        ]
        best = min(solutions, key=lambda solution: solution.objective(instance))
        return Result(best, time.perf_counter() - started, details={"width": self.width})

    def _expand(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        done: NDArray[np.bool_],
        likelihood: NDArray[np.float64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """The successors kept: their parents, actions (-1: complete), likelihoods.

        Row 0 holds the greedy run.
        """
        active = np.flatnonzero(~done)
        complete = np.flatnonzero(done & np.isfinite(likelihood))
        scores = self.policy.scores(problem, state, observation, active).astype(np.float64)
        greedy = int(scores[0].argmax())
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        total = (likelihood[active, None] + scores).ravel()
        values = np.concatenate([total, likelihood[complete]])
        parents = np.concatenate([np.repeat(active, scores.shape[1]), complete])
        actions = np.concatenate(
            [np.tile(np.arange(scores.shape[1]), len(active)), np.full(len(complete), -1)]
        )
        if done[0]:
            greedy = len(total)
        ranking = np.argsort(-values, kind="stable")
        keep = np.append(greedy, ranking[ranking != greedy][: self.width - 1])
        keep = keep[np.isfinite(values[keep])]
        missing = self.width - len(keep)
        # rows without a successor repeat the first as a dead branch of likelihood zero
        padding = np.full(missing, keep[0])
        chosen = np.concatenate([keep, padding])
        kept_actions = actions[chosen]
        kept_actions[len(keep) :] = -1
        values = values[chosen]
        values[len(keep) :] = -np.inf
        return parents[chosen], kept_actions, values
