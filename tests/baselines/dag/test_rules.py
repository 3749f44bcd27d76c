"""Rules that decide step by step, and the family's names."""

import numpy as np
import pytest

from makespan.baselines.dag.lists import ListScheduler
from makespan.baselines.dag.rules import RULES, RulePolicy
from makespan.baselines.registry import make_solver
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.rollout import rollout
from makespan.envs.dag.examples import HEFT_2002, PEFT_2014
from makespan.envs.dag.family import make_env, make_family, make_problem
from makespan.envs.dag.generator import LayeredGenerator
from makespan.envs.dag.instance import TaskGraphInstance

GENERATOR = LayeredGenerator(tasks=(5, 25), processors=(2, 4))
INSTANCES = [GENERATOR.sample(np.random.default_rng(seed)) for seed in range(12)]


def makespans(rule: str, **options: str) -> list[int]:
    policy = RulePolicy(rule)
    problem = make_problem(INSTANCES, **{**options, **policy.requires})
    solutions = rollout(problem, INSTANCES, policy, np.random.default_rng(0))
    for instance, solution in zip(INSTANCES, solutions, strict=True):
        solution.validate(instance)
    return [solution.objective(i) for i, solution in zip(INSTANCES, solutions, strict=True)]  # type: ignore[misc]


def heuristic(rule: str) -> list[int]:
    return [ListScheduler(rule).solve(i).solution.makespan for i in INSTANCES]


def test_rank_with_insertion_is_heft() -> None:
    assert makespans("rank") == heuristic("heft")
    assert makespans("rank", actions="order") == heuristic("heft")


def test_soonest_end_with_append_is_min_min() -> None:
    """Up to ties, which one breaks by rank and the other by number."""
    found = np.array(makespans("soonest-end", placement="append"))
    assert (found == heuristic("min-min")).mean() > 0.7


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dispatch", ["free", "nondelay", "skip"])
def test_rules_work_under_every_dispatch(rule: str, dispatch: str) -> None:
    assert min(makespans(rule, dispatch=dispatch)) > 0


def test_only_the_pilot_rule_waits() -> None:
    for rule in ("rank", "soonest-end", "soonest-start"):
        assert makespans(rule, dispatch="skip") == makespans(rule, dispatch="nondelay")
    assert sum(makespans("pilot", dispatch="skip")) < sum(makespans("pilot", dispatch="nondelay"))


def test_the_pilot_rule_is_better_than_what_it_tries() -> None:
    assert np.mean(makespans("pilot")) < np.mean(heuristic("heft"))


def test_randomised_rules_differ_and_stay_valid() -> None:
    policy = RulePolicy("rank").with_temperature(1.0)
    problem = make_problem([HEFT_2002])
    solutions = rollout(problem, [HEFT_2002] * 40, policy, np.random.default_rng(0))
    assert len({solution.makespan for solution in solutions}) > 3
    for solution in solutions:
        solution.validate(HEFT_2002)


def test_names_on_the_command_line() -> None:
    family = make_family()
    spec = "append/nondelay/pilot"
    result = make_solver(family, spec).solve(PEFT_2014, None, np.random.default_rng(0))
    result.solution.validate(PEFT_2014)
    solver = make_solver(family, "rank:samples=64")
    assert solver.solve(HEFT_2002, None, np.random.default_rng(0)).solution.makespan < 80
    assert isinstance(make_solver(family, "heft:placement=append"), ListScheduler)
    with pytest.raises(UsageError, match="pilot needs lookahead lists, found none"):
        make_solver(family, "none/pilot")
    with pytest.raises(UnknownNameError, match="did you mean heft"):
        make_solver(family, "hef")


def test_environments_from_names_files_and_generators(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert make_env(instance="heft-2002").problem.largest.tasks == 10
    path = tmp_path / "mine.json"
    path.write_text(PEFT_2014.to_json())
    env = make_env(instance=str(path), placement="append")
    env.reset(seed=0)
    assert env.instance == PEFT_2014
    assert make_env(generator=GENERATOR).problem.largest.tasks == 25
    with pytest.raises(UsageError, match="tasks: not with a fixed instance"):
        make_env(instance=PEFT_2014, tasks=5)
    with pytest.raises(UnknownNameError, match="did you mean peft-2014"):
        make_env(instance="peft-2015")


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean rank"):
        RulePolicy("ranks")


def test_a_problem_of_one_task() -> None:
    graph = TaskGraphInstance.from_arrays([[3]])
    (solution,) = rollout(
        make_problem([graph]), [graph], RulePolicy("rank"), np.random.default_rng(0)
    )
    assert solution.objective(graph) == 3
