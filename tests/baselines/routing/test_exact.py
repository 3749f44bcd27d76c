"""Brute force, and rules that know the true lengths."""

import dataclasses

import numpy as np
import pytest

from makespan.baselines.routing.exact import BLIND_QUEUES, BruteForce, TrueLengths
from makespan.baselines.routing.rules import RULES, RulePolicy
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.rollout import rollout
from makespan.envs.routing.bounds import lower_bound
from makespan.envs.routing.examples import EIGHT, example
from makespan.envs.routing.problem import RoutingProblem

RNG = np.random.default_rng(0)


def test_no_rule_beats_all_ways_tried() -> None:
    best = BruteForce().solve(EIGHT, None, RNG).solution
    best.validate(EIGHT)
    problem = RoutingProblem.for_instances([EIGHT])
    found = {
        rule: rollout(problem, [EIGHT], RulePolicy(rule), RNG)[0].objective(EIGHT) for rule in RULES
    }
    assert lower_bound(EIGHT) <= best.objective(EIGHT) <= min(found.values()) + 1e-12


def test_two_that_disturb_each_other_are_kept_apart() -> None:
    instance = example("apart", [(0.0, 500, 50), (0.0, 10, 50)], replicas=2, max_holds=0)
    assert sorted(BruteForce().solve(instance, None, RNG).solution.replica.tolist()) == [0, 1]


def test_too_many_ways_are_refused() -> None:
    for requests, replicas in ((30, 2), (8000, 4)):
        instance = example("many", [(0.0, 5, 5)] * requests, replicas=replicas)
        found = rf"give {replicas}\*\*{requests} ways, brute force tries at most 65,536"
        with pytest.raises(UsageError, match=found):
            BruteForce().solve(instance, None, RNG)


@pytest.mark.parametrize("queue", BLIND_QUEUES)
def test_knowing_the_lengths_is_the_rule_with_true_predictions(queue: str) -> None:
    rng = np.random.default_rng(3)
    requests = [
        (float(0.01 * i), int(rng.integers(1, 90)), int(rng.integers(1, 90))) for i in range(40)
    ]
    instance = example("known", requests, replicas=3, predicted=[30] * 40)
    solution = TrueLengths(queue=queue).solve(instance, None, RNG).solution
    solution.validate(instance)
    truth = dataclasses.replace(instance, predicted=instance.output)
    problem = RoutingProblem.for_instances([truth], queue)
    expected = rollout(problem, [truth], RulePolicy("marginal"), RNG)[0]
    assert solution == expected


def test_wrong_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean lmetric"):
        TrueLengths(rule="lmetrik")
    with pytest.raises(UsageError, match="does not use predictions"):
        TrueLengths(queue="sjf")
