"""Suites: fixed content, disjoint seeds, names."""

import pytest

from makespan.baselines.dag.lists import ListScheduler
from makespan.envs.core.errors import UnknownNameError
from makespan.envs.dag.bounds import best_known, lower_bound
from makespan.envs.dag.examples import HEFT_2002, PEFT_2014
from makespan.envs.dag.suites import SUITES, load_instance

SIZES = {
    "golden": 2,
    "validation": 60,
    "layered-30": 50,
    "layered-100": 50,
    "layered-30-100": 100,
    "layered-1000": 10,
    "linear-algebra": 30,
    "structured": 30,
    "workflows": 30,
    "pipeline": 8,
}


def test_every_suite_is_listed_here() -> None:
    assert set(SUITES) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_suites_are_what_they_were(name: str) -> None:
    instances = SUITES[name]()
    assert len(instances) == SIZES[name]
    assert len({instance.name for instance in instances}) == SIZES[name]
    assert len({instance.content_hash() for instance in instances}) == SIZES[name]
    for instance in instances[:3]:
        assert load_instance(instance.name) == instance


def test_instances_of_different_suites_differ() -> None:
    hashes = [instance.content_hash() for make in SUITES.values() for instance in make()]
    assert len(set(hashes)) == len(hashes)


def test_bounds_of_the_worked_examples() -> None:
    """By the dynamic program 54 and 85 (through the entry task), here through every task."""
    assert lower_bound(HEFT_2002) == 54
    assert lower_bound(PEFT_2014) == 86


def test_best_known_bounds_of_the_layered_suite_are_possible() -> None:
    closed = 0
    for instance in SUITES["layered-30"]():
        known = best_known(instance.name)
        assert known is not None
        assert lower_bound(instance) <= known.lower_bound <= known.upper_bound
        assert known.upper_bound <= ListScheduler("heft").solve(instance).solution.makespan
        closed += known.closed
    assert closed >= 48


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean heft-2002"):
        load_instance("heft-2020")
