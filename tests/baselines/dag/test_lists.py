"""List scheduling heuristics against published schedules, tables and makespans."""

import numpy as np
import pytest

from makespan.baselines.dag.lists import (
    RULES,
    ListScheduler,
    critical_path,
    optimistic_cost_table,
)
from makespan.envs.core.errors import UnknownNameError
from makespan.envs.dag.bounds import lower_bound
from makespan.envs.dag.examples import HEFT_2002, PEFT_2014
from makespan.envs.dag.generator import LayeredGenerator, StructuredGenerator
from makespan.envs.dag.instance import TaskGraphInstance

#: Task: (processor, start, end), all from 1, as published.
HEFT_SCHEDULE = {
    1: (3, 0, 9), 3: (3, 9, 28), 4: (2, 18, 26), 2: (1, 27, 40), 5: (3, 28, 38),
    6: (2, 26, 42), 9: (2, 56, 68), 7: (3, 38, 49), 8: (1, 57, 62), 10: (2, 73, 80),
}  # fmt: skip
CPOP_SCHEDULE = {
    1: (2, 0, 16), 2: (2, 16, 35), 4: (3, 25, 42), 3: (1, 28, 39), 5: (2, 35, 48),
    7: (1, 39, 46), 6: (3, 42, 51), 8: (3, 54, 68), 9: (2, 65, 77), 10: (2, 79, 86),
}  # fmt: skip


def schedule(rule: str, instance: TaskGraphInstance) -> dict[int, tuple[int, int, int]]:
    solution = ListScheduler(rule).solve(instance).solution
    solution.validate(instance)
    return {row.task + 1: (row.processor + 1, row.start, row.end) for row in solution.rows()}


def test_heft_task_by_task() -> None:
    assert schedule("heft", HEFT_2002) == HEFT_SCHEDULE


def test_cpop_task_by_task() -> None:
    assert (critical_path(HEFT_2002) + 1).tolist() == [1, 2, 9, 10]
    assert schedule("cpop", HEFT_2002) == CPOP_SCHEDULE


def test_the_optimistic_cost_table_of_peft() -> None:
    table = optimistic_cost_table(PEFT_2014)
    assert table.tolist() == [
        [64, 68, 86],
        [42, 39, 42],
        [27, 41, 43],
        [42, 39, 50],
        [28, 37, 28],
        [42, 39, 44],
        [13, 16, 22],
        [13, 16, 33],
        [13, 16, 20],
        [0, 0, 0],
    ]
    np.testing.assert_allclose(
        table.mean(axis=1),
        [72.67, 41, 37, 43.67, 31, 41.67, 17, 20.67, 16.33, 0],
        atol=5e-3,
    )


#: Published: HEFT 80, CPOP 86, DLS 91 on the graph of the HEFT paper; HEFT 133, PEFT 122, lookahead
#: 127 on that of the PEFT paper. The others are this implementation's, to notice changes.
MAKESPANS = {
    "heft": (80, 133),
    "lookahead-heft": (76, 127),
    "peft": (85, 122),
    "cpop": (86, 167),
    "dls": (91, 134),
    "etf": (99, 134),
    "eft": (80, 126),
    "stf": (76, 142),
    "min-min": (76, 122),
    "max-min": (97, 124),
    "sufferage": (76, 138),
    "mct": (88, 140),
    "met": (82, 188),
}


@pytest.mark.parametrize("rule", RULES)
def test_makespans_of_the_worked_examples(rule: str) -> None:
    found = [
        ListScheduler(rule).solve(instance).solution.makespan for instance in (HEFT_2002, PEFT_2014)
    ]
    assert tuple(found) == MAKESPANS[rule]


@pytest.mark.parametrize("placement", ["insertion", "append"])
@pytest.mark.parametrize("rule", RULES)
def test_schedules_of_random_graphs_are_valid(rule: str, placement: str) -> None:
    generators = (
        LayeredGenerator(tasks=(1, 30), eligible=(0.3, 1.0), bandwidths=(1, 4)),
        StructuredGenerator(size=3),
    )
    for seed in range(30):
        instance = generators[seed % 2].sample(np.random.default_rng(seed))
        solver = ListScheduler(rule, placement)  # type: ignore[arg-type]
        solution = solver.solve(instance, None, np.random.default_rng(0)).solution
        solution.validate(instance)
        assert solution.makespan >= lower_bound(instance)


def test_rules_do_what_they_say_on_independent_tasks() -> None:
    """Costs on two equal processors; what each rule puts first is seen from the starts."""
    graph = TaskGraphInstance.from_arrays([[2, 2], [7, 7], [5, 5], [3, 3]])

    def order(rule: str) -> list[int]:
        solution = ListScheduler(rule).solve(graph).solution
        return solution.tasks[np.lexsort((solution.processors, solution.starts))].tolist()

    assert order("max-min") == [1, 2, 3, 0]
    assert order("min-min") == [0, 3, 2, 1]
    assert order("stf") == [0, 3, 2, 1]
    assert order("heft") == [1, 2, 3, 0]
    assert order("mct") == [0, 1, 2, 3]


def test_met_ignores_how_busy_a_processor_is() -> None:
    graph = TaskGraphInstance.from_arrays([[5, 6]] * 3)
    assert ListScheduler("met").solve(graph).solution.makespan == 15
    assert ListScheduler("mct").solve(graph).solution.makespan == 10


def test_sufferage_serves_the_task_that_would_lose_most() -> None:
    graph = TaskGraphInstance.from_arrays([[4, 5], [4, 20]])
    solution = ListScheduler("sufferage").solve(graph).solution
    assert dict(zip(solution.tasks.tolist(), solution.processors.tolist(), strict=True)) == {
        0: 1,
        1: 0,
    }


def test_unknown_rules_and_placements_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean heft"):
        ListScheduler("hefd")
    with pytest.raises(UnknownNameError, match="did you mean insertion"):
        ListScheduler("heft", "insert")  # type: ignore[arg-type]
