"""A scheduler that knows the future: the best, on each stream, of list and linear schedulers."""

from collections.abc import Sequence

from makespan.baselines import clairvoyant
from makespan.baselines.soc.linear import LinearPolicy
from makespan.baselines.soc.rules import RulePolicy
from makespan.envs.core.rollout import ScorePolicy

#: List schedulers that are tried, besides the linear ones that ship.
LISTS = ("least-work", "etf")


class Clairvoyant(clairvoyant.Clairvoyant):
    """See :class:`makespan.baselines.clairvoyant.Clairvoyant`."""

    @classmethod
    def tried(cls) -> Sequence[ScorePolicy]:
        """List schedulers and the linear ones that ship."""
        learnt = [LinearPolicy(weights) for weights in LinearPolicy.shipped]
        return [*(RulePolicy(rule) for rule in LISTS), *learnt]
