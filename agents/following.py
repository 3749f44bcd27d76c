"""A solver as an expert to imitate: the policy that keeps to its solutions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.instance import Instance
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.core.rollout import Solver


class Follower:
    """Follows the solutions of a solver, also from states beside them.

    Args:
        solver: is asked once for each instance, within its own time limit.
    """

    def __init__(self, solver: Solver[Any]) -> None:
        self.solver, self.name = solver, solver.name
        self._solutions: list[Any] = []

    def solve(
        self, instances: Sequence[Instance], replicas: int, chance: Sequence[np.random.Generator]
    ) -> None:
        """Solve what the next rows hold: ``replicas`` rows of each instance in turn."""
        self._solutions = []
        for instance, rng in zip(instances, chance, strict=True):
            self._solutions += [self.solver.solve(instance, None, rng).solution] * replicas

    def start(self, problem: Problem[Any], state: Any, observation: Observation) -> None:
        """Nothing; see :meth:`solve`."""

    def act(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """The actions that keep closest to the solutions."""
        actions = [problem.follow(state, row, self._solutions[row]) for row in rows.tolist()]
        return np.array(actions, dtype=np.int64)
