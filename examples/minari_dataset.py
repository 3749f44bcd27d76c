"""Expert trajectories as a Minari dataset, and a policy that starts from imitating them.

    python examples/minari_dataset.py jobshop --episodes 200 --out runs/jobshop-experts
    python examples/minari_dataset.py dag --episodes 200 --out runs/dag-experts

The experts are solvers of whole instances: CP-SAT (optimal schedules of small job shops) and HEFT
(task graphs). A schedule becomes a trajectory by taking its decisions in the order of their start
times; the simulator then starts each no later than the schedule does. The cloned network goes on
learning from rewards; its `policy.safetensors` can be compared like any other:

    python evaluate.py jobshop --suite ta01-10 --policies nondelay/mwkr \
        append/pretrained:checkpoint=runs/jobshop-experts/policy.safetensors
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gymnasium
import minari
import numpy as np
import torch
import tyro
from minari.data_collector import EpisodeBuffer
from numpy.typing import NDArray
from torch.nn import functional

import makespan
from makespan.agents.neural import NeuralPolicy
from makespan.agents.ppo import PPOConfig, select
from makespan.agents.trainer import RunConfig, Trainer, evaluate
from makespan.models.policy import Decisions, GraphPolicy, PolicyConfig

#: Start and resource (machine or processor) of each operation or task.
Schedule = tuple[NDArray[np.int64], NDArray[np.int64]]


def optimal_schedule(instance: Any) -> Schedule:
    """An optimal schedule of a job shop, by CP-SAT."""
    from makespan.baselines.jobshop.exact import CpSat

    result = CpSat(workers=1).solve(instance, 60.0, np.random.default_rng(0))
    if not result.optimal:
        raise SystemExit(f"{instance.name}: no proof within a minute; take smaller shops")
    schedule = result.solution
    order = np.lexsort((schedule.positions, schedule.jobs))
    return schedule.starts[order], schedule.machines[order]


def heft_schedule(instance: Any) -> Schedule:
    """The schedule of a task graph by HEFT."""
    from makespan.baselines.dag.lists import ListScheduler

    schedule = ListScheduler("heft").solve(instance).solution
    order = np.argsort(schedule.tasks)
    return schedule.starts[order], schedule.processors[order]


class Expert(NamedTuple):
    """Where trajectories come from.

    Attributes:
        env_id: of the environment.
        sizes: of the instances.
        options: of the problem, such that every schedule can be replayed.
        resource: node type of what a candidate is processed on.
        solve: the schedule of an instance.
    """

    env_id: str
    sizes: dict[str, Any]
    options: dict[str, str]
    resource: str
    solve: Callable[[Any], Schedule]


EXPERTS = {
    "jobshop": Expert(
        "makespan/JobShop-v0",
        {"jobs": 6, "machines": 5},
        {"decode": "append"},
        "machine",
        optimal_schedule,
    ),
    "dag": Expert(
        "makespan/DagScheduling-v0",
        {"tasks": (10, 20), "processors": 4, "heterogeneity": 1.0},
        {"actions": "task-processor", "placement": "insertion"},
        "processor",
        heft_schedule,
    ),
}


def record(expert: Expert, dataset_id: str, episodes: int) -> minari.MinariDataset:
    """Play the expert's schedules and store what was seen and done; returns the dataset."""
    env = gymnasium.make(expert.env_id, **expert.sizes, **expert.options)
    played = [play(env, expert, seed) for seed in range(episodes)]
    warnings.filterwarnings("ignore", "`.*` is set to None")  # advice for published datasets
    return minari.create_dataset_from_buffers(
        dataset_id, played, env, algorithm_name=expert.solve.__name__
    )


def play(env: gymnasium.Env[Any, Any], expert: Expert, seed: int) -> EpisodeBuffer:
    """One episode of the expert, on the instance that the environment draws with that seed."""
    observation, _ = env.reset(seed=seed)
    schedule = expert.solve(env.unwrapped.instance)
    resource = env.unwrapped.problem.spec.node_types.index(expert.resource)
    observations, actions, rewards = [observation], [], []
    ended = False
    while not ended:
        actions.append(first_to_start(observation, schedule, resource))
        observation, reward, ended, _, _ = env.step(actions[-1])
        observations.append(observation)
        rewards.append(reward)
    return EpisodeBuffer(
        seed=seed,
        observations={key: np.stack([o[key] for o in observations]) for key in observation},
        actions=np.array(actions),
        rewards=rewards,
        terminations=[False] * (len(actions) - 1) + [True],
        truncations=[False] * len(actions),
    )


def first_to_start(
    observation: dict[str, NDArray[Any]], schedule: Schedule, resource: int
) -> np.intp:
    """The legal candidate that the schedule starts first (on the resource that it uses)."""
    starts, resources = schedule
    nodes = observation["candidate_nodes"]
    first_resource = (observation["node_type"] == resource).argmax()
    legal = np.flatnonzero(observation["action_mask"])
    scheduled = resources[nodes[legal, 0]] == nodes[legal, -1] - first_resource
    legal = legal[scheduled]
    return legal[starts[nodes[legal, 0]].argmin()]


def clone(
    network: GraphPolicy, dataset: minari.MinariDataset, epochs: int, minibatch: int = 256
) -> None:
    """Fit the network to the decisions of a dataset (cross-entropy over the legal candidates)."""
    episodes = list(dataset.iterate_episodes())

    def decided(key: str) -> torch.Tensor:
        """All observations but the last of each episode, on which nothing was decided."""
        return torch.from_numpy(np.concatenate([e.observations[key][:-1] for e in episodes]))

    decisions = Decisions(
        decided("candidates"),
        decided("candidate_nodes").long(),
        decided("globals"),
        decided("action_mask").bool(),
        None,
    )
    actions = torch.from_numpy(np.concatenate([e.actions for e in episodes]))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for epoch in range(epochs):
        agreement = 0
        for index in torch.randperm(len(actions)).split(minibatch):
            logits, _ = network(select(decisions, index), None, None)
            loss = functional.cross_entropy(logits, actions[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            agreement += int((logits.argmax(dim=1) == actions[index]).sum())
        print(f"epoch {epoch}: agrees with {100 * agreement / len(actions):.1f} % of decisions")


def main(
    family: Literal["jobshop", "dag"],
    /,
    out: Path = Path("runs/experts"),
    episodes: int = 200,
    epochs: int = 20,
    iterations: int = 20,
) -> None:
    """Record, clone, go on by PPO.

    Args:
        family: whose expert to imitate.
        out: folder of the dataset, which is used again, and of the training run.
        episodes: of the expert.
        epochs: of cloning.
        iterations: of PPO after it.
    """
    os.environ["MINARI_DATASETS_PATH"] = str(out.resolve() / "datasets")
    expert = EXPERTS[family]
    dataset_id = f"makespan/{family}-v0"
    if dataset_id in minari.list_local_datasets():
        dataset = minari.load_dataset(dataset_id)
        if dataset.total_episodes != episodes:
            raise SystemExit(
                f"{out}: holds {dataset.total_episodes} episodes; choose another --out, or "
                f"--episodes {dataset.total_episodes}"
            )
    else:
        dataset = record(expert, dataset_id, episodes)
    print(f"{dataset.total_episodes} episodes, {dataset.total_steps} decisions in {out}")

    record_of = makespan.envs.FAMILIES[family]()
    generator = type(record_of.generators[family])(**expert.sizes)
    run = RunConfig(iterations=iterations, validate_every=10)
    trainer = Trainer(
        record_of,
        generator,
        expert.options,
        PolicyConfig(encoder="none"),
        PPOConfig(),
        run,
        out,
    )

    def ratio() -> float:
        """Mean objective over lower bound of the validation instances, every solution checked."""
        policy = NeuralPolicy("cloned", trainer.network)
        objectives = evaluate(record_of, expert.options, trainer.validation, policy)
        bounds = [record_of.lower_bound(instance) for instance in trainer.validation]
        return float((objectives / bounds).mean())

    print(f"makespan / lower bound before:       {ratio():.4f}")
    clone(trainer.network, dataset, epochs)
    print(f"makespan / lower bound when cloned:  {ratio():.4f}")
    trainer.train()
    print(f"makespan / lower bound after PPO:    {trainer.counters.best:.4f} (best)")


if __name__ == "__main__":
    tyro.cli(main)
