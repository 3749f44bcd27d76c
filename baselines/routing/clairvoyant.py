"""A router that knows the future: of the two projecting rules the better one on each stream.

It knows which of them the arrivals and response lengths to come favour: the one that holds requests
until there is memory, or the one that never holds. Each decides by predictions, as always. The
linear routers are not tried: where they win by chance there is nothing to learn from them, and a
network that imitates them elsewhere holds requests too long.
"""

from collections.abc import Sequence

from makespan.baselines import clairvoyant
from makespan.baselines.routing.rules import RulePolicy
from makespan.envs.core.rollout import ScorePolicy


class Clairvoyant(clairvoyant.Clairvoyant):
    """See :class:`makespan.baselines.clairvoyant.Clairvoyant`."""

    @classmethod
    def tried(cls) -> Sequence[ScorePolicy]:
        """The rules that project what a decision brings about."""
        return [RulePolicy(rule) for rule in ("central-queue", "marginal")]
