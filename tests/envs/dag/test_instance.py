"""The instance: construction, ranks and tails by hand, clear errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.envs.core.errors import InstanceError
from makespan.envs.dag.examples import HEFT_2002, PEFT_2014
from makespan.envs.dag.generator import LayeredGenerator
from makespan.envs.dag.instance import INELIGIBLE, Sizes, TaskGraphInstance
from makespan.tests.dag_reference import Graph


def test_ranks_of_heft_2002() -> None:
    """As published in table 1 of the paper."""
    np.testing.assert_allclose(
        HEFT_2002.upward_ranks,
        [108, 77, 80, 80, 69, 63.333, 42.667, 35.667, 44.333, 14.667],
        atol=5e-4,
    )
    np.testing.assert_allclose(
        HEFT_2002.downward_ranks,
        [0, 31, 25, 22, 24, 27, 62.333, 66.667, 63.667, 93.333],
        atol=5e-4,
    )
    # T3 and T4 tie at 80: the first in topological order goes first
    assert (HEFT_2002.rank_order + 1).tolist() == [1, 3, 4, 2, 5, 6, 9, 7, 8, 10]


def test_a_graph_by_names() -> None:
    graph = TaskGraphInstance.from_names(
        {"load": {"cpu": 4}, "fft": {"cpu": 9, "gpu": 2}, "store": [3, None]},
        [("fft", "store", 25), ("load", "fft", 7)],
        bandwidths=[[0, 2], [10, 0]],
        processors=("cpu", "gpu"),
    )
    assert graph.sizes == Sizes(tasks=3, processors=2, edges=2, links=3)
    assert graph.size == "<= 4 tasks"
    assert graph.costs.tolist() == [[4, INELIGIBLE], [9, 2], [3, INELIGIBLE]]
    assert graph.edges.tolist() == [[0, 1], [1, 2]]  # sorted
    assert graph.topological_order.tolist() == [0, 1, 2]
    # load -> fft from cpu to gpu: 7 // 2, fft -> store back: 25 // 10
    assert graph.delays[0, graph.link[0, 1]] == 3
    assert graph.delays[1, graph.link[1, 0]] == 2
    assert graph.delays[0, graph.link[1, 1]] == 0
    assert graph.tails[:, 0].tolist() == [4 + min(9 + 3, 3 + 2 + 2 + 3), 9 + 3, 3]
    assert graph.heads[1].tolist() == [4, 4 + 3]
    assert graph.mean_costs.tolist() == [4, 5.5, 3]


@pytest.mark.parametrize("instance", [HEFT_2002, PEFT_2014], ids=lambda i: i.name)
def test_json_and_back(instance: TaskGraphInstance) -> None:
    assert TaskGraphInstance.from_json(instance.to_json()) == instance


def test_instances_compare_by_content() -> None:
    one = TaskGraphInstance.from_arrays([[1, 2], [3, 4]], [(0, 1)], [5])
    same = TaskGraphInstance.from_arrays(np.array([[1, 2], [3, 4]]), [[0, 1]], (5,))
    other = TaskGraphInstance.from_arrays([[1, 2], [3, 4]], [(0, 1)], [6])
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    with pytest.raises(ValueError, match="read-only"):
        one.costs[0, 0] = 7


@given(st.integers(0, 2**32))
def test_tables_are_those_of_the_definitions(seed: int) -> None:
    generator = LayeredGenerator(
        tasks=(1, 12), processors=(1, 4), eligible=(0.3, 1.0), bandwidths=(1, 4)
    )
    instance = generator.sample(np.random.default_rng(seed))
    twin = Graph(instance)
    for task in twin.tasks:
        for p in twin.eligible(task):
            assert instance.tails[task, p] == twin.tail(task, p)
            assert instance.heads[task, p] == twin.head(task, p)
        assert instance.upward_ranks[task] == pytest.approx(twin.rank(task))
    assert instance.rank_order.tolist() == twin.order()
    position = np.empty(instance.num_tasks, dtype=np.int64)
    position[instance.rank_order] = np.arange(instance.num_tasks)
    assert (position[instance.edges[:, 0]] < position[instance.edges[:, 1]]).all()
    assert TaskGraphInstance.from_json(instance.to_json()) == instance


WRONG_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "no task": ({"costs": np.empty((0, 2), dtype=int)}, "tasks: found none"),
    "no processor": ({"costs": np.empty((2, 0), dtype=int)}, "processors: found none"),
    "cannot run": ({"costs": [[1, 2], [-1, -1]]}, "task 't1': found no processor"),
    "negative cost": ({"costs": [[1, -2]]}, r"task 't0', processor 'p1': cost: found -2"),
    "huge cost": ({"costs": [[2**40]]}, "cost: found 1099511627776"),
    "fractions": ({"costs": [[1.5]]}, "expected integers"),
    "ragged": ({"costs": [[1], [1, 2]]}, "costs: found"),
    "unknown task": (
        {"costs": [[1], [1]], "edges": [(0, 2)], "volumes": [1]},
        r"edge \[0, 2\], expected tasks from 0 to 1",
    ),
    "negative volume": (
        {"costs": [[1], [1]], "edges": [(0, 1)], "volumes": [-3]},
        "edge 't0' -> 't1': volume: found -3",
    ),
    "duplicate edge": (
        {"costs": [[1], [1]], "edges": [(0, 1), (0, 1)], "volumes": [1, 2]},
        "edge 't0' -> 't1': found twice",
    ),
    "missing volume": (
        {"costs": [[1], [1]], "edges": [(0, 1)], "volumes": [1, 2]},
        "volumes: found 2, expected 1",
    ),
    "loop": ({"costs": [[1]], "edges": [(0, 0)], "volumes": [1]}, "cycle 't0' -> 't0'"),
    "cycle": (
        {"costs": [[1]] * 5, "edges": [(0, 1), (1, 2), (2, 3), (3, 1), (3, 4)], "volumes": [0] * 5},
        "found the cycle 't1' -> 't2' -> 't3' -> 't1'",
    ),
    "bandwidth": (
        {"costs": [[1, 1]], "bandwidths": [[0, 0], [1, 0]]},
        "bandwidth from 'p0' to 'p1': found 0",
    ),
    "bandwidth shape": ({"costs": [[1, 1]], "bandwidths": [[1]]}, "bandwidths: found the shape"),
    "names": ({"costs": [[1], [2]], "tasks": ["a", "a"]}, "task 'a': found twice"),
    "too long": ({"costs": [[2**29], [2**29]]}, "use a coarser time unit"),
    "delays beyond 64 bits": (
        {
            "costs": [[1, 1]] * 1025,
            "edges": [(0, task) for task in range(1, 1025)],
            "volumes": [2**53] * 1024,
        },
        "use a coarser time unit",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_wrong_arrays_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InstanceError, match=message):
        TaskGraphInstance.from_arrays(**arguments)


WRONG_JSON: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"kind": "job-shop"}, "field 'kind'"),
    "ragged": ({"bandwidth": [[1], [1, 2]]}, r"bandwidths: found \[\[1\], \[1, 2\]\]"),
    "missing": ({"tasks": None, "edges": None}, "missing"),
    "unknown": ({"colour": 1}, "unknown field"),
    "task": ({"tasks": [{"name": 3, "costs": [1, 1]}]}, r"tasks\[0\]: name: found 3"),
    "twice": ({"tasks": [{"name": "a", "costs": [1, 1]}] * 2}, "found task 'a' twice"),
    "costs": ({"tasks": [{"name": "a", "costs": [1]}]}, "task 'a': costs: found 1, expected 2"),
    "cost": ({"tasks": [{"name": "a", "costs": [1, "x"]}]}, "task 'a', processor 'q': cost: fo"),
    "processor": ({"tasks": [{"name": "a", "costs": {"r": 1}}]}, "unknown processor 'r'"),
    "edge": ({"edges": [{"source": "a", "target": "z"}]}, "unknown task 'z'"),
    "edge's end": ({"edges": [{"source": ["a"], "target": "b"}]}, r"unknown task \['a'\]"),
    "volume": ({"edges": [{"source": "a", "target": "b", "volume": -1}]}, "volume: found -1"),
    "edge form": ({"edges": [["a", "b"]]}, r"edges\[0\]: found \['a', 'b'\], expected an obj"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG_JSON.values(), ids=WRONG_JSON)
def test_wrong_json_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    data: dict[str, Any] = {
        "kind": "task-graph",
        "version": 1,
        "processors": ["p", "q"],
        "tasks": [{"name": "a", "costs": [1, 2]}, {"name": "b", "costs": {"q": 3}}],
        "edges": [{"source": "a", "target": "b"}],
    }
    assert TaskGraphInstance.from_dict(data).costs.tolist() == [[1, 2], [-1, 3]]
    changed = {key: value for key, value in {**data, **changes}.items() if value is not None}
    with pytest.raises(InstanceError, match=message):
        TaskGraphInstance.from_dict(changed)
