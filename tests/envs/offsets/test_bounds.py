"""Lower bounds against worked examples and brute force."""

from hypothesis import given, settings

from makespan.envs.offsets.bounds import best_known, lower_bound
from makespan.envs.offsets.examples import ALIGNED, EXAMPLES, FIVE, OPTIMA, WITH_FIXED
from makespan.envs.offsets.instance import OffsetInstance
from makespan.tests.offsets_reference import instances, optimum


def test_the_bounds_of_the_examples() -> None:
    assert {name: lower_bound(instance) for name, instance in EXAMPLES.items()} == OPTIMA


def test_where_the_bounds_come_from() -> None:
    assert ALIGNED.max_load == 10  # rounded up to multiples of 4 but for the size 5: 4 + 5 + 4
    assert WITH_FIXED.max_load == 7
    high = OffsetInstance.from_columns([0, 5], [1, 6], [2, 2], offset=[-1, 20])
    assert lower_bound(high) == 22
    # b, of 6 bytes, has no room below the fixed 5 to 7; c is put above it
    above = OffsetInstance.from_columns([0] * 3, [2] * 3, [2, 6, 1], offset=[5, -1, -1])
    assert lower_bound(above) == 13
    aligned = OffsetInstance.from_columns(
        [0] * 2, [2] * 2, [2, 6], offset=[4, -1], alignment=[1, 8]
    )
    assert lower_bound(aligned) == 14
    roomy = OffsetInstance.from_columns([0], [1], [3], capacity=9)
    assert lower_bound(roomy) == 9
    assert FIVE.max_load == lower_bound(FIVE) == 12


@settings(max_examples=60)
@given(instances(most=6, fixed=True))
def test_no_arrangement_is_below_the_bound(instance: OffsetInstance) -> None:
    assert instance.max_load <= lower_bound(instance) <= optimum(instance)


def test_nothing_is_published_about_generated_instances() -> None:
    assert best_known("cuts-1") is None
