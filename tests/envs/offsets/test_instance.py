"""The instance: what it holds, its sections, and every way in which it can be broken."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from makespan.envs.core.errors import InstanceError
from makespan.envs.offsets.examples import ALIGNED, EXAMPLES, FIVE, FRAGMENTED, WITH_FIXED
from makespan.envs.offsets.instance import MAX_VALUE, OffsetInstance
from makespan.tests.offsets_reference import buffers_of, instances


def test_sections_are_the_largest_sets_of_buffers_alive_together() -> None:
    """b1 and b3 and b5 until 3, then b2 for b1, then b4 for b2 and b3."""
    assert FIVE.section_starts.tolist() == [0, 3, 9]
    assert FIVE.first_section.tolist() == [0, 1, 0, 2, 0]
    assert FIVE.last_section.tolist() == [1, 2, 2, 3, 3]
    assert FIVE.loads.tolist() == [12, 12, 8]
    assert FIVE.max_load == 12
    assert FIVE.sizes == (5, 3)


@given(instances())
def test_two_buffers_meet_if_and_only_if_they_share_a_section(instance: OffsetInstance) -> None:
    buffers = buffers_of(instance)
    first, last = instance.first_section, instance.last_section
    for i, one in enumerate(buffers):
        for j, other in enumerate(buffers):
            assert one.meets(other) == bool(first[i] < last[j] and first[j] < last[i])


@given(instances())
def test_the_largest_load_is_that_of_some_begin(instance: OffsetInstance) -> None:
    buffers = buffers_of(instance)
    loads = [sum(b.size for b in buffers if b.lower <= t < b.upper) for t in instance.lower]
    assert instance.max_load == max(loads)


def test_identical_buffers_know_the_one_before_them() -> None:
    instance = OffsetInstance.from_columns(
        [0, 1, 0, 0, 0], [2, 2, 2, 2, 2], [3, 3, 3, 4, 3], alignment=[1, 1, 1, 1, 1]
    )
    assert instance.identical_before.tolist() == [-1, -1, 0, -1, 2]


@pytest.mark.parametrize("instance", EXAMPLES.values(), ids=lambda instance: instance.name)
def test_json_gives_the_instance_back(instance: OffsetInstance) -> None:
    assert OffsetInstance.from_json(instance.to_json()) == instance


def test_plain_data_leave_out_what_is_usual() -> None:
    data = WITH_FIXED.to_dict()
    assert data["buffers"][0] == {"id": "a", "lower": 0, "upper": 4, "size": 3}
    assert data["buffers"][2]["offset"] == 5
    assert ALIGNED.to_dict()["buffers"][1]["alignment"] == 4


def build(**changes: Any) -> OffsetInstance:
    columns: dict[str, Any] = {"lower": [0, 1], "upper": [3, 4], "size": [2, 5], **changes}
    return OffsetInstance.from_columns(**columns)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"upper": [3, 1]}, "buffer 1: found the live range 1 to 1, expected lower < upper"),
        ({"upper": [3, 0]}, "buffer 1: upper: found 0, expected 1 to"),
        ({"lower": [0, -1]}, "buffer 1: lower: found -1, expected 0 to"),
        ({"size": [2, -5]}, "buffer 1: size: found -5, expected 1 to"),
        ({"size": [0, 5]}, "buffer 0: size: found 0, expected 1 to"),
        ({"size": [2, MAX_VALUE]}, "size: sizes and alignments sum to"),
        ({"size": [2.5, 1]}, "size: found .*, expected a vector of integers"),
        ({"size": [[2], [3]]}, "size: found .*, expected a vector of integers"),
        ({"size": [2]}, "lower: found 2, expected 1, one per buffer|ids: found"),
        ({"size": [2, 5], "capacity": 4}, "buffer 1: size: found 5, expected at most the capacity"),
        ({"capacity": -1}, "capacity: found -1, expected an integer from 0"),
        ({"alignment": [1, 0]}, "buffer 1: alignment: found 0, expected 1 to"),
        ({"offset": [-1, -2]}, "buffer 1: offset: found -2, expected 0 to"),
        ({"offset": [-1, 3], "alignment": [1, 2]}, "buffer 1: offset: found 3, expected a multi"),
        ({"offset": [-1, 3], "capacity": 7}, "buffer 1: offset: found 3, expected its end within"),
        ({"offset": [0, 1]}, "buffer 0 and buffer 1: found overlapping fixed offsets 0 and 1"),
        ({"offset": [0, 2]}, "offset: found every offset fixed, expected one to choose"),
        ({"ids": ["a", "a"]}, "buffer a: found twice, expected distinct ids"),
        ({"ids": ["a"]}, "ids: found 1, expected 2"),
        ({"lower": [], "upper": [], "size": []}, "buffers: found 0, expected 1 to"),
        ({"name": 3}, "name: found 3, expected text"),
    ],
)
def test_broken_instances_are_refused_with_the_buffer(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InstanceError, match=message):
        build(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "job-shop"}, "field 'kind': found 'job-shop'"),
        ({"version": 9}, "field 'version': found 9"),
        ({"buffers": 3}, "field 'buffers': found 3, expected a list"),
        ({"buffers": [3]}, r"buffers\[0\]: found 3, expected an object"),
        ({"buffers": [{"lower": 0, "upper": 1}]}, r"buffers\[0\]: missing 'size'"),
        ({"extra": 1}, "instance: found unknown field"),
        (
            {"buffers": [{"lower": 0, "upper": 1, "size": "x"}]},
            r"buffers\[0\]: size: found 'x', expected an integer from 1",
        ),
        ({"capacity": True}, "capacity: found True"),
        *(
            (
                {"buffers": [{"id": label, "lower": 0, "upper": 1, "size": 1}]},
                rf"buffers\[0\]: id: found {re.escape(str(label))}, expected text or an integer",
            )
            for label in (None, [1], True)
        ),
    ],
)
def test_broken_plain_data_are_refused_with_the_field(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InstanceError, match=message):
        OffsetInstance.from_dict({**FRAGMENTED.to_dict(), **changes})


def test_arrays_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        FIVE.nbytes[0] = 1
    assert FIVE.nbytes.dtype == np.int64
