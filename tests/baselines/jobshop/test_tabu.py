"""Tabu search against CP-SAT, and what it promises about limits, seeds and interruption."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from makespan.baselines.jobshop import tabu_kernel
from makespan.baselines.jobshop.exact import CpSat
from makespan.baselines.jobshop.tabu import TabuSearch
from makespan.envs.core.errors import UsageError
from makespan.envs.core.solution import Result
from makespan.envs.jobshop.bounds import best_known
from makespan.envs.jobshop.examples import FT06, FT06_OPTIMUM
from makespan.envs.jobshop.generator import FlexibleJobShopGenerator, taillard_instance
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.solution import JobShopSolution
from makespan.tests.interrupt import ctrl_c_after


def solve(instance: JobShopInstance, seed: int = 0, **options: Any) -> Result[JobShopSolution]:
    """Search a number of moves; checks all that holds for any result."""
    solver = TabuSearch(**{"max_moves": 20_000, **options})
    result = solver.solve(instance, None, np.random.default_rng(seed))
    result.solution.validate(instance)
    assert result.lower_bound is not None
    assert result.lower_bound <= result.solution.makespan
    assert result.optimal == (result.lower_bound == result.solution.makespan)
    makespans = [makespan for _, makespan in result.details["improvements"]]
    assert makespans == sorted(set(makespans), reverse=True)
    assert makespans[-1] == result.solution.makespan == result.solution.objective(instance)
    return result


@st.composite
def instances(draw: st.DrawFn) -> JobShopInstance:
    """Up to five jobs; alternatives, durations of 0 and machines that come again are all there."""
    durations = st.integers(0, 9)
    most = draw(st.integers(1, 2))
    machines = st.lists(st.integers(0, 3), min_size=1, max_size=most, unique=True)
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    routes = [
        [[(m, draw(durations)) for m in draw(machines)] for _ in range(length)]
        for length in lengths
    ]
    return JobShopInstance.from_routes(routes, num_machines=4)


@pytest.mark.parametrize("neighbourhood", ["n5", "n6"])
@settings(max_examples=50)
@given(instance=instances(), seed=st.integers(0, 2**32))
def test_any_number_of_moves_gives_a_valid_schedule(
    neighbourhood: str, instance: JobShopInstance, seed: int
):
    result = solve(instance, seed, neighbourhood=neighbourhood, max_moves=200, stall_moves=20)
    assert result.details["moves"] <= 200


def random_instances(count: int) -> list[JobShopInstance]:
    """Of 4 to 5 jobs and 3 to 4 machines, every other one flexible."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(count):
        jobs, machines = int(rng.integers(4, 6)), int(rng.integers(3, 5))
        if k % 2:
            generator = FlexibleJobShopGenerator(jobs, machines, machines, (1, 2))
            found.append(generator.sample(rng))
        else:
            routes = rng.permuted(np.tile(np.arange(machines), (jobs, 1)), axis=1)
            durations = rng.integers(1, 20, routes.shape)
            found.append(JobShopInstance.from_matrices(routes, durations))
    return found


@pytest.mark.parametrize("neighbourhood", ["n5", "n6"])
def test_the_optimum_of_small_instances_is_reached(neighbourhood: str):
    for instance in random_instances(30):
        optimum = CpSat(workers=1).solve(instance, None, np.random.default_rng(0))
        assert optimum.optimal
        result = solve(instance, neighbourhood=neighbourhood, max_moves=3000, stall_moves=300)
        assert result.solution.makespan == optimum.solution.makespan


def test_ft06_and_a_large_instance_with_a_known_optimum():
    assert solve(FT06).solution.makespan == 55
    result = solve(taillard_instance("ta71"))
    assert result.solution.makespan <= 1.02 * 5464


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ta01", "ta02", "ta03"])
def test_taillard_15x15_within_two_percent(name: str):
    known = best_known(name)
    assert known is not None
    result = solve(taillard_instance(name), max_moves=300_000)
    assert result.solution.makespan <= 1.02 * known.upper_bound


def test_the_seed_determines_everything_but_the_times():
    instance = taillard_instance("ta01")
    first, second, other = (solve(instance, seed, stall_moves=1000) for seed in (1, 1, 2))
    assert first.solution == second.solution
    for count in ("moves", "evaluated", "runs"):
        assert first.details[count] == second.details[count]
    assert first.details["evaluated"] != other.details["evaluated"]


def test_limits_end_the_search():
    instance = taillard_instance("ta21")
    assert solve(instance, max_moves=777).details["moves"] == 777
    result = TabuSearch(time_limit_s=60).solve(instance, 0.5, np.random.default_rng(0))
    assert 0.5 <= result.seconds < 5
    assert result.details["moves"] > 0


@pytest.mark.parametrize("neighbourhood", ["n5", "n6"])
def test_runs_without_any_move_end_too(neighbourhood: str):
    stuck = [[(0, 3)], [(0, 0), (0, 0), (1, 1)], [(0, 3), (0, 3), (1, 3)]]
    result = solve(JobShopInstance.from_routes(stuck), neighbourhood=neighbourhood, max_moves=50)
    assert result.details["moves"] <= 50
    assert result.details["runs"] > 1


def test_a_proven_optimum_ends_the_search():
    one_machine = JobShopInstance.from_routes([[(0, 3)], [(0, 4)], [(0, 5)]])
    result = solve(one_machine)
    assert result.optimal
    assert result.solution.makespan == 12
    assert result.details["moves"] == 0


@dataclass(frozen=True)
class Given:
    """A solver that knows a schedule, and how long it may take."""

    solution: JobShopSolution
    name: str = "given"
    interrupted: bool = False
    limit: float | None = None

    def solve(self, instance: Any, time_limit_s: float | None, rng: Any) -> Result[JobShopSolution]:
        assert time_limit_s == self.limit
        return Result(self.solution, 0.0, details={"interrupted": self.interrupted})


def test_the_search_starts_from_a_given_schedule():
    result = solve(FT06, start=Given(FT06_OPTIMUM), max_moves=1)
    assert [makespan for _, makespan in result.details["improvements"]] == [55]


@pytest.mark.parametrize(("limit", "share"), [(8.0, 4.0), (None, None)])
def test_the_first_schedule_may_take_half_of_the_time(limit: float | None, share: float | None):
    given = Given(FT06_OPTIMUM, limit=share)
    result = solve(FT06, start=given, max_moves=1, time_limit_s=limit)
    assert result.solution.makespan == 55


def test_ctrl_c_in_the_first_schedule_ends_the_search():
    late = JobShopSolution.from_operations(FT06, FT06.machines, 10 * np.arange(36))
    result = solve(FT06, start=Given(late, interrupted=True))
    assert result.details["interrupted"]
    assert result.details["moves"] == 0


def test_a_given_start_may_be_better_packed():
    late = JobShopSolution.from_operations(FT06, FT06.machines, 10 * np.arange(36))
    result = solve(FT06, start=Given(late), max_moves=1)
    assert result.details["improvements"][0][1] < late.makespan


def test_ctrl_c_returns_the_best_schedule_so_far():
    instance = taillard_instance("ta21")
    solve(instance, max_moves=1)  # compile before the timer runs
    with ctrl_c_after(1.0):
        result = solve(instance, max_moves=None, time_limit_s=60)
    assert result.details["interrupted"]
    assert result.seconds < 30


def test_memory_is_linear_in_operations():
    def size(operations: int) -> int:
        return sum(array.nbytes for array in tabu_kernel.allocate_memory(operations, 0))

    assert size(64_000) < 1.1 * 64 * size(1_000)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"neighbourhood": "n7"}, "neighbourhood: found 'n7', expected n5 or n6"),
        ({"max_moves": 0}, "max_moves: found 0, expected at least 1"),
        ({"stall_moves": 0}, "stall_moves: found 0, expected at least 1"),
        ({"elites": 0}, "elites: found 0, expected at least 1"),
        ({"time_limit_s": -1.0}, "time_limit_s: found -1.0, expected more than 0"),
    ],
)
def test_options_outside_their_range_are_rejected(options: dict[str, Any], complaint: str):
    with pytest.raises(UsageError, match=complaint):
        TabuSearch(**options)
