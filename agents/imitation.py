"""Learn from a policy that decides well already: a warm start for reinforcement learning.

The teacher plays fresh instances; now and then a random decision goes in between, so that the
network also sees what comes of mistakes. It is taught by cross-entropy what the teacher does in
each state (DAgger, Ross et al. 2011, with the teacher and chance in place of the learner).
"""

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from makespan.agents.neural import decisions
from makespan.agents.ppo import PPOConfig, concatenate, encode, select
from makespan.envs.core.problem import Generator, Problem
from makespan.envs.core.rollout import Policy, step_forced
from makespan.models.policy import GraphPolicy

#: Share of decisions that are taken at random.
EXPLORATION = 0.1


def imitate(
    network: GraphPolicy,
    optimizer: torch.optim.Optimizer,
    problem: Problem[Any],
    generator: Generator[Any],
    teacher: Policy,
    config: PPOConfig,
    rng: np.random.Generator,
    device: torch.device,
) -> tuple[int, float, dict[str, float]]:
    """One round: play as many episodes as an iteration of PPO, then pass over them.

    Returns:
        decisions taken, mean return of the episodes, and the figures of the updates.
    """
    rows = config.instances * config.replicas
    state, observation = problem.allocate(rows), problem.spec.allocate(rows)
    for row in range(rows):
        if row % config.replicas == 0:
            instance = generator.sample(rng)
        problem.load(state, observation, row, instance)
    teacher.start(problem, state, observation)
    graph, _ = encode(network, observation, config, device)
    done = np.zeros(rows, dtype=np.bool_)
    rewards, total = np.zeros(rows), np.zeros(rows)
    steps = step_forced(problem, state, observation, done, total)
    batches, taught, played = [], [], []
    while not done.all():
        active = np.flatnonzero(~done)
        best = teacher.act(problem, state, observation, active, rng)
        batches.append(decisions(observation, active, network.uses_node_state, device))
        taught.append(best)
        played.append(active)
        noise = rng.random((len(active), observation.action_mask.shape[1]))
        chance = np.where(observation.action_mask[active] > 0, noise, -1).argmax(axis=1)
        actions = np.full(rows, -1, dtype=np.int64)
        actions[active] = np.where(rng.random(len(active)) < EXPLORATION, chance, best)
        problem.step(state, observation, actions, rewards, done)
        total += rewards
        steps += len(active) + step_forced(problem, state, observation, done, total)
    batch = concatenate(batches)
    target = torch.from_numpy(np.concatenate(taught)).to(device)
    graph_index = torch.from_numpy(np.concatenate(played) // config.replicas).to(device)
    losses, hits, count = 0.0, 0.0, 0
    for _ in range(config.epochs):
        order = torch.from_numpy(rng.permutation(len(target))).to(device)
        for index in order.split(config.minibatch):
            encoding = None if graph is None else network.encode(graph)
            logits, _ = network(select(batch, index), encoding, graph_index[index])
            loss = functional.cross_entropy(logits, target[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
            optimizer.step()
            losses += float(loss.detach())
            hits += float((logits.argmax(dim=1) == target[index]).float().mean())
            count += 1
    figures = {"imitation_loss": losses / count, "imitation_accuracy": hits / count}
    return steps, float(total.mean()), figures
