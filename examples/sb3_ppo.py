"""Plain PPO of Stable-Baselines3 on the job shop: no masks, the policy learns what is legal.

    python examples/sb3_ppo.py --steps 300000

An illegal action ends the episode with the worst reward, so the mask, which is part of the
observation, is the first thing to learn. `sb3_maskable_ppo.py` does not have to.
"""

import gymnasium
import numpy as np
import tyro
from stable_baselines3 import PPO

import makespan  # noqa: F401 - registers the environments
from makespan.agents.sb3 import SchedulingVecEnv


def main(steps: int = 100_000, jobs: int = 4, machines: int = 3, seed: int = 0) -> None:
    """Train, then play 32 new instances greedily.

    Args:
        steps: decisions to learn from.
        jobs, machines: size of the shops.
        seed: of everything random.
    """
    options = {"jobs": jobs, "machines": machines, "observation": "candidates"}
    rows = gymnasium.make_vec(
        "makespan/JobShop-v0", num_envs=16, autoreset_mode="SameStep", **options
    )
    model = PPO("MultiInputPolicy", SchedulingVecEnv(rows), n_steps=64, batch_size=256, seed=seed)
    model.learn(steps)

    env = gymnasium.make("makespan/JobShop-v0", **options)
    ratios, complete = [], 0
    for episode in range(32):
        observation, info = env.reset(seed=10_000 + episode)
        ended = False
        while not ended:
            action, _ = model.predict(observation, deterministic=True)
            observation, _, ended, _, info = env.step(action)
        if "objective" in info:  # the episode was not ended by an illegal action
            complete += 1
            ratios.append(info["objective"] / info["lower_bound"])
    print(f"complete schedules: {complete} of 32")
    if ratios:
        print(f"mean makespan / lower bound: {np.mean(ratios):.3f}")


if __name__ == "__main__":
    tyro.cli(main)
