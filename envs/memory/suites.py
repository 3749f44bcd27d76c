"""Named sets of instances: real programs on hardware, split by model family, and random ones.

Each program is taken with a capacity of 5, 10, 20 and 40 % of its maximum load. The families of
``test`` occur in neither of the others. Instance i of ``validation-random`` is drawn from
``numpy.random.default_rng((VALIDATION_SEED, i))``, that of ``test-random`` from ``(TEST_SEED, i)``,
which no training of ordinary seed uses.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np

from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.memory.examples import EXAMPLES
from makespan.envs.memory.generator import STRUCTURES, MemoryGenerator
from makespan.envs.memory.instance import MemoryInstance
from makespan.envs.memory.program import (
    HARDWARE,
    Hardware,
    find_hardware,
    load_program,
    program_names,
)

VALIDATION_SEED = 0x6D616B657370616E2D76616C
TEST_SEED = 0x6D616B657370616E2D746573
PER_STRUCTURE = 6
CAPACITY_SHARES = (0.05, 0.1, 0.2, 0.4)
#: What the suites run on.
SUITE_HARDWARE = HARDWARE["tpu-v4i"]

#: Model families of each set.
FAMILIES = MappingProxyType(
    {
        "train": ("resnet", "encoder", "mixer"),
        "validation": ("vit", "vgg"),
        "test": ("decoder", "unet", "moe", "lstm"),
    }
)


def load_instance(name: str) -> MemoryInstance:
    """An instance by its name: ``gpt-small@tpu-v4i-10`` (10 % of the maximum load), or an example.

    Raises:
        UnknownNameError: with the close matches.
    """
    if name in EXAMPLES:
        return EXAMPLES[name]
    program, hardware, share = split_name(name)
    known = [f"{program}@{SUITE_HARDWARE.name}-10" for program in program_names()]
    if hardware is None or program not in program_names():
        raise UnknownNameError("instance", name, [*EXAMPLES, *known])
    return load_program(program).on(hardware, share)


def split_name(name: str) -> tuple[str, Hardware | None, float | None]:
    """``"what@hardware-percent"`` as what, hardware and share of the maximum load.

    Hardware, and the percentage, may be left out: None.

    Raises:
        UnknownNameError: for unknown hardware.
        UsageError: for a percentage that is not above 0, or infinite.
    """
    what, _, rest = name.partition("@")
    if not rest:
        return what, None, None
    if rest in HARDWARE:
        return what, HARDWARE[rest], None
    preset, _, percent = rest.rpartition("-")
    try:
        share = float(percent) / 100
    except ValueError:
        return what, find_hardware(rest), None
    if not 0 < share < math.inf:
        raise UsageError(f"{name!r}: found {percent} %, expected a finite percentage above 0")
    return what, find_hardware(preset), share


def _programs(
    names: Sequence[str], hardware: Hardware, copy_model: str = "static"
) -> list[MemoryInstance]:
    programs = [load_program(name) for name in names]
    return [
        program.on(hardware, share, copy_model) for program in programs for share in CAPACITY_SHARES
    ]


def programs_of(split: str) -> list[str]:
    """Names of the pre-traced programs whose family is in ``split``."""
    return [n for n in program_names() if load_program(n).family in FAMILIES[split]]


def _split(
    split: str, hardware: Hardware = SUITE_HARDWARE, copy_model: str = "static"
) -> list[MemoryInstance]:
    return _programs(programs_of(split), hardware, copy_model)


def _random(label: str, seed: int) -> list[MemoryInstance]:
    instances: list[MemoryInstance] = []
    for structure in STRUCTURES[:-1]:
        generator = MemoryGenerator((40, 200), structure)  # type: ignore[arg-type]
        for number in range(PER_STRUCTURE):
            drawn = generator.sample(np.random.default_rng((seed, len(instances))))
            name = f"{label}-{structure}-{number}"
            instances.append(dataclasses.replace(drawn, name=name))
    return instances


#: Every suite by its name; a call loads it.
SUITES: Mapping[str, Callable[[], list[MemoryInstance]]] = MappingProxyType(
    {
        **{split: partial(_split, split) for split in FAMILIES},
        "test-dynamic": partial(_split, "test", copy_model="dynamic"),
        **{
            f"test-{other.name}": partial(_split, "test", other)
            for other in HARDWARE.values()
            if other != SUITE_HARDWARE
        },
        "validation-random": partial(_random, "validation", VALIDATION_SEED),
        "test-random": partial(_random, "test", TEST_SEED),
        "examples": lambda: list(EXAMPLES.values()),
    }
)
