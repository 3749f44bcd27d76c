"""Lower bounds by hand; that they are below every optimum is tested with CP-SAT."""

import numpy as np

from makespan.baselines.dag.lists import ListScheduler
from makespan.envs.dag.bounds import best_known, lower_bound, schedule_length_ratio
from makespan.envs.dag.examples import HEFT_2002
from makespan.envs.dag.instance import TaskGraphInstance


def test_the_path_bound_counts_communication() -> None:
    """a is cheap on p, b on q: staying costs 2 + 9 or 8 + 3, moving 2 + 5 + 3."""
    graph = TaskGraphInstance.from_arrays([[2, 8], [9, 3]], [(0, 1)], [5])
    assert lower_bound(graph) == 10
    far = TaskGraphInstance.from_arrays([[2, 8], [9, 3]], [(0, 1)], [7])
    assert lower_bound(far) == 11


def test_the_area_bound_shares_the_work() -> None:
    assert lower_bound(TaskGraphInstance.from_arrays(np.full((5, 2), 3))) == 8


def test_the_load_bound_counts_what_only_one_processor_can_do() -> None:
    graph = TaskGraphInstance.from_arrays([[4, -1], [4, -1], [4, -1], [1, 1]])
    assert lower_bound(graph) == 12


def test_the_schedule_length_ratio_of_heft_on_its_example() -> None:
    """The longest chain of cheapest costs is T1, T3, T7, T10 or T1, T2, T9, T10: 9+13+12+7 = 41."""
    solution = ListScheduler("heft").solve(HEFT_2002).solution
    assert schedule_length_ratio(HEFT_2002, solution) == 80 / 41


def test_optima_are_known_of_worked_examples_only() -> None:
    assert best_known("nothing") is None
    assert {best_known(n).upper_bound for n in ("heft-2002", "peft-2014")} == {73, 113}  # type: ignore[union-attr]
