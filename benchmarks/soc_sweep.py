"""Mean latency of policies along the sweeps of load and noise, paired by stream.

All streams of a group are played in one batch. A line gives the mean latency (us), its ratio to the
lower bound, and the difference to DS3's scheduler (ETF bound eagerly) with a 95 % bootstrap
interval over the streams.

    python benchmarks/soc_sweep.py --suites ds3-default ds3-cpu --policies late/pretrained
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro

from makespan.baselines.registry import make_solver
from makespan.baselines.statistics import bootstrap_interval
from makespan.benchmarks.common import machine, print_table, write_results
from makespan.envs.core.rollout import RolloutSolver, rollout
from makespan.envs.soc.bounds import lower_bound
from makespan.envs.soc.family import make_family
from makespan.envs.soc.instance import StreamInstance
from makespan.envs.soc.suites import STREAMS, SUITES

BASELINE = "eager/etf"


@dataclass(frozen=True)
class Options:
    """What to compare.

    Attributes:
        suites: names of suites.
        groups: only groups of these names; all when empty.
        streams: of each group; the suites themselves have 20, more continue them.
        policies: specifications as for evaluate.py.
        name: of the files written.
    """

    suites: tuple[str, ...] = ("ds3-default", "ds3-cpu")
    groups: tuple[str, ...] = ()
    streams: int = STREAMS
    policies: tuple[str, ...] = ("late/etf", "late/least-work", "pretrained")
    name: str = "soc_sweep"


def latencies(spec: str, streams: list[StreamInstance]) -> np.ndarray:
    """(streams,) mean latency of each, every schedule validated."""
    solver = make_solver(make_family(), spec)
    assert isinstance(solver, RolloutSolver)
    problem = solver.make_problem(streams)
    solutions = rollout(problem, streams, solver.policy, np.random.default_rng(0))
    for stream, solution in zip(streams, solutions, strict=True):
        solution.validate(stream)
    pairs = zip(streams, solutions, strict=True)
    return np.array([solution.objective(stream) for stream, solution in pairs])


def compare(suite: str, options: Options) -> Iterator[dict[str, Any]]:
    """One line per group and policy."""
    groups: dict[str, list[StreamInstance]] = {}
    for stream in SUITES[suite](streams=options.streams):
        groups.setdefault(stream.size, []).append(stream)
    for group, streams in groups.items():
        if options.groups and group not in options.groups:
            continue
        bound = np.array([lower_bound(stream) for stream in streams])
        reference = latencies(BASELINE, streams)
        for spec in (BASELINE, *options.policies):
            found = reference if spec == BASELINE else latencies(spec, streams)
            change = 100 * (found / reference - 1)
            interval = bootstrap_interval(change)
            yield {
                "suite": suite,
                "group": group,
                "policy": spec,
                "latency us": float(found.mean()),
                "x bound": float((found / bound).mean()),
                "% of ETF": f"{change.mean():+.1f} ({interval[0]:+.1f} to {interval[1]:+.1f})",
                "streams": len(streams),
            }


def main(options: Options) -> None:
    """Compare, print line by line, and write the table."""
    rows = []
    for suite in options.suites:
        for row in compare(suite, options):
            print(*row.values(), flush=True)
            rows.append(row)
    print_table("Mean latency of streams", rows)
    write_results(options.name, rows, machine(["numpy", "numba", "torch"]))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
