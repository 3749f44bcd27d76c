"""Blocking job shops under shutdowns of 0 to 20 %: the policy against the rules, paired.

The instances of Lawrence and of Fisher and Thompson, each probability in one batch; every schedule
is validated. Differences are means over instances of the relative difference in makespan, with
bootstrap intervals over instances. The best rule is that of the lowest mean ratio to the lower
bound on these very instances, so the comparison favours it. The rule ``pilot`` is run as it is,
with trials by one rule, and with the varied ones that the policy looks ahead by.

    python benchmarks/blocking_sweep.py
    python benchmarks/blocking_sweep.py --percents 10 --no-swap
    python benchmarks/blocking_sweep.py --percents 10 --on-down restart
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from makespan.baselines.blocking import POLICIES
from makespan.baselines.blocking.rules import RULES, Pilot, RulePolicy
from makespan.baselines.statistics import bootstrap_interval
from makespan.benchmarks.common import machine, print_table, write_results
from makespan.envs.blocking.bounds import lower_bound
from makespan.envs.blocking.family import make_problem
from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.blocking.suites import PERCENTS, SUITES
from makespan.envs.core.rollout import ScorePolicy, rollout


@dataclass(frozen=True)
class Options:
    """Settings.

    Attributes:
        checkpoint: of the trained policy; empty for the one that ships.
        suites: families of instances.
        percents: probabilities of a shutdown.
        swap: whether jobs may change places in a circle.
        on_down: what becomes of an interrupted operation.
    """

    checkpoint: str = ""
    suites: tuple[str, ...] = ("la", "ft")
    percents: tuple[int, ...] = PERCENTS
    swap: bool = True
    on_down: Literal["resume", "restart", "hold"] = "resume"


def makespans(policy: ScorePolicy, instances: list[BlockingInstance]) -> NDArray[np.float64]:
    """(instances,) of a policy, every schedule validated."""
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
    policies: dict[str, ScorePolicy] = {rule: RulePolicy(rule) for rule in RULES}
    policies |= {"pilot": Pilot(), "varied pilot": Pilot(lookahead="varied")}
    policies["pretrained"] = POLICIES["pretrained"](checkpoint=options.checkpoint)
    rows = []
    for p in options.percents:
        drawn = [one for suite in options.suites for one in SUITES[f"{suite}-{p:02}"]()]
        instances = [replace(i, swap=options.swap, on_down=options.on_down) for i in drawn]
        bounds = np.array([lower_bound(instance) for instance in instances])
        found = {name: makespans(policy, instances) for name, policy in policies.items()}
        mean = {name: float((values / bounds).mean()) for name, values in found.items()}
        best = min(RULES, key=mean.__getitem__)
        rows.append(
            {
                "shutdowns, %": p,
                "policy / bound": mean["pretrained"],
                "best dispatching rule": f"{best} {mean[best]:.3f}",
                "policy against it, %": percent(found["pretrained"], found[best]),
                "pilot / bound": mean["pilot"],
                "policy against pilot, %": percent(found["pretrained"], found["pilot"]),
                "varied pilot / bound": mean["varied pilot"],
                "policy against varied pilot, %": percent(
                    found["pretrained"], found["varied pilot"]
                ),
            }
        )
        print(rows[-1], flush=True)
    print_table(f"{len(instances)} instances at each probability", rows)
    print("written:", write_results("blocking_sweep", rows, machine(["makespan"])))


if __name__ == "__main__":
    main()
