"""References: all ways of routing a few requests, rules that know the true response lengths."""

import dataclasses
import time
from dataclasses import dataclass

import numpy as np

from makespan.baselines.routing.rules import RULES, RulePolicy
from makespan.envs.core.errors import UnknownNameError, UsageError
from makespan.envs.core.rollout import rollout
from makespan.envs.core.solution import Result
from makespan.envs.routing.instance import UNIFIED, RoutingInstance
from makespan.envs.routing.problem import RoutingProblem
from makespan.envs.routing.solution import RoutingSolution

#: Most ways that are tried: 4 replicas to the power of 8 requests, 2 to that of 16.
MAX_WAYS = 4**8
#: Ways that are played at once.
BATCH = 512
#: Orders of the queue that do not use predictions.
BLIND_QUEUES = ("fcfs", "mlfq", "vtc", "dlpm")


@dataclass(frozen=True)
class BruteForce:
    """Every assignment of requests to replicas, each sent on arrival; at most ``MAX_WAYS``.

    The optimum among routings without holding, which is what Jain et al. (arXiv 2408.13510)
    enumerate. It proves nothing about holding.

    Attributes:
        name: for tables.
        queue: order of the queue at the replicas.
    """

    name: str = "brute-force"
    queue: str = "fcfs"

    def solve(
        self, instance: RoutingInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[RoutingSolution]:
        """The best of all ways; raises UsageError for too many of them, or for two pools."""
        started = time.perf_counter()
        n, m = instance.num_requests, instance.num_replicas
        if m**n > MAX_WAYS:
            raise UsageError(
                f"{instance.name}: {m} replicas and {n} requests give {m}**{n} ways, brute force "
                f"tries at most {MAX_WAYS:,}"
            )
        if (instance.role != UNIFIED).any():
            raise UsageError(f"{instance.name}: brute force knows no prefill and decode pools")
        problem = RoutingProblem.for_instances([instance], self.queue)
        best: RoutingSolution | None = None
        value = np.inf
        for first in range(0, m**n, BATCH):
            ways = np.arange(first, min(first + BATCH, m**n))
            for solution in _play(problem, instance, ways):
                if solution is not None and solution.objective(instance) < value:
                    best, value = solution, solution.objective(instance)
        assert best is not None  # the instance says that every request fits somewhere
        return Result(best, time.perf_counter() - started)


def _play(
    problem: RoutingProblem, instance: RoutingInstance, ways: np.ndarray
) -> list[RoutingSolution | None]:
    """The solutions of ways numbered in base m, None for those the mask forbids."""
    state, observation = problem.allocate(len(ways)), problem.spec.allocate(len(ways))
    for row in range(len(ways)):
        problem.load(state, observation, row, instance)
    rewards, terminated = np.zeros(len(ways)), np.zeros(len(ways), dtype=np.bool_)
    forbidden = np.zeros(len(ways), dtype=np.bool_)
    rows = np.arange(len(ways))
    for request in range(instance.num_requests):
        actions = 1 + ways // instance.num_replicas**request % instance.num_replicas
        forbidden |= observation.action_mask[rows, actions] == 0
        actions = np.where(forbidden, -1, actions).astype(np.int64)
        problem.step(state, observation, actions, rewards, terminated)
    return [None if forbidden[row] else problem.solution(state, row) for row in rows.tolist()]


@dataclass(frozen=True)
class TrueLengths:
    """A rule for which the true response lengths are the predictions.

    This is less than what perfect foresight would be worth: from eight ninths of a response on, the
    projection that rules rest on expects an eighth of what is there to come, whatever is predicted.

    Attributes:
        rule: of :data:`makespan.baselines.routing.rules.RULES`.
        queue: order of the queue at the replicas, one that does not use predictions.
        name: for tables.
    """

    rule: str = "marginal"
    queue: str = "fcfs"
    name: str = "true-lengths"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise UnknownNameError("rule", self.rule, RULES)
        if self.queue not in BLIND_QUEUES:
            raise UsageError(
                f"queue: found {self.queue}, expected one that does not use predictions: "
                f"{', '.join(BLIND_QUEUES)}"
            )

    def solve(
        self, instance: RoutingInstance, time_limit_s: float | None, rng: np.random.Generator
    ) -> Result[RoutingSolution]:
        """One run of the rule on the instance with its predictions made true."""
        started = time.perf_counter()
        known = dataclasses.replace(instance, predicted=instance.output)
        problem = RoutingProblem.for_instances([known], self.queue)
        solution = rollout(problem, [known], RulePolicy(self.rule), rng)[0]
        assert isinstance(solution, RoutingSolution)
        return Result(solution, time.perf_counter() - started)
