"""Figures of merit by hand."""

import numpy as np
import pytest

from makespan.envs.routing import metrics
from makespan.envs.routing.examples import ALONE, example
from makespan.envs.routing.problem import RoutingProblem
from makespan.envs.routing.solution import RoutingSolution


def sent_to_the_first(instance: object) -> RoutingSolution:
    problem = RoutingProblem.for_instances([instance])  # type: ignore[list-item]
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)  # type: ignore[arg-type]
    rewards, terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
    while not terminated[0]:
        problem.step(state, observation, np.array([1]), rewards, terminated)
    return problem.solution(state, 0)


def test_one_request() -> None:
    """First token after 15 ms, two more 10.04 ms apart."""
    solution = sent_to_the_first(ALONE)
    found = {name: metric(ALONE, solution) for name, metric in metrics.METRICS.items()}
    assert found["p50_s"] == found["p99_s"] == pytest.approx(0.03508)
    assert found["ttft_s"] == pytest.approx(0.015)
    assert found["tpot_s"] == found["tbt99_s"] == pytest.approx(0.01004)
    assert found["s_per_tok"] == pytest.approx(0.03508 / 3)
    assert found["slo"] == 1
    assert found["episode"] == pytest.approx(0.03508)
    for name in ("preempt", "hits", "held_s", "gap_tok"):
        assert found[name] == 0


def test_jain() -> None:
    assert metrics.jain([1, 1, 2]) == pytest.approx(16 / 18)
    assert metrics.jain([5, 5]) == 1
    assert metrics.jain([1, 0, 0]) == pytest.approx(1 / 3)


def test_objectives_are_of_both_kinds() -> None:
    requests = [(0.0, 100, 3), (0.0, 100, 3)]
    for first, per_token, share in ((0.021, 0.011, 1.0), (0.019, 0.011, 0.0), (0.021, 0.01, 0.0)):
        instance = example("slo", requests, ttft_slo_s=first, tpot_slo_s=per_token)
        solution = sent_to_the_first(instance)  # first tokens at 20 ms, then 10.08 ms each
        assert metrics.METRICS["slo"](instance, solution) == share


def test_a_gap_in_service_needs_two_clients_that_wait() -> None:
    """One at a time: client 0 has had 10 + 2 * 2 = 14 tokens while client 1 waits."""
    requests = [(0.0, 10, 2), (0.0, 10, 2), (0.0, 10, 2)]
    instance = example("gap", requests, max_batch=1, client=[0, 0, 1])
    assert metrics.service_gap(instance, sent_to_the_first(instance)) == 28 - 14


def test_time_per_token_is_of_responses_of_two_or_more() -> None:
    instance = example("short", [(0.0, 10, 1)])
    solution = sent_to_the_first(instance)
    assert np.isnan(metrics.time_per_output_token(instance, solution)).all()
    for name in ("tpot_s", "tbt99_s"):
        assert metrics.METRICS[name](instance, solution) == 0
