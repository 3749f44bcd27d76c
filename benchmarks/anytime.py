"""Gap against time: policies, sampling, tabu search and CP-SAT on the same CPU.

Every solver gets every instance with each time limit, in turns; one that stops by itself before
half of its limit is not asked again with a longer one. Gaps are to the best known upper bounds.
Solvers are warmed up on a small instance first, so no compilation is timed.

    python benchmarks/anytime.py --limits 0.3 1 3 10 --instances ta01 ta41 --policies cp-sat tabu
"""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tyro

from makespan.baselines.runner import Outcome, Workbench
from makespan.benchmarks.common import FOLDER, machine, print_table, write_results
from makespan.envs import FAMILIES
from makespan.envs.core.errors import UsageError
from makespan.envs.core.family import BestKnown, Family
from makespan.envs.jobshop.suites import load_instance
from makespan.train import set_threads

#: One instance of each of Taillard's sizes.
INSTANCES = ("ta01", "ta11", "ta21", "ta31", "ta41", "ta51", "ta61", "ta71")
WARM_UP = "ta01"


def outcomes(
    bench: Workbench, instances: Sequence[Any], specs: Sequence[str], limits: Sequence[float]
) -> Iterator[tuple[float, Outcome]]:
    """Pairs (time limit, outcome) of all solvers, instances and limits.

    Args:
        bench: the solvers.
        instances: what to solve.
        specs: solvers as on the command line of ``evaluate.py``.
        limits: seconds, ascending.
    """
    finished: dict[tuple[str, str], Outcome] = {}
    for limit in limits:
        for instance in instances:
            for spec in specs:
                key = (instance.name, spec)
                outcome = finished.get(key) or bench.solve(bench.task(instance, spec, 0, limit))
                if outcome.optimal or outcome.seconds < limit / 2:
                    finished[key] = outcome
                yield limit, outcome


def row(family: Family, limit: float, outcome: Outcome) -> dict[str, Any]:
    """One line of the CSV file; the gap is in per cent of the best known upper bound."""
    best = best_known(family, outcome.task.instance.name)
    return {
        "instance": outcome.task.instance.name,
        "solver": outcome.task.spec,
        "limit_s": limit,
        "seconds": outcome.seconds,
        "objective": outcome.objective,
        "gap %": 100 * (outcome.objective / best.upper_bound - 1),
    }


def best_known(family: Family, name: str) -> BestKnown:
    """Bounds of a benchmark instance; raises UsageError when there are none to compare with."""
    best = family.best_known(name)
    if best is None:
        raise UsageError(f"{name}: found no best known bounds, expected a benchmark instance")
    return best


def means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean seconds and mean gap over the instances, for each solver and limit."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = defaultdict(list)
    for line in rows:
        groups[line["solver"], line["limit_s"]].append(line)
    return [
        {
            "solver": solver,
            "limit s": limit,
            "mean seconds": statistics.fmean(line["seconds"] for line in group),
            "mean gap %": statistics.fmean(line["gap %"] for line in group),
        }
        for (solver, limit), group in sorted(groups.items())
    ]


def plot(summary: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Mean gap over mean seconds, a line per solver."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    points: dict[str, dict[float, float]] = defaultdict(dict)
    for line in summary:  # what stopped by itself has the same point for several limits
        points[line["solver"]][line["mean seconds"]] = line["mean gap %"]
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for solver, curve in points.items():
        axes.plot(*zip(*sorted(curve.items()), strict=True), marker="o", label=solver)
    axes.set(xscale="log", xlabel="seconds per instance", ylabel="mean gap, %", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main(
    instances: tuple[str, ...] = INSTANCES,
    policies: tuple[str, ...] = (),
    limits: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0),
    threads: int = 2,
) -> None:
    """Measure, print a table, write CSV, JSON and a picture.

    Args:
        instances: names of benchmark instances.
        policies: as for evaluate.py; default: our policy greedy and sampled, tabu, CP-SAT.
        limits: seconds per instance.
        threads: for those who can use them: neural networks, simulators and CP-SAT.
    """
    set_threads(threads)
    sampled = "pretrained:samples=1000000"  # the time limit decides
    specs = policies or (
        "nondelay/fdd-mwkr",
        "pretrained",
        sampled,
        "tabu",
        f"cp-sat:workers={threads}",
    )
    about = machine(["makespan", "numba", "torch", "ortools"])
    family = FAMILIES["jobshop"]()
    bench = Workbench(family)
    loaded = [load_instance(name) for name in instances]
    for spec in specs:
        bench.solve(bench.task(load_instance(WARM_UP), spec, 0, 1.0))
    rows = []
    for limit, outcome in outcomes(bench, loaded, specs, sorted(limits)):
        rows.append(row(family, limit, outcome))
        print("{instance} {solver} {limit_s:g} s: {objective:g}, {gap %:.2f} %".format(**rows[-1]))
    summary = means(rows)
    as_of = best_known(family, instances[0]).as_of
    print_table(f"{', '.join(instances)}; best known bounds of {as_of}", summary)
    picture = FOLDER / "anytime.png"
    files = write_results("anytime", rows, {**about, "threads": threads, "bounds": as_of})
    plot(summary, f"{len(instances)} instances, {threads} thread(s), {about['processor']}", picture)
    print(*files, picture, sep="\n")


if __name__ == "__main__":
    tyro.cli(main)
