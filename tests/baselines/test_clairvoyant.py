"""Policies that know which of several the future favours."""

from typing import Any

import numpy as np
import pytest

from makespan.baselines import clairvoyant
from makespan.envs import FAMILIES
from makespan.envs.core.family import Family
from makespan.envs.core.problem import Generator
from makespan.envs.core.rollout import Policy, rollout
from makespan.envs.routing.generator import RoutingGenerator
from makespan.envs.soc.generator import StreamGenerator

GENERATORS: dict[str, Generator[Any]] = {
    "soc": StreamGenerator(("ds3-default", "toy"), jobs=(15, 15), load=(0.8, 0.8)),
    "routing": RoutingGenerator(60, 3, load=1.2, memory=(0.05, 0.5), max_holds=(0, 100)),
}


def objectives(family: Family, instances: list[Any], policy: Policy) -> list[float]:
    problem = family.make_problem(instances)
    solutions = rollout(problem, instances, policy, np.random.default_rng(0))
    for instance, solution in zip(instances, solutions, strict=True):
        solution.validate(instance)
    return [s.objective(i) for i, s in zip(instances, solutions, strict=True)]


@pytest.mark.parametrize("name", GENERATORS)
def test_it_is_the_best_of_what_it_tries(name: str) -> None:
    family = FAMILIES[name]()
    instances = [GENERATORS[name].sample(np.random.default_rng(seed)) for seed in range(6)]
    policy = family.policies["clairvoyant"]()
    assert isinstance(policy, clairvoyant.Clairvoyant)
    tried = np.array([objectives(family, instances, one) for one in policy.tried()])
    assert len(set(tried.argmin(axis=0).tolist())) > 1  # not the same one everywhere
    assert objectives(family, instances, policy) == pytest.approx(tried.min(axis=0), rel=1e-12)
