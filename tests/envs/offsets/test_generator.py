"""Random instances: seeded, within their sizes, and of the structure they are named after."""

from typing import Any

import numpy as np
import pytest

from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.offsets.generator import GRID, STRUCTURES, UNIT, OffsetGenerator
from makespan.envs.offsets.instance import OffsetInstance

every_structure = pytest.mark.parametrize("structure", ["mixed", *STRUCTURES])


def sample(structure: Any, seed: int, buffers: Any = (40, 80)) -> OffsetInstance:
    return OffsetGenerator(buffers, structure).sample(np.random.default_rng(seed))


@every_structure
def test_equal_seeds_give_equal_instances(structure: str) -> None:
    assert sample(structure, 5) == sample(structure, 5)
    assert sample(structure, 5) != sample(structure, 6)


@every_structure
@pytest.mark.parametrize("buffers", [2, 7, (40, 80), 600])
def test_sizes_stay_within_what_is_announced(structure: Any, buffers: Any) -> None:
    largest = OffsetGenerator(buffers, structure).largest
    for seed in range(4):
        instance = sample(structure, seed, buffers)
        assert all(found <= most for found, most in zip(instance.sizes, largest, strict=True))
        assert (instance.nbytes % UNIT == 0).all()


def test_cuts_fill_a_rectangle() -> None:
    for seed in range(5):
        instance = sample("cuts", seed)
        assert instance.max_load <= GRID * UNIT
        assert instance.loads.mean() > 0.9 * GRID * UNIT


def test_tiles_are_similar_and_short() -> None:
    for seed in range(5):
        instance = sample("tiles", seed, 200)
        sizes, lives = instance.nbytes, instance.upper - instance.lower
        assert np.log(sizes).std() < 0.4
        assert np.median(lives) < 0.2 * instance.upper.max()


def test_more_tiles_than_the_memory_holds_make_it_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makespan.envs.offsets.generator.PATIENCE", 100)
    instance = sample("tiles", 0, 20_000)  # lives of one or two time units cannot be any shorter
    assert instance.num_buffers == 20_000
    assert instance.max_load > GRID * UNIT


def test_the_lives_of_layers_are_nested_and_their_sizes_repeat() -> None:
    for seed in range(5):
        instance = sample("layers", seed, 200)
        assert len(np.unique(instance.nbytes)) <= 16
        long = instance.upper - instance.lower > 0.3 * instance.upper.max()
        ends = instance.lower[long] + instance.upper[long]
        assert len(np.unique(ends)) == 1  # forward and backward steps are mirror images


def test_mixed_draws_the_hard_structures() -> None:
    assert {sample("mixed", seed).name.split("-")[0] for seed in range(12)} == {"cuts", "tiles"}


def test_a_curriculum_grows_from_the_smallest() -> None:
    generator = OffsetGenerator((40, 80))
    assert generator.grown(0.0).buffers == (40, 40)
    assert generator.grown(0.5).buffers == (40, 60)
    assert generator.grown(1.0) == generator


@pytest.mark.parametrize("buffers", [1, (5, 4), (2, 2**21), "x", (1.5, 3), (1, 2, 3)])
def test_wrong_numbers_of_buffers_are_refused(buffers: Any) -> None:
    with pytest.raises(UsageError, match="buffers: found"):
        OffsetGenerator(buffers)


def test_an_unknown_structure_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean tiles"):
        OffsetGenerator(10, "tile")  # type: ignore[arg-type]
