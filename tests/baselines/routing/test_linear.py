"""The linear router and how its weights are learnt."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makespan.baselines.evolve import EvolutionConfig
from makespan.baselines.routing.evolve import Options
from makespan.baselines.routing.linear import TERMS, LinearPolicy, central_queue
from makespan.baselines.routing.rules import RulePolicy
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.rollout import Policy, rollout
from makespan.envs.routing.generator import RoutingGenerator
from makespan.envs.routing.problem import RoutingProblem

CROWDED = RoutingGenerator(60, 2, load=(1.1, 1.1), memory=(0.15, 0.15), model="llama-2-7b")


def mean_latency(policy: Policy) -> float:
    instance = CROWDED.sample(np.random.default_rng(3))
    problem = RoutingProblem.for_instances([instance])
    solution = rollout(problem, [instance], policy, np.random.default_rng(0))[0]
    solution.validate(instance)
    return solution.objective(instance)


def test_it_can_be_the_rule_that_it_starts_from() -> None:
    rule = mean_latency(RulePolicy("central-queue"))
    assert mean_latency(LinearPolicy(central_queue())) == pytest.approx(rule, rel=1e-3)


def test_learnt_weights_can_be_read_and_used() -> None:
    for name in LinearPolicy.shipped:
        assert np.isfinite(mean_latency(LinearPolicy(name)))
    with pytest.raises(UnknownNameError, match="did you mean memory"):
        LinearPolicy("memori")


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_text(json.dumps({"weights": {TERMS[0]: 1.0}}))
    with pytest.raises(UsageError, match=r"w.json: expected 'weights' with a number for each of"):
        LinearPolicy(str(path))
    path.write_text(central_queue().to_json({}))
    np.testing.assert_allclose(LinearPolicy(str(path)).weights.values, central_queue().values)


@pytest.mark.parametrize("ignored", [{"recipe": "memory"}, {"requests": 30}])
def test_a_trace_leaves_no_choice_of_recipe_or_requests(ignored: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="trace: found recipe or requests with it"):
        Options(Path("w.json"), trace="trace.csv", **ignored)


@pytest.mark.slow
def test_a_generation_of_the_search_is_written_and_repeats(tmp_path: Path) -> None:
    config = EvolutionConfig(instances=1, population=8, generations=2)
    found = []
    for name in ("a.json", "b.json"):
        Options(tmp_path / name, requests=30, search=config).run()
        found.append(LinearPolicy(str(tmp_path / name)).weights.values)
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != central_queue().values).any()
