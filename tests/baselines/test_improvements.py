"""Solvers that record when they improve: in order, within their time, down to what they return."""

import numpy as np
import pytest

from makespan.baselines.registry import make_solver
from makespan.envs import FAMILIES
from makespan.tests.fuzz import SMALL

#: Solvers of each family that record, besides the searches that wrap a policy.
RECORDING = {
    "blocking": ("cp-sat",),
    "dag": ("cp-sat",),
    "improve": ("cp-sat", "tabu"),
    "jobshop": ("anytime", "cp-sat", "tabu"),
    "memory": ("cp-sat", "local-search"),
    "offsets": ("cp-sat", "hill-climbing", "iterated-beam", "local-search"),
    "routing": (),
    "soc": (),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_improvement_is_what_is_returned(name):
    family = FAMILIES[name]()
    instance = SMALL[name](family)
    policy = next(iter(family.policies))
    searches = (f"{policy}:samples=8", f"{policy}:simulations=8")
    recording = {*RECORDING[name], *searches}
    for spec in (*family.solvers, *searches):
        result = make_solver(family, spec).solve(instance, 1.0, np.random.default_rng(0))
        improvements = result.details.get("improvements")
        assert (improvements is not None) == (spec in recording), spec
        if improvements is None:
            continue
        seconds, objectives = np.array(improvements).T
        assert (np.diff(seconds) >= 0).all(), spec
        assert (np.diff(objectives) < 0).all(), spec
        assert 0 <= seconds[0] <= seconds[-1] <= result.seconds, spec
        assert objectives[-1] == pytest.approx(result.solution.objective(instance)), spec
