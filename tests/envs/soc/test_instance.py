"""Streams: checks, JSON, and files."""

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.soc.bounds import lower_bound
from makespan.envs.soc.family import load
from makespan.envs.soc.formats import read_instance, write_instance
from makespan.envs.soc.generator import StreamGenerator, UnstableLoadWarning
from makespan.envs.soc.instance import StreamInstance, true_duration
from makespan.envs.soc.platform import load_platform
from makespan.envs.soc.suites import SUITES, single_job


@pytest.fixture(scope="module")
def stream() -> StreamInstance:
    return StreamGenerator(jobs=(6, 6), noise=(0.3, 0.3)).sample(np.random.default_rng(0))


def test_true_durations_are_rounded_and_never_vanish() -> None:
    assert true_duration(10, 1.04) == 10
    assert true_duration(10, 1.05) == 11
    assert true_duration(10, -0.5) == 1
    assert true_duration(0, 2.0) == 0


def test_durations_of_a_job(stream: StreamInstance) -> None:
    table = stream.durations(0)
    first = stream.platform.task_offsets[stream.types[0]]
    for task, row in enumerate(table.tolist()):
        for k, found in enumerate(row):
            expected = int(stream.platform.cost[first + task, k])
            wanted = expected if expected < 0 else true_duration(expected, stream.factors[0, task])
            assert found == wanted


def test_json_gives_the_same_stream(stream: StreamInstance, tmp_path: Path) -> None:
    assert StreamInstance.from_json(stream.to_json()) == stream
    write_instance(stream, tmp_path / "own.json")
    assert load(tmp_path / "own.json") == [stream]


def test_a_file_may_name_a_shipped_platform_and_leave_out_the_noise(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    data = {
        "kind": "soc-stream",
        "version": 1,
        "platform": "toy",
        "types": ["Top_1", "Top_2"],
        "gaps": [0, 40],
    }
    path.write_text(json.dumps(data))
    (instance,) = load(str(path))
    assert instance.name == "mine"
    assert instance.cap == 0
    assert lower_bound(instance) == (73 + 81) / 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"types": ["Top_99", "Top_1"]}, r"types\[0\]: found 'Top_99'"),
        ({"gaps": [0]}, r"gaps: found the shape \(1,\), expected \(2,\)"),
        ({"gaps": [0, -1]}, r"gaps\[1\]: found -1, expected 0 to"),
        ({"gaps": [2**62, 2**62]}, r"gaps\[0\]: found 4611686018427387904, expected 0 to"),
        ({"gaps": [0.0, 1.5]}, r"gaps: found \[0.0, 1.5\], expected integers"),
        ({"gaps": [[1], [1, 2]]}, r"gaps: found \[\[1\], \[1, 2\]\], expected integers"),
        ({"types": [["Top_1"], "Top_1"]}, r"types\[0\]: found \['Top_1'\]"),
        ({"gaps": ["a", "b"]}, "gaps: found .*, expected integers"),
        ({"factors": ["a", "b"]}, "factors: found .*, expected numbers"),
        ({"cap": -1}, "cap: found -1"),
        ({"warmup": 2}, "leaves none of the 2 jobs"),
        ({"horizon": 100, "cap": 3}, "only with open arrivals"),
        ({"horizon": 2**31}, "horizon: found"),
        ({"noise": "loud"}, "noise: found 'loud'"),
        ({"factors": [[1.0]]}, "factors: found the shape"),
        ({"platform": "toi"}, "did you mean toy"),
        ({"platform": {}}, "'kind': found None"),
        ({"kind": "job-shop"}, "'kind': found 'job-shop'"),
        ({"extra": 1}, r"unknown field\(s\) \['extra'\]"),
        ({"types": []}, "number of jobs: found 0"),
        ({"types": "Top_1"}, "types: found 'Top_1', expected a list of job types"),
        ({"name": 5}, "name: found 5, expected text"),
    ],
)
def test_mistakes_in_a_file_are_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    data = {
        "kind": "soc-stream",
        "version": 1,
        "platform": "toy",
        "types": ["Top_1", "Top_2"],
        "gaps": [0, 40],
        **change,
    }
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InstanceError, match=message) as error:
        read_instance(path)
    assert str(path) in str(error.value)


def test_a_long_stream_is_taken() -> None:
    """At the slowest bandwidth of the platform, its data take a small part of the time allowed."""
    jobs = 50_000
    platform = load_platform("ds3-default")
    types, gaps = np.zeros(jobs, dtype=np.int32), np.full(jobs, 60)
    stream = StreamInstance("long", platform, types, gaps, np.ones((jobs, 34)))
    assert stream.num_jobs == jobs


@pytest.mark.parametrize("field", ["prefill", "warmup", "horizon"])
def test_numbers_of_a_generator_are_not_negative(field: str) -> None:
    options: dict[str, Any] = {field: -1}
    with pytest.raises(UsageError, match=f"{field}: found -1, expected 0 to"):
        StreamGenerator(**options)


def test_an_unstable_load_is_said(tmp_path: Path) -> None:
    with pytest.warns(UnstableLoadWarning, match=r"offered load 1\.50"):
        StreamGenerator(cap=0, load=(1.5, 1.5))
    with pytest.warns(UnstableLoadWarning, match="grows without limit"):
        StreamGenerator(("ds3-cpu",), cap=0, scale=100)
    instance = StreamGenerator(("toy",), jobs=(50, 50), scale=10).sample(np.random.default_rng(0))
    path = tmp_path / "unstable.json"
    write_instance(dataclasses.replace(instance, cap=0), path)
    with pytest.warns(UnstableLoadWarning):
        read_instance(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StreamGenerator(cap=0, load=(0.5, 0.9))
        StreamGenerator(cap=12, load=(1.5, 1.5))


def test_the_bound_of_a_stream_is_the_mean_of_its_jobs_alone() -> None:
    assert lower_bound(single_job("ds3-default", "WiFi_Receiver")) == 288
    stream = StreamGenerator(jobs=(40, 40)).sample(np.random.default_rng(3))
    optima = np.array([69, 288, 176, 56, 153, 79])
    assert lower_bound(stream) == optima[stream.types].mean()


def test_names_of_streams() -> None:
    (found,) = load("toy/Top_1")
    assert found.num_jobs == 1
    with pytest.raises(UnknownNameError, match="stream"):
        load("toi/Top_1")
    with pytest.raises(UnknownNameError, match="job type"):
        single_job("toy", "Top_11")


def test_streams_of_suites_are_drawn_the_same_each_time() -> None:
    first, again = SUITES["toy"](), SUITES["toy"]()
    assert [s.content_hash() for s in first] == [s.content_hash() for s in again]
    assert len({s.content_hash() for s in first}) == len(first) == 80
    assert {s.size for s in first} == {"load-0.3", "load-0.5", "load-0.7", "load-0.9"}


def test_a_sweep_of_noise_changes_only_the_noise() -> None:
    streams = SUITES["ds3-cpu-noise"]()
    quiet, loud = streams[0], streams[-20]
    np.testing.assert_array_equal(quiet.gaps, loud.gaps)
    np.testing.assert_array_equal(quiet.types, loud.types)
    assert (quiet.factors == 1).all()
    assert loud.factors.std() == pytest.approx(0.5, abs=0.02)
