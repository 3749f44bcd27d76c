"""The objective of PPO by hand, and that following it makes returns rise."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from makespan.agents.ppo import Experience, PPOConfig, _advantages, _center, _losses, _Moment
from makespan.agents.trainer import RunConfig, Trainer
from makespan.envs import FAMILIES
from makespan.envs.jobshop.generator import JobShopGenerator
from makespan.models.policy import Decisions, PolicyConfig


def moment(rows: list[int], rewards: list[float], values: list[float]) -> _Moment:
    """One decision in each of ``rows``; what was decided does not matter here."""
    index, zeros = np.array(rows), np.zeros(len(rows), dtype=np.float32)
    return _Moment(None, index, index, zeros, np.float32(values), np.array(rewards))


def test_advantages_are_those_of_the_definition() -> None:
    """The second decision: 2 - 0.25. The first: 1 + 0.5 * 0.25 - 0.5 + 0.5 * 0.5 * 1.75."""
    config = PPOConfig(discount=0.5, gae_lambda=0.5)
    history = [moment([0], [1.0], [0.5]), moment([0], [2.0], [0.25])]
    advantages, returns = _advantages(history, 1, config, value_scale=1.0)
    assert [a.tolist() for a in advantages] == [[1.0625], [1.75]]
    assert [r.tolist() for r in returns] == [[1.5625], [2.0]]


@pytest.mark.parametrize(("share", "expected"), [(1.0, [[-2, 3, -6], [-1, 6]]), (0.5, None)])
def test_the_mean_of_an_instance_is_subtracted(
    share: float, expected: list[list[float]] | None
) -> None:
    """Rows 0 and 1 play the first instance, whose three decisions average 3; 2 and 3 the other."""
    config = PPOConfig(instances=2, replicas=2, center=share)
    history = [moment([0, 1, 2], [0] * 3, [0] * 3), moment([0, 3], [0] * 2, [0] * 2)]
    before = [np.float32([1, 6, 4]), np.float32([2, 16])]
    means = [[3, 3, 10], [3, 10]]
    found = [advantage.copy() for advantage in before]
    _center(found, history, config)
    for one, other, mean in zip(found, before, means, strict=True):
        np.testing.assert_allclose(one, other - share * np.array(mean))
    assert expected is None or [one.tolist() for one in found] == expected


class Logits(nn.Module):
    """A network of two candidates whose scores are its only weights, and values of zero."""

    def __init__(self, logits: tuple[float, float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, batch: Decisions, encoding: None, index: Tensor) -> tuple[Tensor, Tensor]:
        count = len(batch.candidates)
        return self.logits.expand(count, 2), self.logits.new_zeros(count)


def losses(network: Logits, advantage: float, ratio: float, config: PPOConfig) -> dict[str, Tensor]:
    """Of one decision, where the first candidate was taken and ``ratio`` is new over old."""
    chosen = network.logits.detach().log_softmax(0)[0]
    decision = Decisions(
        torch.zeros(1, 2, 1),
        torch.zeros(1, 2, 1, dtype=torch.int64),
        torch.zeros(1, 1),
        torch.ones(1, 2, dtype=torch.bool),
        None,
    )
    zero = torch.zeros(1, dtype=torch.int64)
    experience: Any = Experience(
        decision, zero, zero, (chosen - np.log(ratio)).reshape(1), torch.tensor([advantage]),
        torch.tensor([2.0]), None, np.zeros(1, int), np.zeros(1, int), np.zeros(1), 1, 0.0,
    )  # fmt: skip
    return _losses(network, experience, experience.advantages, zero, config, imitate=False)


@pytest.mark.parametrize(
    ("advantage", "ratio", "direction"),
    [
        (1.0, 1.0, 1),
        (-1.0, 1.0, -1),
        (1.0, 1.3, 0),  # it has become likely enough
        (-1.0, 0.7, 0),  # or unlikely enough
        (1.0, 0.7, 1),  # a move the wrong way is not clipped
        (-1.0, 1.3, -1),
    ],
)
def test_the_gradient_is_clipped_only_beyond_the_range(
    advantage: float, ratio: float, direction: int
) -> None:
    network = Logits((0.3, -0.2))
    found = losses(network, advantage, ratio, PPOConfig(clip=0.2))
    found["policy_loss"].backward()
    assert found["clipped"].item() == (ratio != 1)
    assert network.logits.grad is not None
    # a step of descent raises the score of the candidate that was taken, or lowers it
    assert torch.sign(-network.logits.grad).tolist() == [direction, -direction]


def test_the_bonus_of_entropy_makes_the_likely_less_likely() -> None:
    network = Logits((1.0, 0.0))
    found = losses(network, 0.0, 1.0, PPOConfig(entropy=0.1, value=0.5))
    found["loss"].backward()
    assert network.logits.grad is not None
    assert network.logits.grad[0] > 0 > network.logits.grad[1]
    p = 1 / (1 + np.exp(-1.0))
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    assert found["entropy"].item() == pytest.approx(entropy)
    assert found["value_loss"].item() == 4.0  # of a value of 0 and a return of 2
    assert found["loss"].item() == pytest.approx(0.5 * 4 - 0.1 * entropy)


def test_returns_rise(tmp_path: Path) -> None:
    trainer = Trainer(
        FAMILIES["jobshop"](),
        JobShopGenerator(jobs=3, machines=3),
        {"decode": "active", "lookahead": "none"},
        PolicyConfig(encoder="none", hidden=16, heads=2),
        PPOConfig(instances=16, replicas=8, minibatch=256, learning_rate=5e-3),
        RunConfig(iterations=15, validation=1, validate_every=15),
        tmp_path,
    )
    returns: list[float] = []
    trainer.train(report=lambda row: returns.append(row["mean_return"]))
    assert np.mean(returns[-5:]) > np.mean(returns[:5]) + 0.1
