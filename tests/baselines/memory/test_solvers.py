"""Rules, XLA's assignment, local search and CP-SAT: valid, as good as they should be, bounded."""

from dataclasses import replace

import numpy as np
import pytest

from makespan.baselines.cpsat import run
from makespan.baselines.memory.exact import CpSat
from makespan.baselines.memory.hybrid import Hybrid
from makespan.baselines.memory.local_search import LocalSearch
from makespan.baselines.memory.msa import MemorySpaceAssignment
from makespan.baselines.memory.relaxed import MixedInteger
from makespan.baselines.memory.rules import RULES, RulePolicy
from makespan.baselines.memory.space import CopyResource, Space
from makespan.baselines.registry import make_solver
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.rollout import rollout
from makespan.envs.core.solution import Result
from makespan.envs.memory import kernel
from makespan.envs.memory.bounds import lower_bound
from makespan.envs.memory.examples import CAPACITY, EXAMPLES, FRAGMENTATION, SUPPLY
from makespan.envs.memory.family import make_family
from makespan.envs.memory.generator import MemoryGenerator
from makespan.envs.memory.problem import MemoryProblem
from makespan.envs.memory.relaxation import relax
from makespan.envs.memory.solution import MemoryPlan
from makespan.tests.memory_reference import every_episode


def rng(seed=0):
    return np.random.default_rng(seed)


def programs(count, instructions=(5, 40)):
    generator = MemoryGenerator(instructions)
    return [generator.sample(rng([9, seed])) for seed in range(count)]


# ---------------------------------------------------------------- exact


@pytest.mark.parametrize(
    ("name", "optimum"),
    [("capacity", 6), ("supply", 10), ("compute-bound", 19), ("reuse", 11), ("fragmentation", 0)],
)
def test_the_optima_of_the_examples(name, optimum):
    """Of plans with free starts and offsets; without offsets no less can be proven."""
    example = EXAMPLES[name]
    result = CpSat(workers=1).solve(example, 30, rng())
    result.solution.validate(example)
    assert result.optimal
    assert result.solution.objective(example) == result.lower_bound == optimum
    assert lower_bound(example) <= relax(example, 10.0).bound <= optimum


def _against_the_game(count, seed):
    """CP-SAT is never worse than the best game, and no better than the bound without offsets."""
    generator, checked, better = MemoryGenerator((2, 4), capacity=(0.2, 0.9)), 0, 0
    while checked < count:
        instance = generator.sample(rng([seed, checked, better]))
        seed += 1
        if instance.num_accesses > 9:
            continue
        best = every_episode(MemoryProblem.for_instances([instance]), instance).best
        result = CpSat(workers=1).solve(instance, 60, rng())
        result.solution.validate(instance)
        assert result.optimal
        assert lower_bound(instance) <= relax(instance, 10.0).bound <= result.lower_bound <= best
        better += result.solution.objective(instance) < best
        checked += 1


def test_cp_sat_is_no_worse_than_the_best_game():
    _against_the_game(12, 0)


@pytest.mark.slow
def test_cp_sat_is_no_worse_than_the_best_of_a_hundred_games():
    _against_the_game(100, 1000)


def test_a_hint_is_never_made_worse():
    (instance,) = programs(1, (20, 20))
    hint = MemorySpaceAssignment()
    given = hint.solve(instance, None, rng()).solution.objective(instance)
    result = CpSat(workers=1, hint=hint).solve(instance, 1.0, rng())
    result.solution.validate(instance)
    assert result.lower_bound <= result.solution.objective(instance) <= given


def test_the_dynamic_model_is_refused():
    with pytest.raises(UsageError, match="found the copy model dynamic, expected static"):
        CpSat().solve(replace(CAPACITY, copy_model="dynamic"), 1, rng())
    with pytest.raises(UsageError, match="workers: found 0"):
        CpSat(workers=0)


# ---------------------------------------------------------------- XLA's assignment


def test_the_assignment_finds_the_optimum_of_the_capacity_example():
    plan = MemorySpaceAssignment(max_overlap=100).solve(CAPACITY, None, rng()).solution
    plan.validate(CAPACITY)
    assert plan.actions.tolist() == [1, 0, 0, 1]


def test_prefetches_take_about_the_preferred_time():
    """At least two of the three copies of the example find their time."""
    plan = MemorySpaceAssignment(max_overlap=100).solve(SUPPLY, None, rng()).solution
    plan.validate(SUPPLY)
    assert (plan.actions == 2).sum() >= 2


@pytest.mark.parametrize("copy_model", ["static", "dynamic"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": "none"},
        {"scale": "size"},
        {"order": "size"},
        {"max_overlap": 1.0},
        {"repacks": 100},
        {"max_outstanding": 1},
    ],
)
def test_assignments_are_valid(options, copy_model):
    for instance in programs(8):
        instance = replace(instance, copy_model=copy_model)
        plan = MemorySpaceAssignment(**options).solve(instance, None, rng()).solution
        plan.validate(instance)
        assert plan.latency(instance, "static") <= instance.all_slow


def test_best_fit_takes_the_smallest_gap():
    space = Space(20, 9)
    for offset, size in ((4, 2), (9, 1)):
        space.add(offset, size, 0, 5)
    assert space.best_fit(3, 2, 3) == 6  # gaps 0-4, 6-9, 10-20
    assert space.best_fit(3, 2, 3, preferred=12) == 12
    assert space.best_fit(11, 2, 3) == -1
    assert space.best_fit(11, 6, 7) == 0
    assert not space.is_free(8, 2, 5, 9)


def test_repacking_joins_what_is_free():
    space = Space(10, 9)
    space.add(0, 2, 0, 9, chain=4)
    space.add(4, 3, 0, 2, chain=7)
    space.add(4, 3, 3, 6, chain=7)
    assert space.best_fit(5, 1, 2) == -1
    assert space.repack() == {4: 0, 7: 2}
    assert space.table[:3, 0].tolist() == [0, 2, 2]
    assert space.best_fit(5, 1, 2) == 5
    space.add(0, 11, 3, 3, chain=8)  # larger than the memory: nothing is moved
    assert space.repack() == {}
    assert space.table[:3, 0].tolist() == [0, 2, 2]


def test_outstanding_prefetches_are_limited():
    for instance in programs(4):
        most = 1
        plan = MemorySpaceAssignment(max_outstanding=most).solve(instance, None, rng()).solution
        under_way = np.zeros(instance.num_instructions)
        for copy in plan.copies(instance):
            under_way[copy.first : copy.due] += 1
        assert under_way.max() <= most
    none = MemorySpaceAssignment(max_outstanding=0).solve(SUPPLY, None, rng()).solution
    assert not (none.actions == 2).any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"repacks": -1}, UsageError, "repacks: found -1"),
        ({"max_overlap": float("nan")}, UsageError, "max_overlap: found nan"),
        ({"scale": "rot"}, UnknownNameError, "unknown scale 'rot'; did you mean root"),
        ({"order": "scores"}, UnknownNameError, "unknown order 'scores'; did you mean score"),
    ],
)
def test_wrong_options_of_the_assignment_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        MemorySpaceAssignment(**options)


def test_copies_are_served_by_their_starts():
    copies = CopyResource(np.array([3, 3, 3]), 4)
    copies.add(-1, 3, 5)
    assert copies.admits(0, 3, 4)
    assert not copies.admits(0, 2, 3)  # of instruction 1 only one unit is left
    assert not copies.admits(-1, 3, 5)
    copies.add(0, 3, 4)
    assert not copies.admits(1, 3, 1)
    copies.remove(0, 3, 4)
    assert copies.admits(1, 3, 1)


# ---------------------------------------------------------------- rules and searches


@pytest.mark.parametrize("rule", RULES)
def test_rules_make_valid_plans(rule):
    policy = RulePolicy(rule)
    instances = programs(6)
    problem = MemoryProblem.for_instances(instances, **policy.requires)
    for instance, plan in zip(instances, rollout(problem, instances, policy, rng()), strict=True):
        plan.validate(instance)
        assert isinstance(plan, MemoryPlan)
        assert plan.objective(instance) >= lower_bound(instance)
        if rule == "all-slow":
            assert plan.objective(instance) == instance.all_slow


def test_unknown_rules_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean belady"):
        RulePolicy("beladi")


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_local_search_finds_the_best_game_of_the_examples(example):
    best = every_episode(MemoryProblem.for_instances([example]), example).best
    start = make_solver(make_family(), "rule")  # the other starts know plans beyond the game
    result = LocalSearch(start=start, rounds=300).solve(example, 20, rng())
    result.solution.validate(example)
    assert result.solution.objective(example) == best


def test_local_search_never_loses_its_start_and_improves_with_rounds():
    for instance in programs(4, (30, 40)):
        start = MemorySpaceAssignment()
        given = start.solve(instance, None, rng()).solution.objective(instance)
        few = LocalSearch(start=start, rounds=1).solve(instance, 20, rng()).solution
        many = LocalSearch(start=start, rounds=500).solve(instance, 20, rng()).solution
        many.validate(instance)
        assert many.objective(instance) <= few.objective(instance) <= given


@pytest.mark.parametrize("copy_model", ["static", "dynamic"])
def test_the_relaxation_bounds_the_best_game_and_every_plan(copy_model):
    generator, checked, tight = MemoryGenerator((2, 4), capacity=(0.2, 0.9)), 0, 0
    while checked < 12:
        instance = replace(generator.sample(rng([3, checked, tight])), copy_model=copy_model)
        tight += 1
        if instance.num_accesses <= 9:
            checked += 1
            best = every_episode(MemoryProblem.for_instances([instance]), instance).best
            assert instance.all_fast <= lower_bound(instance) <= relax(instance, 10.0).bound <= best
    for instance in programs(4):
        instance = replace(instance, copy_model=copy_model)
        result = MixedInteger().solve(instance, 2.0, rng())
        result.solution.validate(instance)
        assert lower_bound(instance) <= result.lower_bound <= result.solution.objective(instance)


def test_what_fits_nowhere_is_relaxed_too():
    nothing = replace(CAPACITY, capacity=0)
    assert lower_bound(nothing) == nothing.all_slow
    assert MixedInteger().solve(nothing, 1.0, rng()).solution.objective(nothing) == nothing.all_slow


def test_the_hybrid_keeps_the_better_plan():
    slow = LocalSearch(rounds=1, start=MemorySpaceAssignment())
    for instance in programs(4):
        hybrid = Hybrid(first=slow, second=MemorySpaceAssignment()).solve(instance, 10, rng())
        assert hybrid.solution.objective(instance) <= (
            MemorySpaceAssignment().solve(instance, None, rng()).solution.objective(instance)
        )


class Part:
    """A solver that knows its plan and bound."""

    name = "part"

    def __init__(self, plan, bound=None):
        self.result = Result(plan, 0.0, bound)

    def solve(self, instance, time_limit_s, rng):
        return self.result


@pytest.mark.parametrize("order", [1, -1])
def test_the_hybrid_tells_parts_of_one_name_apart_and_passes_bounds_on(order):
    best, slow = CpSat(workers=1).solve(CAPACITY, 9, rng()).solution, MemoryPlan.all_slow(CAPACITY)
    parts = [Part(slow, 3), Part(best, 5)][::order]
    result = Hybrid(*parts).solve(CAPACITY, None, rng())
    assert (result.solution, result.lower_bound) == (best, 5)
    assert Hybrid(Part(slow), Part(slow)).solve(CAPACITY, None, rng()).lower_bound is None


@pytest.mark.parametrize("make", [CpSat, LocalSearch], ids=lambda make: make.__name__)
def test_improvements_end_with_what_is_returned(make):
    for instance in programs(3, (20, 30)):
        result = make(time_limit_s=1.0).solve(instance, None, rng())
        found = [latency for _, latency in result.details["improvements"]]
        assert found == sorted(set(found), reverse=True)
        assert found[-1] == result.solution.objective(instance)


def test_the_first_improvement_of_local_search_is_its_start():
    """The plan of CP-SAT is beyond the game, which wishes for it in vain."""
    best = CpSat(workers=1).solve(FRAGMENTATION, 9, rng()).solution
    result = LocalSearch(start=Part(best), rounds=5).solve(FRAGMENTATION, 9, rng())
    assert [latency for _, latency in result.details["improvements"]] == [0]


def test_ctrl_c_keeps_the_best_plan_of_local_search(monkeypatch):
    (instance,) = programs(1, (60, 60))
    start, improve, calls = MemorySpaceAssignment(), kernel.improve, []

    def interrupted(*arguments):
        calls.append(improve(*arguments))  # the first one compiles
        if len(calls) > 2:
            raise KeyboardInterrupt
        return calls[-1]

    monkeypatch.setattr(kernel, "improve", interrupted)
    result = LocalSearch(start=start).solve(instance, 120, rng())
    result.solution.validate(instance)
    assert result.details["interrupted"]
    assert result.solution.objective(instance) <= min(
        calls[-1], start.solve(instance, None, rng()).solution.objective(instance)
    )


def test_ctrl_c_keeps_the_best_plan_of_cp_sat(monkeypatch):
    def interrupted(*arguments):
        return run(*arguments)[0], True

    monkeypatch.setattr("makespan.baselines.memory.exact.run", interrupted)
    result = CpSat(workers=1).solve(CAPACITY, 30, rng())
    assert result.details["interrupted"]
    assert result.solution.objective(CAPACITY) == 6


def test_specifications_of_the_command_line():
    family = make_family()
    for text in (
        "msa:scale=none,max_overlap=5",
        "local-search:start=msa,rounds=2",
        "local-search:start=milp,rounds=2",
        "cp-sat:hint=msa",
        "hybrid:first=pilot",
        "belady/pilot",
        "greedy:samples=4",
        "rule:width=3",
    ):
        result = make_solver(family, text).solve(FRAGMENTATION, 2, rng())
        result.solution.validate(FRAGMENTATION)
