"""The schedule from which an improvement starts: of a rule, or of any policy or solver.

Rules are non-delay: of the operations that can start first, the one of the highest priority goes
first. They are written here once more because the rules of the job shop decide step by step in
Python, which takes longer than an episode; a test holds them equal.
"""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makespan.envs.core.errors import MakespanError, UsageError
from makespan.envs.jobshop.instance import JobShopInstance


def _fdd_mwkr(instance: JobShopInstance) -> NDArray[np.float64]:
    from makespan.baselines.jobshop.schedules import work_left

    left = work_left(instance)
    job_work = left[instance.job_offsets[:-1]][instance.job_of_operation]
    due = job_work - left + instance.durations
    return -due / np.maximum(left, 1)


def _mwkr(instance: JobShopInstance) -> NDArray[np.float64]:
    from makespan.baselines.jobshop.schedules import work_left

    return work_left(instance).astype(np.float64)


def _random(instance: JobShopInstance) -> NDArray[np.float64]:
    """Drawn anew for every instance, always the same for the same."""
    seed = int(instance.content_hash()[:16], 16)
    return np.random.default_rng(seed).random(instance.num_operations)


#: Rules by name: priority of each operation, (operations,) float64.
RULES: Mapping[str, Callable[[JobShopInstance], NDArray[np.float64]]] = {
    "fdd-mwkr": _fdd_mwkr,
    "mwkr": _mwkr,
    "spt": lambda instance: -instance.durations.astype(np.float64),
    "random": _random,
}
#: Policies and solvers of the job shop by the name they have here.
CONSTRUCTIONS: Mapping[str, str] = {"pilot": "nondelay/pilot", "construction": "pretrained"}

START_MODES = (*RULES, *CONSTRUCTIONS)


def check_start(start: str) -> None:
    """Raise UsageError unless :func:`first_schedule` can make one of these."""
    if start in START_MODES:
        return
    try:
        _solver(start)
    except MakespanError as error:
        raise UsageError(
            f"start: found {start!r}, expected {', '.join(START_MODES)}, or a policy or solver of "
            f"the job shop: {error}"
        ) from None


@lru_cache(maxsize=1024)
def first_schedule(instance: JobShopInstance, start: str) -> NDArray[np.int32]:
    """(operations,) the operations in the order of their start in the first schedule.

    Args:
        instance: classical, one alternative per operation.
        start: one of :data:`START_MODES`, or a specification of any other policy or solver of the
            job shop, e.g. ``"insert/mor"`` or ``"tabu:max_moves=100"``.

    Raises:
        UnknownNameError, UsageError: for a wrong specification.
        KeyboardInterrupt: also when a solver that Ctrl-C has ended returned its best so far.
    """
    if start in RULES:
        return _construct(instance, RULES[start](instance))
    from makespan.baselines.jobshop.schedules import starts_and_alternatives

    rng = np.random.default_rng(int(instance.content_hash()[:16], 16))
    result = _solver(CONSTRUCTIONS.get(start, start)).solve(instance, None, rng)
    if result.details.get("interrupted"):
        raise KeyboardInterrupt
    starts, _ = starts_and_alternatives(instance, result.solution)
    return np.lexsort((starts + instance.durations, starts)).astype(np.int32)


@cache
def _solver(spec: str) -> Any:
    from makespan.baselines.registry import make_solver
    from makespan.envs.jobshop.family import make_family

    return make_solver(make_family(), spec)


def _construct(instance: JobShopInstance, priority: NDArray[np.float64]) -> NDArray[np.int32]:
    from makespan.baselines.jobshop.tabu_kernel import Alternatives, construct

    n = instance.num_operations
    alternatives = Alternatives(
        instance.alternative_offsets.astype(np.int32),
        instance.machines.astype(np.int32),
        instance.durations.astype(np.int32),
        np.zeros(n, dtype=np.int32),
    )
    order = np.zeros(n, dtype=np.int32)
    construct(instance.job_offsets, alternatives, instance.num_machines, priority, order)
    return order
