"""Uniformly random legal decisions, for any problem."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.core.rollout import ScorePolicy


class RandomPolicy(ScorePolicy):
    """All legal candidates are equally likely."""

    def __init__(self, temperature: float | NDArray[np.float64] = 1.0) -> None:
        super().__init__("random", temperature)

    def scores(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """0 where legal, -inf elsewhere."""
        return np.where(observation.action_mask[rows] > 0, 0.0, -np.inf)

    def with_temperature(self, temperature: float | NDArray[np.float64]) -> Self:
        """Random at any positive temperature."""
        return type(self)(temperature)
