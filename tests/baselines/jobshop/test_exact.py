"""CP-SAT against brute force and published optima."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from makespan.baselines.jobshop.exact import CpSat
from makespan.envs.core.errors import MakespanError, UsageError
from makespan.envs.core.solution import Result
from makespan.envs.jobshop.examples import FT06, FT06_OPTIMUM
from makespan.envs.jobshop.generator import taillard_instance
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.solution import JobShopSolution
from makespan.envs.jobshop.suites import load_instance
from makespan.tests.interrupt import ctrl_c_after


def solve(instance: JobShopInstance, seed: int = 0, **options: Any) -> Result[JobShopSolution]:
    """Solve with one thread; checks all that holds for any result."""
    solver = CpSat(**{"workers": 1, **options})
    result = solver.solve(instance, None, np.random.default_rng(seed))
    result.solution.validate(instance)
    assert result.lower_bound is not None
    assert result.lower_bound <= result.solution.makespan
    assert not result.optimal or result.lower_bound == result.solution.makespan
    makespans = [makespan for _, makespan in result.details["improvements"]]
    assert makespans == sorted(set(makespans), reverse=True)
    assert makespans[-1] == result.solution.makespan
    return result


def brute_force(instance: JobShopInstance) -> int:
    """The optimum: every choice of alternatives, started as early as can be in every order."""
    jobs = [
        [
            list(
                zip(instance.machines[a:b].tolist(), instance.durations[a:b].tolist(), strict=True)
            )
            for a, b in zip(
                instance.alternative_offsets[first:last],
                instance.alternative_offsets[first + 1 : last + 1],
                strict=True,
            )
        ]
        for first, last in zip(instance.job_offsets[:-1], instance.job_offsets[1:], strict=True)
    ]
    best = int(instance.durations.sum())

    def extend(done: list[int], job_ready: list[int], machine_ready: list[int]) -> None:
        nonlocal best
        if max(job_ready) >= best:
            return
        if done == [len(job) for job in jobs]:
            best = max(job_ready)
        for j, job in enumerate(jobs):
            if done[j] == len(job):
                continue
            for machine, duration in job[done[j]]:
                end = max(job_ready[j], machine_ready[machine]) + duration
                extend(
                    [*done[:j], done[j] + 1, *done[j + 1 :]],
                    [*job_ready[:j], end, *job_ready[j + 1 :]],
                    [*machine_ready[:machine], end, *machine_ready[machine + 1 :]],
                )

    extend([0] * len(jobs), [0] * len(jobs), [0] * instance.num_machines)
    return best


@st.composite
def small_instances(draw: st.DrawFn) -> JobShopInstance:
    """Up to three jobs of three operations; durations may be 0, machines may come again."""
    durations = st.integers(0, 6)
    machines = st.lists(st.integers(0, 2), min_size=1, max_size=2, unique=True)
    lengths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    routes = [
        [[(m, draw(durations)) for m in draw(machines)] for _ in range(length)]
        for length in lengths
    ]
    return JobShopInstance.from_routes(routes, num_machines=3)


@settings(max_examples=40)
@given(small_instances())
def test_the_optimum_of_small_instances(instance: JobShopInstance):
    result = solve(instance)
    assert result.optimal
    assert result.solution.makespan == brute_force(instance)


def test_worked_examples():
    waiting_pays = [[(0, 1), (1, 2), (2, 10)], [(1, 8), (0, 1), (2, 1)]]
    assert solve(JobShopInstance.from_routes(waiting_pays)).solution.makespan == 14
    result = solve(FT06)
    assert (result.solution.makespan, result.lower_bound, result.optimal) == (55, 55, True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "optimum"), [("ft10", 930), ("ft20", 1165)])
def test_published_optima(name: str, optimum: int):
    result = solve(load_instance(name), workers=None, time_limit_s=300)
    assert (result.solution.makespan, result.optimal) == (optimum, True)


@dataclass(frozen=True)
class Given:
    """A solver that knows a schedule, and how long it may take."""

    solution: JobShopSolution
    name: str = "given"
    interrupted: bool = False

    def solve(self, instance: Any, time_limit_s: float | None, rng: Any) -> Result[JobShopSolution]:
        assert time_limit_s is not None
        assert time_limit_s <= 5
        return Result(self.solution, 0.0, details={"interrupted": self.interrupted})


def one_after_the_other(instance: JobShopInstance) -> JobShopSolution:
    """The operations job by job, never two at a time."""
    ends = instance.durations.cumsum()
    return JobShopSolution.from_operations(instance, instance.machines, ends - instance.durations)


def test_a_hint_is_where_the_search_starts():
    result = solve(FT06, hint=Given(FT06_OPTIMUM))
    assert [makespan for _, makespan in result.details["improvements"]] == [55]
    assert result.optimal
    worst = one_after_the_other(FT06)
    result = solve(FT06, hint=Given(worst))
    assert result.details["improvements"][0][1] == worst.makespan == 197
    assert result.optimal


def test_ctrl_c_while_the_hint_is_sought_ends_the_whole_search():
    result = solve(FT06, hint=Given(one_after_the_other(FT06), interrupted=True))
    assert result.solution == one_after_the_other(FT06)
    assert result.details["interrupted"]


def test_without_a_schedule_in_time_the_hint_is_returned():
    instance = taillard_instance("ta71")
    hint = one_after_the_other(instance)
    result = solve(instance, hint=Given(hint), time_limit_s=1e-3)
    assert result.solution == hint
    assert not result.optimal


def test_without_a_schedule_in_time_and_a_hint_it_says_so():
    with pytest.raises(MakespanError, match=r"ta71: CP-SAT found none within 0.001 s.*hint"):
        solve(taillard_instance("ta71"), time_limit_s=1e-3)


@pytest.mark.parametrize(("own", "given"), [(60, 0.3), (0.3, 60), (0.3, None), (None, 0.3)])
def test_the_smaller_limit_counts(own: float | None, given: float | None):
    instance = taillard_instance("ta01")
    hint = Given(one_after_the_other(instance))  # a slow machine may find no schedule in time
    solver = CpSat(workers=1, time_limit_s=own, hint=hint)
    result = solver.solve(instance, given, np.random.default_rng(0))
    assert result.seconds < 10
    assert not result.optimal


def test_one_thread_gives_the_same_schedule_for_the_same_seed():
    assert solve(FT06, seed=3).solution == solve(FT06, seed=3).solution


def test_ctrl_c_returns_the_best_schedule_so_far():
    solve(FT06)  # import the solver before the timer runs
    instance = taillard_instance("ta21")
    with ctrl_c_after(1.0):
        result = solve(instance, hint=None, time_limit_s=60)
    assert result.details["interrupted"]
    assert result.seconds < 30


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"workers": 0}, "workers: found 0, expected at least 1"),
        ({"time_limit_s": 0.0}, "time_limit_s: found 0.0, expected more than 0"),
        ({"time_limit_s": float("nan")}, "time_limit_s: found nan, expected more than 0"),
    ],
)
def test_options_outside_their_range_are_rejected(options: dict[str, Any], complaint: str):
    with pytest.raises(UsageError, match=complaint):
        CpSat(**options)
