import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.envs.core.errors import InstanceError
from makespan.envs.jobshop.generator import FlexibleJobShopGenerator
from makespan.envs.jobshop.instance import MAX_MACHINES, MAX_TOTAL_DURATION, JobShopInstance

#: Two jobs; the second operation of the first can choose between two machines.
ROUTES: list[list[Any]] = [[(0, 3), [(1, 2), (0, 4)]], [(1, 1)]]

VALID: dict[str, Any] = {
    "kind": "job-shop",
    "version": 1,
    "name": "small",
    "machines": 2,
    "jobs": [
        [
            {"machine": 0, "duration": 3},
            [{"machine": 1, "duration": 2}, {"machine": 0, "duration": 4}],
        ],
        [{"machine": 1, "duration": 1}],
    ],
}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
instances = st.builds(
    lambda jobs, machines, seed: FlexibleJobShopGenerator(jobs, machines).sample(
        np.random.default_rng(seed)
    ),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(0, 2**32),
)


def arrays(**changed: Any) -> JobShopInstance:
    """An instance of two jobs with two operations and one operation, one field changed."""
    fields: dict[str, Any] = {
        "name": "arrays",
        "num_machines": 2,
        "job_offsets": [0, 2, 3],
        "alternative_offsets": [0, 1, 2, 3],
        "machines": [0, 1, 1],
        "durations": [3, 2, 1],
    }
    return JobShopInstance(**{**fields, **changed})


def replaced(data: Any, path: list[Any], value: Any) -> Any:
    """A copy of JSON data in which ``value`` stands at ``path``."""
    if not path:
        return value
    result = data.copy()
    result[path[0]] = replaced(data[path[0]], path[1:], value)
    return result


def test_routes_become_columns() -> None:
    instance = JobShopInstance.from_routes(ROUTES)
    assert (instance.num_jobs, instance.num_machines, instance.num_operations) == (2, 2, 3)
    assert instance.job_offsets.tolist() == [0, 2, 3]
    assert instance.alternative_offsets.tolist() == [0, 1, 3, 4]
    assert instance.machines.tolist() == [0, 1, 0, 1]
    assert instance.durations.tolist() == [3, 2, 4, 1]
    assert instance.min_durations.tolist() == [3, 2, 1]
    assert instance.job_of_operation.tolist() == [0, 0, 1]
    assert instance.is_flexible
    assert instance.max_alternatives == 2


def test_matrices_are_routes_of_equal_length() -> None:
    machines, durations = [[0, 1], [1, 0]], [[5, 6], [7, 8]]
    routes = [[(0, 5), (1, 6)], [(1, 7), (0, 8)]]
    instance = JobShopInstance.from_matrices(machines, durations)
    assert instance == JobShopInstance.from_routes(routes)
    assert not instance.is_flexible


def test_lists_and_other_integer_types_are_converted() -> None:
    converted = arrays(
        num_machines=np.int8(2),
        job_offsets=np.array([0, 2, 3], dtype=np.int64),
        machines=np.array([0, 1, 1], dtype=np.uint8),
        durations=np.array([3, 2, 1], dtype=">i2"),
    )
    assert converted == arrays()
    assert converted.machines.dtype == np.int32
    assert converted.durations.dtype == np.int64


def test_arrays_are_copied_and_read_only() -> None:
    durations = np.array([3, 2, 1])
    instance = arrays(durations=durations)
    durations[0] = 9
    assert instance.durations.tolist() == [3, 2, 1]
    with pytest.raises(ValueError, match="read-only"):
        instance.durations[0] = 9


@given(instances)
def test_the_json_form_is_read_back_equal(instance: JobShopInstance) -> None:
    assert JobShopInstance.from_dict(instance.to_dict()) == instance
    assert JobShopInstance.from_json(instance.to_json()) == instance


def test_the_json_form_is_what_a_person_would_write() -> None:
    instance = JobShopInstance.from_routes(ROUTES, name="small")
    assert instance.to_dict() == VALID


def test_a_machine_that_no_operation_uses_is_kept() -> None:
    instance = JobShopInstance.from_routes(ROUTES, num_machines=5)
    assert JobShopInstance.from_dict(instance.to_dict()).num_machines == 5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": 7}, "name: found 7, expected text"),
        ({"num_machines": 0}, "num_machines: found 0, expected an integer from 1"),
        ({"num_machines": MAX_MACHINES + 1}, "num_machines: found 1048577"),
        ({"num_machines": 1}, "job 0, operation 1: machine: found 1, expected 0 to 0"),
        ({"machines": [0, -1, 1]}, "job 0, operation 1: machine: found -1"),
        ({"machines": [0, 1]}, "alternative_offsets: found 0 to 3, expected .* end at 2"),
        ({"machines": [0.0, 1.0, 1.0]}, "machines: .*float64.*expected integers"),
        ({"machines": [[0, 1, 1]]}, r"machines: found the shape \(1, 3\)"),
        ({"machines": [[0], [1, 2]]}, "machines: found .*expected an array of integers"),
        ({"machines": [0, 2**31, 1]}, "machines: found 0 to 2147483648, expected values within"),
        ({"durations": [3, 2]}, "durations: found 2, expected 3"),
        ({"durations": [3, 2, -1]}, "job 1, operation 0: duration: found -1, expected 0 to"),
        ({"durations": [3, 2, 2**80]}, "durations: .*expected integers of at most 64 bits"),
        ({"durations": [MAX_TOTAL_DURATION, 2, 1]}, "durations: their total is 1073741827"),
        ({"job_offsets": [0]}, "jobs: found 0, expected at least 1"),
        ({"job_offsets": [0, 0, 3]}, "job_offsets: found 0 followed by 0 at index 0"),
        ({"job_offsets": [1, 2, 3]}, "job_offsets: found 1 to 3, expected to start at 0"),
        ({"alternative_offsets": []}, "alternative_offsets: found no operation"),
        ({"alternative_offsets": [0, 2, 1, 3]}, "alternative_offsets: found 2 followed by 1"),
    ],
)
def test_construction_names_the_field_at_fault(changed: Any, message: str) -> None:
    with pytest.raises(InstanceError, match=message):
        arrays(**changed)


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        (5, "routes: found 5, expected a list of jobs"),
        ([], "jobs: found 0|no operation"),
        ([[(0, 1)], []], "job 1: found no operation"),
        ([[(0, 1)], [[]]], "job 1, operation 0: found no alternative"),
        ([[(0, 1, 2)]], r"job 0, operation 0: found \(0, 1, 2\), expected \(machine, duration\)"),
        ([["ab"]], "job 0, operation 0: found 'ab', expected a list"),
        ([[(0, 1.5)]], "job 0, operation 0: duration: found 1.5, expected an integer"),
        ([[(0, True)]], "job 0, operation 0: duration: found True"),
        ([[(0, 10**12)]], "job 0, operation 0: duration: found 1000000000000"),
        ([[(-1, 1)]], "job 0, operation 0: machine: found -1"),
        ([[[(0, 1), (0, 2)]]], "job 0, operation 0: found machine 0 twice"),
    ],
)
def test_routes_name_the_operation_at_fault(routes: Any, message: str) -> None:
    with pytest.raises(InstanceError, match=message):
        JobShopInstance.from_routes(routes)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ([], [], "found list, expected an object"),
        (["kind"], "soc", "'kind': found 'soc', expected 'job-shop'"),
        (["version"], 2, "'version': found 2, expected 1"),
        (["name"], None, "name: found None, expected text"),
        (["machines"], "2", "'machines': found '2', expected an integer from 1 to 1048576"),
        (["machines"], -1, "'machines': found -1"),
        (["machines"], 1, "job 0, operation 1: machine: found 1, expected an integer from 0 to 0"),
        (["jobs"], {}, "'jobs': found {}, expected a list of jobs"),
        (["jobs"], [], "no operation"),
        (["jobs", 1], [], "job 1: found no operation"),
        (["jobs", 1], "text", "job 1: found 'text', expected a list of operations"),
        (["jobs", 1, 0], [], "job 1, operation 0: found no alternative"),
        (["jobs", 1, 0], 3, "job 1, operation 0: found 3, expected an object with 'machine'"),
        (["jobs", 1, 0], {"machine": 0}, "job 1, operation 0: missing 'duration'"),
        (
            ["jobs", 1, 0],
            {"machine": 0, "duration": 1, "setup": 1},
            "job 1, operation 0: found unknown field.* 'setup'",
        ),
        (["jobs", 0, 1, 0, "duration"], None, "job 0, operation 1: duration: found None"),
        (["jobs", 0, 1, 0, "machine"], 0, "job 0, operation 1: found machine 0 twice"),
    ],
)
def test_json_data_names_the_field_at_fault(path: list[Any], value: Any, message: str) -> None:
    with pytest.raises(InstanceError, match=message):
        JobShopInstance.from_dict(replaced(VALID, path, value))


@pytest.mark.parametrize("field", ["kind", "version", "machines", "jobs"])
def test_json_data_without_a_field_is_refused(field: str) -> None:
    with pytest.raises(InstanceError, match=field):
        JobShopInstance.from_dict({key: VALID[key] for key in VALID if key != field})


places = st.sampled_from(
    [
        *(["name"], ["machines"], ["jobs"], ["jobs", 0], ["jobs", 0, 1], ["jobs", 0, 1, 0]),
        *(["jobs", 1, 0], ["jobs", 1, 0, "machine"], ["jobs", 1, 0, "duration"]),
    ]
)


@given(places, json_values)
def test_whatever_stands_in_json_data_only_an_instance_error_comes_out(
    path: list[Any], value: Any
) -> None:
    data = replaced(VALID, path, value)
    try:
        instance = JobShopInstance.from_dict(data)
    except InstanceError:
        return
    assert JobShopInstance.from_dict(instance.to_dict()) == instance


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{\n'kind'", "line 2: not JSON"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps(VALID).replace('"duration": 3', f'"duration": {"9" * 5000}'), "not usable"),
    ],
)
def test_broken_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(InstanceError, match=message):
        JobShopInstance.from_json(text)
