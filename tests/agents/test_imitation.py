"""A run that imitates a policy first."""

from pathlib import Path

import pytest

from makespan.agents.ppo import PPOConfig
from makespan.agents.trainer import RunConfig, Trainer
from makespan.envs import FAMILIES
from makespan.envs.core.errors import UnknownNameError
from makespan.envs.jobshop.generator import JobShopGenerator
from makespan.models.policy import PolicyConfig


def make_trainer(folder: Path, expert: str, imitation: int) -> Trainer:
    return Trainer(
        FAMILIES["jobshop"](),
        JobShopGenerator(4, 3),
        {"decode": "nondelay", "lookahead": "none"},
        PolicyConfig(encoder="none", hidden=16),
        PPOConfig(instances=2, replicas=4, minibatch=32, learning_rate=0.01),
        RunConfig(iterations=12, validation=4, expert=expert, imitation=imitation),
        folder,
    )


def test_imitation_makes_the_actions_of_the_expert_likely(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "mwkr", 12)
    losses: list[float] = []
    trainer.train(lambda row: losses.append(row["policy_loss"]))
    # the cross-entropy of its actions: a third of what chance gives, or less
    assert losses[-1] < losses[0] / 3


def test_after_imitation_ppo_goes_on(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "mwkr", 2)
    clipped: list[float] = []
    trainer.train(lambda row: clipped.append(row["policy_loss"]))
    assert min(clipped[:2]) > 0.1  # cross-entropy
    assert max(map(abs, clipped[2:])) < 0.1  # advantages have mean 0


def test_an_unknown_expert_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="policy of jobshop"):
        make_trainer(tmp_path, "mwrk", 1)
