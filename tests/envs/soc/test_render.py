"""Pictures and traces of schedules."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makespan.baselines.soc.rules import RulePolicy
from makespan.envs.core.rollout import rollout
from makespan.envs.soc.generator import StreamGenerator
from makespan.envs.soc.problem import StreamProblem
from makespan.envs.soc.render import chrome_trace, draw, rgb_array
from makespan.tests.trace_format import check_trace


@pytest.fixture(scope="module")
def solved() -> Any:
    instance = StreamGenerator(jobs=(8, 8), scale=40).sample(np.random.default_rng(0))
    problem = StreamProblem.for_instances([instance])
    return instance, rollout(problem, [instance], RulePolicy("etf"), np.random.default_rng(0))[0]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_equal_schedules_give_equal_files(solved: Any, suffix: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in ("one", "other")]
    for path in paths:
        draw(*solved, path, policy="etf", lower_bound=100.0)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_empty_schedule_can_be_drawn() -> None:
    columns = {
        name: np.zeros(0, dtype=np.int64)
        for name in ("jobs", "tasks", "processors", "starts", "ends")
    }
    picture = rgb_array(columns, types=np.zeros(0, np.int32), num_types=2, num_processors=3)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3


def test_the_trace_has_every_task_and_matching_flows(solved: Any) -> None:
    instance, solution = solved
    trace = chrome_trace(instance, solution)
    check_trace(trace)
    events = trace["traceEvents"]
    bars = [event for event in events if event["ph"] == "X"]
    assert len(bars) == instance.num_tasks
    assert sorted((e["tid"], e["ts"], e["dur"]) for e in bars) == sorted(
        (row.processor, row.start, row.end - row.start) for row in solution.rows()
    )
    threads = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert threads == set(instance.platform.processor_names)
    assert any(event["ph"] == "s" for event in events)
    present = [e["args"]["value"] for e in events if e["ph"] == "C"]
    assert present[-1] == 0
    assert max(present) <= 12
