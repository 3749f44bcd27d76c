"""Scheduled tasks per second on DS3's default SoC (blocked arrivals, mean gap 100 us).

Decisions of ETF are recorded first; what is timed is their replay, loading included. Variants take
turns, and the table shows medians. DS3 itself does about 1,300 tasks/s here.

    python benchmarks/soc_speed.py --rows 256 --rounds 5
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import tyro
from numpy.typing import NDArray

import makespan  # noqa: F401 - registers the environments
from makespan.baselines.soc.rules import RulePolicy
from makespan.benchmarks.common import (
    interleaved,
    machine,
    print_table,
    spread,
    timed,
    write_results,
)
from makespan.envs.soc.generator import StreamGenerator
from makespan.envs.soc.instance import StreamInstance
from makespan.envs.soc.problem import StreamProblem


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        rows: streams stepped at once in the batched variants.
        jobs: of a stream.
        rounds: measurements of each variant.
    """

    rows: int = 256
    jobs: int = 100
    rounds: int = 5


def recorded(problem: StreamProblem, streams: list[StreamInstance]) -> list[NDArray[np.int64]]:
    """(streams,) actions of ETF, step by step; -1 once a stream has ended."""
    batch = len(streams)
    state, observation = problem.allocate(batch), problem.spec.allocate(batch)
    for row, stream in enumerate(streams):
        problem.load(state, observation, row, stream)
    policy, rng = RulePolicy("etf"), np.random.default_rng(0)
    rewards, terminated = np.zeros(batch), np.zeros(batch, dtype=np.bool_)
    taken = []
    while not terminated.all():
        rows = np.flatnonzero(~terminated)
        actions = np.full(batch, -1, dtype=np.int64)
        actions[rows] = policy.act(problem, state, observation, rows, rng)
        problem.step(state, observation, actions, rewards, terminated)
        taken.append(actions)
    return taken


def replay(
    problem: StreamProblem, streams: list[StreamInstance], taken: list[NDArray[np.int64]]
) -> Callable[[], None]:
    """A call that loads all streams and takes the recorded actions."""
    batch = len(streams)
    state, observation = problem.allocate(batch), problem.spec.allocate(batch)
    actions, rewards = np.zeros(batch, dtype=np.int64), np.zeros(batch)
    step = problem.bind_step(state, observation, actions, rewards, np.zeros(batch, dtype=np.bool_))

    def play() -> None:
        for row, stream in enumerate(streams):
            problem.load(state, observation, row, stream)
        for chosen in taken:
            actions[:] = chosen
            step()

    return play


def replay_env(
    stream: StreamInstance, binding: str, taken: list[NDArray[np.int64]]
) -> Callable[[], None]:
    """The same through the single Gymnasium environment."""
    env: Any = gymnasium.make(
        "makespan/SoC-v0", instance=stream, binding=binding, observation="candidates"
    ).unwrapped
    chosen = [int(actions[0]) for actions in taken]

    def play() -> None:
        env.reset(seed=0)
        for action in chosen:
            env.step(action)

    return play


def main(options: Options) -> None:
    """Measure, print and write the table."""
    generator = StreamGenerator(jobs=(options.jobs, options.jobs), scale=100)
    streams = [generator.sample(np.random.default_rng(seed)) for seed in range(options.rows)]
    variants: dict[str, Callable[[], None]] = {}
    tasks: dict[str, int] = {}
    for binding in ("eager", "late"):
        for rows in (1, options.rows):
            chosen = streams[:rows]
            problem = StreamProblem.for_instances(chosen, binding)
            taken = recorded(problem, chosen)
            name = f"simulator, {binding}, {rows} stream{'s' if rows > 1 else ''}"
            variants[name] = replay(problem, chosen, taken)
            tasks[name] = sum(stream.num_tasks for stream in chosen)
            if rows == 1:
                env = f"Gymnasium environment, {binding}, 1 stream"
                variants[env] = replay_env(chosen[0], binding, taken)
                tasks[env] = tasks[name]
    for play in variants.values():
        play()  # compiles

    def measure(name: str) -> Callable[[], float]:
        return lambda: tasks[name] / timed(variants[name])

    figures = interleaved({name: measure(name) for name in variants}, options.rounds)
    table = [
        {
            "variant": name,
            "tasks/s": statistics.median(found),
            "best": max(found),
            "spread": spread(found),
        }
        for name, found in figures.items()
    ]
    about = machine(["numpy", "numba", "gymnasium"])
    print_table("Streams on DS3's default SoC", table, f"load {about['load_1min']}")
    write_results("soc_speed", table, about)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
