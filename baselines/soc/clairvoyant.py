"""A scheduler that knows the future: the best of several, each tried on the whole stream.

Before it decides anything it lets the list schedulers and the learnt linear ones play the stream to
its end, arrivals and true durations included, and then does what the best of them did. No scheduler
can know this; it is a reference for those that do not, and something to imitate.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.soc.linear import LinearPolicy
from makespan.baselines.soc.rules import RulePolicy
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.core.rollout import ScorePolicy, step_forced

#: List schedulers that are tried, besides the linear ones that ship.
LISTS = ("least-work", "etf")


class Clairvoyant(ScorePolicy):
    """Follows, on each stream, the scheduler that turns out best on it; the first wins ties.

    Args:
        temperature: see :class:`ScorePolicy`.
    """

    sees_future = True

    def __init__(self, temperature: float | NDArray[np.float64] = 0.0) -> None:
        super().__init__("clairvoyant", temperature)
        self._tried: list[ScorePolicy] = [
            *(RulePolicy(rule) for rule in LISTS),
            *(LinearPolicy(weights) for weights in LinearPolicy.shipped),
        ]
        self._best = np.zeros(0, dtype=np.int64)  # (batch,) index into those tried

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
    while True:
        step_forced(problem, state, observation, done, returns)
        rows = np.flatnonzero(~done)
        if not len(rows):
            return returns
        actions = np.full(batch, -1, dtype=np.int64)
        actions[rows] = policy.act(problem, state, observation, rows, rng)
        problem.step(state, observation, actions, rewards, done)
        returns += rewards
