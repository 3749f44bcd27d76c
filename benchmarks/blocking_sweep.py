"""Blocking job shops under shutdowns of 0 to 20 %: the policy against the rules, paired.

The instances of Lawrence and of Fisher and Thompson, each probability in one batch; every schedule
is validated. Differences are means over instances of the relative difference in makespan, with
bootstrap intervals over instances. The best rule is that of the lowest mean ratio to the lower
bound on these very instances, so the comparison favours it.

    python benchmarks/blocking_sweep.py
"""

from dataclasses import dataclass

import numpy as np
import tyro
from numpy.typing import NDArray

from makespan.baselines.blocking import POLICIES
from makespan.baselines.blocking.rules import RULES
from makespan.baselines.statistics import bootstrap_interval
from makespan.benchmarks.common import machine, print_table, write_results
from makespan.envs.blocking.bounds import lower_bound
from makespan.envs.blocking.family import make_problem
from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.blocking.suites import PERCENTS, SUITES
from makespan.envs.core.rollout import rollout


@dataclass(frozen=True)
class Options:
    """Settings.

    Attributes:
        checkpoint: of the trained policy; empty for the one that ships.
        suites: families of instances.
        percents: probabilities of a shutdown.
    """

    checkpoint: str = ""
    suites: tuple[str, ...] = ("la", "ft")
    percents: tuple[int, ...] = PERCENTS


def makespans(name: str, instances: list[BlockingInstance], checkpoint: str) -> NDArray[np.float64]:
    """(instances,) of a policy, every schedule validated."""
    policy = POLICIES[name](**({"checkpoint": checkpoint} if name == "pretrained" else {}))
    problem = make_problem(instances, **policy.requires)
    solutions = rollout(problem, instances, policy, np.random.default_rng(0))
    for instance, solution in zip(instances, solutions, strict=True):
        solution.validate(instance)
    return np.array([s.objective(i) for s, i in zip(solutions, instances, strict=True)])


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
    rows = []
    for p in options.percents:
        instances = [one for suite in options.suites for one in SUITES[f"{suite}-{p:02}"]()]
        bounds = np.array([lower_bound(instance) for instance in instances])
        names = (*RULES, "pretrained")
        found = {name: makespans(name, instances, options.checkpoint) for name in names}
        mean = {name: float((values / bounds).mean()) for name, values in found.items()}
        best = min((name for name in RULES if name != "pilot"), key=mean.__getitem__)
        rows.append(
            {
                "shutdowns, %": p,
                "policy / bound": mean["pretrained"],
                "best dispatching rule": f"{best} {mean[best]:.3f}",
                "policy against it, %": percent(found["pretrained"], found[best]),
                "pilot / bound": mean["pilot"],
                "policy against pilot, %": percent(found["pretrained"], found["pilot"]),
            }
        )
        print(rows[-1], flush=True)
    print_table(f"{len(instances)} instances at each probability", rows)
    print("written:", write_results("blocking_sweep", rows, machine(["makespan"])))


if __name__ == "__main__":
    main()
