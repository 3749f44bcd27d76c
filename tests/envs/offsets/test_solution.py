"""The validator: worked examples, and what it says of solutions with one thing wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.envs.core.errors import InvalidSolutionError
from makespan.envs.core.solution import Solution
from makespan.envs.offsets.examples import ALIGNED, FIVE, FRAGMENTED, WITH_FIXED
from makespan.envs.offsets.instance import OffsetInstance
from makespan.envs.offsets.solution import OffsetSolution
from makespan.tests.offsets_reference import Memory, buffers_of, instances


def violations(instance: OffsetInstance, *offsets: int) -> list[str]:
    with pytest.raises(InvalidSolutionError) as caught:
        OffsetSolution(np.array(offsets)).validate(instance)
    return caught.value.violations


def test_the_best_offsets_of_the_examples_by_hand() -> None:
    for instance, offsets, peak in (
        (FRAGMENTED, [0, 4, 0], 6),
        (FIVE, [8, 8, 4, 4, 0], 12),
        (WITH_FIXED, [0, 3, 5, 3], 7),
        (ALIGNED, [4, 8, 0], 13),
    ):
        solution = OffsetSolution(np.array(offsets))
        solution.validate(instance)
        assert solution.peak(instance) == solution.objective(instance) == peak
        assert solution.fits(instance)


def test_it_keeps_the_contract_of_solutions() -> None:
    assert isinstance(OffsetSolution(np.zeros(1, np.int64)), Solution)


def test_a_capacity_is_as_good_as_a_peak_below_it() -> None:
    roomy = OffsetInstance.from_columns([0, 0], [1, 1], [2, 3], capacity=8)
    assert OffsetSolution(np.array([0, 2])).objective(roomy) == 8
    above = OffsetSolution(np.array([0, 7]))
    above.validate(roomy)  # does not fit, but is no contradiction
    assert above.objective(roomy) == above.peak(roomy) == 10
    assert not above.fits(roomy)


def test_an_overlap_is_named_with_time_and_bytes() -> None:
    assert violations(FRAGMENTED, 0, 1, 0) == [
        "buffer a (time 0 to 3, bytes 0 to 2) and buffer b (time 1 to 6, bytes 1 to 3) overlap",
        "buffer b (time 1 to 6, bytes 1 to 3) and buffer c (time 3 to 5, bytes 0 to 4) overlap",
    ]


def test_buffers_that_touch_do_not_overlap() -> None:
    OffsetSolution(np.array([0, 2, 4])).validate(FRAGMENTED)


def test_what_is_wrong_with_a_buffer_by_itself() -> None:
    assert violations(FRAGMENTED, -1, 4, 0)[0] == "buffer a: found offset -1, expected at least 0"
    assert violations(ALIGNED, 4, 10, 0) == [
        "buffer 1: found offset 10, expected a multiple of 4",
    ]
    assert violations(WITH_FIXED, 0, 3, 9, 3) == [
        "buffer c: found offset 9, expected the fixed offset 5"
    ]
    assert violations(FRAGMENTED, 0, 4) == ["found 2 offsets, expected 3"]


@pytest.mark.parametrize("offsets", [[0.5, 1.0], [[1], [2]], "ab", [2**70, 0], [True, False]])
def test_offsets_must_be_integers(offsets: object) -> None:
    with pytest.raises(InvalidSolutionError, match="offsets: found"):
        OffsetSolution(np.array(offsets))


@given(instances(), st.data())
def test_a_mutant_is_caught_if_and_only_if_it_breaks_the_definition(
    instance: OffsetInstance, data: st.DataObject
) -> None:
    memory = Memory(instance)
    for j in memory.left():
        memory.place(j)
    offsets = [memory.offsets[j] for j in range(instance.num_buffers)]
    OffsetSolution(np.array(offsets)).validate(instance)
    changed = data.draw(st.integers(0, len(offsets) - 1))
    offsets[changed] = data.draw(st.integers(-2, 30))
    buffers = buffers_of(instance)
    one, begin = buffers[changed], offsets[changed]
    broken = begin < 0 or begin % one.alignment != 0
    for other, offset in zip(buffers, offsets, strict=True):
        if other is not one and other.meets(one):
            broken |= begin < offset + other.size and offset < begin + one.size
    if broken:
        assert violations(instance, *offsets)
    else:
        OffsetSolution(np.array(offsets)).validate(instance)


def test_plain_data_give_the_solution_back() -> None:
    solution = OffsetSolution(np.array([4, 0, 2]))
    assert OffsetSolution.from_dict(solution.to_dict()) == solution
    assert hash(OffsetSolution.from_dict(solution.to_dict())) == hash(solution)
    assert solution != OffsetSolution(np.array([4, 0, 3]))
    for data, message in (
        ([], "expected an object"),
        ({**solution.to_dict(), "kind": "x"}, "field 'kind'"),
        ({**solution.to_dict(), "offsets": 3}, "field 'offsets': found 3"),
        ({**solution.to_dict(), "offsets": ["x"]}, "offsets: found"),
    ):
        with pytest.raises(InvalidSolutionError, match=message):
            OffsetSolution.from_dict(data)  # type: ignore[arg-type]
