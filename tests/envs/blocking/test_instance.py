"""Blocking instances: JSON, files, generators, suites, clear errors."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from makespan.envs.blocking.examples import CROSSING, CROSSING_WITHOUT_SWAP
from makespan.envs.blocking.formats import read_instance
from makespan.envs.blocking.generator import BlockingGenerator
from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.blocking.render import draw
from makespan.envs.blocking.solution import BlockingSolution, Row
from makespan.envs.blocking.suites import load_instance
from makespan.envs.core.errors import InstanceError, UnknownNameError, UsageError
from makespan.tests.blocking_reference import instances

DOCS = Path(__file__).parents[3] / "docs"
SWAPPED = BlockingSolution.from_starts(CROSSING, [0, 3, 0, 3])


@given(instance=instances())
def test_json_gives_the_instance_back(instance: BlockingInstance) -> None:
    assert BlockingInstance.from_json(instance.to_json()) == instance


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(CROSSING_WITHOUT_SWAP.to_json())
    assert read_instance(path) == CROSSING_WITHOUT_SWAP
    shop = tmp_path / "shop.txt"
    shop.write_text("2 2\n0 3 1 2\n1 2 0 4\n")
    assert read_instance(shop).shop.durations.tolist() == [3, 2, 2, 4]
    assert read_instance(shop).swap


def test_the_example_of_the_documentation_is_read(tmp_path: Path) -> None:
    text = (DOCS / "blocking.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "example.json"
    path.write_text(example)
    expected = BlockingInstance.from_shop(CROSSING.shop, [[(2, 5)], []], name="small")
    assert read_instance(path) == expected


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "blocking-jobshop"}, "expected 'blocking-job-shop' or 'job-shop'"),
        ({"swap": 1}, "swap: found 1"),
        ({"on_down": "rest"}, "did you mean resume|did you mean restart"),
        ({"shutdowns": [[[1, 2], [2, 3]], []]}, "machine 0, shutdown 1: found 2 to 3"),
        ({"shutdowns": [[[1, 2.5]], []]}, "machine 0: found 2.5, expected an integer"),
        ({"shutdowns": [[], [[1, 2, 3]]]}, "machine 1: found .1, 2, 3., expected start and end"),
        ({"shutdowns": [[]]}, "found 1 lists, expected 2"),
        ({"shutdowns": []}, "found 0 lists, expected 2"),
        ({"shutdowns": 7}, "found 7, expected a list"),
        ({"jobs": [[{"machine": 0, "duration": 0}]]}, "job 0, operation 0: duration: found 0"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, changed: Any, message: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**CROSSING.to_dict(), **changed}))
    with pytest.raises(InstanceError, match=message) as error:
        read_instance(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"down_offsets": [0, 9, 1]}, "down_offsets: found .0, 9, 1., expected numbers that rise"),
        ({"down_offsets": [1, 1, 1]}, "down_offsets: found .1, 1, 1., expected numbers that rise"),
        ({"down_offsets": [0, 1, 2]}, "from 0 to 1"),
        ({"down_ends": [3, 4]}, "down_ends: found 2, expected 1"),
        ({"down_starts": [1.5]}, "down_starts: found .1.5."),
    ],
)
def test_mistakes_in_columns_are_named(changed: Any, message: str) -> None:
    good = BlockingInstance.from_shop(CROSSING.shop, [[(1, 3)], []])
    with pytest.raises(InstanceError, match=message):
        replace(good, **changed)
    assert replace(good, down_offsets=[0, 1, 1], down_starts=[1]) == good


def test_shutdowns_are_not_rounded() -> None:
    with pytest.raises(InstanceError, match=r"machine 0: found 3[.]7, expected an integer"):
        BlockingInstance.from_shop(CROSSING.shop, [[(3.7, 5.9)], []])  # type: ignore[list-item]


def test_generated_shutdowns() -> None:
    rng = np.random.default_rng(0)
    sampled = BlockingGenerator(20, 10, shutdowns=(0.1, 0.1)).sample(rng)
    period = round(float(sampled.shop.durations.mean()))
    starts = sampled.down_starts
    assert (starts % period == 0).all()
    assert starts.min() > 0
    lengths = sampled.down_ends - starts
    assert lengths.min() >= 1
    assert lengths.max() <= 2 * period
    # 10 machines and 120 periods, of which shutdowns take some away
    assert 80 <= len(starts) <= 130
    assert not len(BlockingGenerator(3, 3, shutdowns=(0, 0)).sample(rng).down_starts)
    with pytest.raises(UsageError, match="shutdowns"):
        BlockingGenerator(shutdowns=(0.5, 1.5))


def test_benchmarks_by_name() -> None:
    one = load_instance("la21-10")
    assert one == load_instance("la21-10")
    assert one.size == "15x10"
    with pytest.raises(UnknownNameError, match="did you mean la21"):
        load_instance("la21-11")


def test_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "chart.png"
    draw(CROSSING, SWAPPED, path, policy="by hand", lower_bound=7)
    assert path.stat().st_size > 1000
    assert Row(0, 0, 0, 0, 3, 3) in list(SWAPPED.rows())
