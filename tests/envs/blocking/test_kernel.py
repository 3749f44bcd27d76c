"""The blocking job shop against the worked example and a simulator in plain Python."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from makespan.baselines.blocking.exact import CpSat
from makespan.baselines.registry import make_solver
from makespan.envs.blocking import kernel
from makespan.envs.blocking.examples import CROSSING, CROSSING_WITHOUT_SWAP
from makespan.envs.blocking.family import make_env, make_family
from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.blocking.problem import BlockingProblem
from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.core.observation import Observation
from makespan.envs.jobshop.bounds import lower_bound
from makespan.tests.blocking_reference import Shop, instances, optimum


class Game:
    """One instance, decision by decision."""

    def __init__(self, instance: BlockingInstance, **options: str) -> None:
        self.problem = BlockingProblem.for_instances([instance], **options)
        self.state, self.observation = self.problem.allocate(1), self.problem.spec.allocate(1)
        self.problem.load(self.state, self.observation, 0, instance)
        self.rewards, self.ended = np.zeros(1), np.zeros(1, dtype=np.bool_)

    @property
    def legal(self) -> list[int]:
        legal: list[int] = np.flatnonzero(self.observation.action_mask[0]).tolist()
        return legal

    def step(self, action: int) -> None:
        actions = np.array([action], dtype=np.int64)
        self.problem.step(self.state, self.observation, actions, self.rewards, self.ended)

    def metrics(self) -> dict[str, float]:
        return self.problem.metrics(self.state, 0)


def test_worked_example() -> None:
    assert lower_bound(CROSSING.shop) == 7  # with unlimited buffers
    assert optimum(CROSSING) == 7
    assert optimum(CROSSING_WITHOUT_SWAP) == 11
    game = Game(CROSSING)
    for action in (1, 2, 1):  # both enter; at 3 they change places, and job 0 stands for both
        assert action in game.legal
        game.step(action)
    assert game.ended[0]
    solution = game.problem.solution(game.state, 0)
    assert solution.starts.tolist() == [0, 3, 0, 3]
    assert solution.makespan == 7


def test_the_look_ahead_keeps_the_second_job_out() -> None:
    game = Game(CROSSING_WITHOUT_SWAP)
    assert game.legal == [1, 2]
    game.step(1)
    assert 2 not in game.legal


def test_a_deadlock_ends_the_episode_as_badly_as_can_be() -> None:
    game = Game(CROSSING_WITHOUT_SWAP, deadlock="end")
    game.step(1)
    assert 2 in game.legal
    game.step(2)
    assert game.ended[0]
    assert game.metrics() == {"objective": 11, "lower_bound": 7, "deadlock": 1}
    solution = game.problem.solution(game.state, 0)
    assert solution.objective(CROSSING_WITHOUT_SWAP) == 11
    with pytest.raises(InvalidSolutionError, match="ended in a deadlock"):
        solution.validate(CROSSING_WITHOUT_SWAP)


def test_sampling_takes_no_deadlock_for_the_best() -> None:
    solver = make_solver(make_family(), "end/random:samples=16")
    solution = solver.solve(CROSSING_WITHOUT_SWAP, None, np.random.default_rng(0)).solution
    solution.validate(CROSSING_WITHOUT_SWAP)


@pytest.mark.parametrize(("on_down", "makespan"), [("resume", 10), ("restart", 12), ("hold", 9)])
def test_an_interruption(on_down: str, makespan: int) -> None:
    """Machine 0 is down from 2 to 5, in the middle of the first operation (0 to 3) there."""
    down = BlockingInstance.from_shop(CROSSING.shop, [[(2, 5)], []])
    env = make_env(down, on_down=on_down)
    env.reset(seed=0)
    assert env.instance is not None
    instance = env.instance
    game = Game(instance)
    while not game.ended[0]:
        game.step(game.legal[-1])  # never waits
    solution = game.problem.solution(game.state, 0)
    solution.validate(instance)
    # job 0 ends at 6 (resume), 8 (restart), 3 (hold, but job 1 cannot enter before 5); then they
    # change places, and job 1 needs 4 more
    assert solution.makespan == makespan


@settings(max_examples=60)
@given(instance=instances(), seed=st.integers(0, 2**32), deadlock=st.sampled_from(["mask", "end"]))
def test_the_kernel_does_what_the_definition_says(
    instance: BlockingInstance, seed: int, deadlock: str
) -> None:
    rng = np.random.default_rng(seed)
    game, shop = Game(instance, deadlock=deadlock), Shop(instance)
    while not game.ended[0]:
        now = int(game.state.totals[0, kernel.TIME])
        while shop.time < now:
            shop.tick()
        expected = shop.legal(safe=deadlock == "mask")
        assert [action - 1 for action in game.legal if action] == expected
        assert (0 in game.legal) == shop.in_process
        if deadlock == "mask":
            assert_features(game.observation, shop)
        action = int(rng.choice(game.legal))
        if action:
            shop.enter(action - 1)
        game.step(action)
    solution = game.problem.solution(game.state, 0)
    if game.metrics()["deadlock"]:
        _assert_stuck(shop)
        return
    while not shop.finished:
        shop.tick()
    solution.validate(instance)
    assert solution == shop.solution()
    assert solution.makespan == game.metrics()["objective"] == shop.time
    assert game.metrics()["objective"] <= game.state.totals[0, kernel.WORST]


def assert_features(observation: Observation, shop: Shop) -> None:
    """What each column holds is what is said beside its name."""
    for number, job in enumerate(shop.jobs):
        row = observation.candidates[0, 1 + number]
        if job.wants is None:
            assert not row.any()
            continue
        expected = shop.features(number)
        assert expected.keys() == set(kernel.CANDIDATE_FEATURES)
        for name, value in zip(kernel.CANDIDATE_FEATURES, row, strict=True):
            assert value == pytest.approx(float(expected[name]), abs=1e-4), name
    expected = shop.whole()
    assert expected.keys() == set(kernel.GLOBAL_FEATURES)
    for name, value in zip(kernel.GLOBAL_FEATURES, observation.globals[0], strict=True):
        assert value == pytest.approx(float(expected[name]), abs=1e-4), name


def _assert_stuck(shop: Shop) -> None:
    """Whatever is done now, not all jobs will leave: entering whenever possible ends stuck."""
    last = max((end for pairs in shop.instance.shutdowns for _, end in pairs), default=0)
    while shop.in_process or shop.time <= last:
        inside = [n for n in shop.legal(safe=False) if shop.jobs[n].machine is not None]
        if inside:
            shop.enter(inside[0])
        else:
            shop.tick()
    assert not shop.finished


@settings(max_examples=12)
@given(instance=instances(jobs=3, shutdowns=False))
def test_the_best_decisions_reach_the_optimum_of_cp_sat(instance: BlockingInstance) -> None:
    result = CpSat(workers=1).solve(instance, 10.0, np.random.default_rng(0))
    result.solution.validate(instance)
    assert result.optimal
    if instance.swap:
        assert optimum(instance) == result.solution.makespan
    else:  # the look-ahead forbids some moves that do not end in a deadlock
        assert optimum(instance) >= result.solution.makespan


@settings(max_examples=20)
@given(instance=instances(shutdowns=False), lookahead=st.sampled_from(["dispatch", "varied"]))
def test_trials_come_true(instance: BlockingInstance, lookahead: str) -> None:
    """Without shutdowns, whoever takes the best candidate ends no later than its trial."""
    game = Game(instance, lookahead=lookahead)
    promised = game.metrics()["objective"] + 10**6
    while not game.ended[0]:
        legal = game.legal
        if len(legal) > 1:
            trials = game.state.lookahead[0, legal]
            assert trials.min() <= promised
            promised = trials.min()
        game.step(legal[int(trials.argmin())] if len(legal) > 1 else legal[0])
    assert game.metrics()["objective"] <= promised


@settings(max_examples=20)
@given(instance=instances())
def test_the_best_trial_of_several_rules_counts(instance: BlockingInstance) -> None:
    problem = BlockingProblem.for_instances([instance], lookahead="varied")
    deadlock, rules = problem.constants
    found = []
    for chosen in (rules, *rules[: kernel.TRIALS, None]):
        problem.constants = deadlock, chosen
        state, observation = problem.allocate(1), problem.spec.allocate(1)
        problem.load(state, observation, 0, instance)
        found.append(state.lookahead[0])
    np.testing.assert_array_equal(found[0], np.min(found[1:], axis=0))


@pytest.mark.parametrize("lookahead", ["dispatch", "varied"])
@pytest.mark.parametrize(("swap", "deadlock"), [(True, "mask"), (False, "end")])
def test_the_future_is_not_seen(lookahead: str, swap: bool, deadlock: str) -> None:
    """Until a shutdown begins, nothing tells of it, not even a trial that ends in a deadlock."""
    views: list[Any] = []
    for down in ([(3, 9)], [(3, 4)]):
        instance = BlockingInstance.from_shop(CROSSING.shop, [down, []], swap=swap)
        game = Game(instance, lookahead=lookahead, deadlock=deadlock)
        game.step(1)
        views.append([array.copy() for array in game.observation])
    for one, other in zip(*views, strict=True):
        np.testing.assert_array_equal(one, other)
