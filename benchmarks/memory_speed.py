"""Speed of the memory-mapping game: decisions per second, single and batched, and of the decoder.

Every decision is observed in full. Actions alternate between what is legal, so that all kinds of
decisions occur. Figures are medians over rounds; the machine's load is written beside them.

    python benchmarks/memory_speed.py
"""

import time
from typing import Any

import numpy as np
import tyro

from makespan.benchmarks.common import interleaved, machine, print_table, spread, write_results
from makespan.envs.memory import kernel
from makespan.envs.memory.generator import MemoryGenerator
from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.problem import MemoryProblem


def program(accesses: int, seed: int = 0) -> MemoryInstance:
    """A generated training program of about that many accesses."""
    generator = MemoryGenerator(round(accesses / 3.1), "training", capacity=(0.1, 0.2))
    return generator.sample(np.random.default_rng(seed))


def game(instances: list[MemoryInstance], lookahead: str = "none") -> Any:
    """A call that plays all games once and returns decisions per second of the steps alone."""
    problem = MemoryProblem.for_instances(instances, lookahead=lookahead)
    rows = len(instances)
    state, observation = problem.allocate(rows), problem.spec.allocate(rows)
    actions, rewards = np.zeros(rows, dtype=np.int64), np.zeros(rows)
    terminated = np.zeros(rows, dtype=np.bool_)
    step = problem.bind_step(state, observation, actions, rewards, terminated)
    preference = np.random.default_rng(0).random((997, 3))

    def play() -> float:
        for row, instance in enumerate(instances):
            problem.load(state, observation, row, instance)
        terminated[:] = False
        spent, taken = 0.0, 0
        while not terminated.all():
            wanted = preference[taken % 997] * observation.action_mask
            actions[:] = np.where(terminated, -1, wanted.argmax(axis=1))
            started = time.perf_counter()
            step()
            spent += time.perf_counter() - started
            taken += 1
        return sum(instance.num_accesses for instance in instances) / spent

    return play


def decoder(instance: MemoryInstance) -> Any:
    """A call that decodes a plan a few times without observations; decisions per second."""
    problem = MemoryProblem.for_instances([instance])
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    wishes = np.full(instance.num_accesses, -1, dtype=np.int8)

    def play() -> float:
        started = time.perf_counter()
        for _ in range(20):
            kernel.decode(state, 0, wishes, 0)
        return 20 * instance.num_accesses / (time.perf_counter() - started)

    return play


def main(rounds: int = 5, batch: int = 128) -> None:
    """Measure and write.

    Args:
        rounds: figures of each contender.
        batch: games at once.
    """
    one, large = program(1000), program(10_000)
    many = [program(1000, seed) for seed in range(batch)]
    contenders = {
        "single, 1,000 accesses": game([one]),
        "single, 10,000 accesses": game([large]),
        f"batch of {batch}, 1,000 accesses": game(many),
        "single, 1,000 accesses, lookahead greedy": game([one], "greedy"),
        "decoder, 1,000 accesses": decoder(one),
        "decoder, 10,000 accesses": decoder(large),
    }
    for contender in contenders.values():
        contender()  # compiles
    figures = interleaved(contenders, rounds)
    rows = [
        {"game": name, "decisions/s": float(np.median(values)), "spread": spread(values)}
        for name, values in figures.items()
    ]
    print_table("Memory-mapping game", rows)
    write_results("memory_speed", rows, machine(["numba", "numpy"]))


if __name__ == "__main__":
    tyro.cli(main)
