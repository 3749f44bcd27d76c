"""PPO of TorchRL on the job shop through its `GymWrapper`, with a masked categorical policy.

    python examples/torchrl_ppo.py --steps 100000

The entries of the observation become entries of the TensorDict under their own names; the policy
takes `action_mask` as the mask of its distribution, so every action is legal.
"""

import gymnasium
import torch
import tyro
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import Tensor, nn
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper, TransformedEnv
from torchrl.envs.transforms import RewardSum
from torchrl.modules import MaskedCategorical, ProbabilisticActor
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import makespan  # noqa: F401 - registers the environments

OBSERVED = ["candidates", "globals"]


class CandidateScores(nn.Module):
    """One score per candidate from its features and the state of the whole."""

    def __init__(self, features: int, global_features: int, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features + global_features, hidden), nn.Tanh(), nn.Linear(hidden, 1)
        )

    def forward(self, candidates: Tensor, whole: Tensor) -> Tensor:
        """(..., A, C) and (..., H) to (..., A)."""
        whole = whole.unsqueeze(-2).expand(*candidates.shape[:-1], -1)
        return self.layers(torch.cat([candidates, whole], dim=-1)).squeeze(-1)


class Value(nn.Module):
    """The value of a state: the mean of the candidates' scores."""

    def __init__(self, features: int, global_features: int) -> None:
        super().__init__()
        self.scores = CandidateScores(features, global_features)

    def forward(self, candidates: Tensor, whole: Tensor) -> Tensor:
        """(..., A, C) and (..., H) to (..., 1)."""
        return self.scores(candidates, whole).mean(-1, keepdim=True)


def main(
    steps: int = 50_000,
    frames: int = 1_000,
    jobs: int = 4,
    machines: int = 3,
    epochs: int = 4,
    minibatch: int = 250,
    seed: int = 0,
) -> None:
    """Train.

    Args:
        steps: decisions to learn from.
        frames: decisions per iteration.
        jobs, machines: size of the shops.
        epochs, minibatch: of the updates of an iteration.
        seed: of everything random.
    """
    torch.manual_seed(seed)
    env = gymnasium.make(
        "makespan/JobShop-v0", jobs=jobs, machines=machines, observation="candidates"
    )
    features = env.observation_space["candidates"].shape[1]
    global_features = env.observation_space["globals"].shape[0]
    wrapped = TransformedEnv(GymWrapper(env, categorical_action_encoding=True), RewardSum())
    wrapped.set_seed(seed)

    policy = ProbabilisticActor(
        TensorDictSequential(
            TensorDictModule(CandidateScores(features, global_features), OBSERVED, ["logits"]),
            TensorDictModule(Tensor.bool, ["action_mask"], ["mask"]),
        ),
        in_keys={"logits": "logits", "mask": "mask"},
        distribution_class=MaskedCategorical,
        return_log_prob=True,
        spec=wrapped.action_spec,
    )
    critic = TensorDictModule(Value(features, global_features), OBSERVED, ["state_value"])
    loss_module = ClipPPOLoss(policy, critic, entropy_coeff=0.01)
    advantage = GAE(gamma=1.0, lmbda=0.98, value_network=critic)
    optimizer = torch.optim.Adam(loss_module.parameters(), lr=1e-3)

    collector = Collector(wrapped, policy, frames_per_batch=frames, total_frames=steps)
    for iteration, data in enumerate(collector):
        for _ in range(epochs):
            advantage(data)
            for index in torch.randperm(len(data)).split(minibatch):
                losses = loss_module(data[index])
                loss = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(loss_module.parameters(), 1.0)
                optimizer.step()
        ended = data["next", "done"].squeeze(-1)
        returns = data["next", "episode_reward"][ended]
        print(f"steps {(iteration + 1) * frames}  return {returns.mean():.3f}", flush=True)
    collector.shutdown()


if __name__ == "__main__":
    tyro.cli(main)
