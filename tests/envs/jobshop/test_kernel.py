"""The simulator against hand-made examples, definitions, a plain Python twin and CP-SAT."""

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from makespan.baselines.random import RandomPolicy
from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.core.observation import ObservationSpec
from makespan.envs.core.rollout import rollout
from makespan.envs.jobshop.bounds import lower_bound
from makespan.envs.jobshop.examples import FT06, FT06_OPTIMUM, WAITING_PAYS, WAITING_PAYS_OPTIMUM
from makespan.envs.jobshop.family import make_env
from makespan.envs.jobshop.generator import FlexibleJobShopGenerator, JobShopGenerator
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.kernel import (
    CANDIDATE_FEATURES,
    DECODE_MODES,
    LOOKAHEAD_FEATURES,
)
from makespan.envs.jobshop.problem import JobShopProblem
from makespan.envs.jobshop.solution import JobShopSolution
from makespan.tests.jobshop_reference import (
    Candidate,
    Shop,
    every_episode,
    is_active,
    is_nondelay,
    is_semi_active,
    optimum,
    shortest,
)

every_decode = pytest.mark.parametrize("decode", DECODE_MODES)
quick = settings(max_examples=40)


def sample(generator: Any, count: int, seed: int = 0) -> list[JobShopInstance]:
    rng = np.random.default_rng(seed)
    return [generator.sample(rng) for _ in range(count)]


#: Small enough for all sequences of decisions: 1680 of 3 jobs with 3 operations each.
THREE_BY_THREE = sample(JobShopGenerator(3, 3, durations=(1, 20)), 8)
#: Two jobs of two or three operations with one to three alternatives.
TINY_FLEXIBLE = sample(
    FlexibleJobShopGenerator(2, 3, operations=(2, 3), alternatives=(1, 3), durations=(1, 20)), 8
)


@st.composite
def instances(draw: st.DrawFn, smallest_duration: int = 0) -> JobShopInstance:
    """A few jobs of different lengths; machines may repeat in a job or not be used at all."""
    machines = draw(st.integers(1, 4))
    duration = st.integers(smallest_duration, 12)
    operation = st.lists(
        st.tuples(st.integers(0, machines - 1), duration),
        min_size=1,
        max_size=machines if draw(st.booleans()) else 1,
        unique_by=lambda pair: pair[0],
    )
    job = st.lists(operation, min_size=1, max_size=4)
    return JobShopInstance.from_routes(draw(st.lists(job, min_size=1, max_size=5)), machines)


def random_solutions(
    instances: Sequence[JobShopInstance], decode: str, seed: int = 0
) -> list[JobShopSolution]:
    problem = JobShopProblem.for_instances(instances, decode)
    solutions = rollout(problem, instances, RandomPolicy(), np.random.default_rng(seed))
    return [solution for solution in solutions if isinstance(solution, JobShopSolution)]


# ---------------------------------------------------------------- worked examples


@pytest.mark.parametrize(
    ("decode", "best"), [("append", 14), ("insert", 14), ("active", 14), ("nondelay", 20)]
)
def test_waiting_pays_unless_machines_may_not_wait(decode: str, best: int) -> None:
    """Non-delay schedules miss the optimum of 14, see ``WAITING_PAYS``."""
    episodes = every_episode(JobShopProblem.for_instances([WAITING_PAYS], decode), WAITING_PAYS)
    assert episodes.best == best
    if best == 14:
        assert WAITING_PAYS_OPTIMUM in episodes.solutions


@pytest.mark.parametrize(
    ("decode", "legal"),
    # At the start both jobs could begin at 0, job 0 on machine 0 until 1, job 1 on machine 1 until
    # 8. Then job 0 could go on on machine 1, from 1 to 3, or job 1 begin there at 0.
    [
        ("append", [[0, 1], [0, 1]]),
        ("insert", [[0, 1], [0, 1]]),
        ("nondelay", [[0, 1], [1]]),  # machine 1 must not wait
        ("active", [[0], [0, 1]]),  # job 0 ends first, on its own; then both begin before 3
    ],
)
def test_what_is_legal_in_the_example(decode: str, legal: list[list[int]]) -> None:
    env = make_env(instance=WAITING_PAYS, decode=decode)
    _, info = env.reset()
    found = [np.flatnonzero(info["action_mask"]).tolist()]
    *_, info = env.step(0)
    found.append(np.flatnonzero(info["action_mask"]).tolist())
    assert found == legal


def test_the_rewards_of_the_example() -> None:
    """The bound is the work of job 0, 13, until job 0 keeps machine 2 busy to 13: job 1 follows."""
    env = make_env(instance=WAITING_PAYS, decode="append")
    env.reset()
    rewards = [env.step(job)[1] for job in (0, 0, 1, 0, 1, 1)]
    assert rewards == pytest.approx([0, 0, 0, -1 / 13, 0, 0])
    assert env.solution() == WAITING_PAYS_OPTIMUM


@pytest.mark.parametrize("decode", ["append", "insert", "active"])
def test_replaying_the_published_schedule_of_ft06_gives_55(decode: str) -> None:
    start = {(row.job, row.operation): row.start for row in FT06_OPTIMUM.rows()}
    env = make_env(instance=FT06, decode=decode)
    _, info = env.reset()
    scheduled = [0] * FT06.num_jobs
    total, terminated = 0.0, False
    while not terminated:
        legal = np.flatnonzero(info["action_mask"]).tolist()
        job = min(legal, key=lambda job: start[job, scheduled[job]])
        _, reward, terminated, _, info = env.step(job)
        scheduled[job] += 1
        total += reward
    assert info["objective"] == 55
    assert total == pytest.approx((info["lower_bound"] - 55) / info["lower_bound"])
    if decode != "active":  # the published schedule is semi-active, but not active
        assert env.solution() == FT06_OPTIMUM


# ---------------------------------------------------------------- every sequence of decisions


@every_decode
@pytest.mark.parametrize("instance", [*THREE_BY_THREE[:4], *TINY_FLEXIBLE[:4]])
def test_every_sequence_gives_a_valid_schedule_worth_its_rewards(
    instance: JobShopInstance, decode: str
) -> None:
    episodes = every_episode(JobShopProblem.for_instances([instance], decode), instance)
    bound = episodes.lower_bound
    np.testing.assert_allclose(episodes.returns * bound, bound - episodes.objectives, atol=1e-9)
    different = set()
    for solution, objective in zip(episodes.solutions, episodes.objectives, strict=True):
        assert solution.makespan == objective
        key = solution.machines.tobytes() + solution.starts.tobytes()
        if key not in different:
            solution.validate(instance)
        different.add(key)
    assert len(different) > 1 or decode == "nondelay"


@pytest.mark.parametrize("instance", THREE_BY_THREE)
def test_the_best_of_all_sequences_is_the_optimum(instance: JobShopInstance) -> None:
    best = {
        decode: every_episode(JobShopProblem.for_instances([instance], decode), instance).best
        for decode in DECODE_MODES
    }
    assert best["active"] == best["append"] == best["insert"] == optimum(instance)
    assert best["nondelay"] >= best["active"]


@pytest.mark.parametrize("instance", TINY_FLEXIBLE)
def test_the_best_of_all_sequences_with_alternatives_is_the_optimum(
    instance: JobShopInstance,
) -> None:
    assert instance.is_flexible
    for decode in ("active", "append"):
        problem = JobShopProblem.for_instances([instance], decode)
        assert every_episode(problem, instance).best == optimum(instance)


@pytest.mark.parametrize(("decode", "belongs"), [("active", is_active), ("nondelay", is_nondelay)])
def test_the_decode_modes_give_all_schedules_of_their_class_and_no_other(
    decode: str, belongs: Any
) -> None:
    """``append`` gives all semi-active schedules, of which the class is a part."""
    for instance in THREE_BY_THREE[:3]:
        everything = every_episode(JobShopProblem.for_instances([instance], "append"), instance)
        found = every_episode(JobShopProblem.for_instances([instance], decode), instance)
        different = {tuple(s.starts.tolist()): s for s in everything.solutions}
        expected = {starts for starts, solution in different.items() if belongs(solution)}
        assert {tuple(s.starts.tolist()) for s in found.solutions} == expected
        assert len(expected) < len(different)


# ---------------------------------------------------------------- classes of schedules


@pytest.mark.parametrize(
    ("decode", "belongs"),
    [
        ("append", is_semi_active),
        ("insert", is_semi_active),
        ("active", is_active),
        ("nondelay", is_active),
        ("nondelay", is_nondelay),
    ],
)
def test_random_schedules_are_of_their_class(decode: str, belongs: Any) -> None:
    shops = sample(JobShopGenerator((3, 6), (2, 5), durations=(1, 30)), 40)
    assert all(map(belongs, random_solutions(shops, decode)))


@pytest.mark.parametrize(
    ("decode", "belongs"),
    [("append", is_active), ("active", is_nondelay)],
)
def test_classes_differ(decode: str, belongs: Any) -> None:
    shops = sample(JobShopGenerator((3, 6), (2, 5), durations=(1, 30)), 20)
    assert not all(map(belongs, random_solutions(shops, decode)))


@given(instance=instances(), choices=st.randoms(use_true_random=False))
@quick
def test_inserting_is_never_later_than_appending(instance: JobShopInstance, choices: Any) -> None:
    insert = make_env(instance=instance, decode="insert")
    append = make_env(instance=instance, decode="append")
    _, info = insert.reset()
    append.reset()
    terminated = False
    while not terminated:
        action = choices.choice(np.flatnonzero(info["action_mask"]).tolist())
        append.step(action)
        *_, terminated, _, info = insert.step(action)
    inserted, appended = insert.solution(), append.solution()
    assert isinstance(inserted, JobShopSolution)
    assert isinstance(appended, JobShopSolution)
    assert (inserted.starts <= appended.starts).all()


# ---------------------------------------------------------------- against the plain Python twin


def reference_features(shop: Shop, c: Candidate) -> dict[str, float]:
    """What the comments beside CANDIDATE_FEATURES say, for a classical shop."""
    everyone = shop.candidates()
    first = min(other.start for other in everyone)
    unit = 1 / float(np.mean(shop.instance.durations))
    horizon = max(shop.bound - first, 1)
    left = shop.left(c.job)
    tail = sum(map(shortest, left))
    loads = np.zeros(shop.instance.num_machines)
    for job in range(len(shop.routes)):
        for operation in shop.left(job):
            for machine, duration in operation:
                loads[machine] += duration / len(operation)
    rivals = [other for other in everyone if other.machine == c.machine and other.job != c.job]
    rival_bound = {
        rival: max(rival.start, c.end if rival.start < c.end else 0)
        + rival.duration
        + sum(map(shortest, shop.left(rival.job)[1:]))
        for rival in rivals
    }
    soonest = min(other.end for other in everyone if other.job == c.job)
    return {
        "duration": c.duration * unit,
        "job_ready": (c.job_ready - first) * unit,
        "machine_ready": (c.machine_ready - first) * unit,
        "earliest_start": (c.start - first) * unit,
        "earliest_end": (c.end - min(other.end for other in everyone)) * unit,
        "job_waits": (c.start - c.job_ready) * unit,
        "machine_waits": (c.start - c.machine_ready) * unit,
        "job_slack": (shop.bound - c.start - tail) * unit,
        "machine_slack": (shop.bound - max(c.machine_ready, first) - loads[c.machine]) * unit,
        "work_left": tail / horizon,
        "load_left": loads[c.machine] / horizon,
        "operations_left": len(left) / shop.instance.num_machines,
        "progress": 1 - len(left) / len(shop.routes[c.job]),
        "rivals": len(rivals) / 4,
        "rivals_blocked": sum(rival.start < c.end for rival in rivals) / 4,
        "shortest_rival": min((rival.duration for rival in rivals), default=0) * unit,
        "rival_delay": sum(max(c.end - rival.start, 0) for rival in rivals) * unit,
        "bound_increase": (max(rival_bound.values()) - shop.bound) * unit if rivals else 0,
        "next_duration": shortest(left[1]) * unit if len(left) > 1 else 0,
        "last": float(len(left) == 1),
        "excess_duration": (c.duration - shortest(left[0])) * unit,
        "excess_end": (c.end - soonest) * unit,
        "legal": float(c in shop.legal()),
    }


@every_decode
@pytest.mark.parametrize(
    "generator",
    [
        JobShopGenerator((2, 5), (2, 4), durations=(0, 9)),
        FlexibleJobShopGenerator((2, 4), (2, 3), alternatives=(1, 2), durations=(1, 9)),
    ],
    ids=["classical", "flexible"],
)
def test_it_does_what_the_plain_python_twin_does(generator: Any, decode: str) -> None:
    """Legal candidates, starts, bound and features of every state of random episodes."""
    rng = np.random.default_rng(0)
    for instance in sample(generator, 6):
        shop = Shop(instance, decode)
        env = make_env(instance=instance, decode=decode)
        observation, info = env.reset()
        width = instance.max_alternatives
        while shop.candidates():
            legal = shop.legal()
            numbers = [c.job * width + c.alternative for c in legal]
            assert np.flatnonzero(info["action_mask"]).tolist() == numbers
            assert_features(observation["candidates"], shop, width)
            before = shop.bound
            picked = int(rng.integers(len(legal)))
            shop.take(legal[picked])
            observation, reward, terminated, _, info = env.step(numbers[picked])
            assert reward * shop.initial_bound == pytest.approx(before - shop.bound)
        assert terminated
        solution = env.solution()
        assert isinstance(solution, JobShopSolution)
        assert sorted(solution.rows()) == sorted(shop.rows)


def assert_features(found: NDArray[np.float32], shop: Shop, width: int) -> None:
    one_alternative = not shop.instance.is_flexible
    for candidate in shop.candidates():
        row = found[candidate.job * width + candidate.alternative]
        for name, expected in reference_features(shop, candidate).items():
            if name == "next_duration" and not one_alternative:
                continue  # there it is the alternative that would end first
            value = row[CANDIDATE_FEATURES.index(name)]
            assert value == pytest.approx(expected, abs=1e-4), name


@every_decode
@pytest.mark.parametrize(
    "generator",
    [
        JobShopGenerator((2, 5), (2, 4), durations=(1, 99)),
        FlexibleJobShopGenerator((2, 4), (2, 3), alternatives=(1, 2), durations=(1, 99)),
    ],
    ids=["classical", "flexible"],
)
def test_lookahead_reports_what_the_trials_of_the_twin_find(generator: Any, decode: str) -> None:
    rng = np.random.default_rng(0)
    for instance in sample(generator, 5):
        shop = Shop(instance, decode)
        env = make_env(instance=instance, decode=decode, lookahead="atc")
        observation, _ = env.reset()
        width = instance.max_alternatives
        while shop.candidates():
            legal = shop.legal()
            trials = {c.job * width + c.alternative: shop.trial(c) for c in legal}
            assert_lookahead(observation["candidates"], env.problem.spec, shop, trials)
            picked = legal[int(rng.integers(len(legal)))]
            shop.take(picked)
            observation, *_ = env.step(picked.job * width + picked.alternative)


def assert_lookahead(
    found: NDArray[np.float32], spec: ObservationSpec, shop: Shop, trials: dict[int, int]
) -> None:
    """Differences to the best trial and to the bound, in mean durations; 0 without a choice."""
    first = spec.candidate_features.index("lookahead")
    assert spec.candidate_features[first:] == LOOKAHEAD_FEATURES
    expected = np.zeros((len(found), 2))
    if len(trials) > 1:
        mean = float(np.mean(shop.instance.durations))
        for action, makespan in trials.items():
            above_best, above_bound = makespan - min(trials.values()), makespan - shop.bound
            expected[action] = above_best / mean, above_bound / mean
    np.testing.assert_allclose(found[:, first:], expected, atol=1e-4)


# ---------------------------------------------------------------- properties of any instance


@every_decode
@given(instance=instances(), seed=st.integers(0, 99))
@quick
def test_any_episode_of_any_instance(decode: str, instance: JobShopInstance, seed: int) -> None:
    env = make_env(instance=instance, decode=decode)
    observation, info = env.reset()
    assert observation in env.observation_space
    rng = np.random.default_rng(seed)
    total, terminated, steps = 0.0, False, 0
    while not terminated:
        action = rng.choice(np.flatnonzero(info["action_mask"]))
        observation, reward, terminated, _, info = env.step(action)
        assert observation in env.observation_space
        assert reward <= 0
        total += float(reward)
        steps += 1
    assert steps == instance.num_operations
    solution = env.solution()
    solution.validate(instance)
    objective, bound = info["objective"], info["lower_bound"]
    assert solution.objective(instance) == objective
    assert total * max(bound, 1) == pytest.approx(bound - objective)
    assert bound <= lower_bound(instance) <= objective


@every_decode
def test_long_durations_do_not_overflow(decode: str) -> None:
    unit = 2**30 // 16
    shop = JobShopInstance.from_routes([[(0, 3 * unit), (1, unit)]] * 4)
    small = JobShopInstance.from_routes([[(0, 3), (1, 1)]] * 4)
    long, short = random_solutions([shop], decode), random_solutions([small], decode)
    long[0].validate(shop)
    assert long[0].starts.tolist() == [unit * start for start in short[0].starts.tolist()]


# ---------------------------------------------------------------- batches and sizes


class FirstEnd:
    """Takes the candidate that ends first: a choice that needs no random numbers."""

    name = "first-end"

    def start(self, problem: Any, state: Any, observation: Any) -> None: ...

    def act(self, problem: Any, state: Any, observation: Any, rows: Any, rng: Any) -> Any:
        end = observation.candidates[rows, :, CANDIDATE_FEATURES.index("earliest_end")]
        return np.where(observation.action_mask[rows] > 0, end, np.inf).argmin(axis=1)


@every_decode
def test_instances_of_all_sizes_in_one_batch_are_as_one_by_one(decode: str) -> None:
    shops = [
        *sample(JobShopGenerator((1, 8), (1, 6)), 15),
        *sample(FlexibleJobShopGenerator((1, 6), (1, 5)), 15),
    ]
    rng = np.random.default_rng(0)
    together = rollout(JobShopProblem.for_instances(shops, decode), shops, FirstEnd(), rng)
    for shop, solution in zip(shops, together, strict=True):
        alone = rollout(JobShopProblem.for_instances([shop], decode), [shop], FirstEnd(), rng)
        assert [solution] == alone


def test_threads_change_nothing() -> None:
    """A batch large enough for threads, and its halves, which are not."""
    assert numba.get_num_threads() > 1
    shops = sample(JobShopGenerator((2, 5), (2, 4)), JobShopProblem.parallel_rows)
    problem, rng = JobShopProblem.for_instances(shops), np.random.default_rng(0)
    half = JobShopProblem.parallel_rows // 2
    halves = [rollout(problem, part, FirstEnd(), rng) for part in (shops[:half], shops[half:])]
    assert rollout(problem, shops, FirstEnd(), rng) == [*halves[0], *halves[1]]


def test_two_hundred_jobs_on_twenty_machines() -> None:
    (shop,) = sample(JobShopGenerator(200, 20), 1)
    (solution,) = random_solutions([shop], "active")
    solution.validate(shop)
    assert len(solution.starts) == 4000


def test_memory_grows_with_operations() -> None:
    def size(jobs: int) -> int:
        problem = JobShopProblem(JobShopGenerator(jobs, 20).largest)
        return sum(array.nbytes for array in (*problem.allocate(1), *problem.spec.allocate(1)))

    assert size(200) < 2.02 * size(100)
    assert size(200) < 200 * 4000  # bytes: fewer than 200 per operation


def test_an_instance_that_is_too_large_is_refused_with_its_size() -> None:
    problem = JobShopProblem(JobShopGenerator(5, 6).largest)
    with pytest.raises(InstanceError, match="ft06: 6 jobs, the problem was made for 5"):
        problem.load(problem.allocate(1), problem.spec.allocate(1), 0, FT06)


@pytest.mark.parametrize(
    ("name", "array", "found"),
    [
        ("actions", np.zeros(2, dtype=np.int32), r"int32 \(2,\), contiguous"),
        ("actions", np.zeros((2, 2), dtype=np.int64)[:, 0], r"int64 \(2,\), strided"),
        ("rewards", np.zeros(2, dtype=np.float32), r"float32 \(2,\)"),
        ("terminated", np.zeros(3, dtype=np.bool_), r"bool \(3,\)"),
    ],
)
def test_arrays_that_machine_code_would_misread_are_refused(
    name: str, array: NDArray[Any], found: str
) -> None:
    problem = JobShopProblem.for_instances([FT06])
    arrays = {
        "actions": np.zeros(2, dtype=np.int64),
        "rewards": np.zeros(2),
        "terminated": np.zeros(2, dtype=np.bool_),
    }
    with pytest.raises(UsageError, match=f"{name}: found {found}"):
        problem.step(problem.allocate(2), problem.spec.allocate(2), **{**arrays, name: array})


def test_unknown_modes_and_empty_batches_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown decode mode 'activ'; did you mean active"):
        make_env(instance=FT06, decode="activ")
    with pytest.raises(UnknownNameError, match="unknown lookahead mode 'atx'; did you mean atc"):
        make_env(instance=FT06, lookahead="atx")
    with pytest.raises(UsageError, match="found none, expected at least one"):
        JobShopProblem.for_instances([])


def test_options_of_the_generator_do_not_go_with_a_fixed_instance() -> None:
    with pytest.raises(UsageError, match="jobs, machines: not with a fixed instance"):
        make_env(instance=FT06, machines=3, jobs=2)
