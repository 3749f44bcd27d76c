"""A linear router: the score of a candidate is a weighted sum of its features.

The weights are learnt for a kind of cluster by :mod:`makespan.baselines.routing.evolve`, in a
minute of processor time. With the weights of :func:`central_queue` it all but is the rule of that
name.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.files import parse_json, read_text
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.core.rollout import ScorePolicy
from makespan.envs.routing.kernel import CANDIDATE_FEATURES, GLOBAL_FEATURES

#: What is weighted of a replica, and of holding; "*alone": times the predicted latency alone.
REPLICA_TERMS = (
    *("marginal_relative", "fits", "room", "pending", "waiting_relative", "waiting"),
    *("own_relative", "first_token_relative", "kv_peak", "kv_peak_relative", "running_relative"),
    *("tokens_relative", "overlap_relative", "speed", "drain_relative"),
    *("waiting*alone", "pending*alone", "speed*alone"),
)
HOLD_TERMS = (
    *("hold", "fits", "room", "pending", "first_token", "own", "progress_wait", "alone"),
    *("held_shorter", "held_shorter*alone", "held_shorter_need", "held", "held_need", "waiting"),
    *("waited", "rate"),
)
TERMS = tuple(f"replica:{t}" for t in REPLICA_TERMS) + tuple(f"hold:{t}" for t in HOLD_TERMS)

#: Where the terms are: of holding first among the features of the whole, then among its own.
_REPLICA_COLUMNS, _HOLD_COLUMNS = (
    [names.index(term.partition("*")[0]) for term in terms]
    for names, terms in (
        (CANDIDATE_FEATURES, REPLICA_TERMS),
        (GLOBAL_FEATURES + CANDIDATE_FEATURES, HOLD_TERMS),
    )
)
_REPLICA_ALONE, _HOLD_ALONE = (
    [k for k, term in enumerate(terms) if term.endswith("*alone")]
    for terms in (REPLICA_TERMS, HOLD_TERMS)
)

#: Learnt weights by the kind of cluster they were learnt on.
LEARNT = json.loads(Path(__file__).with_name("linear.json").read_text())
#: Largest size of the only feature that is taken as it is, not as its logarithm.
LARGEST_MARGINAL = 20.0


def central_queue() -> NDArray[np.float64]:
    """(len(TERMS),) the weights closest to the rule ``central-queue``."""
    weights = dict.fromkeys(TERMS, 0.0)
    weights |= {"replica:marginal_relative": -1.0, "replica:fits": 6.0, "hold:hold": 3.0}
    return np.array(list(weights.values()))


def read_weights(text: str) -> NDArray[np.float64]:
    """The weights of a file of :mod:`evolve`, or of a name in :data:`LEARNT`.

    Raises:
        UsageError: for a file of something else, or one that is missing.
    """
    if text in LEARNT:
        data = LEARNT[text]
    elif not Path(text).suffix:
        raise UnknownNameError("set of weights", text, LEARNT)
    else:
        data = parse_json(read_text(Path(text), UsageError), lambda m: UsageError(f"{text}: {m}"))
    try:
        return np.array([float(data["weights"][term]) for term in TERMS])
    except (TypeError, KeyError, ValueError):
        raise UsageError(
            f"{text}: expected 'weights' with a number for each of {', '.join(TERMS)}"
        ) from None


def to_json(weights: NDArray[np.float64], about: Mapping[str, Any]) -> str:
    """What :func:`read_weights` reads; ``about`` says how the weights were found."""
    rounded = dict(zip(TERMS, np.round(weights, 4).tolist(), strict=True))
    return json.dumps({"about": about, "weights": rounded}, indent=1) + "\n"


class LinearPolicy(ScorePolicy):
    """The candidate with the largest weighted sum.

    Args:
        weights: a file of :mod:`makespan.baselines.routing.evolve`, or the name of a shipped set.
        values: instead, (len(TERMS),), or such a vector for each row of the batch.
        temperature: see :class:`ScorePolicy`.

    Raises:
        UsageError: for a file that does not hold such weights.
    """

    learnt: ClassVar[bool] = True

    def __init__(
        self,
        weights: str = "memory",
        values: NDArray[np.float64] | None = None,
        temperature: float | NDArray[np.float64] = 0.0,
    ) -> None:
        super().__init__("linear", temperature)
        self.values = read_weights(weights) if values is None else values

    def scores(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Scores (len(rows), candidates), -inf where illegal."""
        candidates = observation.candidates[rows]
        weights = self.values[None] if self.values.ndim == 1 else self.values[rows]
        replicas, hold = terms(candidates, observation.globals[rows])
        scores = np.empty(candidates.shape[:2])
        scores[:, 1:] = (replicas @ weights[:, : len(REPLICA_TERMS), None])[..., 0]
        scores[:, 0] = (hold * weights[:, len(REPLICA_TERMS) :]).sum(axis=1)
        return np.where(observation.action_mask[rows] > 0, scores, -np.inf)

    def with_temperature(self, temperature: float | NDArray[np.float64]) -> Self:
        """The same weights at another temperature."""
        return type(self)(values=self.values, temperature=temperature)


def terms(
    candidates: NDArray[np.float32], whole: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values of the terms of replicas (D, A - 1, terms) and of holding (D, terms).

    Args:
        candidates: (D, A, C) features.
        whole: (D, H) global features.
    """
    alone = _squash(whole[:, GLOBAL_FEATURES.index("alone"), None])
    replicas = _squash(candidates[:, 1:, _REPLICA_COLUMNS])
    marginal = candidates[:, 1:, CANDIDATE_FEATURES.index("marginal_relative")]
    replicas[:, :, 0] = np.clip(marginal, -LARGEST_MARGINAL, LARGEST_MARGINAL)
    replicas[:, :, _REPLICA_ALONE] *= alone[:, :, None]
    hold = _squash(np.concatenate([whole, candidates[:, 0]], axis=1)[:, _HOLD_COLUMNS])
    hold[:, _HOLD_ALONE] *= alone
    return replicas, hold


def _squash(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.copysign(np.log1p(np.abs(x)), x))
