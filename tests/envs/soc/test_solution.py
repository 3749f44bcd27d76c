"""The validator of schedules, and what a schedule is worth."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.baselines.soc.rules import RulePolicy
from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.core.rollout import rollout
from makespan.envs.soc.formats import read_solution, write_solution
from makespan.envs.soc.generator import StreamGenerator
from makespan.envs.soc.instance import StreamInstance, true_duration
from makespan.envs.soc.metrics import latencies
from makespan.envs.soc.platform import Platform
from makespan.envs.soc.problem import StreamProblem
from makespan.envs.soc.solution import COLUMNS, Row, StreamSolution
from makespan.tests.acceptance import accepts
from makespan.tests.soc_reference import random_stream


@pytest.fixture(scope="module")
def solved() -> tuple[StreamInstance, StreamSolution]:
    instance = StreamGenerator(jobs=(12, 12), cap=3, noise=(0.2, 0.2), scale=30).sample(
        np.random.default_rng(1)
    )
    problem = StreamProblem.for_instances([instance], "eager")
    (solution,) = rollout(problem, [instance], RulePolicy("etf"), np.random.default_rng(0))
    assert isinstance(solution, StreamSolution)
    return instance, solution


def changed(solution: StreamSolution, row: int, **values: int) -> StreamSolution:
    columns: dict[str, Any] = {name: getattr(solution, name).copy() for name in COLUMNS}
    for name, value in values.items():
        columns[name][row] = value
    return StreamSolution(**columns)


def violations(solution: StreamSolution, instance: StreamInstance) -> str:
    with pytest.raises(InvalidSolutionError) as error:
        solution.validate(instance)
    return str(error.value)


def test_a_valid_schedule_passes(solved: Any) -> None:
    instance, solution = solved
    solution.validate(instance)
    assert solution.objective(instance) == latencies(instance, solution).mean()


def test_a_missing_task_is_found(solved: Any) -> None:
    instance, solution = solved
    less = StreamSolution(*(getattr(solution, name)[:-1] for name in COLUMNS))
    assert "found 0 times, expected once" in violations(less, instance)


def test_a_repeated_task_is_found(solved: Any) -> None:
    instance, solution = solved
    more = StreamSolution(
        *(np.append(getattr(solution, name), getattr(solution, name)[0]) for name in COLUMNS)
    )
    assert "found 2 times, expected once" in violations(more, instance)


def test_an_unknown_task_is_found(solved: Any) -> None:
    instance, solution = solved
    assert "no such task or processor" in violations(changed(solution, 0, tasks=99), instance)
    assert "no such task" in violations(changed(solution, 0, processors=16), instance)


def test_a_wrong_processor_is_found(solved: Any) -> None:
    instance, solution = solved
    cpu = int(np.flatnonzero(solution.processors < 8)[0])
    assert "which cannot run it" in violations(changed(solution, cpu, processors=15), instance)


def test_a_wrong_duration_is_found(solved: Any) -> None:
    instance, solution = solved
    late = changed(solution, 0, ends=int(solution.ends[0]) + 1)
    assert "expected" in violations(late, instance)


def test_every_earlier_start_is_found(solved: Any) -> None:
    """The schedule is tight: no task can move ahead by itself."""
    instance, solution = solved
    for row in range(len(solution.jobs)):
        start, end = int(solution.starts[row]), int(solution.ends[row])
        if end > start:  # else nothing moves
            text = violations(changed(solution, row, starts=start - 1, ends=end - 1), instance)
            assert "overlap" in text or "starts before" in text


def test_jobs_enter_when_there_is_room(solved: Any) -> None:
    instance, solution = solved
    stays = solution.stays(instance)
    for job, stay in enumerate(stays):
        present = sum(other.entered <= stay.entered < other.left for other in stays[: job + 1])
        assert present <= instance.cap
    assert stays[3].entered >= min(stay.left for stay in stays[:3])


def is_valid(instance: StreamInstance, solution: StreamSolution) -> bool:
    """The definition, time unit by time unit, of rows that name tasks and processors there are."""
    rows, platform = sorted(solution.rows()), instance.platform
    firsts, types = platform.task_offsets.tolist(), instance.types.tolist()
    sizes = [firsts[k + 1] - firsts[k] for k in types[: instance.entering]]
    keys = [(row.job, row.task) for row in rows]
    whole = [(job, task) for job, size in enumerate(sizes) for task in range(size)]
    if len(set(keys)) < len(keys) or (not instance.horizon and keys != whole):
        return False
    by_key = dict(zip(keys, rows, strict=True))
    entered = entries(instance, by_key, sizes)
    for row in rows:
        first = firsts[types[row.job]]
        cost = int(platform.cost[first + row.task, platform.cluster_of[row.processor]])
        true = true_duration(cost, float(instance.factors[row.job, row.task]))
        if cost < 0 or row.end - row.start != true or row.start < entered[row.job]:
            return False
        if instance.horizon and row.start >= instance.horizon:
            return False
        for producer, consumer, volume in platform.edges.tolist():
            if consumer == first + row.task:
                before = by_key.get((row.job, producer - first))
                if before is None or row.start < before.end + moving(platform, before, row, volume):
                    return False
    return all(
        a is b or a.processor != b.processor or a.end <= b.start or b.end <= a.start
        for a in rows
        for b in rows
    )


def moving(platform: Platform, source: Row, target: Row, volume: int) -> int:
    """Time that data take from one processor to another."""
    if source.processor == target.processor:
        return volume // platform.same_core_bandwidth
    a, b = platform.cluster_of[[source.processor, target.processor]]
    return volume // int(platform.bandwidths[a, b])


def entries(
    instance: StreamInstance, rows: dict[tuple[int, int], Row], sizes: list[int]
) -> list[int]:
    """When each job enters: the first time at which its gap is over and the cap leaves room."""
    left: list[float] = []
    entered: list[int] = []
    for job, size in enumerate(sizes):
        time = (entered[-1] if entered else 0) + int(instance.gaps[job])
        while instance.cap and sum(gone > time for gone in left) >= instance.cap:
            time += 1
        entered.append(time)
        ends = [rows[job, task].end for task in range(size) if (job, task) in rows]
        left.append(max([time, *ends]) if len(ends) == size else math.inf)
    return entered


@given(seed=st.integers(0, 2**32), changes=st.data())
def test_it_accepts_what_the_definition_accepts(seed: int, changes: st.DataObject) -> None:
    """Schedules of ETF, and what a change of one of their rows makes of them."""
    instance = random_stream(np.random.default_rng(seed))
    problem = StreamProblem.for_instances([instance])
    (solution,) = rollout(problem, [instance], RulePolicy("etf"), np.random.default_rng(0))
    assert isinstance(solution, StreamSolution)
    if len(solution.jobs):
        row = changes.draw(st.integers(0, len(solution.jobs) - 1))
        by = changes.draw(st.sampled_from((0, 0, -1, 1, 5)))
        processor = changes.draw(st.integers(0, instance.platform.num_processors - 1))
        solution = changed(
            solution,
            row,
            starts=int(solution.starts[row]) + by,
            ends=int(solution.ends[row]) + by + changes.draw(st.sampled_from((0, 0, 0, 1))),
            processors=changes.draw(st.sampled_from((int(solution.processors[row]), processor))),
        )
    assert accepts(instance, solution) == is_valid(instance, solution)


def test_json_and_csv(solved: Any, tmp_path: Any) -> None:
    instance, solution = solved
    files = write_solution(instance, solution, tmp_path / "found")
    assert [file.name for file in files] == ["found.json", "found.csv", "found.trace.json"]
    assert read_solution(files[0]) == solution
    header, *lines = files[1].read_text().splitlines()
    assert header == "job,job_type,task,processor,start_us,end_us"
    assert len(lines) == len(solution.jobs)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "expected an object"),
        ({"kind": "x"}, "'kind': found 'x'"),
        ({"kind": "soc-schedule", "version": 1}, "'tasks': found None"),
        ({"kind": "soc-schedule", "version": 1, "tasks": [{}]}, r"tasks\[0\]: found {}"),
        (
            {
                "kind": "soc-schedule",
                "version": 1,
                "tasks": [{"job": 0, "task": 0, "processor": "a", "start": 0, "end": 1}],
            },
            "processor: found 'a'",
        ),
    ],
)
def test_broken_json_is_refused(data: Any, message: str) -> None:
    with pytest.raises(InvalidSolutionError, match=message):
        StreamSolution.from_dict(data)
