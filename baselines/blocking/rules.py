"""Priority dispatching rules for the blocking job shop: which job enters a machine first.

The lowest priority value goes first, ties to the lowest job. No rule waits while a job can enter;
``pilot``, which takes the candidate of the best trial, may. Work and operations remaining count the
operation to begin. Source of the rules: Panwalkar & Iskander, A survey of scheduling rules,
Operations Research 25(1), 1977.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.rule import NamedRule
from makespan.envs.blocking.kernel import State
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.core.rollout import ScorePolicy

#: Larger than any time or work.
_FAR = 2**40


class Moves(NamedTuple):
    """What rules may use of R rows and J jobs; time in the instance's units, exact."""

    duration: NDArray[np.int64]  # (R, J) of the operation to begin
    work_left: NDArray[np.int64]  # (R, J) of the job
    work_done: NDArray[np.int64]  # (R, J) of the job, before this operation
    operations_left: NDArray[np.int64]  # (R, J) of the job
    ready: NDArray[np.int64]  # (R, J) since when it has waited
    outside: NDArray[np.bool_]  # (R, J) whether it has not entered the shop
    next_work: NDArray[np.int64]  # (R, J) that has not begun on the machine after the next


def moves(state: State, rows: NDArray[np.int64]) -> Moves:
    """The jobs of ``rows``; entries of finished jobs mean nothing."""
    row = rows[:, None]
    jobs, last = state.next_operation.shape[1], state.duration.shape[1] - 1
    job_end = state.first_operation[rows, 1:]
    op = np.minimum(state.next_operation[rows], last)
    first = np.minimum(state.first_operation[rows, :jobs], last)
    following = np.minimum(op + 1, last)
    work_left = state.tail[row, op]
    return Moves(
        duration=state.duration[row, op],
        work_left=work_left,
        work_done=state.tail[row, first] - work_left,
        operations_left=(job_end - op).astype(np.int64),
        ready=state.ready[rows],
        outside=state.place[rows] < 0,
        next_work=np.where(op + 1 < job_end, state.load[row, state.machine[row, following]], 0),
    )


#: Priority of each rule, the lowest first.
RULES: dict[str, Callable[[Moves], NDArray[Any]]] = {
    "spt": lambda m: m.duration,
    "lpt": lambda m: -m.duration,
    "mwkr": lambda m: -m.work_left,
    "lwkr": lambda m: m.work_left,
    "mor": lambda m: -m.operations_left,
    "lor": lambda m: m.operations_left,
    "fifo": lambda m: m.ready,
    "fdd-mwkr": lambda m: (m.work_done + m.duration) / np.maximum(m.work_left, 1),
    "next-work": lambda m: m.next_work,
    "inside-mwkr": lambda m: _FAR * m.outside - m.work_left,
    "inside-fifo": lambda m: _FAR * m.outside + m.ready,
}


class RulePolicy(NamedRule):
    """A dispatching rule, see :data:`RULES`."""

    rules = RULES

    def scores(
        self,
        problem: Problem[Any],
        state: State,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Minus the rank of each candidate, -inf where illegal."""
        legal = observation.action_mask[rows] > 0
        priority = np.full(legal.shape, np.inf)
        priority[:, 1:] = RULES[self.name](moves(state, rows))
        rank = _ranks(priority, legal)
        rank[:, 0] = _FAR  # not drawn at any temperature while a job can enter
        return np.where(legal, -rank, -np.inf)


class Pilot(ScorePolicy):
    """Takes the candidate of the best trial; of equal ones first a job inside, last to wait.

    Args:
        temperature: see :class:`ScorePolicy`.
        lookahead: what completes the trials, see :mod:`makespan.envs.blocking.trials`.
    """

    def __init__(
        self,
        temperature: float | NDArray[np.float64] = 0.0,
        lookahead: Literal["dispatch", "varied"] = "dispatch",
    ) -> None:
        super().__init__("pilot", temperature)
        self.lookahead = lookahead
        self.requires = {"lookahead": lookahead}

    def scores(
        self,
        problem: Problem[Any],
        state: State,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Minus the rank of each candidate, -inf where illegal."""
        legal = observation.action_mask[rows] > 0
        priority = state.lookahead[rows].astype(np.float64)
        priority[:, 0] += 0.5
        priority[:, 1:] += 0.25 * (state.place[rows] < 0)
        return np.where(legal, -_ranks(priority, legal), -np.inf)

    def with_temperature(self, temperature: float | NDArray[np.float64]) -> Self:
        """The same at another temperature."""
        return type(self)(temperature, self.lookahead)


def _ranks(priority: NDArray[np.float64], legal: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(R, A) place of each candidate by priority, the illegal ones last."""
    order = np.where(legal, priority, np.inf).argsort(axis=1, kind="stable")
    return order.argsort(axis=1)
