"""Improvement of schedules: first schedules, moves, memory, and the end of episodes."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from makespan.envs.core.errors import InstanceError, UsageError
from makespan.envs.core.rollout import RolloutSolver
from makespan.envs.core.solution import Result
from makespan.envs.improve import kernel, start
from makespan.envs.improve.family import make_env
from makespan.envs.improve.kernel import CANDIDATE_FEATURES, MEMORY
from makespan.envs.improve.problem import ImproveProblem
from makespan.envs.improve.start import first_schedule
from makespan.envs.jobshop import family as jobshop
from makespan.envs.jobshop import render
from makespan.envs.jobshop.examples import FT06, FT06_OPTIMUM, WAITING_PAYS
from makespan.envs.jobshop.generator import FlexibleJobShopGenerator, JobShopGenerator
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.solution import JobShopSolution

FEATURE = {name: index for index, name in enumerate(CANDIDATE_FEATURES)}


def shop(seed: int, jobs: int = 5, machines: int = 4) -> JobShopInstance:
    return JobShopGenerator(jobs, machines).sample(np.random.default_rng(seed))


class Game:
    """One instance, improved move by move."""

    def __init__(self, instance: JobShopInstance, **options: Any) -> None:
        self.problem = ImproveProblem.for_instances([instance], **options)
        self.instance = instance
        self.state, self.observation = self.problem.allocate(1), self.problem.spec.allocate(1)
        self.problem.load(self.state, self.observation, 0, instance)
        self.rewards, self.ended = np.zeros(1), np.zeros(1, dtype=np.bool_)

    @property
    def totals(self) -> Any:
        return self.state.totals[0]

    @property
    def legal(self) -> Any:
        return np.flatnonzero(self.observation.action_mask[0])

    def feature(self, name: str) -> Any:
        count = self.totals[kernel.CANDIDATES]
        return self.observation.candidates[0, :count, FEATURE[name]]

    def step(self, action: int) -> float:
        actions = np.array([action], dtype=np.int64)
        self.problem.step(self.state, self.observation, actions, self.rewards, self.ended)
        return float(self.rewards[0])

    def sequences(self) -> list[list[int]]:
        """What each machine processes, in its order."""
        order = self.state.order[0, : self.totals[kernel.OPERATIONS]].tolist()
        machines = self.instance.machines.tolist()
        return [[op for op in order if machines[op] == m] for m in sorted(set(machines))]

    def after(self, action: int) -> list[list[int]]:
        """The same after a move, by taking the operation out and putting it in."""
        u, v = self.state.moves[0, action].tolist()
        sequences = self.sequences()
        for sequence in sequences:
            if u in sequence:
                behind = sequence.index(u) < sequence.index(v)
                sequence.remove(u)
                sequence.insert(sequence.index(v) + behind, u)
        return sequences

    def makespan(self) -> int:
        """From the definition: every operation as early as the machine orders allow."""
        instance = self.instance
        ready = dict.fromkeys(range(instance.num_machines), 0)
        starts = np.zeros(instance.num_operations, dtype=np.int64)
        jobs = [0] * instance.num_jobs
        for op in self.state.order[0, : instance.num_operations].tolist():
            job, machine = int(instance.job_of_operation[op]), int(instance.machines[op])
            starts[op] = max(jobs[job], ready[machine])
            jobs[job] = ready[machine] = int(starts[op] + instance.durations[op])
        return max(jobs)


@pytest.mark.parametrize("rule", ["fdd-mwkr", "mwkr", "spt"])
def test_first_schedules_are_those_of_the_rules_of_the_job_shop(rule: str) -> None:
    for seed in range(5):
        instance = shop(seed)
        game = Game(instance, start=rule)
        given = Game(instance, start=f"nondelay/{rule}")
        assert game.totals[kernel.INITIAL] == given.totals[kernel.INITIAL]
        assert game.sequences() == given.sequences()


def test_any_policy_or_solver_of_the_job_shop_can_construct() -> None:
    game = Game(FT06, start="tabu:max_moves=2000")
    assert game.totals[kernel.INITIAL] == 55
    with pytest.raises(UsageError, match="unknown option"):
        first_schedule(FT06, "tabu:moves=1")


@pytest.mark.parametrize("neighbourhood", ["n5", "n6"])
def test_moves_lead_where_they_say(neighbourhood: str) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        game = Game(shop(seed), neighbourhood=neighbourhood, moves=60, start="random")
        incumbent = game.totals[kernel.INITIAL]
        while not game.ended[0]:
            assert game.totals[kernel.MAKESPAN] == game.makespan()
            action = int(rng.choice(game.legal))
            expected, estimate = game.after(action), game.state.estimates[0, action]
            adjacent = neighbourhood == "n5"
            reward = game.step(action)
            assert game.sequences() == expected
            if adjacent:  # the estimate of a swap never exceeds what it leads to
                assert estimate <= game.totals[kernel.MAKESPAN]
            gained = max(incumbent - game.totals[kernel.MAKESPAN], 0)
            assert reward == pytest.approx(gained / game.totals[kernel.INITIAL])
            incumbent -= gained
        solution = game.problem.solution(game.state, 0)
        solution.validate(game.instance)
        assert solution.makespan == incumbent == game.totals[kernel.INCUMBENT]


def test_the_past_is_remembered() -> None:
    """Visited schedules and orders given up, against lists of all of them."""
    rng = np.random.default_rng(0)
    game = Game(shop(1, 3, 3), moves=150, neighbourhood="n6", start="random")
    visited: list[list[list[int]]] = []
    given_up: Counter[tuple[int, int]] = Counter()
    when: dict[tuple[int, int], int] = {}
    seen = 0
    while not game.ended[0]:
        for action in range(game.totals[kernel.CANDIDATES]):
            u, v = game.state.moves[0, action].tolist()
            known = game.after(action) in visited
            seen += known
            assert game.feature("visited")[action] == known
            forward = bool(game.feature("forward")[action])
            restored = (v, u) if forward else (u, v)
            assert game.feature("times_given_up")[action] * 4 == given_up[restored]
            age = game.totals[kernel.STEP] - when.get(restored, 0)
            recency = MEMORY / (MEMORY + age) if restored in when else 0
            assert game.feature("given_up")[action] == pytest.approx(recency)
        action = int(rng.choice(game.legal))
        before = {(a, b) for s in game.sequences() for i, a in enumerate(s) for b in s[i + 1 :]}
        visited.append(game.sequences())
        step = int(game.totals[kernel.STEP])
        game.step(action)
        after = {(a, b) for s in game.sequences() for i, a in enumerate(s) for b in s[i + 1 :]}
        for pair in before - after:
            given_up[pair] += 1
            when[pair] = step
    assert seen > 50


@pytest.mark.parametrize("neighbourhood", ["n5", "n6"])
def test_tabu_forbids_to_undo_the_last_move_unless_nothing_else_is_left(neighbourhood: str) -> None:
    rng = np.random.default_rng(0)
    forbidden = 0
    for seed in range(4):
        game = Game(
            shop(seed, 3, 3), moves=60, tabu="last", start="random", neighbourhood=neighbourhood
        )
        before = None
        while not game.ended[0]:
            count = int(game.totals[kernel.CANDIDATES])
            undoing = [a for a in range(count) if game.after(a) == before]
            expected = [a for a in range(count) if a not in undoing] or list(range(count))
            assert game.legal.tolist() == expected
            forbidden += len(expected) < count
            before = game.sequences()
            game.step(int(rng.choice(game.legal)))
    assert forbidden > 5


@dataclass(frozen=True)
class Interrupted:
    """A solver that Ctrl-C has ended, with the best schedule so far."""

    solution: JobShopSolution

    def solve(self, *_: Any) -> Result[JobShopSolution]:
        return Result(self.solution, 0.0, details={"interrupted": True})


def test_ctrl_c_in_a_first_schedule_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_solver", lambda spec: Interrupted(FT06_OPTIMUM))
    with pytest.raises(KeyboardInterrupt):
        first_schedule(FT06, "any solver")


def test_the_picture_has_room_for_a_schedule_longer_than_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(render, "rgb_array", lambda columns, **given: drawn.update(given))
    game = Game(shop(0), moves=60)
    longest = game.totals[kernel.INITIAL]
    for _ in range(20):
        game.step(int(game.legal[-1]))
        longest = max(longest, game.totals[kernel.MAKESPAN])
        game.problem.render(game.state, 0)
        assert drawn["horizon"] >= game.totals[kernel.MAKESPAN]
    assert longest > game.totals[kernel.INITIAL]


def test_an_episode_ends_at_the_bound() -> None:
    game = Game(WAITING_PAYS, start="tabu:max_moves=50")
    assert game.totals[kernel.INITIAL] == 14
    while not game.ended[0]:
        game.step(int(game.legal[0]))
    one_job = JobShopInstance.from_routes([[(0, 3), (1, 2)]])
    game = Game(one_job)  # nothing to move: a single candidate ends the episode
    assert game.legal.tolist() == [0]
    assert game.step(0) == 0
    assert game.ended[0]
    assert game.problem.solution(game.state, 0).makespan == 5


def test_too_many_moves_are_cut_to_the_most_promising(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "MAX_CANDIDATES", 3)
    instance = shop(3, 8, 3)
    few = Game(instance, neighbourhood="n6", start="random")
    monkeypatch.undo()
    all_of_them = Game(instance, neighbourhood="n6", start="random")
    count = int(all_of_them.totals[kernel.CANDIDATES])
    assert count > 3
    lowest = np.sort(all_of_them.state.estimates[0, :count])[:3]
    np.testing.assert_array_equal(np.sort(few.state.estimates[0, :3]), lowest)


def test_what_does_not_fit_is_refused() -> None:
    flexible = FlexibleJobShopGenerator(3, 3, alternatives=2).sample(np.random.default_rng(0))
    with pytest.raises(UsageError, match="alternatives, expected 1"):
        ImproveProblem.for_instances([flexible])
    with pytest.raises(UsageError, match="moves: found 'many'"):
        ImproveProblem.for_instances([FT06], moves="many")
    with pytest.raises(
        UsageError, match=r"start: found 'fdd', expected fdd-mwkr, .*unknown policy"
    ):
        ImproveProblem.for_instances([FT06], start="fdd")
    problem = ImproveProblem.for_instances([WAITING_PAYS])
    with pytest.raises(InstanceError, match="ft06: 6 jobs"):
        problem.load(problem.allocate(1), problem.spec.allocate(1), 0, FT06)


def test_the_environment_takes_a_benchmark_and_options() -> None:
    env = make_env("ft06", moves=3, start="spt")
    env.reset(seed=0)
    assert env.instance == jobshop.load("ft06")[0]
    rules = jobshop.make_family().policies
    spt = RolloutSolver("spt", rules["spt"](), lambda i: jobshop.make_problem(i, "nondelay"))
    found = spt.solve(FT06, None, np.random.default_rng(0)).solution
    assert env.problem.metrics(env._state, 0)["initial_bound"] == found.objective(FT06) == 88
