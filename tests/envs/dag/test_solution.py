"""The validator: it accepts published schedules and finds every kind of mistake."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.baselines.dag.lists import ListScheduler
from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.dag.examples import HEFT_2002
from makespan.envs.dag.generator import LayeredGenerator
from makespan.envs.dag.instance import TaskGraphInstance
from makespan.envs.dag.solution import Row, TaskGraphSolution
from makespan.tests.acceptance import accepts

#: HEFT's schedule of its example, task by task, as published (tasks and processors from 1).
HEFT_SCHEDULE = {
    1: (3, 0, 9), 2: (1, 27, 40), 3: (3, 9, 28), 4: (2, 18, 26), 5: (3, 28, 38),
    6: (2, 26, 42), 7: (3, 38, 49), 8: (1, 57, 62), 9: (2, 56, 68), 10: (2, 73, 80),
}  # fmt: skip


def published() -> TaskGraphSolution:
    rows = [(task - 1, p - 1, start, end) for task, (p, start, end) in HEFT_SCHEDULE.items()]
    return TaskGraphSolution(*np.array(rows).T)


def test_the_published_schedule_is_valid() -> None:
    solution = published()
    solution.validate(HEFT_2002)
    assert solution.makespan == solution.objective(HEFT_2002) == 80
    assert TaskGraphSolution.from_dict(solution.to_dict()) == solution
    frame = solution.to_named_frame(HEFT_2002)
    assert frame.iloc[1].tolist() == ["T2", "P1", 27, 40]


def moved(task: int, by: int) -> Callable[[TaskGraphSolution], TaskGraphSolution]:
    """Start and end of a task (from 1) moved."""

    def change(solution: TaskGraphSolution) -> TaskGraphSolution:
        starts, ends = solution.starts.copy(), solution.ends.copy()
        starts[task - 1] += by
        ends[task - 1] += by
        return dataclasses.replace(solution, starts=starts, ends=ends)

    return change


def put(column: str, task: int, value: int) -> Callable[[TaskGraphSolution], TaskGraphSolution]:
    def change(solution: TaskGraphSolution) -> TaskGraphSolution:
        values = getattr(solution, column).copy()
        values[task - 1] = value
        return dataclasses.replace(solution, **{column: values})

    return change


MUTANTS: dict[str, tuple[Callable[[TaskGraphSolution], TaskGraphSolution], str]] = {
    "early by one": (moved(8, -1), "task 'T8': starts at 56, but the result of 'T6' .* at 57"),
    "before zero": (moved(1, -1), "task 'T1': starts at -1, before time 0"),
    "overlap": (moved(5, -1), r"processor 'P3': 'T3' \(9 to 28\) and 'T5' \(27 to 37\) overlap"),
    "parent late": (moved(1, 1), "the result of 'T1'"),
    "too short": (put("ends", 10, 79), "task 'T10': takes 6, expected 7 on processor 'P2'"),
    "other processor": (put("processors", 10, 0), "task 'T10': takes 7, expected 21"),
    "no processor": (put("processors", 10, 3), "task 'T10': found processor 3, expected 0 to 2"),
    "unknown task": (put("tasks", 10, 10), "task 10: unknown"),
    "twice": (put("tasks", 10, 8), "task 'T9': found 2 times"),
    "missing": (put("tasks", 10, 8), "task 'T10': missing"),
}


@pytest.mark.parametrize(("change", "message"), MUTANTS.values(), ids=MUTANTS)
def test_mistakes_are_found(
    change: Callable[[TaskGraphSolution], TaskGraphSolution], message: str
) -> None:
    with pytest.raises(InvalidSolutionError, match=message):
        change(published()).validate(HEFT_2002)


def test_a_processor_that_cannot_run_a_task() -> None:
    graph = TaskGraphInstance.from_arrays([[1, -1]])
    with pytest.raises(InvalidSolutionError, match="on processor 'p1', which cannot run it"):
        TaskGraphSolution([0], [1], [0], [1]).validate(graph)  # type: ignore[arg-type]
    with pytest.raises(InvalidSolutionError, match="task 't0': found processor 1"):
        TaskGraphSolution.from_tasks(graph, [1], [0])


def test_a_task_of_length_zero_may_touch_others_but_not_lie_inside() -> None:
    graph = TaskGraphInstance.from_arrays([[4], [0]])
    for start in (0, 4, 9):
        TaskGraphSolution.from_tasks(graph, [0, 0], [0, start]).validate(graph)
    with pytest.raises(InvalidSolutionError, match="overlap"):
        TaskGraphSolution.from_tasks(graph, [0, 0], [0, 2]).validate(graph)


def test_all_violations_are_listed() -> None:
    with pytest.raises(InvalidSolutionError) as caught:
        moved(9, -60)(moved(1, -1)(published())).validate(HEFT_2002)
    assert len(caught.value.violations) > 3


@given(seed=st.integers(0, 2**32), task=st.integers(0, 50), by=st.integers(1, 40))
def test_no_task_of_a_greedy_schedule_can_start_earlier(seed: int, task: int, by: int) -> None:
    """HEFT wastes no time: moving one task forward always breaks something."""
    instance = LayeredGenerator(tasks=(3, 15)).sample(np.random.default_rng(seed))
    solution = ListScheduler("heft").solve(instance).solution
    solution.validate(instance)
    with pytest.raises(InvalidSolutionError):
        moved(1 + task % instance.num_tasks, -by)(solution).validate(instance)


def is_valid(graph: TaskGraphInstance, solution: TaskGraphSolution) -> bool:
    """The definition, pair by pair, of a schedule that has every task once."""
    rows = sorted(solution.rows())
    flows = zip(graph.edges.tolist(), graph.volumes.tolist(), strict=True)
    volumes = {(u, v): volume for (u, v), volume in flows}

    def in_time(a: Row, b: Row) -> bool:
        if (a.task, b.task) not in volumes:
            return True
        if a.processor == b.processor:
            return a.end <= b.start
        band = int(graph.bandwidths[a.processor, b.processor])
        return b.start - a.end >= volumes[a.task, b.task] // band

    def apart(a: Row, b: Row) -> bool:
        return a.processor != b.processor or a.end <= b.start or b.end <= a.start

    return all(row.start >= 0 for row in rows) and all(
        in_time(a, b) and (a is b or apart(a, b)) for a in rows for b in rows
    )


@st.composite
def graphs_with_schedules(draw: st.DrawFn) -> tuple[TaskGraphInstance, TaskGraphSolution]:
    """Up to four tasks on two processors, and times without regard to the rules."""
    count = draw(st.integers(1, 4))
    costs = draw(st.lists(st.tuples(*2 * [st.integers(0, 3)]), min_size=count, max_size=count))
    pairs = [(u, v) for v in range(count) for u in range(v)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    volumes = [draw(st.integers(0, 5)) for _ in edges]
    graph = TaskGraphInstance.from_arrays(
        costs, np.array(edges).reshape(-1, 2), volumes, draw(st.integers(1, 3))
    )
    processors = [draw(st.integers(0, 1)) for _ in costs]
    starts = [draw(st.integers(-1, 4)) + 3 * task for task in range(count)]
    return graph, TaskGraphSolution.from_tasks(graph, processors, starts)


@given(graphs_with_schedules())
def test_it_accepts_what_the_definition_accepts(
    drawn: tuple[TaskGraphInstance, TaskGraphSolution],
) -> None:
    graph, solution = drawn
    assert accepts(graph, solution) == is_valid(graph, solution)


WRONG_DATA: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"kind": "job-shop-solution"}, "field 'kind'"),
    "makespan": ({"makespan": 79}, "field 'makespan': found 79, but the tasks end at 80"),
    "tasks": ({"tasks": 3}, "field 'tasks': found 3"),
    "row": ({"tasks": [{"task": 1}]}, r"tasks\[0\]: found"),
    "number": (
        {"tasks": [{"task": 0, "processor": 0, "start": 0.5, "end": 2}]},
        r"tasks\[0\]: start: found 0.5",
    ),
}


@pytest.mark.parametrize(("changes", "message"), WRONG_DATA.values(), ids=WRONG_DATA)
def test_wrong_data_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSolutionError, match=message):
        TaskGraphSolution.from_dict({**published().to_dict(), **changes})


def test_wrong_columns_are_refused() -> None:
    with pytest.raises(InvalidSolutionError, match="columns: found the lengths"):
        TaskGraphSolution([0], [0, 1], [0], [1])  # type: ignore[arg-type]
    with pytest.raises(InvalidSolutionError, match="column starts"):
        TaskGraphSolution([0], [0], [0.5], [1])  # type: ignore[arg-type, list-item]
    with pytest.raises(InvalidSolutionError, match="expected 10, one per task"):
        TaskGraphSolution.from_tasks(HEFT_2002, [0], [0])
