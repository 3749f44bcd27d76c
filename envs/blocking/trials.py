"""Rules that complete the trial schedules of a look-ahead.

``dispatch`` is one rule: jobs in the shop go first, of those the one with most work left, and none
enters from outside while the shop is crowded. ``varied`` are this rule and many drawn around it.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from makespan.envs.blocking.kernel import TRIAL_TERMS

_WEIGHTS = {"enter": 10, "outside": -5, "crowded": -10, "work_left": 1}
#: Rules in ``varied``, and the standard deviation of their weights.
VARIED, SPREAD = 64, 1.0


def _around(rule: NDArray[np.float64]) -> NDArray[np.float64]:
    """(VARIED, terms) the rule and draws around it, always the same."""
    noise = np.random.default_rng(0).standard_normal((VARIED - 1, rule.shape[1]))
    return np.vstack([rule, rule + SPREAD * noise])


_DISPATCH = np.array([[_WEIGHTS.get(term, 0.0) for term in TRIAL_TERMS]])
#: (rules, terms) weights of each kind of look-ahead.
RULES: Mapping[str, NDArray[np.float64]] = MappingProxyType(
    {"none": _DISPATCH[:0], "dispatch": _DISPATCH, "varied": _around(_DISPATCH)}
)
