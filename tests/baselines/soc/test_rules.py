"""Rules for streams: what each prefers, and DS3's published behaviour."""

import dataclasses

import numpy as np
import pytest

from makespan.baselines.soc import POLICIES
from makespan.baselines.soc.rules import RULES, RulePolicy
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.rollout import Policy, rollout
from makespan.envs.soc.generator import StreamGenerator
from makespan.envs.soc.instance import StreamInstance
from makespan.envs.soc.platform import Cluster, JobType, Platform, load_platform
from makespan.envs.soc.problem import StreamProblem
from makespan.envs.soc.solution import Row
from makespan.envs.soc.suites import single_job
from makespan.tests.soc_reference import ds3_stream

#: A short and a long task that become ready together, on processors of different speed.
TWO = Platform(
    "two",
    "by hand",
    (Cluster("fast", 1), Cluster("slow", 1)),
    (("fast", "slow", 1),),
    1,
    (JobType("pair", {"short": {"fast": 2, "slow": 3}, "long": {"fast": 6, "slow": 20}}, ()),),
)


def play(
    rule: str, streams: list[StreamInstance], binding: str, processors: str = "distinct"
) -> list[float]:
    return play_policy(POLICIES[rule](), streams, binding, processors)


def play_policy(
    policy: Policy, streams: list[StreamInstance], binding: str, processors: str = "distinct"
) -> list[float]:
    problem = StreamProblem.for_instances(streams, binding, processors)
    solutions = rollout(problem, streams, policy, np.random.default_rng(0))
    for instance, solution in zip(streams, solutions, strict=True):
        solution.validate(instance)
    return [s.objective(i) for i, s in zip(streams, solutions, strict=True)]


def alone(rule: str, binding: str = "eager") -> list[Row]:
    instance = StreamInstance(
        "alone", TWO, np.zeros(1, dtype=np.int32), np.zeros(1, dtype=np.int64), np.ones((1, 2))
    )
    problem = StreamProblem.for_instances([instance], binding)
    (solution,) = rollout(problem, [instance], RulePolicy(rule), np.random.default_rng(0))
    return sorted(solution.rows())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("rule", "short", "long"),
    [
        ("etf", (0, 0, 2), (0, 2, 8)),  # the short one ends first; the long one after it
        ("met", (0, 0, 2), (0, 2, 8)),
        ("heft", (1, 0, 3), (0, 0, 6)),  # the long one has the higher rank
        ("max-min", (1, 0, 3), (0, 0, 6)),
        ("sufferage", (1, 0, 3), (0, 0, 6)),  # the long one loses more elsewhere
    ],
)
def test_two_tasks_by_hand(rule: str, short: tuple[int, ...], long: tuple[int, ...]) -> None:
    assert alone(rule) == [Row(0, 0, *short), Row(0, 1, *long)]


def test_bound_late_a_rule_waits_for_the_processor_it_wants() -> None:
    # the slow processor idles from 0 to 2 although the long task is ready
    assert alone("etf", "late") == [Row(0, 0, 0, 0, 2), Row(0, 1, 0, 2, 8)]


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"ds3-met", "ds3-stf"}))
@pytest.mark.parametrize("binding", ["late", "eager"])
def test_every_rule_schedules_everything(rule: str, binding: str) -> None:
    generator = StreamGenerator(("ds3-default", "toy"), jobs=(6, 6), noise=(0.2, 0.2))
    play(rule, [generator.sample(np.random.default_rng(seed)) for seed in range(3)], binding)


def test_rules_of_ds3_need_its_way_of_binding() -> None:
    stream = single_job("toy", "Top_1")
    with pytest.raises(UsageError, match="ds3-met needs"):
        play("ds3-met", [stream], "eager")
    assert len(play("ds3-met", [stream], "eager", "all")) == 1
    with pytest.raises(UnknownNameError, match="rule"):
        RulePolicy("eft2")


def test_one_job_without_noise_is_the_static_problem() -> None:
    """The same schedule value as the family of task graphs gives for ETF's placement in order."""
    from makespan.envs.dag.solution import TaskGraphSolution

    for platform in ("toy", "ds3-default"):
        for job_type in load_platform(platform).job_names:
            stream = single_job(platform, job_type)
            problem = StreamProblem.for_instances([stream], "eager")
            (found,) = rollout(problem, [stream], RulePolicy("etf"), np.random.default_rng(0))
            graph = stream.platform.task_graph(job_type)
            order = np.argsort(found.tasks)  # type: ignore[attr-defined]
            static = TaskGraphSolution(
                *(getattr(found, name)[order] for name in ("tasks", "processors", "starts", "ends"))
            )
            static.validate(graph)
            assert static.objective(graph) == found.objective(stream)


#: Mean latency (us) that DS3 itself gives under ETF on its default SoC, two seeds, by mean gap.
DS3_ETF = {500: 138.0, 200: 141.0, 100: 144.3, 60: 155.6, 50: 163.1}


@pytest.mark.parametrize("scale", DS3_ETF)
def test_etf_gives_what_ds3_gives(scale: int) -> None:
    found = np.mean(play("etf", [ds3_stream(scale, seed) for seed in (0, 1)], "eager"))
    assert found == pytest.approx(DS3_ETF[scale], rel=0.02)


def test_etf_bound_eagerly_beats_ds3s_met_by_far_at_high_load() -> None:
    streams = [ds3_stream(50, seed) for seed in (0, 1)]
    etf = np.mean(play("etf", streams, "eager"))
    met = np.mean(play("ds3-met", streams, "eager", "all"))
    assert met > 2 * etf


def test_a_state_may_have_held_another_stream() -> None:
    """Of a row that is used again a rule says what it says of a fresh one."""
    toy, rng = load_platform("toy"), np.random.default_rng(0)
    many = StreamInstance(
        "many", toy, np.full(20, 6), np.zeros(20, dtype=np.int64), np.ones((20, 10))
    )
    # the tasks of toy's seventh job type would be beyond the last one of this platform
    few = single_job("ds3-default", "SC-T")
    problem = StreamProblem.for_instances([many, few])
    policy, row = RulePolicy("etf"), np.zeros(1, dtype=np.int64)
    fresh, used = ((problem.allocate(1), problem.spec.allocate(1)) for _ in range(2))
    rewards, terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
    problem.load(*used, 0, many)
    for _ in range(150):
        problem.step(*used, policy.act(problem, *used, row, rng), rewards, terminated)
    problem.load(*fresh, 0, few)
    problem.load(*used, 0, few)
    np.testing.assert_array_equal(
        policy.scores(problem, *used, row), policy.scores(problem, *fresh, row)
    )


def test_a_rule_can_be_randomised() -> None:
    stream = dataclasses.replace(
        StreamGenerator(jobs=(8, 8)).sample(np.random.default_rng(0)), cap=4
    )
    problem = StreamProblem.for_instances([stream])
    policy = RulePolicy("etf").with_temperature(2.0)
    one, other = (
        rollout(problem, [stream], policy, np.random.default_rng(seed))[0] for seed in range(2)
    )
    assert one != other
