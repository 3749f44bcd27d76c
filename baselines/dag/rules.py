"""Rules that decide step by step, under any options of the problem.

The lowest priority value goes first; ties go to the task of the highest upward rank, then to the
processor that is first in the instance. With dispatch ``skip`` they never wait, except the pilot
rule, which waits when its trial says so.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.rule import NamedRule
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.dag.kernel import State


class Candidates(NamedTuple):
    """What rules may use of R rows and A candidates; time in the instance's units, exact."""

    position: NDArray[np.int64]  # (R, A) of the task in the order of upward ranks
    start: NDArray[np.int64]  # (R, A) earliest start
    end: NDArray[np.int64]  # (R, A) earliest end
    path: NDArray[np.int64]  # (R, A) start plus tail: a bound on the makespan
    lookahead: NDArray[np.int64]  # (R, A) outcome of a trial, with lookahead


def candidates(state: State, rows: NDArray[np.int64]) -> Candidates:
    """The candidates of ``rows``; entries of missing ones and of skips mean nothing."""
    row = rows[:, None]
    task, processor = state.candidate_task[rows], state.candidate_processor[rows]
    start = state.earliest[row, task, processor].astype(np.int64)
    return Candidates(
        position=state.position[row, task].astype(np.int64),
        start=start,
        end=start + state.cost[row, task, processor],
        path=start + state.tail[row, task, processor],
        lookahead=state.lookahead[rows].astype(np.int64),
    )


#: Priority of each rule, the lowest first; a tuple is compared part by part.
RULES: dict[str, Callable[[Candidates], tuple[NDArray[np.int64], ...]]] = {
    "rank": lambda c: (c.position, c.end),  # HEFT under placement insertion
    "soonest-end": lambda c: (c.end,),  # min-min under placement append
    "soonest-start": lambda c: (c.start, c.position),  # ETF with upward ranks
    "pilot": lambda c: (c.lookahead, c.path, c.end),
}


class RulePolicy(NamedRule):
    """A rule, see :data:`RULES`."""

    rules = RULES
    needs = MappingProxyType({"pilot": {"lookahead": "lists"}})

    def scores(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Minus the rank of each candidate, -inf where illegal."""
        legal = observation.action_mask[rows] > 0
        view = candidates(state, rows)
        waits = state.candidate_task[rows] < 0
        if self.name == "pilot":
            waits = np.zeros_like(waits)
        keys = RULES[self.name](view)
        order = np.lexsort((view.position, *keys[::-1], waits, ~legal), axis=1)
        scores = np.empty(legal.shape)
        np.put_along_axis(scores, order, -np.arange(legal.shape[1], dtype=np.float64)[None], axis=1)
        return np.where(legal, scores, -np.inf)
