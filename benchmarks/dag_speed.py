"""Task graphs: environment steps per second, and the time of each list heuristic.

Episodes of random legal actions are recorded and their replay is timed; contenders take turns, and
the tables show medians. SAGA's HEFT (package anrg-saga) is timed too when it is installed, on the
nearest graph that it can express: mean costs on equal processors.

    python benchmarks/dag_speed.py --rows 256 --rounds 5
"""

import dataclasses
import functools
import importlib.util
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import tyro

from makespan.baselines.dag.lists import RULES, ListScheduler
from makespan.benchmarks.common import (
    interleaved,
    machine,
    print_table,
    spread,
    timed,
    write_results,
)
from makespan.envs.dag.generator import LayeredGenerator
from makespan.envs.dag.instance import TaskGraphInstance

ENV_ID = "makespan/DagScheduling-v0"


@dataclass(frozen=True)
class Options:
    """Settings.

    Attributes:
        rows: instances stepped at once by the vector environment.
        rounds: figures per contender.
    """

    rows: int = 256
    rounds: int = 5


def graph(tasks: int, processors: int) -> TaskGraphInstance:
    """The layered graph that all contenders of a size work on."""
    generator = LayeredGenerator(
        tasks=tasks, processors=processors, ccr=1.0, shape=1.0, degree=2.0, heterogeneity=1.0
    )
    return generator.sample(np.random.default_rng(0))


def steps_per_second(instance: TaskGraphInstance, rows: int, **options: Any) -> Callable[[], float]:
    """A call that replays an episode of random legal actions of all rows."""
    vector: dict[str, Any] = (
        {} if rows == 1 else {"vectorization_mode": "vector_entry_point", "copy": False}
    )
    settings: dict[str, Any] = {
        "instance": instance,
        "observation": "candidates",
        **options,
        **vector,
    }
    if rows == 1:
        env: Any = gymnasium.make(ENV_ID, **settings).unwrapped
    else:
        env = gymnasium.make_vec(ENV_ID, num_envs=rows, **settings)
    rng = np.random.default_rng(0)
    _, info = env.reset(seed=0)
    actions: list[Any] = []
    for _ in range(instance.num_tasks):
        mask = np.atleast_2d(info["action_mask"])
        chosen = (mask * (1.0 - rng.random(mask.shape))).argmax(axis=1)
        actions.append(int(chosen[0]) if rows == 1 else chosen)
        *_, info = env.step(actions[-1])

    def play() -> None:
        for action in actions:
            env.step(action)

    def measure() -> float:
        env.reset(seed=0)
        return len(actions) * rows / timed(play)

    return measure


def heuristic_milliseconds(rule: str, instance: TaskGraphInstance) -> Callable[[], float]:
    """A call that runs a heuristic on a fresh copy, so that ranks are computed each time."""

    def measure() -> float:
        fresh = dataclasses.replace(instance)
        return 1000 * ListScheduler(rule).solve(fresh).seconds

    measure()  # compiles
    return measure


def saga_milliseconds(instance: TaskGraphInstance) -> Callable[[], float]:
    """SAGA's HEFT on mean costs and equal processors."""
    import networkx
    from saga.schedulers import HeftScheduler

    tasks = networkx.DiGraph()
    for task, cost in zip(instance.tasks, instance.mean_costs.tolist(), strict=True):
        tasks.add_node(task, weight=cost)
    for (u, v), delay in zip(instance.edges.tolist(), instance.mean_delays.tolist(), strict=True):
        tasks.add_edge(instance.tasks[u], instance.tasks[v], weight=max(delay, 1e-9))
    network = networkx.complete_graph(instance.num_processors)
    for p in network.nodes:
        network.add_edge(p, p, weight=1e9)
    networkx.set_node_attributes(network, 1.0, "weight")
    networkx.set_edge_attributes(network, 1.0, "weight")
    schedule = HeftScheduler().schedule
    return lambda: 1000 * timed(functools.partial(schedule, network, tasks))


def main() -> None:
    """Measure, print and write."""
    options = tyro.cli(Options, description=__doc__)
    environments: dict[str, Callable[[], float]] = {}
    for tasks, processors in ((30, 4), (100, 8)):
        instance = graph(tasks, processors)
        for lookahead in ("none", "lists"):
            for rows in (1, options.rows):
                name = f"{instance.size}, lookahead {lookahead}, rows {rows}"
                environments[name] = steps_per_second(instance, rows, lookahead=lookahead)
    rates = interleaved(environments, options.rounds)
    steps = [
        {"environment": name, "steps/s": statistics.median(f), "± %": 100 * spread(f)}
        for name, f in rates.items()
    ]
    print_table("Environment steps per second", steps)
    large = graph(1000, 8)
    heuristics = {rule: heuristic_milliseconds(rule, large) for rule in RULES}
    if importlib.util.find_spec("saga") is not None:
        heuristics["SAGA's HEFT"] = saga_milliseconds(large)
    times = interleaved(heuristics, options.rounds)
    milliseconds = [
        {"heuristic": name, "ms": statistics.median(f), "± %": 100 * spread(f)}
        for name, f in times.items()
    ]
    print_table("1,000 tasks on 8 processors", milliseconds)
    about = machine(["makespan", "numba", "numpy", "anrg-saga"])
    print("written:", write_results("dag_env_speed", steps, about))
    print("written:", write_results("dag_heuristics", milliseconds, about))


if __name__ == "__main__":
    main()
