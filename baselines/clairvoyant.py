"""A policy that knows the future: the best of several, each tried on the whole instance.

Before it decides anything it lets each of them play the instance to its end, all that is yet to be
revealed included, and then does what the best of them did. No policy can know this; it is a
reference for those that do not, and something to imitate.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.core.rollout import ScorePolicy, step_forced


class Clairvoyant(ScorePolicy):
    """Follows, on each instance, the policy that turns out best on it; the first wins ties.

    Args:
        temperature: see :class:`ScorePolicy`.
    """

    sees_future = True

    def __init__(self, temperature: float | NDArray[np.float64] = 0.0) -> None:
        super().__init__("clairvoyant", temperature)
        self._tried = self.tried()
        self._best = np.zeros(0, dtype=np.int64)  # (batch,) index into those tried

    @classmethod
    @abstractmethod
    def tried(cls) -> Sequence[ScorePolicy]:
        """The policies of the family that are tried, all greedy."""

    def start(self, problem: Problem[Any], state: Any, observation: Observation) -> None:
        """Play every row to its end with each of them."""
        super().start(problem, state, observation)
        returns = np.array(
            [_play(problem, state, observation, policy) for policy in self._tried]
        )  # (tried, batch)
        self._best = returns.argmax(axis=0)

    def scores(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Those of the best one of each row."""
        scores = np.full((len(rows), observation.action_mask.shape[1]), -np.inf)
        for index, policy in enumerate(self._tried):
            chosen = self._best[rows] == index
            if chosen.any():
                scores[chosen] = policy.scores(problem, state, observation, rows[chosen])
        return scores

    def with_temperature(self, temperature: float | NDArray[np.float64]) -> Self:
        """The same at another temperature."""
        return type(self)(temperature)


def _play(
    problem: Problem[Any], state: Any, observation: Observation, policy: ScorePolicy
) -> NDArray[np.float64]:
    """(batch,) sum of rewards from here to the end, on copies."""
    state = type(state)(*(array.copy() for array in state))
    observation = Observation._make(array.copy() for array in observation)
    batch = len(observation.action_mask)
    done = observation.action_mask.max(axis=1) == 0
    rewards, returns = np.zeros(batch), np.zeros(batch)
    rng = np.random.default_rng(0)  # all are greedy here: nothing is drawn
    policy.start(problem, state, observation)
    while True:
        step_forced(problem, state, observation, done, returns)
        rows = np.flatnonzero(~done)
        if not len(rows):
            return returns
        actions = np.full(batch, -1, dtype=np.int64)
        actions[rows] = policy.act(problem, state, observation, rows, rng)
        problem.step(state, observation, actions, rewards, done)
        returns += rewards
