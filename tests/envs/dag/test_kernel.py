"""The simulator against worked examples, its definitions, and a plain Python twin."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from makespan.baselines.dag.exact import CpSat
from makespan.baselines.dag.lists import ListScheduler
from makespan.baselines.dag.rules import RulePolicy
from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.core.rollout import rollout
from makespan.envs.dag.examples import HEFT_2002, PEFT_2014
from makespan.envs.dag.family import make_problem
from makespan.envs.dag.generator import LayeredGenerator
from makespan.envs.dag.instance import TaskGraphInstance
from makespan.envs.dag.problem import OPTIONS, DagProblem
from makespan.tests.dag_reference import WINDOW, Candidate, Graph, every_episode

SMALL = LayeredGenerator(
    tasks=(2, 9), processors=(1, 4), eligible=(0.5, 1.0), bandwidths=(1, 3), mean_cost=6
)
#: Costs of 0 to 2 make ties, tasks of no length and processors that are alike.
TINY = LayeredGenerator(tasks=(2, 7), processors=(2, 3), mean_cost=1, heterogeneity=0)
#: Half of the tasks will have no length, among long ones.
MIXED = dataclasses.replace(SMALL, tasks=(6, 12), processors=(1, 3), eligible=1.0)
#: More tasks are ready at once than are offered.
WIDE = LayeredGenerator(tasks=(25, 30), shape=4.0, processors=2, mean_cost=6)


def instances(count: int, seed: int = 0) -> list[TaskGraphInstance]:
    found = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        instance = (TINY, MIXED, TINY, SMALL)[number % 4].sample(rng)
        if number % 4 == 0:
            costs = np.maximum(instance.costs - rng.integers(2, size=(instance.num_tasks, 1)), 0)
            instance = TaskGraphInstance.from_arrays(costs, instance.edges, instance.volumes)
        if number % 4 == 1:
            none = rng.random((instance.num_tasks, 1)) < 0.5
            instance = dataclasses.replace(instance, costs=np.where(none, 0, instance.costs))
        found.append(instance)
    return found


class Row:
    """One row of a problem, stepped by hand."""

    def __init__(self, problem: DagProblem, instance: TaskGraphInstance) -> None:
        self.problem = problem
        self.state, self.observation = problem.allocate(1), problem.spec.allocate(1)
        self.rewards, self.terminated = np.zeros(1), np.zeros(1, dtype=np.bool_)
        problem.load(self.state, self.observation, 0, instance)

    def candidates(self) -> list[Candidate]:
        count = int((self.observation.candidate_nodes[0, :, 0] >= 0).sum())
        found = []
        for a in range(count):
            task = int(self.state.candidate_task[0, a])
            p = int(self.state.candidate_processor[0, a])
            start = -1 if task < 0 else int(self.state.earliest[0, task, p])
            found.append(Candidate(task, p, start))
        return found

    def legal(self) -> list[Candidate]:
        candidates = self.candidates()
        return [candidates[a] for a in np.flatnonzero(self.observation.action_mask[0])]

    def take(self, choice: Candidate) -> float:
        actions = np.array([self.candidates().index(choice)])
        self.problem.step(self.state, self.observation, actions, self.rewards, self.terminated)
        return float(self.rewards[0])


def feature(row: Row, name: str) -> Any:
    count = len(row.candidates())
    return row.observation.candidates[0, :count, row.problem.spec.candidate_features.index(name)]


def test_heft_2002_by_hand() -> None:
    """The first decisions of the published schedule: T1 on P3, then T3 there, T4 on P2."""
    row = Row(DagProblem.for_instances([HEFT_2002]), HEFT_2002)
    assert row.legal() == [Candidate(0, 0, 0), Candidate(0, 1, 0), Candidate(0, 2, 0)]
    np.testing.assert_allclose(feature(row, "excess_end") * 12.51, [5, 7, 0], rtol=0.1)
    row.take(Candidate(0, 2, 0))
    # by upward rank T3, T4, T2, T5, T6; data from P3 arrive elsewhere after the volume
    assert row.candidates()[:6] == [
        Candidate(2, 0, 21), Candidate(2, 1, 21), Candidate(2, 2, 9),
        Candidate(3, 0, 18), Candidate(3, 1, 18), Candidate(3, 2, 9),
    ]  # fmt: skip
    row.take(Candidate(2, 2, 9))
    assert Candidate(3, 2, 28) in row.legal()
    assert Candidate(3, 1, 18) in row.legal()


def test_insertion_uses_idle_time_and_append_does_not() -> None:
    """a on p (0-2), its child b on p only after data from q: a gap that c fits into."""
    graph = TaskGraphInstance.from_names(
        {"a": [9, 2], "b": [3, 9], "c": [4, 9]}, [("a", "b", 5)], processors=("p", "q")
    )
    starts = {}
    for placement in ("insertion", "append"):
        row = Row(DagProblem.for_instances([graph], placement=placement), graph)
        row.take(Candidate(0, 1, 0))
        row.take(Candidate(1, 0, 7))
        starts[placement] = {c.processor: c.start for c in row.legal()}
    assert starts == {"insertion": {0: 0, 1: 2}, "append": {0: 10, 1: 2}}


def test_a_task_of_no_length_makes_no_room() -> None:
    """a ends at 1; at 5 its results are on q, for c (5 to 10) and d, which takes no time."""
    graph = TaskGraphInstance.from_names(
        {
            "e": [1, None],
            "a": [None, 1],
            "c": [5, None],
            "d": [0, None],
            "f": [20, None],
            "g": [5, None],
        },
        [("a", "c", 4), ("a", "d", 4)],
    )
    row = Row(DagProblem.for_instances([graph]), graph)
    for task in range(graph.num_tasks):
        row.take(next(choice for choice in row.legal() if choice.task == task))
    solution = row.problem.solution(row.state, 0)
    solution.validate(graph)
    assert solution.starts.tolist() == [0, 0, 5, 5, 10, 30]


def test_the_prospect_is_a_trial_from_the_start() -> None:
    """Although the first decision is forced: only T1 is ready, and it goes where it ends first."""
    row = Row(DagProblem.for_instances([HEFT_2002], actions="order", lookahead="lists"), HEFT_2002)
    (forced,) = row.legal()
    trial = Graph(HEFT_2002, "order").trial(forced)
    assert row.problem.metrics(row.state, 0)["initial_bound"] == trial == 76
    row.take(forced)
    assert row.problem.metrics(row.state, 0)["objective"] <= trial


def test_an_illegal_action_costs_the_same_in_a_row_that_held_a_larger_graph() -> None:
    small = TaskGraphInstance.from_arrays([[3, 4], [5, 6]], [(0, 1)], [7])
    links = [[0, 1, 2], [1, 0, 1], [2, 1, 0]]
    large = TaskGraphInstance.from_arrays(np.full((4, 3), 90), [(0, 1), (2, 3)], [80, 99], links)
    problem = DagProblem.for_instances([small, large])
    row = Row(problem, small)
    fresh = problem.worst_case_reward(row.state, 0)
    for instance in (large, small):
        problem.load(row.state, row.observation, 0, instance)
    assert problem.worst_case_reward(row.state, 0) == fresh


def test_waiting_pays() -> None:
    """At 0 p is idle and c is ready for it, but b will be at 1, and d waits for b.

    At once: c 0-8, b 8-18, d 18-28. Waiting: b 1-11, then c 11-19 beside d 11-21.
    """
    graph = TaskGraphInstance.from_names(
        {"a": [None, 1], "b": [10, None], "c": [8, None], "d": [None, 10]},
        [("a", "b", 0), ("b", "d", 0)],
        processors=("p", "q"),
    )
    best = {
        dispatch: every_episode(DagProblem.for_instances([graph], dispatch=dispatch), graph).best
        for dispatch in OPTIONS["dispatch"]
    }
    assert best == {"free": 21, "nondelay": 28, "skip": 21}


@pytest.mark.parametrize("placement", OPTIONS["placement"])
@pytest.mark.parametrize("dispatch", OPTIONS["dispatch"])
@pytest.mark.parametrize("actions", OPTIONS["actions"])
def test_every_step_is_that_of_the_plain_twin(actions: str, placement: str, dispatch: str) -> None:
    options = {"actions": actions, "placement": placement, "dispatch": dispatch}
    for number, instance in enumerate(instances(25, seed=1)):
        choose = np.random.default_rng(number)
        row = Row(DagProblem.for_instances([instance], **options, lookahead="lists"), instance)
        plain = Row(DagProblem.for_instances([instance], **options), instance)
        twin = Graph(instance, **options)
        assert row.problem.metrics(row.state, 0)["lower_bound"] == twin.initial_bound
        prospect = None
        while not row.terminated[0]:
            legal = row.legal()
            assert legal == twin.legal()
            if len(legal) > 1:
                trials = row.state.lookahead[0][np.flatnonzero(row.observation.action_mask[0])]
                assert trials.tolist() == [twin.trial(choice) for choice in legal]
                prospect = min(trials.tolist())
            elif prospect is None:
                prospect = twin.trial(legal[0])
            assert row.problem.metrics(row.state, 0)["objective"] == prospect
            choice = legal[choose.integers(len(legal))]
            before = twin.bound
            twin.take(choice)
            row.take(choice)
            reward = plain.take(choice)
            assert reward == pytest.approx((before - twin.bound) / max(twin.initial_bound, 1))
        solution = row.problem.solution(row.state, 0)
        solution.validate(instance)
        assert solution == twin.solution()
        assert row.problem.metrics(row.state, 0)["objective"] == solution.makespan


@pytest.mark.parametrize("placement", OPTIONS["placement"])
@pytest.mark.parametrize("dispatch", OPTIONS["dispatch"])
@pytest.mark.parametrize("actions", OPTIONS["actions"])
def test_so_is_every_step_of_a_wide_graph(actions: str, placement: str, dispatch: str) -> None:
    options = {"actions": actions, "placement": placement, "dispatch": dispatch}
    most = 0
    for seed in range(2):
        choose = np.random.default_rng(seed)
        instance = WIDE.sample(choose)
        row = Row(DagProblem.for_instances([instance], **options), instance)
        twin = Graph(instance, **options)
        while not row.terminated[0]:
            legal = row.legal()
            assert legal == twin.legal()
            most = max(most, len(twin.ready()))
            choice = legal[choose.integers(len(legal))]
            before = twin.bound
            twin.take(choice)
            reward = row.take(choice)
            assert reward == pytest.approx((before - twin.bound) / max(twin.initial_bound, 1))
        assert row.problem.solution(row.state, 0) == twin.solution()
    assert most > WINDOW


@pytest.mark.parametrize("placement", OPTIONS["placement"])
def test_free_dispatch_reaches_the_optimum(placement: str) -> None:
    generator = LayeredGenerator(tasks=5, processors=2, mean_cost=5, eligible=0.8)
    for seed in range(6):
        instance = generator.sample(np.random.default_rng(seed))
        optimum = CpSat(workers=1).solve(instance, 20, np.random.default_rng(0))
        assert optimum.optimal
        episodes = every_episode(
            DagProblem.for_instances([instance], placement=placement), instance
        )
        for solution in episodes.solutions:
            solution.validate(instance)
        assert episodes.best == optimum.solution.makespan


def test_skipping_reaches_what_no_list_schedule_does() -> None:
    """Somewhere among random graphs waiting is needed; with it nothing is lost."""
    generator = LayeredGenerator(tasks=5, processors=2, mean_cost=5)
    better = 0
    for seed in range(12):
        instance = generator.sample(np.random.default_rng((7, seed)))
        modes = ("free", "nondelay", "skip")
        free, nondelay, skip = (
            every_episode(DagProblem.for_instances([instance], dispatch=mode), instance).best
            for mode in modes
        )
        assert free <= skip <= nondelay
        better += skip < nondelay
    assert better


def test_alike_processors_are_offered_once_while_empty() -> None:
    graph = TaskGraphInstance.from_arrays(np.full((4, 3), 5))
    row = Row(DagProblem.for_instances([graph]), graph)
    assert {c.processor for c in row.candidates()} == {0}
    row.take(Candidate(0, 0, 0))
    assert {c.processor for c in row.candidates()} == {0, 1}


def test_processors_behind_other_links_are_not_alike() -> None:
    links = np.array([[0, 1, 1], [1, 0, 2], [1, 2, 0]])
    graph = TaskGraphInstance.from_arrays(np.full((2, 3), 5), [(0, 1)], [6], links)
    row = Row(DagProblem.for_instances([graph]), graph)
    assert {c.processor for c in row.candidates()} == {0, 1}


@pytest.mark.parametrize("instance", [HEFT_2002, PEFT_2014], ids=lambda instance: instance.name)
def test_the_rank_rule_with_insertion_is_heft(instance: TaskGraphInstance) -> None:
    (solution,) = rollout(
        make_problem([instance]), [instance], RulePolicy("rank"), np.random.default_rng(0)
    )
    assert solution == ListScheduler("heft").solve(instance).solution


def test_large_graphs_are_cut_to_a_window_and_trials_to_a_depth() -> None:
    generator = LayeredGenerator(tasks=300, processors=3, shape=4.0)
    instance = generator.sample(np.random.default_rng(0))
    problem = DagProblem.for_instances([instance], lookahead="lists")
    assert problem.spec.max_candidates == 16 * 3
    (solution,) = rollout(problem, [instance], RulePolicy("pilot"), np.random.default_rng(0))
    solution.validate(instance)
    assert solution.makespan < ListScheduler("heft").solve(instance).solution.makespan


def test_too_large_instances_and_unknown_options_are_refused() -> None:
    problem = DagProblem.for_instances([HEFT_2002])
    large = LayeredGenerator(tasks=11, processors=3).sample(np.random.default_rng(0))
    with pytest.raises(InstanceError, match="11 tasks, the problem was made for 10"):
        problem.load(problem.allocate(1), problem.spec.allocate(1), 0, large)
    with pytest.raises(UnknownNameError, match="did you mean insertion"):
        DagProblem.for_instances([HEFT_2002], placement="insert")
    with pytest.raises(UnknownNameError, match="did you mean placement"):
        DagProblem.for_instances([HEFT_2002], placment="append")
    with pytest.raises(UsageError, match="found none"):
        DagProblem.for_instances([])


def test_options_have_values_of_their_own() -> None:
    """A value names its option on the command line."""
    values = list(itertools.chain(*OPTIONS.values()))
    assert len(values) == len(set(values))
