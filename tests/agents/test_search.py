"""Search on top of a policy: never worse than the policy, and the same for the same seed."""

from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from makespan.agents import search
from makespan.agents.neural import NeuralPolicy
from makespan.agents.search import BeamSearch, Sampling, TreeSearch
from makespan.baselines.jobshop.rules import RulePolicy
from makespan.envs.core.errors import UsageError
from makespan.envs.core.rollout import RolloutSolver, ScorePolicy
from makespan.envs.core.solution import Result
from makespan.envs.jobshop.examples import FT06
from makespan.envs.jobshop.generator import FlexibleJobShopGenerator, JobShopGenerator
from makespan.envs.jobshop.instance import JobShopInstance, Sizes
from makespan.envs.jobshop.problem import JobShopProblem
from makespan.models.policy import GraphPolicy, PolicyConfig
from makespan.tests.jobshop_reference import optimum


def untrained() -> NeuralPolicy:
    """A network of random weights with strong opinions: its greedy runs are far from good."""
    torch.manual_seed(0)
    network = GraphPolicy(JobShopProblem(Sizes(1, 1, 1, 1)).spec, PolicyConfig("none", hidden=16))
    torch.nn.init.normal_(network.actor[-1].weight)  # type: ignore[arg-type]
    return NeuralPolicy("untrained", network.eval())


every_policy = pytest.mark.parametrize(
    "policy", [RulePolicy("mwkr"), untrained()], ids=lambda policy: policy.name
)
every_decode = pytest.mark.parametrize("decode", ["active", "nondelay", "append"])


def sample(count: int) -> list[JobShopInstance]:
    rng = np.random.default_rng(0)
    generators: list[Any] = [JobShopGenerator((3, 6), (2, 5)), FlexibleJobShopGenerator(3, 3)]
    return [generators[i % 2].sample(rng) for i in range(count)]


def solve(solver: Any, instance: JobShopInstance, seed: int = 0) -> Result[Any]:
    result: Result[Any] = solver.solve(instance, None, np.random.default_rng(seed))
    result.solution.validate(instance)
    return result


def makespan(solver: Any, instance: JobShopInstance, seed: int = 0) -> int:
    return int(solve(solver, instance, seed).solution.makespan)


@every_policy
@every_decode
def test_search_is_never_worse_than_the_greedy_run(policy: ScorePolicy, decode: str) -> None:
    make_problem = partial(JobShopProblem.for_instances, decode=decode)
    greedy = RolloutSolver("greedy", policy, make_problem)
    sampling = Sampling("sampling", policy, make_problem, samples=8)
    beams = [BeamSearch("beam", policy, make_problem, width) for width in (2, 5)]
    better = 0
    for instance in sample(12):
        reference = makespan(greedy, instance)
        for solver in (sampling, *beams):
            found = makespan(solver, instance)
            assert found <= reference
            better += found < reference
    assert better > 3


@every_policy
@every_decode
def test_one_sample_and_a_beam_of_one_are_the_greedy_run(policy: ScorePolicy, decode: str) -> None:
    make_problem = partial(JobShopProblem.for_instances, decode=decode)
    greedy = RolloutSolver("greedy", policy, make_problem)
    for instance in sample(8):
        expected = solve(greedy, instance).solution
        assert solve(Sampling("s", policy, make_problem, 1), instance).solution == expected
        assert solve(BeamSearch("b", policy, make_problem, 1), instance).solution == expected


@every_policy
def test_a_wide_beam_keeps_every_solution(policy: ScorePolicy) -> None:
    """20 sequences of 2 jobs with 3 operations each, and 5 times as many rows."""
    rng = np.random.default_rng(1)
    make_problem = partial(JobShopProblem.for_instances, decode="append")
    for _ in range(5):
        instance = JobShopGenerator(2, 3).sample(rng)
        beam = BeamSearch("beam", policy, make_problem, width=100)
        assert makespan(beam, instance) == optimum(instance)


@every_policy
def test_equal_seeds_give_equal_solutions(policy: ScorePolicy) -> None:
    sampling = Sampling("sampling", policy, JobShopProblem.for_instances, samples=4)
    beam = BeamSearch("beam", policy, JobShopProblem.for_instances, width=3)
    for instance in sample(4):
        assert solve(sampling, instance, 3).solution == solve(sampling, instance, 3).solution
        assert solve(beam, instance, 3).solution == solve(beam, instance, 4).solution
    assert len({makespan(sampling, FT06, seed) for seed in range(10)}) > 1


def test_more_samples_are_taken_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches of rows that fit, and the greedy run in the first alone."""
    problem = JobShopProblem.for_instances([FT06])
    monkeypatch.setattr(search, "BATCH_NODES", 4 * problem.spec.max_nodes)
    batches = []

    class Counted(RulePolicy):
        def start(self, problem: Any, state: Any, observation: Any) -> None:
            batches.append(self.temperature.tolist())

    sampling = Sampling("s", Counted("mwkr"), JobShopProblem.for_instances, 7, temperature=0.5)
    assert solve(sampling, FT06).details["samples"] == 7
    assert batches == [[0, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]


def test_sampling_stops_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "BATCH_NODES", 1)
    sampling = Sampling("s", RulePolicy("mwkr"), JobShopProblem.for_instances, samples=10**6)
    result = sampling.solve(FT06, 0.2, np.random.default_rng(0))
    result.solution.validate(FT06)
    assert 1 <= result.details["samples"] < 10**6
    assert result.seconds < 2


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (Sampling, {"samples": 0}, "samples: found 0, expected at least 1"),
        (Sampling, {"temperature": 0.0}, "temperature: found 0.0, expected more than 0"),
        (Sampling, {"temperature": float("nan")}, "temperature: found nan, expected more than 0"),
        (Sampling, {"temperature": 1e308}, "temperature: found 1e.308, expected .* at most 1,000"),
        (BeamSearch, {"width": 0}, "width: found 0, expected at least 1"),
    ],
)
def test_impossible_options_are_refused(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make("name", RulePolicy("spt"), JobShopProblem.for_instances, **options)


@pytest.mark.parametrize(
    "temperature",
    [float("nan"), float("inf"), 1e308, -1.0, np.array([0.0, np.nan])],
    ids=str,
)
def test_a_policy_has_no_temperature_that_would_draw_what_is_illegal(temperature: Any) -> None:
    with pytest.raises(UsageError, match=r"temperature: found .*, expected 0 to 1,000,000"):
        RulePolicy("mwkr", temperature)


# ---------------------------------------------------------------- tree search


class Played(RulePolicy):
    """Counts the runs that are begun, and takes a second for each."""

    runs: ClassVar[int] = 0

    def start(self, problem: Any, state: Any, observation: Any) -> None:
        super().start(problem, state, observation)
        Played.runs += len(observation.action_mask)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    monkeypatch.setattr(Played, "runs", 0)
    clock = SimpleNamespace(perf_counter=lambda: float(Played.runs))
    monkeypatch.setattr(search, "time", clock)
    return Played("mwkr")


@pytest.mark.parametrize(("simulations", "batch"), [(1, 1), (16, 1), (40, 4), (256, 16)])
def test_tree_search_plays_what_it_is_asked_for(
    played: Played, simulations: int, batch: int
) -> None:
    make_problem = JobShopProblem.for_instances
    tree = TreeSearch("tree", played, make_problem, simulations=simulations, batch=batch)
    assert solve(tree, FT06).details["simulations"] == Played.runs
    # a few may be left: one alone would repeat a greedy run, and the last stages may know all
    assert 0.9 * simulations <= Played.runs <= simulations


@every_policy
@every_decode
def test_tree_search_is_never_worse_than_the_greedy_run(policy: ScorePolicy, decode: str) -> None:
    make_problem = partial(JobShopProblem.for_instances, decode=decode)
    greedy = RolloutSolver("greedy", policy, make_problem)
    tree = TreeSearch("tree", policy, make_problem, simulations=24, stages=3, batch=4)
    for instance in sample(4):
        assert makespan(tree, instance) <= makespan(greedy, instance)
        assert solve(tree, instance).solution == solve(tree, instance).solution


def test_tree_search_tries_everything_when_it_can() -> None:
    """With simulations enough for the whole tree it ends by itself, with the optimum."""
    make_problem = partial(JobShopProblem.for_instances, decode="active")
    tree = TreeSearch("tree", untrained(), make_problem, simulations=5000, stages=1)
    generator, rng = JobShopGenerator(3, 3, durations=(1, 20)), np.random.default_rng(0)
    for _ in range(3):
        instance = generator.sample(rng)
        result = solve(tree, instance)
        assert result.details["simulations"] < 5000
        assert result.solution.makespan == optimum(instance)


@pytest.mark.parametrize("time_limit_s", [0.0, 400.0])
def test_tree_search_keeps_to_its_time(played: Played, time_limit_s: float) -> None:
    tree = TreeSearch("tree", played, JobShopProblem.for_instances, simulations=10**6)
    result = tree.solve(FT06, time_limit_s, np.random.default_rng(0))
    # the greedy run is played in any case
    assert time_limit_s / 2 <= Played.runs <= max(1, time_limit_s)
    assert result.details["simulations"] == Played.runs


def test_tree_search_needs_simulations() -> None:
    make_problem = JobShopProblem.for_instances
    with pytest.raises(UsageError, match="simulations: found 0"):
        TreeSearch("tree", untrained(), make_problem, simulations=0)
