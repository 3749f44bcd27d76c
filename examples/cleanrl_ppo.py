"""Masked PPO in one file on any environment of makespan, in the manner of CleanRL.

    python examples/cleanrl_ppo.py --env-id makespan/JobShop-v0 --steps 500000

It needs nothing but Gymnasium, numpy and torch: copy it and change it. Each candidate decision is
scored by the same small network from its own features and the state of the whole, so the number
of weights does not depend on the size of the instances.
"""

import time

import gymnasium
import numpy as np
import torch
import tyro
from torch import Tensor, nn
from torch.distributions import Categorical

import makespan  # noqa: F401 - registers the environments

KEYS = ("candidates", "globals", "action_mask")


class Agent(nn.Module):
    """Scores of the candidates, and the value of a state."""

    def __init__(self, features: int, global_features: int, hidden: int = 64) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(features + global_features, hidden), nn.Tanh())
        self.actor = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.critic = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, observation: dict[str, Tensor]) -> tuple[Categorical, Tensor]:
        """Distribution over actions, and values (B,)."""
        candidates, mask = observation["candidates"], observation["action_mask"].bool()
        count = candidates.shape[1]
        whole = observation["globals"].unsqueeze(1).expand(-1, count, -1)
        x = torch.cat([candidates, whole], dim=2)
        x = self.embed(x.sign() * x.abs().log1p())  # features are bounded, but some are large
        pooled = (x * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        x = torch.cat([x, pooled.unsqueeze(1).expand(-1, count, -1)], dim=2)
        logits = self.actor(x).squeeze(2).masked_fill(~mask, -1e8)
        return Categorical(logits=logits), self.critic(pooled).squeeze(1)


def main(
    env_id: str = "makespan/JobShop-v0",
    steps: int = 200_000,
    num_envs: int = 32,
    num_steps: int = 64,
    epochs: int = 4,
    minibatch: int = 512,
    learning_rate: float = 1e-3,
    gamma: float = 1.0,
    gae_lambda: float = 0.98,
    clip: float = 0.2,
    entropy: float = 0.005,
    value: float = 0.5,
    seed: int = 0,
) -> None:
    """Train.

    Args:
        env_id: any id of makespan; its default generator gives the instances.
        steps: decisions to learn from, all rows together.
        num_envs: rows of the vector environment.
        num_steps: decisions per row and iteration.
        epochs: passes over the decisions of an iteration.
        minibatch: decisions per gradient step.
        learning_rate: of Adam, falling to 0.
        gamma, gae_lambda, clip, entropy, value: as in Schulman et al. 2017.
        seed: of everything random.
    """
    torch.manual_seed(seed)
    envs = gymnasium.make_vec(
        env_id, num_envs=num_envs, observation="candidates", autoreset_mode="SameStep"
    )
    spaces = envs.single_observation_space
    agent = Agent(spaces["candidates"].shape[1], spaces["globals"].shape[0])
    optimizer = torch.optim.Adam(agent.parameters(), lr=learning_rate, eps=1e-5)

    shape = (num_steps, num_envs)
    buffer = {key: torch.zeros(*shape, *spaces[key].shape) for key in KEYS}
    actions = torch.zeros(shape, dtype=torch.long)
    log_probs, rewards, ended, values = (torch.zeros(shape) for _ in range(4))

    arrays, _ = envs.reset(seed=seed)
    observation = {key: torch.from_numpy(arrays[key]) for key in KEYS}
    iterations = max(1, steps // (num_steps * num_envs))
    started = time.perf_counter()
    for iteration in range(iterations):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - iteration / iterations)
        gaps = []

        for step in range(num_steps):
            for key in KEYS:
                buffer[key][step] = observation[key]
            with torch.no_grad():
                distribution, values[step] = agent(observation)
                actions[step] = distribution.sample()
                log_probs[step] = distribution.log_prob(actions[step])
            arrays, earned, terminated, _, infos = envs.step(actions[step].numpy())
            observation = {key: torch.from_numpy(arrays[key]) for key in KEYS}
            rewards[step], ended[step] = torch.from_numpy(earned), torch.from_numpy(terminated)
            if terminated.any():
                final = infos["final_info"]
                gap = 100 * (final["objective"] / final["lower_bound"] - 1)
                gaps += gap[terminated].tolist()

        with torch.no_grad():
            following = agent(observation)[1]
        advantages = torch.zeros(shape)
        advantage = torch.zeros(num_envs)
        for step in reversed(range(num_steps)):
            goes_on = 1 - ended[step]
            delta = rewards[step] + gamma * following * goes_on - values[step]
            advantage = delta + gamma * gae_lambda * goes_on * advantage
            advantages[step], following = advantage, values[step]
        returns = (advantages + values).flatten()

        flat = {key: array.flatten(0, 1) for key, array in buffer.items()}
        flat_advantages = advantages.flatten()
        for _ in range(epochs):
            for index in torch.randperm(len(returns)).split(minibatch):
                distribution, new_values = agent({key: flat[key][index] for key in KEYS})
                chosen = distribution.log_prob(actions.flatten()[index])
                ratio = (chosen - log_probs.flatten()[index]).exp()
                gain = flat_advantages[index]
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                policy_loss = -torch.min(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
                value_loss = (new_values - returns[index]).square()
                loss = policy_loss + value * value_loss - entropy * distribution.entropy()
                optimizer.zero_grad()
                loss.mean().backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()

        done = (iteration + 1) * num_steps * num_envs
        speed = done / (time.perf_counter() - started)
        gap = f"{np.mean(gaps):.1f} %" if gaps else "no episode ended"
        print(f"steps {done}  steps/s {speed:.0f}  gap to the lower bound {gap}", flush=True)
    envs.close()


if __name__ == "__main__":
    tyro.cli(main)
