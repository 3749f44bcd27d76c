"""File formats: round trips, hand-written files, errors that name the place."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.baselines.dag.lists import ListScheduler
from makespan.envs.core.errors import InstanceError, InvalidSolutionError, UsageError
from makespan.envs.dag.examples import HEFT_2002
from makespan.envs.dag.formats import (
    Platform,
    format_csv,
    from_networkx,
    parse_instance,
    parse_wfformat,
    read_instance,
    to_networkx,
    write_instance,
    write_solution,
)
from makespan.envs.dag.generator import LayeredGenerator
from makespan.envs.dag.instance import TaskGraphInstance
from makespan.envs.dag.solution import TaskGraphSolution

TABLE = """\
task,cpu,gpu
load,4,
fft,9,2
store,3,

source,target,volume
load,fft,7
fft,store,25
bandwidth,cpu,gpu
cpu,0,2
gpu,10,0
"""


def test_a_cost_table_by_hand() -> None:
    graph = parse_instance(TABLE, "csv", "table")
    assert graph.tasks == ("load", "fft", "store")
    assert graph.costs.tolist() == [[4, -1], [9, 2], [3, -1]]
    assert graph.edges.tolist() == [[0, 1], [1, 2]]
    assert graph.volumes.tolist() == [7, 25]
    assert graph.bandwidths.tolist() == [[0, 2], [10, 0]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("task,cpu", "job,cpu", "line 1: expected the header"),
        ("fft,9,2", "fft,9", "line 3: found 2 columns, expected 3"),
        ("fft,9,2", "fft,9,-2", "line 3: task 'fft', processor 'gpu': cost: found '-2'"),
        ("fft,9,2", "load,9,2", "line 3: found task 'load' twice"),
        ("load,fft,7", "load,ftt,7", "line 7: unknown task 'ftt'"),
        ("load,fft,7", "load,fft,x", "line 7: volume: found 'x'"),
        ("fft,store,25", "fft,load,25", "cycle 'load' -> 'fft' -> 'load'"),
        ("fft,store,25", "load,fft,25", "edge 'load' -> 'fft': found twice"),
        ("store,3,", "store,,", "task 'store': found no processor that can run it"),
        ("gpu,10,0\n", "", "bandwidth: found 1 lines, expected 2"),
        ("cpu,0,2", "cpu,0,0", "bandwidth from 'cpu' to 'gpu': found 0"),
        ("cpu,0,2\ngpu", "gpu,0,2\ncpu", "line 10: bandwidth: found 'gpu', expected 'cpu'"),
        ("gpu,10", "gpo,10", "line 11: bandwidth: found 'gpo', expected 'gpu'"),
        (
            "gpu,10,0",
            "gpu,10,0\ngpu,9,0",
            "line 12: bandwidth: found 'gpu', expected no more lines",
        ),
    ],
)
def test_errors_in_cost_tables(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(TABLE.replace(old, new))
    with pytest.raises(InstanceError, match=message) as caught:
        read_instance(path)
    assert str(path) in str(caught.value)


@given(seed=st.integers(0, 2**32))
def test_files_give_back_what_was_written(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    generator = LayeredGenerator(tasks=(1, 9), processors=(1, 3), eligible=0.6, bandwidths=(1, 3))
    instance = generator.sample(np.random.default_rng(seed))
    for suffix in ("json", "csv"):
        path = tmp_path_factory.mktemp("graphs") / f"{instance.name}.{suffix}"
        write_instance(instance, path)
        assert read_instance(path) == instance


#: A workflow of three tasks in the schema 1.5, the same in 1.3, in 1.0, and as Pegasus's of 1.4.
WORKFLOW: dict[str, Any] = {
    "name": "tiny",
    "schemaVersion": "1.5",
    "workflow": {
        "specification": {
            "tasks": [
                {"id": "a", "name": "A", "parents": [], "children": ["b", "c"],
                 "inputFiles": [], "outputFiles": ["x", "y"]},
                {"id": "b", "name": "B", "parents": ["a"], "children": [],
                 "inputFiles": ["x"], "outputFiles": ["z"]},
                {"id": "c", "name": "C", "parents": ["a"], "children": [],
                 "inputFiles": ["x", "y"], "outputFiles": []},
            ],
            "files": [
                {"id": "x", "sizeInBytes": 1000},
                {"id": "y", "sizeInBytes": 500},
                {"id": "z", "sizeInBytes": 9},
            ],
        },
        "execution": {
            "tasks": [
                {"id": "a", "runtimeInSeconds": 2.0},
                {"id": "b", "runtimeInSeconds": 0.5},
                {"id": "c", "runtimeInSeconds": 4},
            ]
        },
    },
}  # fmt: skip
OLD_WORKFLOW: dict[str, Any] = {
    "name": "tiny",
    "schemaVersion": "1.3",
    "workflow": {
        "tasks": [
            {"name": "a", "runtime": 2.0, "parents": [], "files": [
                {"link": "output", "name": "x", "size": 1000},
                {"link": "output", "name": "y", "size": 500}]},
            {"name": "b", "runtime": 0.5, "parents": ["a"], "files": [
                {"link": "input", "name": "x", "size": 1000},
                {"link": "output", "name": "z", "size": 9}]},
            {"name": "c", "runtimeInSeconds": 4, "parents": ["a"], "files": [
                {"link": "input", "name": "x", "size": 1000},
                {"link": "input", "name": "y", "size": 500}]},
        ]
    },
}  # fmt: skip


_OLD_TASKS = OLD_WORKFLOW["workflow"]["tasks"]
OLDEST_WORKFLOW = {**OLD_WORKFLOW, "workflow": {"jobs": _OLD_TASKS}}
#: Tasks have an id besides their name, and parents are names.
PEGASUS_WORKFLOW = {
    **OLD_WORKFLOW,
    "workflow": {
        "tasks": [
            {**task, "id": task["name"], "name": f"{task['name']}_ID",
             "parents": [f"{parent}_ID" for parent in task["parents"]]}
            for task in _OLD_TASKS
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "workflow",
    [WORKFLOW, OLD_WORKFLOW, OLDEST_WORKFLOW, PEGASUS_WORKFLOW],
    ids=["1.5", "1.3", "1.0", "pegasus"],
)
def test_a_workflow_by_hand(workflow: dict[str, Any]) -> None:
    """Two processors, one twice as fast; 100 bytes per tick of a millisecond."""
    platform = Platform(speeds=(1.0, 2.0), bandwidth_bytes_per_s=1e5)
    graph = parse_wfformat(json.dumps(workflow), "file", platform)
    assert graph.name == "tiny"
    assert graph.tasks == ("a", "b", "c")
    assert graph.costs.tolist() == [[2000, 1000], [500, 250], [4000, 2000]]
    assert graph.edges.tolist() == [[0, 1], [0, 2]]
    assert graph.volumes.tolist() == [1000, 1500]
    assert graph.delays[:, 1].tolist() == [10, 15]


def test_workflows_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(WORKFLOW))
    assert read_instance(path).num_processors == 4
    # a word in a name does not make a workflow of our own format
    graph = TaskGraphInstance.from_names({"workflow": [1]}, [])
    write_instance(graph, path)
    assert read_instance(path) == graph


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("workflow",), 3, "the document: workflow: found 3, expected an object"),
        (("workflow", "execution"), {}, "workflow.execution: tasks: found None"),
        (
            ("workflow", "execution", "tasks"),
            [{"id": "a", "runtimeInSeconds": -1}],
            r"workflow.execution.tasks\[0\]: runtimeInSeconds: found -1",
        ),
        (
            ("workflow", "execution", "tasks"),
            [{"id": "a", "runtimeInSeconds": 1}],
            "task 'b': found no run time",
        ),
        (
            ("workflow", "specification", "tasks"),
            [{"id": "a", "parents": ["q"]}],
            "edge 'q' -> 'a': unknown task 'q'",
        ),
        *(
            (
                ("workflow", "specification", "files"),
                [{"id": "x", "sizeInBytes": size}],
                r"workflow.specification: files\[0\]: sizeInBytes: found",
            )
            for size in ("big", -1, True, math.nan, math.inf, 2**54)
        ),
        (("workflow", "specification", "files"), None, "specification: files: found None"),
        (
            ("workflow", "specification", "files"),
            ["x"],
            r"files: found \['x'\], expected a list of",
        ),
        (
            ("workflow", "specification", "tasks"),
            [{"id": "a", "inputFiles": None}],
            "task 'a': inputFiles: found None, expected a list of names",
        ),
        (
            ("workflow",),
            {"tasks": [{"name": "a", "runtime": 1, "files": None}]},
            r"workflow.tasks\[0\]: files: found None, expected a list of objects",
        ),
    ],
)
def test_errors_in_workflows(path: tuple[str, ...], value: Any, message: str) -> None:
    data = json.loads(json.dumps(WORKFLOW))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InstanceError, match=message):
        parse_instance(json.dumps(data), "wfformat", "file")


def test_platforms_need_processors() -> None:
    with pytest.raises(UsageError, match="at least one speed"):
        Platform(speeds=())


def test_networkx_and_back() -> None:
    networkx = pytest.importorskip("networkx")
    assert from_networkx(to_networkx(HEFT_2002), name="heft-2002") == HEFT_2002
    graph = networkx.DiGraph()
    graph.add_node("a", costs=[1, 2])
    graph.add_edge("a", "b", volume=3)
    with pytest.raises(InstanceError, match="node 'b': missing attribute 'costs'"):
        from_networkx(graph)
    with pytest.raises(InstanceError, match="undirected"):
        from_networkx(networkx.Graph())


def test_solutions_are_written_three_ways(tmp_path: Path) -> None:
    solution = ListScheduler("heft").solve(HEFT_2002).solution
    files = write_solution(HEFT_2002, solution, tmp_path / "best.v1")
    assert [file.name for file in files] == ["best.v1.json", "best.v1.csv", "best.v1.trace.json"]
    data = json.loads(files[0].read_text())
    assert data["instance"] == "heft-2002"
    assert TaskGraphSolution.from_dict(data) == solution
    assert files[1].read_text().splitlines()[:2] == ["task,processor,start,end", "T1,P3,0,9"]
    wrong = TaskGraphSolution(solution.tasks[1:], *(c[1:] for c in (
        solution.processors, solution.starts, solution.ends)))  # fmt: skip
    with pytest.raises(InvalidSolutionError, match="missing"):
        write_solution(HEFT_2002, wrong, tmp_path / "bad")


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\n\n", "task\n", '{"workflow": []}'])
def test_what_is_no_task_graph(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(InstanceError, match=r"file\.json"):
        read_instance(path)


def test_csv_without_edges() -> None:
    assert format_csv(parse_instance("task,p\na,1\n", "csv", "x")) == "task,p\na,1\n"
