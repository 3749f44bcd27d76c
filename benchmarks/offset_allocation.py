"""Offset allocation: peak over load against time, and the speed of decoder and simulator.

Every solver gets every instance of a suite with each time limit, in turns, after a run on a small
instance, so no compilation is timed. The suite ``minimalloc`` reads the folder that
``MAKESPAN_MINIMALLOC`` names.

    python benchmarks/offset_allocation.py --suite minimalloc --limits 1 10
"""

import statistics
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import tyro

import makespan  # noqa: F401 - registers the environments
from makespan.baselines.offsets.greedy import Greedy
from makespan.baselines.runner import Workbench
from makespan.benchmarks.anytime import outcomes
from makespan.benchmarks.common import machine, print_table, timed, write_results
from makespan.envs import FAMILIES
from makespan.envs.offsets.generator import OffsetGenerator
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.suites import SUITES
from makespan.train import set_threads

SPECS = (
    "greedy",
    "active/least-loss",
    "pretrained",
    "pretrained:samples=1000000",  # the time limit decides
    "local-search",
    "hill-climbing",
    "iterated-beam:workers=2",
    "cp-sat:workers=1",
)
#: The largest published instance that is used to compare allocators has as many buffers.
LARGE = 18_692


def peaks(
    bench: Workbench,
    instances: Sequence[OffsetInstance],
    specs: Sequence[str],
    limits: Sequence[float],
) -> list[dict[str, Any]]:
    """One line per solver, instance and limit."""
    rows = []
    for limit, outcome in outcomes(bench, instances, specs, sorted(limits)):
        instance = outcome.task.instance
        rows.append(
            {
                "instance": instance.name,
                "buffers": instance.num_buffers,
                "solver": outcome.task.spec,
                "limit_s": limit,
                "seconds": outcome.seconds,
                "peak": outcome.solution.peak(instance),
                "peak / load": outcome.solution.peak(instance) / instance.max_load,
            }
        )
        print("{instance} {solver} {limit_s:g} s: {peak / load:.4f}".format(**rows[-1]), flush=True)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Solver and limit down, instances across, with the mean."""
    lines = []
    for solver, limit in dict.fromkeys((row["solver"], row["limit_s"]) for row in rows):
        ratios = {
            row["instance"].split(".")[0]: row["peak / load"]
            for row in rows
            if (row["solver"], row["limit_s"]) == (solver, limit)
        }
        shown = {name: f"{ratio:.3f}" for name, ratio in ratios.items()} if len(ratios) < 13 else {}
        mean, worst = statistics.fmean(ratios.values()), max(ratios.values())
        lines.append(
            {
                "solver": solver,
                "limit s": f"{limit:g}",
                **shown,
                "mean": f"{mean:.3f}",
                "worst": f"{worst:.3f}",
            }
        )
    return lines


def speeds() -> list[dict[str, Any]]:
    """Seconds of the decoder on a large instance, decisions per second of the environments."""
    large = OffsetGenerator(LARGE, "layers").sample(np.random.default_rng(0))
    decode = [timed(lambda: Greedy().solve(large, None, None)) for _ in range(4)][1:]  # type: ignore[arg-type]
    rows = [{"what": f"first fit of {LARGE:,} buffers, seconds", "figure": min(decode)}]
    for envs in (1, 64):
        env: Any = gymnasium.make_vec(
            "makespan/OffsetAllocation-v0",
            num_envs=envs,
            instance="cuts-0",
            autoreset_mode="SameStep",
        )
        env.reset(seed=0)
        actions = np.zeros(envs, dtype=np.int64)

        def play(env: Any = env, actions: Any = actions) -> None:
            for _ in range(300):
                env.step(actions)

        play()
        seconds = min(timed(play) for _ in range(3))
        rows.append({"what": f"decisions/s, {envs} at once", "figure": 300 * envs / seconds})
    return rows


def main(
    suite: str = "minimalloc",
    limits: tuple[float, ...] = (1.0, 10.0),
    policies: tuple[str, ...] = SPECS,
    first: int = 8,
    skip: int = 0,
    speed: bool = True,
    threads: int = 1,
) -> None:
    """Measure, print tables, write CSV and JSON.

    Args:
        suite: of instances.
        limits: seconds per instance.
        policies: as for evaluate.py.
        first: how many instances of the suite.
        skip: instances before them.
        speed: whether the decoder and the environments are timed as well.
        threads: of neural networks and simulators.
    """
    set_threads(threads)
    bench = Workbench(FAMILIES["offsets"]())
    instances = SUITES[suite]()[skip : skip + first]
    warm_up = OffsetGenerator(20, "cuts").sample(np.random.default_rng(0))
    for _ in outcomes(bench, [warm_up], policies, [1.0]):
        pass
    about = machine(["makespan", "numba", "torch", "ortools"])
    rows = peaks(bench, instances, policies, limits)
    print_table(f"{suite}: peak / load", table(rows))
    if speed:
        print_table("speed", speeds())
    print(*write_results(f"offsets-{suite}", rows, {**about, "threads": threads}), sep="\n")


if __name__ == "__main__":
    tyro.cli(main)
