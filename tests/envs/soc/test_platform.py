"""Platforms: the shipped ones, frequencies, and what a wrong file is told."""

import copy
from typing import Any

import numpy as np
import pytest

from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.soc.bounds import isolated_bounds, offered_load, path_bounds, upward_ranks
from makespan.envs.soc.platform import PRESETS, Cluster, JobType, Platform, load_platform

#: Isolated optima of DS3's job types on its default SoC (microseconds).
DS3_OPTIMA = {
    "WiFi_Transmitter": 69,
    "WiFi_Receiver": 288,
    "lag_detection": 176,
    "SC-T": 56,
    "SC-R": 153,
    "Temporal_Mitigation": 79,
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_its_source_and_survives_json(name: str) -> None:
    platform = load_platform(name)
    assert "github.com" in platform.source
    again = Platform.from_dict(platform.to_dict())
    assert again == platform
    assert hash(again) == hash(platform)


def test_ds3_default_is_as_published() -> None:
    platform = load_platform("ds3-default")
    assert dict(zip(platform.cluster_names, platform.cores.tolist(), strict=True)) == {
        "A7": 4,
        "A15": 4,
        "MM": 2,
        "FFT": 4,
        "VIT": 2,
    }
    assert platform.num_processors == 16
    assert [len(job.tasks) for job in platform.jobs] == [27, 34, 7, 8, 8, 10]
    assert [len(job.edges) for job in platform.jobs] == [30, 37, 7, 7, 7, 12]
    assert dict(zip(platform.job_names, isolated_bounds(platform).tolist(), strict=True)) == (
        DS3_OPTIMA
    )
    mean = float(platform.probability @ isolated_bounds(platform))
    assert mean == pytest.approx(143.3)


def test_toy_is_the_graph_of_heft() -> None:
    platform = load_platform("toy")
    ranks = upward_ranks(platform)[:10]
    expected = [108, 77, 80, 80, 69, 63.333, 42.667, 35.667, 44.333, 14.667]
    np.testing.assert_allclose(ranks, expected, atol=1e-3)
    assert platform.task_graph("Top_1").costs[0].tolist() == [14, 16, 9]


def test_bounds_of_paths_are_those_of_the_static_problem() -> None:
    from makespan.envs.dag.bounds import lower_bound

    platform = load_platform("ds3-default")
    factors = np.ones((1, 34))
    found = {name: int(path_bounds(platform, j, factors)[0]) for j, name in enumerate(DS3_OPTIMA)}
    assert found == {**DS3_OPTIMA, "WiFi_Transmitter": 53, "WiFi_Receiver": 193}
    for name in DS3_OPTIMA:
        assert found[name] <= lower_bound(platform.task_graph(name))


@pytest.mark.parametrize(("cores", "moving"), [(1, 100), (2, 0)])
def test_data_move_within_a_cluster_by_the_quicker_way(cores: int, moving: int) -> None:
    """Between two tasks of 10, 100 units at 1 on the same processor, at 1000 to another one."""
    chain = JobType("chain", {"a": {"A": 10}, "b": {"A": 10}}, (("a", "b", 100),))
    platform = Platform("x", "", (Cluster("A", cores),), (("A", "A", 1000),), 1, (chain,))
    assert path_bounds(platform, 0, np.ones((1, 2))).tolist() == [20 + moving]


@pytest.mark.slow
@pytest.mark.parametrize("platform", PRESETS)
def test_stated_optima_are_proven(platform: str) -> None:
    from makespan.baselines.dag.exact import CpSat

    found = load_platform(platform)
    for job in found.jobs:
        graph = found.task_graph(job.name)
        result = CpSat(workers=1).solve(graph, 120, np.random.default_rng(0))
        assert result.optimal
        assert result.solution.makespan == job.isolated_optimum_us


def test_offered_load_of_the_default_soc() -> None:
    platform = load_platform("ds3-default")
    # splitting work over A7 and A15 beats the fastest processors alone, which give 0.465
    assert offered_load(platform, 100) == pytest.approx(0.299, abs=1e-3)
    assert offered_load(platform, 50) == pytest.approx(2 * offered_load(platform, 100))


def test_a_lower_frequency_takes_longer() -> None:
    platform = load_platform("ds3-cpu")
    slow = platform.at({"A15": 1000})
    k = platform.cluster_names.index("A15")
    np.testing.assert_array_equal(slow.cost[:, k], 2 * platform.cost[:, k])
    np.testing.assert_array_equal(slow.cost[:, 0], platform.cost[:, 0])
    assert slow != platform
    with pytest.raises(UsageError, match="A15: found 1234 MHz, expected one of"):
        platform.at({"A15": 1234})
    with pytest.raises(UnknownNameError, match="cluster"):
        platform.at({"A16": 1000})


def test_an_unknown_platform_is_refused_with_close_names() -> None:
    with pytest.raises(UnknownNameError, match="did you mean ds3-default"):
        load_platform("ds3-defaul")


SMALL: dict[str, Any] = {
    "kind": "soc-platform",
    "version": 1,
    "name": "small",
    "clusters": [{"name": "cpu", "cores": 2}, {"name": "acc", "cores": 1}],
    "bandwidth": [["cpu", "cpu", 10], ["cpu", "acc", 2]],
    "same_core_bandwidth": 100,
    "jobs": [
        {
            "name": "j",
            "tasks": {"a": {"cpu": 4}, "b": {"cpu": 9, "acc": 3}, "c": {"cpu": 2}},
            "edges": [["a", "b", 8], ["b", "c", 8]],
        }
    ],
}


def test_tasks_may_come_in_any_order() -> None:
    data = copy.deepcopy(SMALL)
    data["jobs"][0]["tasks"] = dict(reversed(data["jobs"][0]["tasks"].items()))
    assert Platform.from_dict(data).task_names == ("a", "b", "c")


def _job(data: dict[str, Any]) -> dict[str, Any]:
    return data["jobs"][0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: _job(d)["edges"].append(["c", "a", 1]), r"cycle .*a -> b -> c -> a"),
        (lambda d: _job(d)["edges"].append(["c", "x", 1]), "unknown task 'x'"),
        (lambda d: _job(d)["edges"].append(["a", "b", 1]), "edge 'a' to 'b': found twice"),
        (lambda d: _job(d)["edges"].append(["a", "c", -1]), "'a' to 'c': found -1"),
        (lambda d: _job(d)["edges"].append(["a", "c"]), r"expected \[from, to, number\]"),
        (lambda d: _job(d)["tasks"].update(b={}), "'b': no processor can run it"),
        (lambda d: _job(d)["tasks"].update(b={"gpu": 1}), "'b': found unknown cluster 'gpu'"),
        (lambda d: _job(d)["tasks"].update(b={"cpu": -3}), "'b', 'cpu': found -3"),
        (lambda d: _job(d)["tasks"].update(b={"cpu": 1.5}), "found 1.5, expected an integer"),
        (lambda d: _job(d).update(probability=0), "found 0 for every job type"),
        (lambda d: d["jobs"].append(_job(d)), "job type 'j': found twice"),
        (lambda d: d["clusters"].append({"name": "cpu", "cores": 1}), "cluster 'cpu': found twice"),
        (lambda d: d["clusters"][0].update(cores=0), "cores: found 0"),
        (lambda d: d["clusters"][0].update(power_w={"extra": [1]}), "power_w: found 'extra', exp"),
        (lambda d: d["clusters"][0].update(power_w={"-5": [1]}), "power_w: found -5, expected an"),
        (lambda d: d.update(base_power_w=10**400), "base_power_w: found 1000.*expected a number"),
        (lambda d: d["bandwidth"].pop(), "bandwidth 'cpu' to 'acc': missing"),
        (lambda d: d["bandwidth"].append(["cpu", "gpu", 1]), "unknown cluster 'gpu'"),
        (lambda d: d["bandwidth"].append(["acc", "cpu", 1]), "'acc' to 'cpu': found twice"),
        (lambda d: d["bandwidth"][0].__setitem__(2, 0), "found 0, expected at least 1"),
        (
            lambda d: d["clusters"][0].update(frequency_mhz=900),
            r"frequency_mhz: found 900.*of \[\]",
        ),
        (
            lambda d: d["clusters"][0].update(frequency_mhz=900, opp_mhz_mv=[[800, 1], [1000, 2]]),
            r"cluster 'cpu': frequency_mhz: found 900, expected one of \[800, 1000\]",
        ),
        (lambda d: d.update(powr=1), r"platform: unknown field\(s\) \['powr'\], expected"),
        (
            lambda d: d["clusters"][0].update(core=1),
            r"cluster 'cpu': unknown field\(s\) \['core'\]",
        ),
        (
            lambda d: _job(d).update(probabilty=1),
            r"job type 'j': unknown field\(s\) \['probabilty'\]",
        ),
        (lambda d: d.pop("jobs"), "field 'jobs' is missing"),
        (lambda d: d.update(version=2), "'version': found 2"),
        (lambda d: d.update(jobs={}), "jobs: found {}, expected a list"),
    ],
)
def test_mistakes_are_named(spoil: Any, message: str) -> None:
    data = copy.deepcopy(SMALL)
    spoil(data)
    with pytest.raises(InstanceError, match=message):
        Platform.from_dict(data)
