"""The validator accepts what the simulator does and names what is wrong with anything else."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makespan.baselines.random import RandomPolicy
from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.core.rollout import rollout
from makespan.envs.routing.examples import example, simple_fleet
from makespan.envs.routing.formats import read_solution, write_solution
from makespan.envs.routing.instance import DECODE, PREFILL, RoutingInstance
from makespan.envs.routing.problem import RoutingProblem
from makespan.envs.routing.solution import RoutingSolution

INSTANCE = example(
    "checked", [(0.01 * i, 30 + i, 5 + i) for i in range(12)], replicas=3, kv_blocks=12
)
POOLS = example("pools", [(0.01 * i, 30, 5) for i in range(4)], replicas=2, roles=[PREFILL, DECODE])


def routed(instance: RoutingInstance) -> RoutingSolution:
    problem = RoutingProblem.for_instances([instance])
    solution = rollout(problem, [instance], RandomPolicy(), np.random.default_rng(1))[0]
    assert isinstance(solution, RoutingSolution)
    return solution


def changed(solution: RoutingSolution, column: str, index: int, value: Any) -> RoutingSolution:
    values = getattr(solution, column).copy()
    values[index] = value
    return dataclasses.replace(solution, **{column: values})


def test_what_the_simulator_did_is_valid() -> None:
    for instance in (INSTANCE, POOLS):
        routed(instance).validate(instance)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("replica", 7, "request 3: found replica 7, expected 0 to 2"),
        ("order", 0, "order: expected every rank from 0 to 11 once"),
        ("release", 0.0, "request 3: released -0.03"),
        ("release", 0.1, "request 3: released 0.0"),
        ("decoder", 1, r"request 3: found second replica 1, expected none \(-1\)"),
        ("end", 0.5, "request 3: end: found 0.5, expected"),
        ("first_token", 0.0, "request 3: first_token: found 0.0, expected"),
        ("preemptions", 9, "request 3: preemptions: found 9, expected"),
        ("cached", 16, "request 3: cached: found 16, expected 0"),
    ],
)
def test_what_is_wrong_is_named(column: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidSolutionError, match=message):
        changed(routed(INSTANCE), column, 3, value).validate(INSTANCE)


@pytest.mark.parametrize("column", ["first_token", "end", "release"])
def test_times_far_from_zero_are_checked_as_closely(column: str) -> None:
    """With a clock of seconds since 1970, a second is no error of rounding."""
    late = dataclasses.replace(INSTANCE, arrival=INSTANCE.arrival + 1.7e9)
    solution = routed(late)
    solution.validate(late)
    with pytest.raises(InvalidSolutionError, match=f"request 3: {column}"):
        changed(solution, column, 3, getattr(solution, column)[3] - 1).validate(late)


def test_nothing_is_released_before_it_arrives() -> None:
    solution = routed(INSTANCE)
    early = np.nextafter(INSTANCE.arrival[3], 0)
    with pytest.raises(InvalidSolutionError, match="request 3: released -"):
        changed(solution, "release", 3, early).validate(INSTANCE)


def test_a_replica_must_take_the_longest_response_that_there_may_be() -> None:
    """300 tokens and 50 fit into 25 blocks of 16, but it might have become 250."""
    fleet = simple_fleet(2)._replace(kv_blocks=np.array([25, 60]))
    instance = RoutingInstance.build([0.0], [300], [50], fleet, max_tokens=[250])
    solution = routed(instance)
    assert solution.replica[0] == 1
    with pytest.raises(InvalidSolutionError, match="request 0: needs 35 blocks, replica 0 has 25"):
        changed(solution, "replica", 0, 0).validate(instance)


def test_another_replica_gives_other_times() -> None:
    solution = routed(INSTANCE)
    other = (solution.replica[3] + 1) % 3
    with pytest.raises(InvalidSolutionError, match=r"first_token|end"):
        changed(solution, "replica", 3, other).validate(INSTANCE)


def test_another_order_of_the_queue_is_not_what_was_done() -> None:
    requests = [(0.0, 30, 20), (0.0, 30, 2), (0.0, 30, 9)]
    instance = example("order", requests, max_batch=1, max_holds=0)
    solution = routed(instance)
    solution.validate(instance)
    with pytest.raises(InvalidSolutionError, match="first_token"):
        dataclasses.replace(solution, queue="sjf").validate(instance)


def test_pools_are_checked() -> None:
    solution = routed(POOLS)
    with pytest.raises(InvalidSolutionError, match="replica 1 takes no prompts"):
        changed(solution, "replica", 0, 1).validate(POOLS)
    with pytest.raises(InvalidSolutionError, match="second replica 0, expected one that decodes"):
        changed(solution, "decoder", 0, 0).validate(POOLS)


def test_it_survives_files(tmp_path: Path) -> None:
    for instance in (INSTANCE, POOLS):
        solution = routed(instance)
        written = write_solution(instance, solution, tmp_path / instance.name)
        assert [path.suffix for path in written] == [".json", ".csv"]
        assert read_solution(written[0]) == solution
        assert len(written[1].read_text().splitlines()) == 1 + instance.num_requests


def test_malformed_data_are_refused(tmp_path: Path) -> None:
    data = routed(INSTANCE).to_dict()
    for broken, message in (
        ({**data, "kind": "recipe"}, "field 'kind': found 'recipe'"),
        ({**data, "queue": "lifo"}, "queue: found 'lifo'"),
        ({**data, "end": "soon"}, "column end: found 'soon'"),
        ({**data, "end": data["end"][:-1]}, "expected equal"),
        ({key: data[key] for key in data if key != "end"}, r"missing field\(s\) \['end'\]"),
        ([], "expected an object"),
    ):
        path = tmp_path / "solution.json"
        path.write_text(json.dumps(broken))
        with pytest.raises(InvalidSolutionError, match=message):
            read_solution(path)
    with pytest.raises(InvalidSolutionError, match="found 12 requests, expected 4"):
        routed(INSTANCE).validate(POOLS)
