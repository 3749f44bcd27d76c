from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.jobshop.generator import (
    FlexibleJobShopGenerator,
    JobShopGenerator,
    taillard_instance,
)
from makespan.envs.jobshop.instance import JobShopInstance


def samples(generator: Any, count: int, seed: int = 0) -> list[JobShopInstance]:
    rng = np.random.default_rng(seed)
    return [generator.sample(rng) for _ in range(count)]


def routes(instance: JobShopInstance) -> list[list[int]]:
    return [part.tolist() for part in np.split(instance.machines, instance.job_offsets[1:-1])]


@pytest.mark.parametrize(
    "generator", [JobShopGenerator((2, 5), (3, 6)), FlexibleJobShopGenerator((2, 5), (3, 6))]
)
def test_the_same_random_state_gives_the_same_instances(generator: Any) -> None:
    assert samples(generator, 5) == samples(generator, 5)
    assert samples(generator, 5) != samples(generator, 5, seed=1)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32))
def test_every_job_visits_every_machine_once(jobs: int, machines: int, seed: int) -> None:
    (instance,) = samples(JobShopGenerator(jobs, machines), 1, seed)
    assert (instance.num_jobs, instance.num_machines) == (jobs, machines)
    assert all(sorted(route) == list(range(machines)) for route in routes(instance))


def test_sizes_and_durations_fill_their_ranges_and_no_more() -> None:
    drawn = samples(JobShopGenerator((2, 4), (3, 5), durations=(5, 8)), 200)
    assert {instance.num_jobs for instance in drawn} == {2, 3, 4}
    assert {instance.num_machines for instance in drawn} == {3, 4, 5}
    assert set(np.concatenate([instance.durations for instance in drawn])) == {5, 6, 7, 8}


def test_all_routes_are_equally_likely() -> None:
    drawn = samples(JobShopGenerator(100, 3), 60)
    found, counts = np.unique(
        [route for instance in drawn for route in routes(instance)], axis=0, return_counts=True
    )
    assert len(found) == 6
    assert abs(counts / 1000 - 1).max() < 0.15  # 5 standard deviations


def test_flexible_operations_and_alternatives_fill_their_ranges_and_no_more() -> None:
    generator = FlexibleJobShopGenerator(4, 6, operations=(2, 4), alternatives=(1, 3))
    drawn = samples(generator, 100)
    lengths = np.concatenate([np.diff(instance.job_offsets) for instance in drawn])
    choices = np.concatenate([np.diff(instance.alternative_offsets) for instance in drawn])
    assert set(lengths) == {2, 3, 4}
    assert set(choices) == {1, 2, 3}
    assert set(np.concatenate([instance.machines for instance in drawn])) == set(range(6))


def test_flexible_defaults_are_the_published_recipe() -> None:
    drawn = samples(FlexibleJobShopGenerator(3, 10), 100)
    lengths = np.concatenate([np.diff(instance.job_offsets) for instance in drawn])
    choices = np.concatenate([np.diff(instance.alternative_offsets) for instance in drawn])
    assert set(lengths) == set(range(8, 13))
    assert set(choices) == set(range(1, 11))
    assert {d for instance in drawn for d in instance.durations.tolist()} == set(range(1, 21))


def test_durations_of_an_operation_vary_around_a_common_mean() -> None:
    generator = FlexibleJobShopGenerator(5, 5, alternatives=5, durations=(10, 100), variation=0.2)
    for instance in samples(generator, 50):
        durations = instance.durations.reshape(-1, 5)
        # Both lie within 20 % of one mean and half a unit of rounding.
        assert (durations.max(axis=1) <= durations.min(axis=1) * 1.2 / 0.8 + 1.25).all()


def test_without_variation_every_duration_is_drawn_by_itself() -> None:
    generator = FlexibleJobShopGenerator(10, 5, 5, 5, durations=(1, 99), variation=None)
    durations = np.concatenate([i.durations.reshape(-1, 5) for i in samples(generator, 20)])
    correlation = np.corrcoef(durations.T)
    assert abs(correlation[~np.eye(5, dtype=bool)]).max() < 0.2


@pytest.mark.parametrize(
    ("generator", "options", "message"),
    [
        (JobShopGenerator, {"jobs": 0, "machines": 3}, "jobs: found 0, expected 1 <="),
        (JobShopGenerator, {"jobs": 3, "machines": (5, 2)}, r"machines: found \(5, 2\)"),
        (
            JobShopGenerator,
            {"jobs": 3, "machines": 3, "durations": (-1, 5)},
            r"durations: found \(-1, 5\)",
        ),
        (
            JobShopGenerator,
            {"jobs": 2.5, "machines": 3},
            "jobs: found 2.5, expected an integer or a pair",
        ),
        (
            JobShopGenerator,
            {"jobs": "10", "machines": 3},
            "jobs: found '10', expected an integer or a pair",
        ),
        (JobShopGenerator, {"jobs": (1, 2, 3), "machines": 3}, r"jobs: found \(1, 2, 3\)"),
        (
            FlexibleJobShopGenerator,
            {"jobs": 3, "machines": (2, 4), "alternatives": 3},
            "expected at most .* 2",
        ),
        (
            FlexibleJobShopGenerator,
            {"jobs": 3, "machines": 3, "operations": 0},
            "operations: found 0",
        ),
        (
            FlexibleJobShopGenerator,
            {"jobs": 3, "machines": 3, "variation": 1.5},
            "variation: found 1.5",
        ),
    ],
)
def test_options_out_of_range_are_refused(
    generator: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        generator(**options)


def test_the_first_taillard_instance_begins_as_published() -> None:
    instance = taillard_instance("ta01")
    assert (instance.num_jobs, instance.num_machines) == (15, 15)
    assert instance.durations[:5].tolist() == [94, 66, 10, 53, 26]
    assert (instance.machines[:5] + 1).tolist() == [7, 13, 5, 8, 4]


def test_an_unknown_taillard_instance_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"ta81.*did you mean"):
        taillard_instance("ta81")
