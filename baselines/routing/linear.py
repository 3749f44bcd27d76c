"""A linear router: the score of a replica is a weighted sum of its features, and that of holding.

The weights are learnt for a kind of cluster by :mod:`makespan.baselines.routing.evolve`. With those
of :func:`central_queue` it all but is the rule of that name.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from makespan.baselines import linear
from makespan.baselines.linear import Weights, squash
from makespan.envs.core.observation import ObservationSpec
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

TERMS = (*(f"replica:{term}" for term in REPLICA_TERMS), *(f"hold:{term}" for term in HOLD_TERMS))

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

#: Largest size of the only feature that is taken as it is, not as its logarithm.
LARGEST_MARGINAL = 20.0


class LinearPolicy(linear.LinearPolicy):
    """A linear router, see :class:`makespan.baselines.linear.LinearPolicy`."""

    shipped = linear.shipped_weights(Path(__file__).parent)
    needed = TERMS

    @classmethod
    def terms_of(cls, spec: ObservationSpec) -> tuple[str, ...]:
        """Those of replicas and of holding, whose weights have nothing in common."""
        return TERMS

    def _sums(
        self,
        spec: ObservationSpec,
        candidates: NDArray[np.float32],
        whole: NDArray[np.float32],
        values: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        of_replicas, of_hold = np.split(values, [len(REPLICA_TERMS)], axis=1)
        replicas, hold = terms(candidates, whole)
        sums = np.empty(candidates.shape[:2])
        sums[:, 1:] = (replicas @ of_replicas[:, :, None])[..., 0]
        sums[:, 0] = (hold * of_hold).sum(axis=1)
        return sums


def central_queue() -> Weights:
    """The weights closest to the rule ``central-queue``."""
    known = {"replica:marginal_relative": -1.0, "replica:fits": 6.0, "hold:hold": 3.0}
    return Weights(TERMS, np.array([known.get(term, 0.0) for term in TERMS]))


def terms(
    candidates: NDArray[np.float32], whole: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values of the terms of replicas (D, A - 1, terms) and of holding (D, terms).

    Args:
        candidates: (D, A, C) features.
        whole: (D, H) global features.
    """
    alone = squash(whole[:, GLOBAL_FEATURES.index("alone"), None])
    replicas = squash(candidates[:, 1:, _REPLICA_COLUMNS])
    marginal = candidates[:, 1:, CANDIDATE_FEATURES.index("marginal_relative")]
    replicas[:, :, 0] = np.clip(marginal, -LARGEST_MARGINAL, LARGEST_MARGINAL)
    replicas[:, :, _REPLICA_ALONE] *= alone[:, :, None]
    hold = squash(np.concatenate([whole, candidates[:, 0]], axis=1)[:, _HOLD_COLUMNS])
    hold[:, _HOLD_ALONE] *= alone
    return replicas, hold
