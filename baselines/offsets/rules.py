"""Priority rules for offset allocation, under any decode mode.

A rule ranks the candidates by one key and breaks ties by a second one, then by the lowest buffer
index. With ``first-fit`` and ``best-fit``, ``size``, ``area``, ``duration`` and ``start`` are the
greedy allocators of compilers (``size`` is greedy by size of Pisarchyk & Lee, Efficient memory
management for deep neural net inference, 2020); published figures differ by how ties are broken.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.rule import NamedRule
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.offsets import kernel
from makespan.envs.offsets.kernel import State


class Candidates(NamedTuple):
    """What rules may use of R rows and A candidates; exact, in the instance's units."""

    lower: NDArray[np.int64]  # (R, A) begin of the life
    duration: NDArray[np.int64]  # (R, A) of the life
    size: NDArray[np.int64]  # (R, A)
    position: NDArray[np.int64]  # (R, A) where it would go
    slack: NDArray[np.float32]  # (R, A) bound - position - bytes not yet placed, in mean sizes
    waste: NDArray[np.float32]  # (R, A) mean of the free bytes below it, in mean sizes
    tight_loss: NDArray[np.float32]  # (R, A) rise of the stacks, weighed; decode active only


def candidates(
    state: State, observation: Observation, rows: NDArray[np.int64], count: int
) -> Candidates:
    """The first ``count`` candidates of ``rows``; entries beyond a row's own mean nothing."""
    row, buffer = rows[:, None], state.candidate[rows, :count]
    lower = state.lower[row, buffer]
    features = observation.candidates[rows, :count]
    return Candidates(
        lower=lower,
        duration=state.upper[row, buffer] - lower,
        size=state.size[row, buffer],
        position=state.position[row, buffer],
        slack=features[..., kernel.CANDIDATE_FEATURES.index("slack")],
        waste=features[..., kernel.CANDIDATE_FEATURES.index("waste")],
        tight_loss=features[..., kernel.CANDIDATE_FEATURES.index("tight_loss")],
    )


Keys = tuple[NDArray[Any], NDArray[Any]]

#: First and second key of each rule, the lowest first.
RULES: dict[str, Callable[[Candidates], Keys]] = {
    "size": lambda c: (-c.size, -c.duration),
    "area": lambda c: (-c.size.astype(np.float64) * c.duration, -c.size),
    "duration": lambda c: (-c.duration, -c.size),
    "start": lambda c: (c.lower, -c.size),
    "lowest": lambda c: (c.position, -c.size),
    "least-slack": lambda c: (c.slack, -c.size),
    "least-loss": lambda c: (c.tight_loss, -c.size.astype(np.float64) * c.duration),
    "least-waste": lambda c: (c.waste, -c.size.astype(np.float64) * c.duration),
}


class RulePolicy(NamedRule):
    """A priority rule, see :data:`RULES`."""

    rules = RULES
    needs = MappingProxyType({"least-loss": {"decode": "active"}})

    def scores(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Minus the rank of each candidate, -inf where there is none."""
        count = int(state.totals[rows, kernel.CANDIDATES].max())
        legal = observation.action_mask[rows, :count] > 0
        first, second = RULES[self.name](candidates(state, observation, rows, count))
        order = np.lexsort((second, first, ~legal), axis=-1)
        ranks = np.empty(legal.shape)
        np.put_along_axis(ranks, order, np.arange(count, dtype=np.float64)[None], axis=1)
        return np.where(legal, -ranks, -np.inf)
