"""Priority dispatching rules for the job shop, under any schedule-generation scheme.

A rule ranks the candidates; the lowest priority value goes first. Ties go to the candidate that
would end first when the instance offers alternatives, then to the lowest job index. Conventions
differ between papers: here work remaining and operations remaining count the current operation.
Source: Panwalkar & Iskander, A survey of scheduling rules, Operations Research 25(1), 1977; for
FDD/MWKR Sels, Gheysen & Vanhoucke, IJPR 50(15), 2012; for ATC Vepsalainen & Morton, Management
Science 33(8), 1987.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.rule import NamedRule
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.jobshop import kernel
from makespan.envs.jobshop.kernel import State


class Candidates(NamedTuple):
    """What rules may use of R rows and A candidates; time in the instance's units, exact."""

    duration: NDArray[np.int64]  # (R, A) of the candidate
    earliest: NDArray[np.int64]  # (R, A) earliest start
    job_ready: NDArray[np.int64]  # (R, A) when the job's previous operation ends
    work_left: NDArray[np.int64]  # (R, A) of the job, this operation included
    work_done: NDArray[np.int64]  # (R, A) of the job, before this operation
    operations_left: NDArray[np.int64]  # (R, A) of the job, this one included
    bound: NDArray[np.int64]  # (R, 1) current lower bound on the makespan
    mean_duration: NDArray[np.float64]  # (R, 1) of the instance
    lookahead: NDArray[np.int64]  # (R, A) makespan of a trial schedule, with lookahead


def candidates(state: State, rows: NDArray[np.int64], width: int) -> Candidates:
    """The candidates of ``rows``; entries of finished jobs and missing alternatives mean nothing.

    Args:
        state: of the problem.
        rows: (R,).
        width: candidates per job.
    """

    def each(array: NDArray[Any]) -> NDArray[np.int64]:
        return np.repeat(array.astype(np.int64), width, axis=1)

    row = rows[:, None]
    jobs = state.next_operation.shape[1]
    job_end = state.first_operation[rows, 1:]
    operation = np.minimum(state.next_operation[rows], np.maximum(job_end - 1, 0))
    # rows with fewer jobs than the batch: their last entry points past the last operation
    first = np.minimum(state.first_operation[rows, :jobs], state.tail.shape[1] - 1)
    work_left = state.tail[row, operation]
    alternative = each(state.first_alternative[row, operation]) + np.tile(np.arange(width), jobs)
    alternative = np.minimum(alternative, state.duration.shape[1] - 1)
    return Candidates(
        duration=state.duration[row, alternative].astype(np.int64),
        earliest=state.earliest[rows].astype(np.int64),
        job_ready=each(state.job_ready[rows]),
        work_left=each(work_left),
        work_done=each(state.tail[row, first] - work_left),
        operations_left=each(job_end - operation),
        bound=state.totals[rows, kernel.BOUND, None].astype(np.int64),
        mean_duration=1.0 / state.scale[rows, :1],
        lookahead=state.lookahead[rows].astype(np.int64),
    )


def _fdd_mwkr(c: Candidates) -> NDArray[Any]:
    """Flow due date (work up to and including this operation) over work remaining."""
    return (c.work_done + c.duration) / np.maximum(c.work_left, 1)


def _atc(c: Candidates) -> NDArray[Any]:
    """Apparent tardiness cost, all jobs due at the current lower bound on the makespan."""
    slack = np.maximum(c.bound - c.earliest - c.work_left, 0)
    urgency = np.exp(-slack / (kernel.ATC_DURATIONS * c.mean_duration))
    return -urgency / np.maximum(c.duration, 1)  # type: ignore[no-any-return]


#: Priority of each rule, the lowest first.
RULES: dict[str, Callable[[Candidates], NDArray[Any]]] = {
    "spt": lambda c: c.duration,
    "lpt": lambda c: -c.duration,
    "mwkr": lambda c: -c.work_left,
    "lwkr": lambda c: c.work_left,
    "mor": lambda c: -c.operations_left,
    "lor": lambda c: c.operations_left,
    "fifo": lambda c: c.job_ready,
    "fdd-mwkr": _fdd_mwkr,
    "atc": _atc,
    "pilot": lambda c: c.lookahead + 1e-3 * np.tanh(_atc(c)),
}


class RulePolicy(NamedRule):
    """A dispatching rule, see :data:`RULES`."""

    rules = RULES
    needs = MappingProxyType({"pilot": {"lookahead": "atc"}})

    def scores(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Minus the rank of each candidate, -inf where illegal."""
        legal = observation.action_mask[rows] > 0
        width = legal.shape[1] // state.next_operation.shape[1]
        view = candidates(state, rows, width)
        priority = np.where(legal, RULES[self.name](view), np.inf)
        order = np.broadcast_to(np.arange(legal.shape[1]), legal.shape)
        if width > 1:
            operations = state.sizes[rows, 2]
            flexible = state.first_alternative[rows, operations] > operations
            ends = np.where(flexible[:, None], view.earliest + view.duration, 0)
            order = np.argsort(ends, axis=1, kind="stable")
            priority = np.take_along_axis(priority, order, axis=1)
        by_priority = np.argsort(priority, axis=1, kind="stable")
        order = np.take_along_axis(order, by_priority, axis=1)
        scores = np.empty(legal.shape)
        np.put_along_axis(scores, order, -np.arange(legal.shape[1], dtype=np.float64)[None], axis=1)
        return np.where(legal, scores, -np.inf)
