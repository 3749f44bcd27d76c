"""Goodput: the highest arrival rate at which enough requests meet their objectives.

Definition: Zhong et al., DistServe, OSDI 2024: the largest rate with at least a share
``attainment`` (90 %) of requests within both their TTFT and TPOT objectives.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from makespan.envs.core.errors import UsageError
from makespan.envs.core.rollout import Policy, rollout
from makespan.envs.routing.formats import scaled
from makespan.envs.routing.instance import RoutingInstance
from makespan.envs.routing.metrics import meets_objectives
from makespan.envs.routing.problem import RoutingProblem
from makespan.envs.routing.solution import RoutingSolution


class Goodput(NamedTuple):
    """What a bisection found.

    Attributes:
        rate: requests a second, mean over the instances, at the highest factor that attains.
        factor: by which arrivals were made faster.
        tried: (factor, share that met the objectives) of every run, in order of the factor.
    """

    rate: float
    factor: float
    tried: tuple[tuple[float, float], ...]


def attained(
    instances: Sequence[RoutingInstance], policy: Policy, factor: float, queue: str = "fcfs"
) -> float:
    """Share of requests within their objectives when they arrive ``factor`` times faster."""
    faster = [scaled(instance, factor) for instance in instances]
    options = {**getattr(policy, "requires", {}), "queue": queue}
    problem = RoutingProblem.for_instances(faster, **options)
    solutions = rollout(problem, faster, policy, np.random.default_rng(0))
    met = []
    for instance, solution in zip(faster, solutions, strict=True):
        assert isinstance(solution, RoutingSolution)
        met.append(meets_objectives(instance, solution))
    return float(np.concatenate(met).mean())


def goodput(
    instances: Sequence[RoutingInstance],
    policy: Policy,
    *,
    attainment: float = 0.9,
    factors: tuple[float, float] = (0.05, 8.0),
    tolerance: float = 0.02,
    queue: str = "fcfs",
    share: Callable[..., float] = attained,
) -> Goodput:
    """Bisect the factor on a logarithmic scale; attainment is taken to fall with the rate.

    Args:
        instances: whose arrivals are scaled, the same for every policy.
        policy: that routes.
        attainment: share of requests that must meet their objectives.
        factors: where to look.
        tolerance: relative width of the last interval.
        queue: order of the queue at the replicas.
        share: ``share(instances, policy, factor, queue)``; another one for tests.

    Raises:
        UsageError: when already the lowest factor does not attain, or when all requests of an
            instance arrive at one time.
    """
    for instance in instances:
        if not instance.arrival[-1] > instance.arrival[0]:
            raise UsageError(
                f"{instance.name}: found all requests at one time, expected a rate of arrival"
            )
    low, high = factors
    tried = {low: share(instances, policy, low, queue), high: share(instances, policy, high, queue)}
    if tried[low] < attainment:
        raise UsageError(
            f"at {low} times the arrival rate {tried[low]:.1%} meet their objectives, expected "
            f"{attainment:.0%}: objectives that no rate can meet"
        )
    if tried[high] >= attainment:
        low = high
    while high / low > 1 + tolerance:
        middle = float(np.sqrt(low * high))
        tried[middle] = share(instances, policy, middle, queue)
        low, high = (middle, high) if tried[middle] >= attainment else (low, middle)
    rates = [(i.num_requests - 1) / float(i.arrival[-1] - i.arrival[0]) for i in instances]
    return Goodput(low * float(np.mean(rates)), low, tuple(sorted(tried.items())))
