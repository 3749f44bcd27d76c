from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.envs.core.family import BestKnown
from makespan.envs.jobshop.bounds import best_known, lower_bound
from makespan.envs.jobshop.examples import FT06, WAITING_PAYS
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.suites import load_instance


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ([[(0, 3), (1, 4)]], 7),  # a job
        ([[(0, 3)], [(0, 4)]], 7),  # a machine
        ([[(0, 2), (1, 5)], [(0, 3), (1, 6)]], 13),  # machine 1: head 2, work 11
        ([[(1, 5), (0, 2)], [(1, 6), (0, 3)]], 13),  # machine 1: work 11, tail 2
        ([[[(0, 3), (1, 9)]], [[(0, 3), (1, 9)]]], 3),  # the shortest durations of two machines
        ([[[(0, 3), (1, 3)]]] * 3, 5),  # 9 units of work for two machines
        ([[(0, 2), [(1, 3), (2, 3)]]] * 5, 13),  # machine 0: work 10, tail 3
        # 42 units of work; machines 0 and 1 begin at 6, the others end 8 before the end: 78 / 5
        ([[(machine, 6), [(0, 8), (1, 8)]] for machine in (2, 3, 4)], 16),
    ],
)
def test_the_bound_by_hand(routes: Any, expected: int) -> None:
    assert lower_bound(JobShopInstance.from_routes(routes)) == expected


def test_bounds_of_published_instances() -> None:
    assert lower_bound(FT06) == 52
    assert lower_bound(WAITING_PAYS) == 14
    # The lower bounds in the paper of Taillard (1993), by the same formula.
    assert [lower_bound(load_instance(name)) for name in ("ta01", "ta31", "ta71")] == [
        1005,
        1764,
        5464,
    ]


def optimum(routes: list[list[list[tuple[int, int]]]]) -> int:
    """The best makespan over all choices and orders, appending operation after operation."""
    best = 10**9

    def extend(done: tuple[int, ...], job_free: Any, machine_free: Any) -> None:
        nonlocal best
        if all(count == len(route) for count, route in zip(done, routes, strict=True)):
            best = min(best, max(job_free))
        for job, route in enumerate(routes):
            if done[job] < len(route):
                for machine, duration in route[done[job]]:
                    end = max(job_free[job], machine_free[machine]) + duration
                    extend(
                        (*done[:job], done[job] + 1, *done[job + 1 :]),
                        (*job_free[:job], end, *job_free[job + 1 :]),
                        (*machine_free[:machine], end, *machine_free[machine + 1 :]),
                    )

    extend((0,) * len(routes), (0,) * len(routes), (0, 0))
    return best


alternatives = st.dictionaries(st.integers(0, 1), st.integers(0, 9), min_size=1).map(
    lambda table: list(table.items())
)


@given(st.lists(st.lists(alternatives, min_size=1, max_size=2), min_size=1, max_size=3))
def test_the_bound_is_at_most_the_optimum(routes: list[list[list[tuple[int, int]]]]) -> None:
    instance = JobShopInstance.from_routes(routes, num_machines=2)
    assert lower_bound(instance) <= optimum(routes)


def test_the_bound_does_not_depend_on_numbering() -> None:
    routes = [[[(0, 4), (2, 5)], [(1, 3)]], [[(1, 6)], [(0, 2), (1, 3), (2, 9)]], [[(2, 7)]]]
    bounds = set()
    for order, relabel in product(([0, 1, 2], [2, 0, 1]), ([0, 1, 2], [1, 2, 0])):
        changed = [
            [[(relabel[m], d) for m, d in operation] for operation in routes[job]] for job in order
        ]
        bounds.add(lower_bound(JobShopInstance.from_routes(changed)))
    assert len(bounds) == 1


def test_known_bounds_have_a_date_and_a_source() -> None:
    assert best_known("ta41") == BestKnown(
        lower_bound=1926,
        upper_bound=2005,
        as_of="2026-08-19",
        source="ScheduleOpt/benchmarks jobshop/solutions/bks.json",
    )
    ft06, mk10 = best_known("ft06"), best_known("mk10")
    assert ft06 is not None
    assert ft06.closed
    assert mk10 is not None
    assert (mk10.lower_bound, mk10.upper_bound, mk10.closed) == (189, 193, False)
    assert best_known("my-own-instance") is None
