"""Rules that decide access by access from what the observation shows.

A rule scores the candidates, the highest legal one is taken; ties go to the lowest index. Some need
a way of choosing places to be themselves: ``belady`` puts over what is used furthest in the future
(Belady, A study of replacement algorithms for a virtual-storage computer, IBM Systems Journal 5(2),
1966), ``lru`` what was used longest ago.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.rule import NamedRule
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.memory import kernel

#: Added for fast memory where a rule is indifferent.
NUDGE = 1e-6


class Candidates:
    """Features of R decisions by name: ``c.gain`` is (R, A)."""

    def __init__(self, features: NDArray[np.float32], names: tuple[str, ...]) -> None:
        self._features, self._names = features, names

    def __getattr__(self, name: str) -> NDArray[np.float32]:
        return self._features[:, :, self._names.index(name)]


def _greedy(c: Candidates) -> NDArray[Any]:
    """Fast memory whenever possible, without a copy if possible."""
    return 2 * c.no_copy + c.copy


def _density(c: Candidates) -> NDArray[Any]:
    """Time saved per byte, now and next, against that of what is put over."""
    mine = (c.gain + c.next_share + NUDGE) / np.maximum(c.size, 1e-9)
    theirs = c.lost_worth / np.maximum(c.lost_size, 1e-9)
    return np.where(c.drop > 0, 0, mine - theirs) - c.stall


def _rule(c: Candidates) -> NDArray[Any]:
    """The rule that completes trials, see ``kernel._choose``."""
    lost = kernel.RULE_LOST * c.lost_worth
    return c.gain - c.stall + np.where(c.drop > 0, 0, kernel.RULE_NEXT * c.next_share - lost)


def _priced(c: Candidates) -> NDArray[Any]:
    """Share of the saving minus the price of the space, and the same for the future."""
    return c.advantage


def _pilot(c: Candidates) -> NDArray[Any]:
    """The best trial; without trials (one legal candidate) anything."""
    return -c.lookahead + NUDGE * c.no_copy


class Rule(NamedTuple):
    """How a rule scores, and what the problem must be like."""

    score: Callable[[Candidates], NDArray[Any]]
    requires: Mapping[str, str] = MappingProxyType({})


RULES: dict[str, Rule] = {
    "all-slow": Rule(lambda c: c.drop),
    "greedy": Rule(_greedy),
    "density": Rule(_density),
    "belady": Rule(_greedy, {"placement": "belady"}),
    "lru": Rule(_greedy, {"placement": "lru"}),
    "rule": Rule(_rule),
    "priced": Rule(_priced),
    "pilot": Rule(_pilot, {"lookahead": "greedy-full"}),
    "short-pilot": Rule(_pilot, {"lookahead": "greedy"}),
}


class RulePolicy(NamedRule):
    """A rule, see :data:`RULES`."""

    rules = RULES
    needs = MappingProxyType({name: rule.requires for name, rule in RULES.items()})

    def scores(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Minus the rank of each candidate, -inf where illegal."""
        legal = observation.action_mask[rows] > 0
        view = Candidates(observation.candidates[rows], problem.spec.candidate_features)
        score = np.where(legal, RULES[self.name].score(view), -np.inf)
        order = np.argsort(-score, axis=1, kind="stable")
        ranks = np.empty(score.shape)
        np.put_along_axis(ranks, order, np.arange(score.shape[1], dtype=np.float64)[None], axis=1)
        return np.where(legal, -ranks, -np.inf)
