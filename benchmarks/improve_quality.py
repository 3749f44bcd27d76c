"""Improvement at equal moves, and in equal time: mean gap on Taillard's instances by size.

The instances of a size are improved in one batch; every schedule is validated. In equal time a
policy makes as many moves as its share of moves per second of processor time allows, measured on
the same instances; so does the compiled tabu search. L2S are the published values (Zhang et al.,
ICLR 2024), recalled and not re-read.

    python benchmarks/improve_quality.py --moves 500 5000 --start fdd-mwkr
    python benchmarks/improve_quality.py --moves --seconds 1
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tyro

from makespan.baselines.improve import POLICIES
from makespan.baselines.jobshop.tabu import TabuSearch
from makespan.baselines.results import gap_percent
from makespan.benchmarks.common import machine, print_table, write_results
from makespan.envs.core.rollout import rollout
from makespan.envs.core.solution import Solution
from makespan.envs.improve.family import make_problem
from makespan.envs.improve.problem import MAX_MOVES
from makespan.envs.jobshop.bounds import best_known
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.suites import SUITES, TAILLARD_SIZES

#: Mean gap in percent by size, in the order of TAILLARD_SIZES.
L2S = {
    500: (9.3, 11.6, 12.4, 14.7, 17.5, 11.0, 13.0, 7.9),
    5000: (6.2, 8.3, 9.0, 9.0, 12.6, 4.6, 6.5, 3.0),
}

#: The compiled search, which plays on its own from a start of its own.
TABU = "tabu"

#: Moves of the run that measures how long a move takes.
TRIAL_MOVES = 300


@dataclass(frozen=True)
class Options:
    """Settings.

    Attributes:
        moves: of an episode, one table for each.
        seconds: of processor time for an instance, one table for each.
        start: first schedule, see makespan.envs.improve.start.
        policies: ``neighbourhood/policy``, or ``tabu`` for the compiled search.
        checkpoint: of the trained policy; empty for the one that ships.
        sizes: how many of the sizes, from the smallest on.
    """

    moves: tuple[int, ...] = (500,)
    seconds: tuple[float, ...] = ()
    start: str = "fdd-mwkr"
    policies: tuple[str, ...] = (
        "n6/pretrained",
        "n6/tabu-list",
        "n6/annealing",
        "n5/annealing",
        "n6/no-return",
        "n6/best-improvement",
        "n6/first-improvement",
        "n6/greedy",
        "n5/greedy",
        "n5/random",
        TABU,
    )
    checkpoint: str = ""
    sizes: int = 8


class Run(NamedTuple):
    """What a policy did on the instances of a size.

    Attributes:
        gap: mean, in percent of the best known upper bound.
        moves: made on each.
        seconds: of processor time for each, the start included.
    """

    gap: float
    moves: int
    seconds: float


def run(options: Options, spec: str, instances: Sequence[JobShopInstance], moves: int) -> Run:
    """Improve the instances by so many moves."""
    started = time.process_time()
    improve = _search if spec == TABU else _play
    solutions = improve(options, spec, instances, moves)
    seconds = (time.process_time() - started) / len(instances)
    gaps = []
    for instance, solution in zip(instances, solutions, strict=True):
        solution.validate(instance)
        known = best_known(instance.name)
        assert known is not None
        gaps.append(gap_percent(solution.objective(instance), known.upper_bound))
    return Run(round(float(np.mean(gaps)), 2), moves, seconds)


def run_for(
    options: Options, spec: str, instances: Sequence[JobShopInstance], seconds: float
) -> Run:
    """As many moves as fit into so many seconds of processor time for an instance."""
    run(options, spec, instances, TRIAL_MOVES)  # compiles
    none, trial = (run(options, spec, instances, moves) for moves in (100, 100 + TRIAL_MOVES))
    per_move = max(trial.seconds - none.seconds, 1e-9) / TRIAL_MOVES
    before = none.seconds - 100 * per_move
    moves = round((seconds - before) / per_move)
    return run(options, spec, instances, min(max(moves, 100), MAX_MOVES))


def _play(
    options: Options, spec: str, instances: Sequence[JobShopInstance], moves: int
) -> Sequence[Solution[Any]]:
    neighbourhood, name = spec.split("/")
    given = {"checkpoint": options.checkpoint} if name == "pretrained" else {}
    policy = POLICIES[name](**given)
    problem = make_problem(instances, start=options.start, moves=moves, neighbourhood=neighbourhood)
    return rollout(problem, instances, policy, np.random.default_rng(0))


def _search(
    options: Options, spec: str, instances: Sequence[JobShopInstance], moves: int
) -> Sequence[Solution[Any]]:
    del options, spec
    search, rng = TabuSearch(max_moves=moves), np.random.default_rng(0)
    return [search.solve(instance, None, rng).solution for instance in instances]


def main() -> None:
    """Run, print and write."""
    import torch

    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(1)
    for moves in options.moves:
        title = f"{moves} moves from {options.start}"
        table(options, title, f"improve_{options.start}_{moves}", L2S.get(moves), moves=moves)
    for seconds in options.seconds:
        title = f"{seconds:g} s of processor time from {options.start}"
        table(options, title, f"improve_{options.start}_{seconds:g}s", None, seconds=seconds)


def table(
    options: Options,
    title: str,
    name: str,
    published: Sequence[float] | None,
    *,
    moves: int = 0,
    seconds: float = 0.0,
) -> None:
    """One line for each policy, with that many moves or seconds."""
    sizes = [f"{jobs}x{machines}" for jobs, machines in TAILLARD_SIZES[: options.sizes]]
    rows = []
    if published:
        values = dict(zip(sizes, published, strict=False))
        rows.append({"policy": "L2S, recalled", **values, "mean": _mean(values.values())})
        rows[0] |= {"moves": moves, "s": None}
    for spec in options.policies:
        found = {}
        for size in sizes:
            instances = SUITES[f"ta{size}"]()
            if seconds:
                found[size] = run_for(options, spec, instances, seconds)
            else:
                found[size] = run(options, spec, instances, moves)
        gaps = {size: result.gap for size, result in found.items()}
        rows.append(
            {
                "policy": spec,
                **gaps,
                "mean": _mean(gaps.values()),
                "moves": round(float(np.mean([result.moves for result in found.values()]))),
                "s": round(float(np.mean([result.seconds for result in found.values()])), 3),
            }
        )
        print(rows[-1], flush=True)
    print_table(f"{title}: mean gap, %; s: CPU seconds an instance", rows)
    print("written:", write_results(name, rows, machine([])))


def _mean(values: Iterable[float]) -> float:
    return round(float(np.mean(list(values))), 2)


if __name__ == "__main__":
    main()
