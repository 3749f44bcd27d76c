"""The simulator against examples, a plain Python twin, and brute force over all orders."""

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from makespan.baselines.random import RandomPolicy
from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.core.rollout import rollout
from makespan.envs.offsets import kernel
from makespan.envs.offsets.bounds import lower_bound
from makespan.envs.offsets.examples import EXAMPLES, FIVE, FRAGMENTED, OPTIMA, WITH_FIXED
from makespan.envs.offsets.family import make_env
from makespan.envs.offsets.generator import OffsetGenerator
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.kernel import CANDIDATE_FEATURES, DECODE_MODES
from makespan.envs.offsets.problem import OffsetProblem
from makespan.tests.offsets_reference import Memory, every_episode, instances, optimum

every_decode = pytest.mark.parametrize("decode", DECODE_MODES)
every_example = pytest.mark.parametrize(
    "instance", EXAMPLES.values(), ids=lambda instance: instance.name
)
quick = settings(max_examples=60)


class Played:
    """One episode of the simulator beside its plain Python twin."""

    def __init__(self, instance: OffsetInstance, decode: str, seed: int = 0) -> None:
        self.problem = OffsetProblem.for_instances([instance], decode)
        self.state = self.problem.allocate(1)
        self.observation = self.problem.spec.allocate(1)
        self.problem.load(self.state, self.observation, 0, instance)
        self.memory = Memory(instance, decode)
        self.rng = np.random.default_rng(seed)
        self.rewards, self.terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)

    def candidates(self) -> list[int]:
        count = int(self.observation.action_mask[0].sum())
        assert self.observation.action_mask[0, :count].all()  # no gaps
        return [int(j) for j in self.state.candidate[0, :count]]

    def feature(self, name: str) -> NDArray[np.float32]:
        count = int(self.observation.action_mask[0].sum())
        column: NDArray[np.float32] = self.observation.candidates[0, :count]
        return column[:, CANDIDATE_FEATURES.index(name)]

    def step(self) -> float:
        """A random decision in both; returns the reward."""
        candidates = self.candidates()
        action = int(self.rng.integers(len(candidates)))
        self.memory.place(candidates[action])
        self.problem.step(
            self.state, self.observation, np.array([action]), self.rewards, self.terminated
        )
        return float(self.rewards[0])


# ---------------------------------------------------------------- worked examples


def test_first_fit_in_the_order_of_time_leaves_a_hole() -> None:
    env = make_env(FRAGMENTED, decode="first-fit", illegal_action="raise")
    env.reset()
    for _ in range(3):  # a at 0, b at 2, c at 4
        *_, info = env.step(0)
    assert info["objective"] == info["peak"] == 8
    assert info["lower_bound"] == 6
    env.reset()
    for action in (2, 0, 0):  # c at 0, a at 0, b at 4
        *_, info = env.step(action)
    assert info["objective"] == 6


def test_active_offers_only_what_can_begin_below_the_smallest_end() -> None:
    """a and b could end at 2; a is first. b is alive with a; c is not."""
    played = Played(FRAGMENTED, "active")
    assert played.candidates() == [0, 1]


def test_best_fit_takes_the_smaller_gap_and_first_fit_the_lower() -> None:
    """Two fixed buffers leave gaps of 5 bytes at 0 and of 3 at 7."""
    instance = OffsetInstance.from_columns(
        [0, 0, 0], [1, 1, 1], [2, 2, 3], offset=[5, 10, -1], name="gaps"
    )
    ends = {}
    for decode in DECODE_MODES:
        env = make_env(instance, decode=decode)
        env.reset()
        env.step(0)
        ends[decode] = env.solution().offsets.tolist()  # type: ignore[attr-defined]
    assert ends == {"active": [5, 10, 0], "first-fit": [5, 10, 0], "best-fit": [5, 10, 7]}


def test_identical_buffers_are_offered_one_by_one() -> None:
    instance = OffsetInstance.from_columns([0, 0, 0], [2, 2, 2], [3, 3, 3])
    played = Played(instance, "first-fit")
    for expected in (0, 1, 2):
        assert played.candidates() == [expected]
        played.step()


def test_the_reward_is_the_rise_of_the_bound() -> None:
    """FRAGMENTED, load 6: with b at 2 the buffer c can only begin at 4, so the bound is 8."""
    env = make_env(FRAGMENTED, decode="first-fit")
    env.reset()
    rewards = [env.step(0)[1] for _ in range(3)]
    assert rewards == [0, pytest.approx(-2 / 6), 0]


def test_a_peak_within_the_capacity_costs_nothing() -> None:
    env = make_env(FRAGMENTED, decode="first-fit", capacity=8)
    env.reset()
    *_, (_, reward, terminated, _, info) = [env.step(0) for _ in range(3)]
    assert terminated
    assert reward == 0
    assert info == {
        **info,
        "objective": 8.0,
        "lower_bound": 8.0,
        "peak": 8.0,
    }


@every_example
@every_decode
def test_all_episodes_of_the_examples(instance: OffsetInstance, decode: str) -> None:
    problem = OffsetProblem.for_instances([instance], decode)
    episodes = every_episode(problem, instance)
    for solution, objective in zip(episodes.solutions, episodes.objectives, strict=True):
        solution.validate(instance)
        assert solution.objective(instance) == objective
    assert episodes.objectives.min() == OPTIMA[instance.name]
    np.testing.assert_allclose(
        episodes.returns * episodes.lower_bound, episodes.lower_bound - episodes.objectives
    )


# ---------------------------------------------------------------- definitions


@quick
@given(instances(most=6))
def test_every_decode_mode_reaches_an_optimum(instance: OffsetInstance) -> None:
    best = optimum(instance)
    assert best >= lower_bound(instance)
    for decode in DECODE_MODES:
        problem = OffsetProblem.for_instances([instance], decode)
        assert every_episode(problem, instance).objectives.min() == best


@quick
@given(instances(most=6, fixed=True))
def test_with_a_fixed_offset_active_and_first_fit_reach_an_optimum(
    instance: OffsetInstance,
) -> None:
    best = optimum(instance)
    for decode in ("active", "first-fit"):
        problem = OffsetProblem.for_instances([instance], decode)
        assert every_episode(problem, instance).objectives.min() == best


@every_decode
@quick
@given(instances(most=9, fixed=True))
def test_the_simulator_is_its_plain_twin(decode: str, instance: OffsetInstance) -> None:
    played = Played(instance, decode)
    bound = lower_bound(instance)
    while not played.terminated[0]:
        memory = played.memory
        candidates = played.candidates()
        assert candidates == memory.candidates()
        bound = max(bound, memory.peak, memory.stacks())
        metrics = played.problem.metrics(played.state, 0)
        assert metrics["objective"] == bound
        assert metrics["peak"] == memory.peak
        positions = [memory.position(j) for j in candidates]
        unit = played.state.scale[0, 0]
        np.testing.assert_allclose(
            played.feature("position"),
            (np.array(positions) - min(positions)) * unit,
            rtol=1e-5,
        )
        for j in memory.left():
            assert played.state.lowest[0, j] == memory.lowest(j)
        played.step()
    offsets = [played.memory.offsets[j] for j in range(instance.num_buffers)]
    solution = played.problem.solution(played.state, 0)
    assert solution.offsets.tolist() == offsets
    solution.validate(instance)


@quick
@given(instances(most=9))
def test_the_trial_of_a_candidate_says_how_the_bound_will_rise(instance: OffsetInstance) -> None:
    played = Played(instance, "active")
    while not played.terminated[0]:
        candidates, foreseen = played.candidates(), played.feature("bound_rise").copy()
        before = played.problem.metrics(played.state, 0)["objective"]
        played.step()
        placed = next(a for a, j in enumerate(candidates) if j in played.memory.offsets)
        after = played.problem.metrics(played.state, 0)["objective"]
        assert after - before == pytest.approx(foreseen[placed] / played.state.scale[0, 0])


@every_decode
@quick
@given(instances(most=9))
def test_scaling_sizes_scales_the_peak_and_nothing_else(
    decode: str, instance: OffsetInstance
) -> None:
    large = OffsetInstance.from_columns(
        instance.lower,
        instance.upper,
        1024 * instance.nbytes,
        alignment=np.where(instance.alignment > 1, 1024 * instance.alignment, 1),
    )
    one, other = Played(instance, decode), Played(large, decode)
    while not one.terminated[0]:
        np.testing.assert_allclose(
            one.observation.candidates, other.observation.candidates, rtol=1e-4, atol=1e-5
        )
        assert one.step() == pytest.approx(other.step())
    assert (
        1024 * one.problem.metrics(one.state, 0)["peak"]
        == other.problem.metrics(other.state, 0)["peak"]
    )


@every_decode
def test_larger_instances_are_placed_without_overlap(decode: str) -> None:
    rng = np.random.default_rng(0)
    sampled = [
        OffsetGenerator((30, 60), structure).sample(rng)  # type: ignore[arg-type]
        for structure in ("cuts", "tiles", "layers")
    ]
    problem = OffsetProblem.for_instances(sampled, decode)
    for instance, solution in zip(
        sampled, rollout(problem, sampled, RandomPolicy(), rng), strict=True
    ):
        solution.validate(instance)
        assert solution.objective(instance) >= lower_bound(instance)


def test_features_stay_within_bounds_for_extreme_sizes() -> None:
    instance = OffsetInstance.from_columns(
        [0, 0, 1, 2], [4, 2, 3, 4], [1, 2**40, 1, 2**48], alignment=[1, 1, 2**49, 1]
    )
    for decode in DECODE_MODES:
        env = make_env(instance, decode=decode)
        observation, info = env.reset()
        while info["action_mask"].any():
            assert observation in env.observation_space
            action = int(info["action_mask"].argmax())
            observation, *_, info = env.step(action)
        assert observation in env.observation_space


# ---------------------------------------------------------------- wrong use, batches


def test_wrong_use_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean first-fit"):
        OffsetProblem.for_instances([FIVE], "firstfit")
    with pytest.raises(UsageError, match="instances: found none"):
        OffsetProblem.for_instances([])
    small = OffsetProblem.for_instances([FRAGMENTED])
    with pytest.raises(InstanceError, match="five: 5 buffers, the problem was made for 3"):
        small.load(small.allocate(1), small.spec.allocate(1), 0, FIVE)
    with pytest.raises(UsageError, match="structure: not with a fixed instance"):
        make_env(FIVE, structure="cuts")
    with pytest.raises(UsageError, match="capacity: only with a fixed instance"):
        make_env(capacity=3)


def test_threads_change_nothing() -> None:
    rows = OffsetProblem.parallel_rows
    generator = OffsetGenerator((5, 20))
    rng = np.random.default_rng(3)
    problem = OffsetProblem(generator.largest)
    sampled = [generator.sample(rng) for _ in range(rows)]
    results: list[Any] = []
    for step in (kernel.step, kernel.step_parallel):
        state, observation = problem.allocate(rows), problem.spec.allocate(rows)
        for row, instance in enumerate(sampled):
            problem.load(state, observation, row, instance)
        rewards, done = np.zeros(rows), np.zeros(rows, dtype=np.bool_)
        for _ in range(5):
            actions = np.where(observation.action_mask.any(axis=1), 0, -1)
            step(state, observation, actions, rewards, done, kernel.ACTIVE)
        results.append((state.offset, observation.candidates, rewards))
    assert numba.get_num_threads() > 1
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@every_decode
@quick
@given(instances(most=8, fixed=True))
def test_rewards_add_up_to_the_objective(decode: str, instance: OffsetInstance) -> None:
    played, total = Played(instance, decode), 0.0
    while not played.terminated[0]:
        total += played.step()
    bound = lower_bound(instance)
    objective = played.problem.metrics(played.state, 0)["objective"]
    assert total == pytest.approx((bound - objective) / bound)


def test_fixed_buffers_are_placed_at_the_start() -> None:
    played = Played(WITH_FIXED, "active")
    assert played.problem.metrics(played.state, 0)["peak"] == 7
    assert 2 not in played.candidates()
