"""Training without a policy gradient: from the best of one's own samples, or from hindsight.

Both imitate, decision by decision, what turned out well on an instance whose chance is known
afterwards, since it lies in the instance. Everything else of a run is that of PPO's.
"""

from typing import ClassVar

import numpy as np
import torch

from makespan.agents.ppo import Experience, select
from makespan.agents.trainer import Trainer, make_expert
from makespan.envs.core.errors import UsageError
from makespan.envs.core.rollout import Policy

#: The policy that sees what the future holds has this name in its family.
CLAIRVOYANT = "clairvoyant"


class SelfLabellingTrainer(Trainer):
    """Imitates the best of the ``replicas`` episodes sampled on each instance.

    As in PPO's runs, the first iterations may imitate a policy of the family instead.

    Source: Corsini, Porrello, Calderara, Dell'Amico, "Self-Labeling the Job Shop Scheduling
    Problem", NeurIPS 2024.
    """

    algorithm: ClassVar[str] = "self-labelling"
    unused: ClassVar[tuple[str, ...]] = ("center", "clip")

    def _targets(self, experience: Experience) -> tuple[Experience, bool]:
        if self._imitates():
            return experience, True
        return best_episodes(experience, self.ppo.replicas), True


class HindsightTrainer(Trainer):
    """Imitates, in all iterations, the policy or solver of the family that sees the future.

    It decides on the sampled instance, chance included; the network sees what has been revealed.
    """

    algorithm: ClassVar[str] = "hindsight"
    unused: ClassVar[tuple[str, ...]] = ("center", "clip")

    def _make_expert(self) -> Policy:
        if self.run.imitate:
            raise UsageError(f"imitate: hindsight imitates {CLAIRVOYANT!r}")
        if CLAIRVOYANT not in {**self.family.policies, **self.family.solvers}:
            raise UsageError(
                f"hindsight: {self.family.name} has no {CLAIRVOYANT!r} that sees the "
                "future; use --algorithm ppo or self-labelling"
            )
        return make_expert(self.family, CLAIRVOYANT, self.problem)

    def _imitates(self) -> bool:
        return True


def best_episodes(experience: Experience, replicas: int) -> Experience:
    """The decisions of the episode with the highest return on each instance (ties: the first)."""
    by_instance = experience.totals.reshape(-1, replicas)
    best = np.arange(len(by_instance)) * replicas + by_instance.argmax(axis=1)
    kept = np.flatnonzero(np.isin(experience.rows, best))
    index = torch.from_numpy(kept).to(experience.actions.device)
    return experience._replace(
        decisions=select(experience.decisions, index),
        graph_index=experience.graph_index[index],
        actions=experience.actions[index],
        log_probs=experience.log_probs[index],
        advantages=experience.advantages[index],
        returns=experience.returns[index],
        moments=experience.moments[kept],
        rows=experience.rows[kept],
    )
