"""Named sets of benchmark instances, and single ones by name.

Generated suites ship as seeds: instance i of a suite is drawn from
``numpy.random.default_rng((SEED, i))`` with a seed of 96 bits, so it is none that training draws.
Policies are chosen on the validation suite; results are reported on the others. The instances of
minimalloc's benchmark (Google, Apache-2.0) are read from the folder that the environment variable
``MAKESPAN_MINIMALLOC`` names.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np

from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.offsets.examples import EXAMPLES
from makespan.envs.offsets.formats import read_instance
from makespan.envs.offsets.generator import STRUCTURES, OffsetGenerator
from makespan.envs.offsets.instance import OffsetInstance

VALIDATION_SEED = 0x6F66667365742D76616C6964
TEST_SEED = 0x6F66667365742D7465737473
PER_STRUCTURE = 10
BUFFERS = (150, 300)

#: Names the folder of minimalloc's benchmark instances.
FOLDER_VARIABLE = "MAKESPAN_MINIMALLOC"


def load_instance(name: str) -> OffsetInstance:
    """An instance of a generated suite or a worked example, e.g. ``"cuts-3"`` or ``"aligned"``.

    Raises:
        UnknownNameError: with the close matches.
    """
    if name in EXAMPLES:
        return EXAMPLES[name]
    structure, _, number = name.partition("-")
    known = [f"{each}-{i}" for each in STRUCTURES for i in range(PER_STRUCTURE)]
    if name not in known:
        raise UnknownNameError("instance", name, {*known, *EXAMPLES})
    return _generated(TEST_SEED, structure)[int(number)]


def _generated(seed: int, structure: str, prefix: str = "") -> list[OffsetInstance]:
    """``PER_STRUCTURE`` instances of one structure."""
    generator = OffsetGenerator(BUFFERS, structure)  # type: ignore[arg-type]
    start = list(STRUCTURES).index(structure) * PER_STRUCTURE
    drawn = [
        generator.sample(np.random.default_rng((seed, start + i))) for i in range(PER_STRUCTURE)
    ]
    return [
        dataclasses.replace(instance, name=f"{prefix}{structure}-{i}")
        for i, instance in enumerate(drawn)
    ]


def _every_structure(seed: int, prefix: str = "") -> list[OffsetInstance]:
    return [one for structure in STRUCTURES for one in _generated(seed, structure, prefix)]


def _minimalloc() -> list[OffsetInstance]:
    """All instances in the folder, in the order of their names."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        raise UsageError(
            f"suite minimalloc: set {FOLDER_VARIABLE} to the folder of minimalloc's benchmark "
            "instances (A.1048576.csv and so on, from its repository)"
        )
    paths = sorted(Path(folder).glob("*.1048576.csv"))
    if not paths:
        raise UsageError(f"suite minimalloc: found no file *.1048576.csv in {folder}")
    return [read_instance(path) for path in paths]


#: Every suite by its name; a call loads it.
SUITES: Mapping[str, Callable[[], list[OffsetInstance]]] = MappingProxyType(
    {
        "generated": partial(_every_structure, TEST_SEED),
        **{structure: partial(_generated, TEST_SEED, structure) for structure in STRUCTURES},
        "minimalloc": _minimalloc,
        "examples": lambda: list(EXAMPLES.values()),
        "validation": partial(_every_structure, VALIDATION_SEED, "validation-"),
    }
)
