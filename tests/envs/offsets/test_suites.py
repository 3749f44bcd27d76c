"""Suites ship as seeds; the instances of others are read where the user has them."""

import os
from pathlib import Path

import pytest

from makespan.baselines.offsets.greedy import Greedy
from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.envs.offsets import suites
from makespan.envs.offsets.examples import FIVE
from makespan.envs.offsets.family import load, make_family
from makespan.envs.offsets.formats import write_instance
from makespan.envs.offsets.suites import FOLDER_VARIABLE, SUITES, load_instance

folder = os.environ.get(FOLDER_VARIABLE, "")
with_minimalloc = pytest.mark.skipif(
    not folder, reason=f"{FOLDER_VARIABLE} does not name the folder of minimalloc's benchmarks"
)


def test_generated_suites_hold_different_instances() -> None:
    drawn = [*SUITES["generated"](), *SUITES["validation"]()]
    assert len(drawn) == 2 * len(suites.STRUCTURES) * suites.PER_STRUCTURE
    assert len({instance.content_hash() for instance in drawn}) == len(drawn)
    assert len({instance.name for instance in drawn}) == len(drawn)


def test_a_suite_is_the_same_every_time() -> None:
    """Seeds are worth what they make: a change of the generator changes the benchmark."""
    assert load_instance("cuts-3") == SUITES["cuts"]()[3]
    hashes = {name: load_instance(name).content_hash()[:8] for name in ("cuts-0", "tiles-0")}
    assert hashes == HASHES


HASHES = {"cuts-0": "01ce4092", "tiles-0": "3110825d"}


def test_instances_are_found_by_name_and_file(tmp_path: Path) -> None:
    assert load("five") == [FIVE]
    path = tmp_path / "five.json"
    write_instance(FIVE, path)
    assert load(str(path)) == load(path) == [FIVE]
    with pytest.raises(UnknownNameError, match="did you mean"):
        load("cuts-77")
    with pytest.raises(InstanceError, match="cannot be read"):
        load("none.csv")


def test_an_instance_with_a_capacity_can_be_named(tmp_path: Path) -> None:
    read = make_family().sources["fit"].read
    path = tmp_path / "five.json"
    write_instance(FIVE, path)
    assert read(f"20:{path}")[0].capacity == 20
    for text in (str(path), f"x:{path}", f"0:{path}", f"-1:{path}"):
        with pytest.raises(UsageError, match="expected BYTES:FILE"):
            read(text)
    with pytest.raises(InstanceError, match="expected at most the capacity, 3"):
        read(f"3:{path}")


def test_minimalloc_needs_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    with pytest.raises(UsageError, match=f"set {FOLDER_VARIABLE} to the folder"):
        SUITES["minimalloc"]()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match="found no file"):
        SUITES["minimalloc"]()


@with_minimalloc
def test_greedy_by_size_gives_the_published_table() -> None:
    """Peak / load on A to H; ties by longer life, then by index."""
    found = [
        round(Greedy().solve(one, None, None).solution.peak(one) / one.max_load, 3)  # type: ignore[arg-type]
        for one in SUITES["minimalloc"]()[:8]
    ]
    assert found == [1.290, 1.347, 1.364, 1.309, 1.369, 1.367, 1.362, 1.360]


@with_minimalloc
def test_the_small_example_of_minimalloc_needs_12() -> None:
    instance = load(Path(folder) / "input.12.csv")[0]
    result = Greedy().solve(instance, None, None)  # type: ignore[arg-type]
    result.solution.validate(instance)
    assert result.solution.peak(instance) == 12
    assert result.optimal
