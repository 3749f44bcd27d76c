"""Goodput by bisection."""

import numpy as np
import pytest

from makespan.baselines.routing.goodput import attained, goodput
from makespan.baselines.routing.rules import RulePolicy
from makespan.envs.core.errors import UsageError
from makespan.envs.routing.examples import example

INSTANCE = example("steady", [(0.1 * i, 400, 30) for i in range(60)], replicas=2, ttft_slo_s=0.2)


def test_the_highest_factor_that_attains_is_found() -> None:
    """Attainment that falls from 1 to 0 at a factor of 3, so that 90 % are met up to 3."""

    def falls(instances: object, policy: object, factor: float, queue: str) -> float:
        return float(factor <= 3)

    found = goodput([INSTANCE], RulePolicy("jsq"), share=falls, tolerance=0.01)
    assert 3 / 1.01 <= found.factor <= 3
    assert found.rate == pytest.approx(found.factor * 10)
    assert len(found.tried) < 20


def test_goodput_of_a_cluster_is_where_attainment_falls() -> None:
    policy = RulePolicy("jsq")
    found = goodput([INSTANCE], policy, tolerance=0.1)
    assert attained([INSTANCE], policy, found.factor) >= 0.9
    assert attained([INSTANCE], policy, found.factor * 1.5) < 0.9
    assert list(found.tried) == sorted(found.tried)


def test_objectives_that_nothing_meets_are_named() -> None:
    impossible = example("slow", [(1.0 * i, 400, 30) for i in range(5)], ttft_slo_s=1e-4)
    with pytest.raises(UsageError, match="objectives that no rate can meet"):
        goodput([impossible], RulePolicy("jsq"))


def test_requests_at_one_time_have_no_rate() -> None:
    with pytest.raises(UsageError, match="burst: found all requests at one time"):
        goodput([example("burst", [(1.0, 40, 3)] * 5)], RulePolicy("jsq"))


def test_a_cluster_that_always_attains_gives_the_highest_factor() -> None:
    found = goodput([INSTANCE], RulePolicy("jsq"), attainment=0.0)
    assert np.isclose(found.factor, 8.0)
