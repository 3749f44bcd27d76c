"""Training steps per second on random 15x15 job shops: our PPO against sb3-contrib's MaskablePPO.

Same simulator, same number of epochs. Ours encodes the static graph once per episode and scores
candidates at every step. A features extractor of Stable-Baselines3 sees single observations, so
there the network runs over all operations, with their present state, at every step: once with our
encoder, once with the lightest network that can be called one, and that once more with the usual
ten epochs. Its minibatches are of 256, since each sample brings a graph. A step is one decision of
the environment; collecting and updating both count.

    python benchmarks/training_speed.py --rounds 5 --threads 1
"""

import dataclasses
import functools
import statistics
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from sb3_contrib import MaskablePPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor, nn
from torch_geometric.nn import GINConv

from makespan.agents.ppo import PPOConfig, collect, update
from makespan.benchmarks.common import (
    interleaved,
    machine,
    print_table,
    spread,
    timed,
    write_results,
)
from makespan.envs.core.env import SchedulingEnv
from makespan.envs.core.observation import ObservationSpec
from makespan.envs.jobshop.generator import JobShopGenerator
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.problem import JobShopProblem
from makespan.models.encoder import Graph, GraphEncoder
from makespan.models.policy import GraphPolicy, PolicyConfig
from makespan.train import set_threads

GENERATOR = JobShopGenerator(jobs=15, machines=15)
SB3_ENVS, SB3_STEPS = 8, 128  # an iteration of 1,024 steps

#: A call that trains for one iteration, and the number of steps that makes.
Trainer = tuple[Callable[[], Any], int]


def make_problem() -> JobShopProblem:
    """Sized for the generated instances, in the default decode mode."""
    return JobShopProblem.for_instances([GENERATOR.sample(np.random.default_rng(0))])


def ours(config: PPOConfig, policy: PolicyConfig) -> Trainer:
    """Our PPO: collect and update, as ``train.py`` does."""
    problem = make_problem()
    network = GraphPolicy(problem.spec, policy)
    optimizer = torch.optim.Adam(network.parameters(), config.learning_rate)
    rng = np.random.default_rng(0)

    def iterate() -> None:
        device = torch.device("cpu")
        experience = collect(network, problem, GENERATOR, config, rng, device, value_scale=1.0)
        update(network, optimizer, experience, config, rng)

    operations = problem.largest.operations
    return iterate, config.instances * config.replicas * operations


class LightEncoder(nn.Module):
    """Two GIN layers (Xu et al. 2019) without edge features: the cheapest network that qualifies.

    Args:
        node_features: width of the input.
        hidden: width of the embeddings.
    """

    def __init__(self, node_features: int, hidden: int) -> None:
        super().__init__()
        self.input = nn.Linear(node_features, hidden)
        self.layers = nn.ModuleList(
            GINConv(nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU())) for _ in range(2)
        )

    def forward(self, graph: Graph) -> Tensor:
        """Embeddings (G, N, hidden)."""
        size, nodes, _ = graph.nodes.shape
        offset = torch.arange(size)[:, None, None] * nodes
        edges = (graph.edges + offset).transpose(0, 1)[:, graph.edge_type >= 0]
        edges = torch.cat([edges, edges.flip(0)], dim=1)
        x: Tensor = self.input(graph.nodes.flatten(0, 1))
        for layer in self.layers:
            x = layer(x, edges)
        return x.view(size, nodes, -1)


def make_encoder(name: str, spec: ObservationSpec, policy: PolicyConfig) -> nn.Module:
    """A :class:`LightEncoder`, or ours with the changing features added to the static ones."""
    features = (*spec.node_features, *spec.node_state_features)
    if name == "light":
        return LightEncoder(len(features), policy.hidden)
    spec = dataclasses.replace(spec, node_features=features)
    return GraphEncoder(spec, name, policy.hidden, policy.encoder_layers)


class OperationGraph(BaseFeaturesExtractor):
    """A network over all nodes; the embeddings of each job's next operation, and the mean."""

    def __init__(
        self,
        space: gymnasium.spaces.Dict,
        spec: ObservationSpec,
        encoder: str,
        policy: PolicyConfig,
    ) -> None:
        super().__init__(space, features_dim=(spec.max_candidates + 1) * policy.hidden)
        self.encoder = make_encoder(encoder, spec, policy)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(B, features_dim) from a batch of B observations."""
        graph = Graph(
            torch.cat([observations["nodes"], observations["node_state"]], dim=-1),
            observations["node_type"].long(),
            observations["edges"].long(),
            observations["edge_type"].long(),
            observations["edge_features"],
        )
        nodes = self.encoder(graph)
        operation = observations["candidate_nodes"][:, :, 0].long()  # -1: the job is finished
        index = operation.clamp(min=0)[..., None].expand(-1, -1, nodes.shape[-1])
        chosen = nodes.gather(1, index) * (operation >= 0)[..., None]
        return torch.cat([chosen.flatten(1), nodes.mean(dim=1)], dim=1)


def sb3(encoder: str, policy: PolicyConfig, **settings: Any) -> Trainer:
    """MaskablePPO on copies of the single environment."""
    problem = make_problem()

    def make_env() -> SchedulingEnv[JobShopInstance]:
        return SchedulingEnv(problem, GENERATOR)

    agent = MaskablePPO(
        "MultiInputPolicy",
        DummyVecEnv([make_env] * SB3_ENVS),
        n_steps=SB3_STEPS,
        policy_kwargs={
            "features_extractor_class": OperationGraph,
            "features_extractor_kwargs": {
                "spec": problem.spec,
                "encoder": encoder,
                "policy": policy,
            },
        },
        **settings,
    )
    steps = SB3_ENVS * SB3_STEPS
    return lambda: agent.learn(steps, reset_num_timesteps=False), steps


def steps_per_second(iterate: Callable[[], Any], steps: int) -> float:
    """Of one more iteration."""
    return steps / timed(iterate)


def main(rounds: int = 5, threads: int = 1) -> None:
    """Measure, print a table, write CSV and JSON.

    Args:
        rounds: iterations per contender, in turns.
        threads: of torch and the simulator; more than the free cores make torch many times slower.
    """
    set_threads(threads)
    torch.manual_seed(0)
    about = machine(["makespan", "torch", "torch-geometric", "sb3-contrib", "gymnasium", "numba"])
    config, policy = PPOConfig(), PolicyConfig(encoder="gatv2")
    same = {"n_epochs": config.epochs, "batch_size": 256}
    trainers = {
        f"makespan PPO, {encoder}": ours(config, dataclasses.replace(policy, encoder=encoder))
        for encoder in (policy.encoder, "tokens", "none")
    }
    trainers[f"MaskablePPO, {policy.encoder}"] = sb3(policy.encoder, policy, **same)
    trainers["MaskablePPO, light GIN"] = sb3("light", policy, **same)
    trainers["MaskablePPO, light GIN, 10 epochs"] = sb3("light", policy, batch_size=256)
    for iterate, _ in trainers.values():
        iterate()  # compiles kernels and fills caches
    rates = interleaved(
        {name: functools.partial(steps_per_second, *trainer) for name, trainer in trainers.items()},
        rounds,
    )
    medians = {name: statistics.median(figures) for name, figures in rates.items()}
    first = next(iter(medians.values()))
    results = [
        {
            "trainer": name,
            "steps/s": median,
            "± %": 100 * spread(rates[name]),
            "first / it": first / median,
        }
        for name, median in medians.items()
    ]
    title = f"PPO on 15x15, {threads} thread(s), {about['processor']}"
    print_table(title, results)
    for path in write_results("training_speed", results, {**about, "threads": threads}):
        print(path)


if __name__ == "__main__":
    tyro.cli(main)
