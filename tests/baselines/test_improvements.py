"""Solvers that record when they improve: in order, within their time, down to what they return."""

import numpy as np
import pytest

from makespan.baselines.registry import make_solver
from makespan.envs import FAMILIES
from makespan.tests.fuzz import SMALL


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_improvement_is_what_is_returned(name):
    family = FAMILIES[name]()
    instance = SMALL[name](family)
    policy = next(iter(family.policies))
    for spec in (*family.solvers, f"{policy}:samples=8", f"{policy}:simulations=8"):
        result = make_solver(family, spec).solve(instance, 1.0, np.random.default_rng(0))
        improvements = result.details.get("improvements")
        if improvements is None:
            continue
        seconds, objectives = np.array(improvements).T
        assert (np.diff(seconds) >= 0).all(), spec
        assert (np.diff(objectives) < 0).all(), spec
        assert 0 <= seconds[0] <= seconds[-1] <= result.seconds, spec
        assert objectives[-1] == pytest.approx(result.solution.objective(instance)), spec
