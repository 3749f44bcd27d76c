"""Named sets of instances: validation to choose among policies with, and tests to report on.

Instance i of a set is drawn from ``numpy.random.default_rng((seed of the set, i))``; these seeds
have 96 bits, so they are none that training makes from seeds of ordinary size, below 2**64. Each
kind of cluster has a validation set and a test set of the same recipe.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

from makespan.envs.routing.generator import RoutingGenerator
from makespan.envs.routing.instance import RoutingInstance

VALIDATION_SEED = 0x6D616B657370616E2D76616C
TEST_SEED = 0x6D616B657370616E2D747374
COUNT = 24

FIVE_TASKS = RoutingGenerator(
    num_requests=2000,
    num_replicas=4,
    fleet="v100/llama-2-7b/1",
    model="llama-2-7b-v100",
    workload="five-tasks",
    rate=5.0,  # 20 a second on four replicas
    memory=(1.0, 1.0),
    predictor="bucket",
    error=(0.2085, 0.2085),
    hold_s=1.0,  # the router of the paper may hold for as long as it likes
    max_holds=60,
)

#: All replicas alike, plenty of memory.
HOMOGENEOUS = RoutingGenerator(
    num_requests=600,
    num_replicas=4,
    fleet="a100/llama-2-7b/1",
    model="llama-2-7b",
    workload="azure-conversation",
    load=(0.8, 0.8),
    memory=(1.0, 1.0),
    predictor="bucket",
    error=(0.2, 0.2),
)

#: Little memory: requests wait, and responses that grow are preempted.
MEMORY = dataclasses.replace(HOMOGENEOUS, load=(1.1, 1.1), memory=(0.15, 0.15))

#: Recipes by name.
RECIPES: Mapping[str, RoutingGenerator] = MappingProxyType(
    {
        "homogeneous": HOMOGENEOUS,
        # fast and slow replicas mixed
        "heterogeneous": dataclasses.replace(
            HOMOGENEOUS, num_replicas=6, fleet="heterogeneous", memory=(0.5, 0.5)
        ),
        "memory": MEMORY,
        # the same on fast and slow replicas, where requests may wait at the router for a minute
        "heterogeneous-memory": dataclasses.replace(
            MEMORY, num_replicas=6, fleet="heterogeneous", hold_s=0.5, max_holds=120
        ),
        # the setting of Jain et al., arXiv 2408.13510: 20 requests a second on four V100
        "five-tasks": FIVE_TASKS,
        # the same doubled
        "five-tasks-8": dataclasses.replace(FIVE_TASKS, num_requests=4000, num_replicas=8),
        # conversations with shared prefixes
        "prefix": dataclasses.replace(
            HOMOGENEOUS,
            fleet="a100/llama-3.1-8b/1",
            model="llama-3.1-8b",
            workload="mooncake",
            load=(0.9, 0.9),
        ),
    }
)


def draw(
    name: str, recipe: RoutingGenerator, seed: int, count: int = COUNT
) -> list[RoutingInstance]:
    """``count`` instances of a recipe, named after it."""
    return [
        dataclasses.replace(
            recipe.sample(np.random.default_rng((seed, number))), name=f"{name}-{number}"
        )
        for number in range(count)
    ]


#: Every suite by its name; a call draws it.
SUITES: Mapping[str, Callable[[], list[RoutingInstance]]] = MappingProxyType(
    {
        **{name: partial(draw, name, recipe, TEST_SEED) for name, recipe in RECIPES.items()},
        **{
            f"{name}-validation": partial(draw, f"{name}-validation", recipe, VALIDATION_SEED)
            for name, recipe in RECIPES.items()
        },
    }
)
