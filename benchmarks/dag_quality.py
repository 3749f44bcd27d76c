"""Quality on generated task graphs: each method against HEFT, and the policy against each method.

One batched run per policy; every schedule is validated. The differences are means over instances of
the relative difference in makespan, with bootstrap intervals over instances; p-values are
Wilcoxon's, two-sided. Where best known makespans exist, the mean gap to them is shown.

    python benchmarks/dag_quality.py --suites layered-30-100 layered-30 linear-algebra
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray

from makespan.baselines.dag import POLICIES
from makespan.baselines.dag.lists import RULES, ListScheduler
from makespan.baselines.statistics import bootstrap_interval, compare_paired
from makespan.benchmarks.common import machine, print_table, write_results
from makespan.envs.dag.bounds import best_known
from makespan.envs.dag.family import make_problem
from makespan.envs.dag.instance import TaskGraphInstance
from makespan.envs.dag.suites import SUITES

POLICY = "pretrained"


@dataclass(frozen=True)
class Options:
    """Settings.

    Attributes:
        suites: names of suites, see ``evaluate.py dag --list``.
        policies: run step by step, besides the list heuristics.
    """

    suites: tuple[str, ...] = ("layered-30-100",)
    policies: tuple[str, ...] = (POLICY, "pilot")


def makespans(name: str, instances: Sequence[TaskGraphInstance]) -> NDArray[np.float64]:
    """(instances,) of a policy or a list heuristic, every schedule validated."""
    from makespan.envs.core.rollout import rollout

    if name in RULES:
        solutions: list[Any] = [ListScheduler(name).solve(i).solution for i in instances]
    else:
        policy = POLICIES[name]()
        problem = make_problem(instances, **policy.requires)
        solutions = rollout(problem, instances, policy, np.random.default_rng(0))
    for instance, solution in zip(instances, solutions, strict=True):
        solution.validate(instance)
    return np.array([solution.makespan for solution in solutions], dtype=np.float64)


def percent(values: NDArray[np.float64], reference: NDArray[np.float64]) -> str:
    """Mean relative difference and its interval."""
    difference = 100 * (values / reference - 1)
    interval = bootstrap_interval(difference)
    return f"{difference.mean():+.1f} ({interval.low:+.1f} to {interval.high:+.1f})"


def main() -> None:
    """Run, print and write."""
    import torch

    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(1)
    for suite in options.suites:
        instances = SUITES[suite]()
        found = {name: makespans(name, instances) for name in (*options.policies, *RULES)}
        known = [best_known(instance.name) for instance in instances]
        rows = []
        for name in sorted(found, key=lambda name: (found[name] / found["heft"]).mean()):
            row = {
                "method": name,
                "against HEFT, %": percent(found[name], found["heft"]),
                f"{POLICY} against it, %": percent(found[POLICY], found[name]),
                "p": f"{compare_paired(found[POLICY], found[name]).p_value:.1g}",
            }
            best = [bounds.upper_bound for bounds in known if bounds is not None]
            if len(best) == len(instances):
                row["gap, %"] = f"{100 * (found[name] / np.array(best) - 1).mean():.1f}"
            rows.append(row)
        print_table(f"{suite}, {len(instances)} instances", rows)
        print("written:", write_results(f"dag_quality_{suite}", rows, machine(["makespan"])))


if __name__ == "__main__":
    main()
