"""PPO of Ray RLlib (new API stack) on the job shop, with a masked RLModule.

    python examples/rllib_ppo.py --iterations 20

RLlib passes the Dict observation to the module as it is. Candidates are scored by one small network
from their own features and the state of the whole; illegal ones get no probability.
"""

from typing import Any

import gymnasium
import ray
import torch
import tyro
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from ray.tune.registry import register_env
from torch import Tensor, nn


class MaskedCandidates(TorchRLModule, ValueFunctionAPI):
    """Actor and critic over the candidates of an observation."""

    def setup(self) -> None:
        """Make the layers."""
        spaces = self.observation_space
        features = spaces["candidates"].shape[1] + spaces["globals"].shape[0]
        hidden = 64
        self.embed = nn.Sequential(nn.Linear(features, hidden), nn.Tanh())
        self.actor = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.critic = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def _embed(self, observation: dict[str, Tensor]) -> Tensor:
        """(B, A, hidden) embeddings of the candidates."""
        candidates = observation["candidates"].float()
        whole = observation["globals"].float().unsqueeze(1).expand(-1, candidates.shape[1], -1)
        x = torch.cat([candidates, whole], dim=2)
        return self.embed(x.sign() * x.abs().log1p())

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Tensor]:
        """Masked logits, for exploration, inference and training alike."""
        observation = batch[Columns.OBS]
        logits = self.actor(self._embed(observation)).squeeze(2)
        illegal = observation["action_mask"] < 1
        return {Columns.ACTION_DIST_INPUTS: logits.masked_fill(illegal, -1e8)}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """(B,) values."""
        observation = batch[Columns.OBS]
        legal = observation["action_mask"].float().unsqueeze(2)
        pooled = (self._embed(observation) * legal).sum(1) / legal.sum(1).clamp(min=1)
        return self.critic(pooled).squeeze(1)


def make_env(config: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """The environment, also in the processes of Ray."""
    import makespan  # noqa: F401 - registers the environments

    return gymnasium.make("makespan/JobShop-v0", observation="candidates", **config)


def main(
    iterations: int = 10,
    batch: int = 2_000,
    jobs: int = 4,
    machines: int = 3,
    env_runners: int = 0,
    seed: int = 0,
) -> None:
    """Train.

    Args:
        iterations: of collecting and updating.
        batch: decisions per iteration.
        jobs, machines: size of the shops.
        env_runners: processes that collect; 0: this one.
        seed: of everything random.
    """
    ray.init(include_dashboard=False, num_cpus=env_runners + 1, log_to_driver=False)
    register_env("jobshop", make_env)
    config = (
        PPOConfig()
        .environment("jobshop", env_config={"jobs": jobs, "machines": machines})
        .env_runners(num_env_runners=env_runners, num_envs_per_env_runner=8)
        .learners(num_learners=0)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=MaskedCandidates))
        .training(
            train_batch_size_per_learner=batch,
            minibatch_size=250,
            num_epochs=4,
            gamma=1.0,
            lambda_=0.98,
            lr=1e-3,
            entropy_coeff=0.01,
        )
        .debugging(seed=seed)
    )
    algorithm = config.build_algo()
    for iteration in range(iterations):
        figures = algorithm.train()["env_runners"]
        length, value = figures["episode_len_mean"], figures["episode_return_mean"]
        print(f"iteration {iteration + 1}  return {value:.3f}  decisions {length:.1f}", flush=True)
    algorithm.stop()
    ray.shutdown()


if __name__ == "__main__":
    tyro.cli(main)
