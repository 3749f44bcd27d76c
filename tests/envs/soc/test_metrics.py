"""Figures of a schedule: by hand, and energy against DS3."""

import dataclasses
import math

import numpy as np
import pytest

from makespan.baselines.soc.rules import RulePolicy
from makespan.envs.core.rollout import rollout
from makespan.envs.soc.instance import StreamInstance
from makespan.envs.soc.metrics import (
    busy_power,
    censored,
    deadline_misses,
    energy,
    latencies,
    leakage,
    little_gap,
    median_latency,
    p95_latency,
    throughput,
    utilisation,
    utilisations,
)
from makespan.envs.soc.platform import Cluster, JobType, Platform, load_platform
from makespan.envs.soc.problem import StreamProblem
from makespan.envs.soc.solution import StreamSolution
from makespan.tests.soc_reference import ds3_stream

ONE = Platform(
    "one",
    "by hand",
    (Cluster("cpu", 2, ((500, 800), (1000, 1000)), ((1000, (1.0, 1.5)),), 0.0),),
    (("cpu", "cpu", 1),),
    1,
    (JobType("single", {"t": {"cpu": 10}}, (), deadline_us=15),),
)


@pytest.fixture
def stream() -> StreamInstance:
    return StreamInstance(
        "three",
        ONE,
        np.zeros(3, dtype=np.int32),
        np.array([0, 0, 5]),
        np.ones((3, 1)),
    )


@pytest.fixture
def schedule() -> StreamSolution:
    # 0 and 1 at once; 2 enters at 5, waits until 20 on processor 1
    columns = ([0, 1, 2], [0, 0, 0], [0, 1, 1], [0, 0, 20], [10, 10, 30])
    return StreamSolution(*(np.array(column) for column in columns))


def test_by_hand(stream: StreamInstance, schedule: StreamSolution) -> None:
    schedule.validate(stream)
    assert latencies(stream, schedule).tolist() == [10, 10, 25]
    assert median_latency(stream, schedule) == 10
    assert p95_latency(stream, schedule) == pytest.approx(23.5)
    assert throughput(stream, schedule) == pytest.approx(100)  # 3 jobs in 30 us
    assert utilisations(stream, schedule) == {"cpu-0": 1 / 3, "cpu-1": 2 / 3}
    assert utilisation(stream, schedule) == pytest.approx(50)
    assert deadline_misses(stream, schedule) == pytest.approx(100 / 3)
    assert censored(stream, schedule) == 0
    # both busy for 10 us at 1.5 W, one for 10 us at 1 W
    assert energy(stream, schedule) == pytest.approx((15 + 10) * 1e-3)


def test_a_horizon(stream: StreamInstance, schedule: StreamSolution) -> None:
    cut = dataclasses.replace(stream, horizon=25)
    schedule.validate(cut)
    assert latencies(cut, schedule).tolist() == [10, 10, 20]
    assert censored(cut, schedule) == 1
    assert throughput(cut, schedule) == pytest.approx(80)


def test_little_s_law_shows_what_unfinished_jobs_hide(
    stream: StreamInstance, schedule: StreamSolution
) -> None:
    assert little_gap(stream, schedule) == 0
    # until 25 the jobs are in the system for 10 + 10 + 20 us, the last of them not completed
    assert little_gap(dataclasses.replace(stream, horizon=25), schedule) == 50


def test_half_the_frequency_at_lower_voltage_needs_less_energy(
    stream: StreamInstance,
) -> None:
    slow = stream.platform.at({"cpu": 500})
    power, slow_power = busy_power(ONE.clusters[0]), busy_power(slow.clusters[0])
    assert power is not None
    assert slow_power is not None
    np.testing.assert_allclose(power, [0, 1, 1.5])
    np.testing.assert_allclose(slow_power, 0.5 * 0.8**2 * power)  # C f V^2


def test_no_power_no_energy(stream: StreamInstance, schedule: StreamSolution) -> None:
    bare = dataclasses.replace(ONE, clusters=(Cluster("cpu", 2),))
    assert math.isnan(energy(dataclasses.replace(stream, platform=bare), schedule))


def test_energy_is_near_that_of_ds3() -> None:
    """69.2 mJ for 100 jobs under ETF at a mean gap of 500 us, mean of two seeds.

    Ours is lower: the default SoC leaks 0.19 W at the ambient 42 degrees, 10 mJ in these 56 ms, and
    twice that at 62 degrees, which DS3's thermal model reaches.
    """
    streams = [ds3_stream(500, seed) for seed in (0, 1)]
    problem = StreamProblem.for_instances(streams, "eager")
    solutions = rollout(problem, streams, RulePolicy("etf"), np.random.default_rng(0))
    found = np.mean([energy(i, s) for i, s in zip(streams, solutions, strict=True)])  # type: ignore[arg-type]
    still = sum(c.cores * leakage(c) for c in load_platform("ds3-default").clusters)
    assert still == pytest.approx(0.187, abs=2e-3)
    span = np.mean([s.ends.max() for s in solutions])  # type: ignore[attr-defined]
    assert found < 69.2 < found + 2 * still * span * 1e-3


def test_all_cores_busy_take_what_was_measured() -> None:
    for cluster in load_platform("ds3-default").clusters:
        power = busy_power(cluster)
        assert power is not None
        measured = np.array(cluster.power_w[-1][1])
        np.testing.assert_allclose(power[1:] + cluster.cores * leakage(cluster), measured)
