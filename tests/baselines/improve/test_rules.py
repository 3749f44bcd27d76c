"""Improvement heuristics: what each chooses, and that chance depends on the instance alone."""

import numpy as np
import pytest

from makespan.baselines.improve import POLICIES
from makespan.baselines.improve.rules import RULES, Moves, RulePolicy
from makespan.envs.core.errors import UnknownNameError
from makespan.envs.core.rollout import rollout
from makespan.envs.improve.problem import ImproveProblem
from makespan.envs.jobshop.generator import JobShopGenerator


def choice(rule: str, **changed: object) -> int:
    """What a rule takes of three moves that lead from 100 to 105, 98 and 90."""
    view = Moves(
        estimate=np.array([[105, 98, 90]]),
        makespan=np.array([[100]]),
        incumbent=np.array([[95]]),
        given_up=np.array([[np.inf, np.inf, np.inf]]),
        visited=np.array([[False, False, False]]),
        tenure=np.array([[10]]),
        progress=np.array([[0.0]]),
        mean_duration=np.array([[50.0]]),
        noise=np.array([[0.1, 0.2, 0.3]]),
    )._replace(**{name: np.array([value]) for name, value in changed.items()})  # type: ignore[arg-type]
    return int(RULES[rule](view).argmin())


def test_choices() -> None:
    assert choice("greedy") == choice("best-improvement") == choice("tabu-list") == 2
    assert choice("first-improvement") == 1
    worse = [105, 104, 101]
    assert choice("greedy", estimate=worse) == 2
    assert choice("best-improvement", estimate=worse) == 0  # by chance: the least noise
    assert choice("first-improvement", estimate=worse) == 0
    assert choice("no-return", visited=[False, False, True]) == 1
    assert choice("tabu-list", given_up=[np.inf, np.inf, 3]) == 2  # it beats the incumbent
    assert choice("tabu-list", given_up=[np.inf, np.inf, 3], incumbent=[80]) == 1
    assert choice("tabu-list", given_up=[7, 9, 3], incumbent=[80]) == 1  # tabu for longest
    assert choice("annealing", progress=[1.0], noise=[0.5, 0.5, 0.4]) == 1
    with pytest.raises(UnknownNameError, match="did you mean greedy"):
        RulePolicy("gredy")


def test_memory_pays() -> None:
    generator = JobShopGenerator(8, 6)
    instances = [generator.sample(np.random.default_rng(seed)) for seed in range(8)]
    problem = ImproveProblem.for_instances(instances, moves=150, neighbourhood="n6")
    mean = {}
    for rule in RULES:
        found, again = (
            rollout(problem, instances, RulePolicy(rule), np.random.default_rng(seed))
            for seed in range(2)
        )
        assert found == again
        for instance, solution in zip(instances, found, strict=True):
            solution.validate(instance)
        mean[rule] = np.mean([s.objective(i) for s, i in zip(found, instances, strict=True)])
    learnt = rollout(problem, instances, POLICIES["pretrained"](), np.random.default_rng(0))
    assert (
        np.mean([s.objective(i) for s, i in zip(learnt, instances, strict=True)]) < mean["greedy"]
    )
    assert mean["tabu-list"] < mean["greedy"]
    assert mean["no-return"] < mean["greedy"]
