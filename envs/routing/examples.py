"""Clusters small enough to check by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from makespan.envs.core.errors import UnknownNameError
from makespan.envs.routing.instance import Fleet, RoutingInstance


def simple_fleet(
    replicas: int = 1,
    *,
    base: float = 0.010,
    prefill: float = 5e-5,
    decode: float = 4e-5,
    kv_blocks: int = 100,
    token_budget: int = 512,
    max_batch: int = 64,
    roles: Sequence[int] | None = None,
) -> Fleet:
    """Replicas whose iteration takes ``base + prefill * prompt tokens + decode * decodes`` s."""
    engine = np.tile([base, prefill, decode, 0.0, 0.0, 0.0, 0.0], (replicas, 1))
    return Fleet(
        kinds=("simple",) * replicas,
        engine=engine,
        kv_blocks=np.full(replicas, kv_blocks),
        token_budget=np.full(replicas, token_budget),
        max_batch=np.full(replicas, max_batch),
        role=np.zeros(replicas, dtype=np.int64) if roles is None else np.asarray(roles),
    )


def example(
    name: str, requests: Sequence[tuple[float, int, int]], **options: Any
) -> RoutingInstance:
    """An instance of (arrival, prompt, output) triples; options of the fleet or the instance."""
    fleet_options = {
        key: options.pop(key)
        for key in ("replicas", "kv_blocks", "token_budget", "max_batch", "roles")
        if key in options
    }
    arrival, prompt, output = zip(*requests, strict=True)
    return RoutingInstance.build(
        arrival, prompt, output, simple_fleet(**fleet_options), name=name, **options
    )


#: One request alone: 100 prompt tokens take 10 + 100 * 0.05 = 15 ms, each of two decodes 10.04 ms.
ALONE = example("alone", [(0.0, 100, 3)])

#: Eight requests at once on two replicas, long and short ones mixed: small enough to try all 2^8
#: ways.
EIGHT = example(
    "eight",
    [
        *[(0.0, 400, 60), (0.0, 40, 5), (0.01, 300, 80), (0.01, 30, 4)],
        *[(0.02, 500, 40), (0.02, 20, 70), (0.03, 200, 10), (0.03, 60, 50)],
    ],
    replicas=2,
    kv_blocks=60,
    watermark=0.0,
    max_holds=0,
)

#: Every example by its name.
EXAMPLES = {instance.name: instance for instance in (ALONE, EIGHT)}


def load_example(name: str) -> RoutingInstance:
    """An example by its name; raises UnknownNameError with the close matches."""
    if name not in EXAMPLES:
        raise UnknownNameError("instance", name, EXAMPLES)
    return EXAMPLES[name]
