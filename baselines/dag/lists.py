"""List scheduling heuristics for task graphs, each as a solver.

Sources: HEFT and CPOP Topcuoglu, Hariri & Wu, IEEE TPDS 13(3), 2002; PEFT Arabnejad & Barbosa, IEEE
TPDS 25(3), 2014; lookahead HEFT Bittencourt, Sakellariou & Madeira, PDP 2010; DLS Sih & Lee, IEEE
TPDS 4(2), 1993; ETF Hwang, Chow, Anger & Lee, SIAM Journal on Computing 18(2), 1989; MET, MCT,
min-min, max-min and sufferage Maheswaran et al., Journal of Parallel and Distributed Computing
59(2), 1999, here over the ready tasks.

Placement is ``insertion`` (idle intervals may be used) for HEFT, CPOP, PEFT and lookahead HEFT, and
``append`` for the others, as in their papers; the option ``placement`` changes it. Ties go to the
task that is first in topological order and to the processor that is first in the instance.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.dag import list_kernel
from makespan.envs.core.errors import UnknownNameError
from makespan.envs.core.solution import Result
from makespan.envs.dag import analysis
from makespan.envs.dag.instance import TaskGraphInstance
from makespan.envs.dag.solution import TaskGraphSolution

Placement = Literal["insertion", "append"]
Arrays = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class ListScheduler:
    """A list scheduling heuristic; takes no time worth limiting and no chance.

    Attributes:
        rule: a key of :data:`RULES`.
        placement: None for the one of the rule's paper.

    Raises:
        UnknownNameError: for an unknown rule or placement.
    """

    rule: str
    placement: Placement | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise UnknownNameError("rule", self.rule, RULES)
        if self.placement not in (None, "insertion", "append"):
            raise UnknownNameError("placement", self.placement, ("insertion", "append"))

    @property
    def name(self) -> str:
        """For tables."""
        return self.rule

    def solve(
        self,
        instance: TaskGraphInstance,
        time_limit_s: float | None = None,
        rng: np.random.Generator | None = None,
    ) -> Result[TaskGraphSolution]:
        """The heuristic's schedule."""
        started = time.perf_counter()
        run, default = RULES[self.rule]
        processors, starts = run(instance, (self.placement or default) == "insertion")
        seconds = time.perf_counter() - started
        return Result(TaskGraphSolution.from_tasks(instance, processors, starts), seconds)


def _by_priority(
    instance: TaskGraphInstance,
    insertion: bool,
    priority: NDArray[np.float64],
    penalty: NDArray[Any] | None = None,
    lookahead: bool = False,
) -> Arrays:
    if penalty is None:
        penalty = np.zeros(instance.costs.shape)
    order, *graph = _graph(instance)
    arrays: Arrays = list_kernel.by_priority(
        np.round(priority, 6), penalty, order, *graph, insertion, lookahead
    )
    return arrays


def _graph(instance: TaskGraphInstance) -> tuple[NDArray[Any], ...]:
    return (
        instance.topological_order,
        instance.first_out,
        np.ascontiguousarray(instance.edges[:, 1]),
        instance.costs,
        instance.link,
        instance.delays,
    )


def _heft(instance: TaskGraphInstance, insertion: bool, lookahead: bool = False) -> Arrays:
    """The highest upward rank first, where it ends first (or its children do)."""
    return _by_priority(instance, insertion, instance.upward_ranks, lookahead=lookahead)


def _cpop(instance: TaskGraphInstance, insertion: bool) -> Arrays:
    """The longest mean path first; a critical path runs on the processor that is best for it."""
    ranks = instance.upward_ranks + instance.downward_ranks
    path = critical_path(instance)
    able = instance.eligible[path].all(axis=0)
    penalty = np.zeros(instance.costs.shape)
    if able.any():
        work = np.where(able, instance.costs[path].sum(axis=0), analysis.NEVER)
        penalty[path] = analysis.NEVER
        penalty[path, int(work.argmin())] = 0
    return _by_priority(instance, insertion, ranks, penalty)


def critical_path(instance: TaskGraphInstance) -> NDArray[np.int64]:
    """Tasks of a longest mean path, from an entry task to an exit task (CPOP)."""
    ranks = np.round(instance.upward_ranks + instance.downward_ranks, 6)
    entries = np.flatnonzero(np.diff(instance.first_in) == 0)
    task = int(entries[ranks[entries].argmax()])
    path = [task]
    while True:
        out = slice(instance.first_out[task], instance.first_out[task + 1])
        children = instance.edges[out, 1]
        if not len(children):
            return np.array(path)
        task = int(children[ranks[children].argmax()])
        path.append(task)


def optimistic_cost_table(instance: TaskGraphInstance) -> NDArray[np.float64]:
    """(T, P) PEFT's OCT: the longest of the shortest paths from a task's children to the end.

    ``OCT[t, p] = max over children c of min over q of OCT[c, q] + cost[c, q] + mean delay if
    p != q``.
    """
    order, first_out, targets, costs, *_ = _graph(instance)
    link = 1 - np.eye(instance.num_processors, dtype=np.int32)
    delays = np.stack([np.zeros(instance.num_edges), instance.mean_delays], axis=1)
    table: NDArray[np.float64] = list_kernel.optimistic_costs(
        order, first_out, targets, costs, link, delays
    )
    return table


def _peft(instance: TaskGraphInstance, insertion: bool) -> Arrays:
    """The highest mean OCT first, where finish time plus OCT is least."""
    table = optimistic_cost_table(instance)
    mean = np.where(instance.eligible, table, 0).sum(axis=1) / instance.eligible.sum(axis=1)
    return _by_priority(instance, insertion, mean, table)


def _mct(instance: TaskGraphInstance, insertion: bool) -> Arrays:
    """In topological order, where it ends first."""
    return _by_priority(instance, insertion, np.zeros(instance.num_tasks))


def _met(instance: TaskGraphInstance, insertion: bool) -> Arrays:
    """In topological order, where it takes least time, however busy."""
    penalty = instance.costs * float(analysis.NEVER)
    return _by_priority(instance, insertion, np.zeros(instance.num_tasks), penalty)


def static_levels(instance: TaskGraphInstance) -> NDArray[np.float64]:
    """(T,) the longest path of mean costs from a task to the end, communication left out."""
    order, first_out, targets, *_ = _graph(instance)
    none = np.zeros(instance.num_edges)
    levels: NDArray[np.float64] = analysis.upward_ranks(
        order, first_out, targets, instance.mean_costs, none
    )
    return levels


def _by_pairs(rule: int, instance: TaskGraphInstance, insertion: bool) -> Arrays:
    arrays: Arrays = list_kernel.by_pairs(
        rule, static_levels(instance), *_graph(instance), insertion
    )
    return arrays


#: Every rule: how it is run, and the placement of its paper.
RULES: dict[str, tuple[Callable[[TaskGraphInstance, bool], Arrays], Placement]] = {
    "heft": (_heft, "insertion"),
    "lookahead-heft": (partial(_heft, lookahead=True), "insertion"),
    "peft": (_peft, "insertion"),
    "cpop": (_cpop, "insertion"),
    "dls": (partial(_by_pairs, list_kernel.DLS), "append"),
    "etf": (partial(_by_pairs, list_kernel.ETF), "append"),
    "eft": (partial(_by_pairs, list_kernel.EFT), "append"),
    "stf": (partial(_by_pairs, list_kernel.STF), "append"),
    "min-min": (partial(_by_pairs, list_kernel.MIN_MIN), "append"),
    "max-min": (partial(_by_pairs, list_kernel.MAX_MIN), "append"),
    "sufferage": (partial(_by_pairs, list_kernel.SUFFERAGE), "append"),
    "mct": (_mct, "append"),
    "met": (_met, "append"),
}
