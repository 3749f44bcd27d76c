"""MaskablePPO of sb3-contrib on the job shop, with the network that `train.py` trains.

    python examples/sb3_maskable_ppo.py --steps 100000

The trained network becomes a policy for rollouts, whose schedules an independent validator checks.
"""

import gymnasium
import numpy as np
import tyro
from sb3_contrib import MaskablePPO

import makespan  # noqa: F401 - registers the environments
from makespan.agents.neural import NeuralPolicy
from makespan.agents.sb3 import MaskableGraphPolicy, SchedulingVecEnv
from makespan.envs.core.rollout import rollout
from makespan.envs.jobshop.bounds import lower_bound
from makespan.models.policy import PolicyConfig


def main(steps: int = 50_000, jobs: int = 6, machines: int = 6, seed: int = 0) -> None:
    """Train, then solve 32 new instances greedily.

    Args:
        steps: decisions to learn from.
        jobs, machines: size of the shops.
        seed: of everything random.
    """
    rows = gymnasium.make_vec(
        "makespan/JobShop-v0",
        num_envs=16,
        jobs=jobs,
        machines=machines,
        observation="candidates",
        autoreset_mode="SameStep",
    )
    shape = {"spec": rows.problem.spec, "config": PolicyConfig(encoder="none")}
    model = MaskablePPO(
        MaskableGraphPolicy, SchedulingVecEnv(rows), n_steps=64, seed=seed, policy_kwargs=shape
    )
    model.learn(steps)

    rng = np.random.default_rng(10_000 + seed)
    instances = [rows.generator.sample(rng) for _ in range(32)]
    policy = NeuralPolicy("maskable-ppo", model.policy.to_graph_policy())
    schedules = rollout(rows.problem, instances, policy, rng)
    ratios = []
    for instance, schedule in zip(instances, schedules, strict=True):
        schedule.validate(instance)
        ratios.append(schedule.makespan / lower_bound(instance))
    print(f"mean makespan / lower bound: {np.mean(ratios):.3f}")


if __name__ == "__main__":
    tyro.cli(main)
