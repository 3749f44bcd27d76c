"""Pipeline-parallel training: published formulas, optima, the validator."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makespan.baselines.dag.lists import RULES, ListScheduler
from makespan.baselines.dag.pipeline import (
    one_forward_one_backward,
    solve_pipeline,
    zero_bubble,
)
from makespan.envs.core.errors import InstanceError, InvalidSolutionError
from makespan.envs.dag.bounds import longest_span
from makespan.envs.dag.formats import read_instance
from makespan.envs.dag.pipeline import (
    BACKWARD,
    FORWARD,
    WEIGHT,
    PipelineInstance,
    PipelineSolution,
    lower_bound,
)


@pytest.mark.parametrize(
    ("stages", "microbatches", "memory", "optimum"),
    [(3, 6, 3, 20), (3, 6, 5, 18), (4, 8, 4, 27), (4, 8, 7, 24)],
)
def test_optimal_spans(stages: int, microbatches: int, memory: int, optimum: int) -> None:
    """With p units of memory 3m + p - 1 (ZB-H1), with 2p - 1 no bubble, 3m (ZB-H2)."""
    instance = PipelineInstance.uniform(stages, microbatches, memory)
    result = solve_pipeline(instance, 30, workers=1)
    result.solution.validate(instance)
    assert result.optimal
    assert result.solution.objective(instance) == optimum == result.lower_bound
    for rule in (one_forward_one_backward, zero_bubble):
        solution = rule(instance)
        solution.validate(instance)
        assert solution.objective(instance) >= optimum >= lower_bound(instance)


@pytest.mark.parametrize(("stages", "microbatches"), [(1, 3), (2, 4), (4, 8), (4, 12), (8, 16)])
def test_1f1b_takes_what_the_formula_says(stages: int, microbatches: int) -> None:
    """m T + (p - 1) T with T the three passes together, in memory p."""
    instance = PipelineInstance.uniform(stages, microbatches, stages)
    solution = one_forward_one_backward(instance)
    solution.validate(instance)
    assert solution.objective(instance) == 3 * microbatches + 3 * (stages - 1)


def test_two_stages_by_hand() -> None:
    """One microbatch: F F B B, each weight pass after its backward."""
    instance = PipelineInstance.uniform(2, 1, 1, communication=2)
    solution = zero_bubble(instance)
    assert solution.starts[FORWARD, :, 0].tolist() == [0, 3]
    assert solution.starts[BACKWARD, :, 0].tolist() == [7, 4]
    assert solution.starts[WEIGHT, :, 0].tolist() == [8, 5]
    assert solution.spans(instance).tolist() == [9, 3]


def test_out_of_time_the_greedy_schedule_is_what_there_is() -> None:
    instance = PipelineInstance.uniform(4, 8, 4)
    result = solve_pipeline(instance, 1e-9, workers=1)
    result.solution.validate(instance)
    assert not result.optimal
    assert result.solution.objective(instance) == zero_bubble(instance).objective(instance)
    assert result.lower_bound == lower_bound(instance)


def test_more_memory_never_hurts_the_optimum() -> None:
    rng = np.random.default_rng(0)
    times = rng.integers(1, 4, size=(3, 3))
    spans = []
    for memory in (1, 2, 4):
        instance = PipelineInstance("random", 4, times, np.full(3, memory), 1)
        result = solve_pipeline(instance, 30, workers=1)
        result.solution.validate(instance)
        assert result.optimal
        spans.append(result.solution.objective(instance))
    assert spans == sorted(spans, reverse=True)
    assert spans[0] > spans[-1]


@pytest.mark.parametrize("memory", [1, 2, 12])
def test_it_is_a_task_graph(memory: int) -> None:
    """Valid schedules of the one are those of the other."""
    instance = PipelineInstance.uniform(3, 4, memory, communication=1)
    graph = instance.task_graph()
    assert graph.size == "<= 64 tasks"
    assert graph.tasks[0] == "F(0,0)"
    zero_bubble(instance).as_task_graph(instance).validate(graph)
    for rule in RULES:
        found = ListScheduler(rule).solve(graph).solution
        found.validate(graph)
        solution = PipelineSolution.from_task_graph(instance, found)
        solution.validate(instance)
        assert longest_span(graph, found) == solution.objective(instance)


def test_a_file_of_a_pipeline_is_read_as_a_task_graph(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    fields = {
        "kind": "pipeline",
        "version": 1,
        "microbatches": 4,
        "times": [[1, 2], [1, 2], [1, 1]],
    }
    path.write_text(json.dumps({**fields, "memory": 2}))
    graph = read_instance(path)
    times = np.array(fields["times"])
    assert graph == PipelineInstance("mine", 4, times, np.array([2, 2])).task_graph()
    for change, message in (
        ({}, r"missing field\(s\) \['memory'\]"),
        ({"memory": 2, "stages": 3}, r"unknown field\(s\) \['stages'\]"),
        ({"memory": 1.5}, "memory: found 1.5, expected whole numbers"),
        ({"memory": [2, 2, 2]}, r"memory: found the shape \(3,\), expected \(2,\)"),
        ({"memory": 2, "times": [[1, 2], [1]]}, "times: found rows of different lengths"),
        ({"memory": 2, "times": [1, 2, 3]}, "times: found 1 dimension"),
        ({"memory": 0}, "memory of stage 0: found 0, expected at least 1"),
        ({"memory": 2, "microbatches": [4]}, "microbatches: found .*, expected one number"),
    ):
        path.write_text(json.dumps({**fields, **change}))
        with pytest.raises(InstanceError, match=f"mine.json: {message}"):
            read_instance(path)


def moved(kind: int, stage: int, microbatch: int, to: int) -> Callable[[Any], Any]:
    def change(starts: Any) -> Any:
        starts[kind, stage, microbatch] = to
        return starts

    return change


MUTANTS = {
    "parent": (moved(FORWARD, 1, 0, 0), "F of stage 1, microbatch 0: starts at 0, expected 1"),
    "overlap": (moved(FORWARD, 0, 1, 0), "F of stage 0, microbatch 0 and .* overlap"),
    "order": (moved(WEIGHT, 1, 0, 90), "W of stage 1, microbatch 1: before"),
    "memory": (moved(WEIGHT, 0, 0, 90), "the stage holds 3 forwards, expected at most 2"),
    "negative": (moved(FORWARD, 0, 0, -1), "starts at -1, expected 0"),
}


@pytest.mark.parametrize(("change", "message"), MUTANTS.values(), ids=MUTANTS)
def test_mistakes_are_found(change: Callable[[Any], Any], message: str) -> None:
    instance = PipelineInstance.uniform(2, 4, 2)
    starts = change(zero_bubble(instance).starts.copy())
    with pytest.raises(InvalidSolutionError, match=message):
        PipelineSolution(starts).validate(instance)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"microbatches": 0}, "microbatches: found 0"),
        ({"communication": -1}, "communication: found -1"),
        ({"memory": np.array([1, 0])}, "memory of stage 1: found 0"),
        ({"memory": np.array([1])}, "memory: found the shape"),
        ({"times": np.ones((2, 2), dtype=int)}, "times: found the shape"),
        ({"times": np.array([[1, 1], [1, 0], [1, 1]])}, "times of stage 1"),
    ],
)
def test_wrong_instances_are_refused(changes: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {
        "name": "x",
        "microbatches": 2,
        "times": np.ones((3, 2), dtype=int),
        "memory": np.array([1, 1]),
    }
    with pytest.raises(InstanceError, match=message):
        PipelineInstance(**{**fields, **changes})
