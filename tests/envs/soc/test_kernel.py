"""The event-driven simulation: by hand, against clock ticks, and against the static problem."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from makespan.baselines.random import RandomPolicy
from makespan.baselines.soc.rules import RulePolicy
from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.core.observation import Observation
from makespan.envs.core.rollout import rollout
from makespan.envs.soc import kernel
from makespan.envs.soc.generator import StreamGenerator
from makespan.envs.soc.instance import StreamInstance
from makespan.envs.soc.platform import Cluster, JobType, Platform
from makespan.envs.soc.problem import StreamProblem
from makespan.envs.soc.solution import Row
from makespan.tests.soc_features import Sight
from makespan.tests.soc_reference import Option, TickSimulation, random_stream

MODES = [(b, p) for b in kernel.BINDING_MODES for p in kernel.PROCESSOR_MODES]

#: Two CPUs and an accelerator; a chain whose middle task is quick on the accelerator, far away.
SMALL = Platform(
    "small",
    "by hand",
    (Cluster("cpu", 2), Cluster("acc", 1)),
    (("cpu", "cpu", 10), ("cpu", "acc", 2)),
    100,
    (
        JobType(
            "chain",
            {"a": {"cpu": 4}, "b": {"cpu": 9, "acc": 3}, "c": {"cpu": 2}},
            (("a", "b", 8), ("b", "c", 8)),
        ),
    ),
)


def stream(platform: Platform, gaps: list[int], **options: Any) -> StreamInstance:
    width = int(np.diff(platform.task_offsets).max())
    factors = options.pop("factors", np.ones((len(gaps), width)))
    types = np.zeros(len(gaps), dtype=np.int32)
    return StreamInstance("by-hand", platform, types, np.array(gaps), factors, **options)


def run(instance: StreamInstance, rule: str, binding: str = "eager") -> list[Row]:
    problem = StreamProblem.for_instances([instance], binding)
    (solution,) = rollout(problem, [instance], RulePolicy(rule), np.random.default_rng(0))
    solution.validate(instance)
    return sorted(solution.rows())  # type: ignore[attr-defined]


# ---------------------------------------------------------------- by hand


def test_a_chain_that_moves_to_the_accelerator_and_back() -> None:
    # a ends at 4; its 8 units reach the accelerator at 4 + 8 // 2 = 8; b ends at 11, before the 13
    # on the same processor; back again 4, so c starts at 15
    assert run(stream(SMALL, [0]), "etf") == [
        Row(0, 0, 0, 0, 4),
        Row(0, 1, 2, 8, 11),
        Row(0, 2, 0, 15, 17),
    ]


def test_blocked_arrivals_wait_until_a_job_leaves() -> None:
    rows = run(stream(SMALL, [0, 1, 1], cap=1), "etf")
    assert [row.start for row in rows if row.task == 0] == [0, 17, 34]


def test_open_arrivals_do_not_wait() -> None:
    rows = run(stream(SMALL, [0, 1, 1]), "etf")
    # both processors are taken at 0 and 1, so the third job starts at 4
    assert [(row.processor, row.start) for row in rows if row.task == 0] == [(0, 0), (1, 1), (0, 4)]


def test_a_queue_serves_the_oldest_job_whose_data_are_there() -> None:
    problem = StreamProblem.for_instances([instance := stream(SMALL, [0, 4])], "eager")
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    rewards, terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
    problem.load(state, observation, 0, instance)
    taken = []
    while not terminated[0]:
        options = candidates(problem, state)
        # everything on processor 0, which job 1 can use while job 0 is on the accelerator
        chosen = next((i for i, o in enumerate(options) if o.task == 1 and o.processor == 2), 0)
        taken.append(options[chosen])
        problem.step(state, observation, np.array([chosen + 1]), rewards, terminated)
    rows = sorted(problem.solution(state, 0).rows())
    assert [row for row in rows if row.task == 1] == [Row(0, 1, 2, 8, 11), Row(1, 1, 2, 12, 15)]


def test_noise_is_hidden_until_it_happens() -> None:
    factors = np.array([[2.0, 1.0, 1.0]])
    instance = stream(SMALL, [0], factors=factors, noise=1.0)
    problem = StreamProblem.for_instances([instance], "eager")
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    plain = problem.spec.allocate(1)
    other = stream(SMALL, [0], noise=1.0)
    problem.load(problem.allocate(1), plain, 0, other)
    for key, array in observation._asdict().items():
        np.testing.assert_array_equal(array, getattr(plain, key))
    assert [row.end - row.start for row in run(instance, "etf")] == [8, 3, 2]


def at_the_end(instance: StreamInstance) -> tuple[dict[str, Any], Any]:
    """Figures and solution of the episode that always takes the first candidate but waiting."""
    problem = StreamProblem.for_instances([instance], "eager")
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    rewards, terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
    problem.load(state, observation, 0, instance)
    while not terminated[0]:
        problem.step(state, observation, np.array([1]), rewards, terminated)
    return problem.metrics(state, 0), problem.solution(state, 0)


def test_a_horizon_cuts_jobs_and_counts_them() -> None:
    instance = stream(SMALL, [0, 10, 100], horizon=20)
    assert instance.entering == 2
    found, solution = at_the_end(instance)
    assert found["completed"] == found["censored"] == 1
    # the first job stays 4 + 9 + 2 on its processor, the second is cut after 10
    assert found["objective"] == solution.objective(instance) == 12.5
    assert found["little_gap"] == 0


def test_a_job_that_ends_at_the_horizon_is_complete() -> None:
    instance = stream(SMALL, [0], horizon=15)
    found, solution = at_the_end(instance)
    assert (found["completed"], found["censored"]) == (1, 0)
    assert found["objective"] == solution.objective(instance) == 15


def test_an_illegal_action_costs_the_same_in_a_row_that_held_a_larger_stream() -> None:
    large = dataclasses.replace(
        SMALL,
        clusters=(*SMALL.clusters, Cluster("slow", 2)),
        bandwidth=(*SMALL.bandwidth, *(("slow", name, 1) for name in ("cpu", "acc", "slow"))),
        jobs=(
            JobType("star", {f"t{i}": {"cpu": 90, "slow": 900} for i in range(5)}, ()),
            *SMALL.jobs,
        ),
    )
    streams = [stream(SMALL, [0, 3]), stream(large, [0, 3, 5])]
    problem = StreamProblem.for_instances(streams)
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, streams[0])
    fresh = problem.worst_case_reward(state, 0)
    for instance in reversed(streams):
        problem.load(state, observation, 0, instance)
    assert problem.worst_case_reward(state, 0) == fresh


def test_the_warm_up_does_not_count() -> None:
    whole, cut = (stream(SMALL, [0, 0, 0, 50], warmup=warmup) for warmup in (0, 3))
    assert cut.counted == 1
    rows = run(cut, "etf")
    assert rows == run(whole, "etf")
    problem = StreamProblem.for_instances([cut], "eager")
    (solution,) = rollout(problem, [cut], RulePolicy("etf"), np.random.default_rng(0))
    assert solution.objective(cut) == 17


# ---------------------------------------------------------------- clock ticks


def candidates(problem: StreamProblem, state: Any, row: int = 0) -> list[Option]:
    width = problem.largest.width
    found = []
    for place, p, begin, end in state.candidates[row, 1 : state.totals[row, kernel.CANDIDATES]]:
        u = state.ready[row, place]
        found.append(Option(u // width, u % width, int(p), int(begin), int(end)))
    return found


@pytest.mark.parametrize(("binding", "listing"), MODES)
def test_it_does_what_a_simulation_by_clock_ticks_does(binding: str, listing: str) -> None:
    """200 random streams in all: the same decisions, schedule, objective and accounting.

    Of every third stream also all that is seen.
    """
    for seed in range(50):
        rng = np.random.default_rng(seed)
        instance = random_stream(rng)
        problem = StreamProblem.for_instances([instance], binding, listing)
        state, observation = problem.allocate(1), problem.spec.allocate(1)
        rewards, terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
        problem.load(state, observation, 0, instance)
        simulation = TickSimulation(instance, binding, listing)
        decisions = simulation.play()
        total = 0.0
        asked = next(decisions, None)
        while asked is not None:
            options, may_wait = asked
            assert candidates(problem, state) == options
            assert bool(observation.action_mask[0, 0]) == may_wait
            assert not terminated[0]
            if seed % 3 == 0:
                assert_seen(observation, Sight(simulation), options)
            action = int(rng.integers(0 if may_wait else 1, len(options) + 1))
            problem.step(state, observation, np.array([action]), rewards, terminated)
            total += rewards[0]
            try:
                asked = decisions.send(options[action - 1] if action else None)
            except StopIteration:
                asked = None
        assert terminated[0]
        solution = problem.solution(state, 0)
        assert solution == simulation.solution
        solution.validate(instance)
        found = problem.metrics(state, 0)
        assert found["objective"] == solution.objective(instance)
        assert found["lower_bound"] <= found["objective"]
        assert found["little_gap"] == 0
        left = [stay.left is not None for stay in solution.stays(instance)]
        assert (found["completed"], found["censored"]) == (left.count(True), left.count(False))
        assert state.totals[0, kernel.INTEGRAL] == simulation.area
        if found["lower_bound"]:
            rise = 1 - found["objective"] / found["lower_bound"]
            assert total == pytest.approx(rise)


def assert_seen(observation: Observation, sight: Sight, options: list[Option]) -> None:
    """What each column holds is what is said beside its name."""
    assert_named(observation.globals[0], kernel.GLOBAL_FEATURES, sight.whole())
    waiting = dict.fromkeys(kernel.CANDIDATE_FEATURES, 0.0) | {"wait": 1.0}
    for row, seen in zip(
        observation.candidates[0], [waiting, *map(sight.candidate, options)], strict=False
    ):
        assert_named(row, kernel.CANDIDATE_FEATURES, seen)


def assert_named(found: Any, names: tuple[str, ...], expected: dict[str, float]) -> None:
    assert set(names) == expected.keys()
    for name, value in zip(names, found.tolist(), strict=True):
        assert value == pytest.approx(float(expected[name]), rel=1e-4, abs=1e-4), name


# ---------------------------------------------------------------- properties


@pytest.mark.parametrize(("binding", "listing"), MODES)
def test_random_decisions_give_valid_schedules(binding: str, listing: str) -> None:
    generator = StreamGenerator(("ds3-default", "toy"), jobs=(5, 15), noise=(0, 0.5), variation=0.3)
    streams = [generator.sample(np.random.default_rng(seed)) for seed in range(4)]
    problem = StreamProblem.for_instances(streams, binding, listing)
    solutions = rollout(problem, streams, RandomPolicy(), np.random.default_rng(0))
    for instance, solution in zip(streams, solutions, strict=True):
        solution.validate(instance)


def test_more_ready_tasks_than_places_wait_for_their_turn() -> None:
    wide = Platform(
        "wide",
        "",
        (Cluster("cpu", 2),),
        (("cpu", "cpu", 1),),
        1,
        (JobType("many", {f"t{i}": {"cpu": 1} for i in range(200)}, ()),),
    )
    for binding in kernel.BINDING_MODES:
        rows = run(stream(wide, [0]), "etf", binding)
        assert len(rows) == 200
        assert max(row.end for row in rows) == 100


def test_the_step_in_threads_is_the_step() -> None:
    generator = StreamGenerator(jobs=(3, 6), noise=(0.0, 0.4))
    streams = [generator.sample(np.random.default_rng(seed)) for seed in range(8)]
    problem = StreamProblem.for_instances(streams)
    outcomes = []
    for step in (problem._serial_step, problem._parallel_step):
        state, observation = problem.allocate(8), problem.spec.allocate(8)
        for row, instance in enumerate(streams):
            problem.load(state, observation, row, instance)
        rewards, terminated = np.zeros(8), np.zeros(8, dtype=np.bool_)
        total = np.zeros(8)
        while not terminated.all():
            actions = np.where(terminated, -1, observation.action_mask[:, ::-1].argmax(axis=1))
            actions = np.where(terminated, -1, observation.action_mask.shape[1] - 1 - actions)
            step(state, observation, actions, rewards, terminated, *problem.constants)
            total += rewards
        outcomes.append((total, state.instances.copy()))
    np.testing.assert_array_equal(outcomes[0][0], outcomes[1][0])
    np.testing.assert_array_equal(outcomes[0][1], outcomes[1][1])


@pytest.mark.parametrize(("binding", "listing"), MODES)
def test_jobs_to_come_are_not_seen(binding: str, listing: str) -> None:
    """Streams whose jobs are equal up to one look alike until that one enters."""
    compared = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        one, two = random_stream(rng), random_stream(rng)
        count = len(one.types)
        job = np.arange(count)
        first = count // 2
        if not first:
            continue
        other = dataclasses.replace(
            one,
            types=np.where(job < first, one.types, rng.permuted(one.types)),
            gaps=np.where(job <= first, one.gaps, np.resize(two.gaps, count)),
            factors=np.where((job < first)[:, None], one.factors, rng.permuted(one.factors)),
        )
        problem = StreamProblem.for_instances([one, other], binding, listing)
        state, observation = problem.allocate(2), problem.spec.allocate(2)
        for row, instance in enumerate((one, other)):
            problem.load(state, observation, row, instance)
        rewards, terminated = np.zeros(2), np.zeros(2, dtype=np.bool_)
        while not terminated.any() and (state.totals[:, kernel.NEXT_JOB] <= first).all():
            for name, array in observation._asdict().items():
                np.testing.assert_array_equal(array[0], array[1], err_msg=name)
            action = rng.choice(np.flatnonzero(observation.action_mask[0]))
            problem.step(state, observation, np.full(2, action), rewards, terminated)
            compared += 1
    assert compared > 50


# ---------------------------------------------------------------- mistakes


def test_unknown_modes_are_refused() -> None:
    sizes = stream(SMALL, [0]).sizes
    with pytest.raises(UnknownNameError, match="did you mean eager"):
        StreamProblem(sizes, "eagre")
    with pytest.raises(UnknownNameError, match="unknown processors mode"):
        StreamProblem(sizes, "late", "some")
    with pytest.raises(UsageError, match="found none"):
        StreamProblem.for_instances([])


def test_a_stream_that_is_too_large_is_refused() -> None:
    problem = StreamProblem.for_instances([stream(SMALL, [0])])
    with pytest.raises(InstanceError, match="2 jobs, the problem was made for 1"):
        problem.load(
            problem.allocate(1),
            problem.spec.allocate(1),
            0,
            dataclasses.replace(stream(SMALL, [0, 0])),
        )
