"""Improvement heuristics that choose a move of the neighbourhood by its estimated makespan.

They are the yardsticks of the learned policy: at equal moves all see the same candidates. Chance
comes from hashes of the schedules that moves lead to, so a run depends on the instance alone.
Sources: Zhang et al. (ICLR 2024) for greedy, best and first improvement as baselines, here with a
random move where none improves; Nowicki & Smutnicki, Management Science 42(6), 1996, and Zhang et
al., Computers & Operations Research 35(1), 2008, for tabu search and its tenure; van Laarhoven,
Aarts & Lenstra, Operations Research 40(1), 1992, for annealing, here free of rejections (Bortz,
Kalos & Lebowitz, Journal of Computational Physics 17(1), 1975): a move is drawn in proportion to
the probability that it would be accepted.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.rule import NamedRule
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.improve import kernel
from makespan.envs.improve.kernel import State

#: Annealing temperature in mean durations at the beginning and at the end of an episode.
TEMPERATURES = 0.5, 0.1
_GIVEN_UP = kernel.CANDIDATE_FEATURES.index("given_up")
_VISITED = kernel.CANDIDATE_FEATURES.index("visited")


class Moves(NamedTuple):
    """What rules may use of R rows and A candidates."""

    estimate: NDArray[np.int64]  # (R, A) of the makespan after the move, time units
    makespan: NDArray[np.int64]  # (R, 1) now
    incumbent: NDArray[np.int64]  # (R, 1)
    given_up: NDArray[np.floating[Any]]  # (R, A) moves since the order it restores was; inf
    visited: NDArray[np.bool_]  # (R, A) whether the schedule that it leads to was visited before
    tenure: NDArray[np.int64]  # (R, 1) of a tabu list
    progress: NDArray[np.float64]  # (R, 1) share of the episode's moves that were made
    mean_duration: NDArray[np.float64]  # (R, 1) time units
    noise: NDArray[np.float64]  # (R, A) uniform over 0 to 1


def moves(
    problem: Problem[Any], state: State, observation: Observation, rows: NDArray[np.int64]
) -> Moves:
    """The candidates of ``rows``; entries where there is none mean nothing."""
    totals = state.totals[rows]
    width = observation.action_mask.shape[1]
    features = observation.candidates[rows]
    step = totals[:, kernel.STEP, None]
    recency = features[:, :, _GIVEN_UP]
    with np.errstate(divide="ignore"):
        given_up = kernel.MEMORY / recency - kernel.MEMORY
    mixed = (state.arrival[rows] + step.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    return Moves(
        estimate=state.estimates[rows, :width].astype(np.int64),
        makespan=totals[:, kernel.MAKESPAN, None],
        incumbent=totals[:, kernel.INCUMBENT, None],
        given_up=given_up,
        visited=features[:, :, _VISITED] > 0,
        tenure=10 + totals[:, kernel.JOBS, None] // totals[:, kernel.MACHINES, None],
        progress=step / int(problem.options()["moves"]),
        mean_duration=1.0 / state.scale[rows, :1],
        noise=((mixed ^ (mixed >> np.uint64(29))) >> np.uint64(11)) / 2.0**53,
    )


def _improving_or_random(m: Moves, priority: NDArray[Any]) -> Any:
    """By ``priority`` (below 0) where a move improves; if none does, at random."""
    return np.where(m.estimate < m.makespan, priority, m.noise)


def _first(m: Moves) -> Any:
    width = m.estimate.shape[1]
    return _improving_or_random(m, np.arange(width) - width)


def _tabu(m: Moves) -> NDArray[Any]:
    """The lowest estimate of what is not tabu or beats the incumbent, else what was so longest."""
    tabu = (m.given_up <= m.tenure) & (m.estimate >= m.incumbent)
    return np.where(tabu, 2.0**40 - m.given_up, m.estimate + m.noise)


def _annealing(m: Moves) -> Any:
    first, last = TEMPERATURES
    temperature = m.mean_duration * first * (last / first) ** m.progress
    gumbel = -np.log(-np.log(np.maximum(m.noise, 1e-12)))
    return np.maximum(m.estimate - m.makespan, 0) / temperature - gumbel


#: Priority of each rule, the lowest first.
RULES: dict[str, Callable[[Moves], NDArray[Any]]] = {
    "greedy": lambda m: m.estimate,
    "best-improvement": lambda m: _improving_or_random(m, m.estimate - m.makespan),
    "first-improvement": _first,
    "no-return": lambda m: m.estimate + 2**32 * m.visited,
    "tabu-list": _tabu,
    "annealing": _annealing,
}


class RulePolicy(NamedRule):
    """An improvement heuristic, see :data:`RULES`."""

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
        priority = np.where(
            legal, RULES[self.name](moves(problem, state, observation, rows)), np.inf
        )
        rank = priority.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
        return np.where(legal, -rank, -np.inf)
