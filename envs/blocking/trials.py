"""Rules that complete the trial schedules of a look-ahead.

``dispatch`` is one rule made by hand: jobs in the shop go first, of those the one with most work
left, and none enters from outside while the shop is crowded. ``learnt`` are many, all good and
different; :mod:`makespan.baselines.blocking.evolve` found them.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from makespan.envs.blocking.kernel import TRIAL_TERMS

_DISPATCH = {"enter": 10, "outside": -5, "crowded": -10, "work_left": 1}
_LEARNT = json.loads(Path(__file__).with_name("trials.json").read_text())["rules"]


def weights(rules: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
    """(rules, terms) of rules by the names of their terms, 0 where a name is missing."""
    rows = [[rule.get(term, 0.0) for term in TRIAL_TERMS] for rule in rules]
    return np.array(rows, dtype=np.float64).reshape(-1, len(TRIAL_TERMS))


#: (rules, terms) weights of each kind of look-ahead.
RULES: Mapping[str, NDArray[np.float64]] = MappingProxyType(
    {"none": weights([]), "dispatch": weights([_DISPATCH]), "learnt": weights(_LEARNT)}
)
