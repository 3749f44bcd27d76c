"""CP-SAT: known optima, brute force, the job types of DS3, bounds."""

import itertools

import numpy as np
import pytest

from makespan.baselines.dag.exact import CpSat
from makespan.baselines.dag.lists import RULES, ListScheduler
from makespan.envs.core.errors import UsageError
from makespan.envs.dag.bounds import best_known, lower_bound
from makespan.envs.dag.examples import HEFT_2002, PEFT_2014
from makespan.envs.dag.generator import LayeredGenerator
from makespan.envs.dag.instance import TaskGraphInstance


def solve(instance: TaskGraphInstance, seconds: float = 30) -> int:
    result = CpSat(workers=1).solve(instance, seconds, np.random.default_rng(0))
    result.solution.validate(instance)
    assert result.optimal
    assert result.lower_bound == result.solution.makespan
    return result.solution.makespan


@pytest.mark.parametrize("instance", [HEFT_2002, PEFT_2014], ids=lambda instance: instance.name)
def test_optima_of_the_worked_examples(instance: TaskGraphInstance) -> None:
    known = best_known(instance.name)
    assert known is not None
    assert known.closed
    assert (
        solve(instance) == known.upper_bound == {"heft-2002": 73, "peft-2014": 113}[instance.name]
    )


def brute_force(instance: TaskGraphInstance) -> int:
    """The best of all assignments and all orders, each as early as possible."""
    tasks, processors = range(instance.num_tasks), range(instance.num_processors)
    best = int(instance.costs.max(axis=1).sum() + instance.delays.max(axis=1, initial=0).sum())
    parents: dict[int, list[int]] = {t: [] for t in tasks}
    for edge, (_, v) in enumerate(instance.edges.tolist()):
        parents[v].append(edge)
    orders = [
        order
        for order in itertools.permutations(tasks)
        if all(order.index(u) < order.index(v) for u, v in instance.edges.tolist())
    ]
    for on in itertools.product(processors, repeat=len(tasks)):
        if not instance.eligible[tasks, on].all():
            continue
        for order in orders:
            free = [0] * len(processors)
            ends = [0] * len(tasks)
            for t in order:
                start = free[on[t]]
                for edge in parents[t]:
                    u = instance.edges[edge, 0]
                    delay = instance.delays[edge, instance.link[on[u], on[t]]]
                    start = max(start, ends[u] + int(delay))
                ends[t] = free[on[t]] = start + int(instance.costs[t, on[t]])
            best = min(best, max(ends))
    return best


def test_small_graphs_against_brute_force() -> None:
    generator = LayeredGenerator(
        tasks=(3, 5), processors=(1, 3), eligible=(0.6, 1.0), bandwidths=(1, 3), mean_cost=5
    )
    for seed in range(25):
        instance = generator.sample(np.random.default_rng(seed))
        optimum = brute_force(instance)
        assert solve(instance) == optimum
        assert lower_bound(instance) <= optimum
        for rule in RULES:
            assert ListScheduler(rule).solve(instance).solution.makespan >= optimum


def test_without_time_the_best_heuristic_is_returned() -> None:
    instance = LayeredGenerator(tasks=200, processors=8).sample(np.random.default_rng(0))
    result = CpSat(workers=1).solve(instance, 0.5, np.random.default_rng(0))
    result.solution.validate(instance)
    assert not result.optimal
    assert result.lower_bound is not None
    assert lower_bound(instance) <= result.lower_bound <= result.solution.makespan
    assert result.solution.makespan <= ListScheduler("heft").solve(instance).solution.makespan


def test_wrong_options_are_refused() -> None:
    with pytest.raises(UsageError, match="workers: found 0"):
        CpSat(workers=0)
    with pytest.raises(UsageError, match="time_limit_s: found -1"):
        CpSat(time_limit_s=-1)
