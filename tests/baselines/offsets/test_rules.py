"""Rules: what they rank first, by hand."""

from typing import Any

import numpy as np
import pytest

from makespan.baselines.offsets.rules import RULES, RulePolicy
from makespan.baselines.registry import make_solver
from makespan.envs.core.errors import MakespanError, UnknownNameError
from makespan.envs.core.rollout import rollout
from makespan.envs.offsets.examples import FIVE
from makespan.envs.offsets.family import make_family
from makespan.envs.offsets.generator import OffsetGenerator
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.problem import OffsetProblem

#: Sizes 3, 5, 5, 1; lives 9, 2, 4, 10; all alive at time 5.
FOUR = OffsetInstance.from_columns([1, 4, 3, 0], [10, 6, 7, 10], [3, 5, 5, 1])


def ranking(rule: str, instance: OffsetInstance, decode: str) -> list[int]:
    """Buffers from the first to the last choice of a rule at the start."""
    problem = OffsetProblem.for_instances([instance], decode)
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    scores = RulePolicy(rule).scores(problem, state, observation, np.array([0]))[0]
    return [int(state.candidate[0, a]) for a in np.argsort(-scores, kind="stable")]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("size", [2, 1, 0, 3]),  # ties: the longer life
        ("area", [0, 2, 1, 3]),  # 27, 20, 10, 10; ties: the larger size
        ("duration", [3, 0, 2, 1]),
        ("start", [3, 0, 2, 1]),
        ("lowest", [1, 2, 0, 3]),  # all at 0; ties: the larger size, then the index
    ],
)
def test_what_a_rule_ranks_first(rule: str, expected: list[int]) -> None:
    assert ranking(rule, FOUR, "first-fit") == expected


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_solves_batches_of_different_instances(rule: str) -> None:
    rng = np.random.default_rng(0)
    generator = OffsetGenerator((5, 30))
    sampled = [FIVE, *(generator.sample(rng) for _ in range(6))]
    problem = OffsetProblem.for_instances(sampled, "active")
    together = rollout(problem, sampled, RulePolicy(rule), rng)
    for instance, solution in zip(sampled, together, strict=True):
        solution.validate(instance)
        alone = rollout(OffsetProblem.for_instances([instance]), [instance], RulePolicy(rule), rng)
        assert alone == [solution]


def test_the_rule_of_least_loss_needs_trials() -> None:
    family = make_family()
    make_solver(family, "active/least-loss")
    with pytest.raises(MakespanError, match="least-loss needs decode active"):
        make_solver(family, "first-fit/least-loss")


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        RulePolicy("sizes")


def test_temperature_draws_other_orders() -> None:
    solver: Any = make_solver(make_family(), "first-fit/size:samples=32")
    instance = OffsetGenerator(40, "cuts").sample(np.random.default_rng(1))
    sampled = solver.solve(instance, None, np.random.default_rng(0)).solution
    greedy = make_solver(make_family(), "first-fit/size").solve(
        instance, None, np.random.default_rng(0)
    )
    assert sampled.peak(instance) <= greedy.solution.peak(instance)
