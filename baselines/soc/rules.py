"""Rules that bind ready tasks to processors, online, from expected durations.

A rule ranks the candidates and takes the first. When tasks are bound late, a candidate is taken
only if it is on the processor that the rule wants for the task, busy ones included; when no task
gets what it wants, the rule waits. Ties go to the task that became ready first, then to the lowest
processor.

Sources: ETF Hwang et al. 1989 and, as here by the earliest *end*, DS3 (with communication, so it is
also the min-min heuristic with communication); EFT, MET and STF DS3; MCT, min-min, max-min and
sufferage Maheswaran et al. 1999 (MCT and min-min by machine ready time and execution only, as
there; max-min and sufferage by expected ends, with communication); HEFT's upward rank Topcuoglu et
al. 2002, here computed on the job's whole graph and applied to whatever is ready; SRPT Schrage
1968, here by the longest path left of the job; least-work is the list scheduler that serves jobs by
the expected work left, each task where it ends first.

Bound late, ETF and least-work plan for all ready tasks at every event, busy processors included,
and do what the plan starts now; the others ask only whether a task's processor is free.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.baselines.rule import NamedRule
from makespan.envs.core.observation import Observation
from makespan.envs.core.problem import Problem
from makespan.envs.soc import kernel
from makespan.envs.soc.kernel import State

Ints = NDArray[np.int64]


class View(NamedTuple):
    """What rules may use of R rows and A candidates; microseconds."""

    place: Ints  # (R, A) of the task among the ready ones, by the time of becoming ready
    processor: Ints  # (R, A)
    cost: Ints  # (R, A) expected duration
    end: Ints  # (R, A) expected end
    ready_end: Ints  # (R, A) expected end if the data were there
    arrival: Ints  # (R, A) of the data
    shortest: Ints  # (R, A) expected duration on the fastest cluster
    best_end: Ints  # (R, A) earliest expected end of the task anywhere
    second_end: Ints  # (R, A) earliest on another cluster
    rank: NDArray[np.float64]  # (R, A) upward rank of the task
    job_end: Ints  # (R, A) expected completion of the job
    busy: NDArray[np.bool_]  # (R, A) whether the processor runs a task
    bound_now: Ints  # (R, A) tasks bound to the processor since time last moved
    work_left: Ints  # (R, A) shortest durations of the job's tasks that are not bound
    by_end: NDArray[np.bool_]  # (R, A) whether ETF's plan binds the task there now
    by_work: NDArray[np.bool_]  # (R, A) the same for the plan by least work left


def _planned(look: Ints, processor: Ints, order: int) -> NDArray[np.bool_]:
    """Whether the plan of that order binds the task to the processor now."""
    plan = look[..., order * kernel.PLAN_COLUMNS :]
    return (plan[..., kernel.PLAN_NOW] == 1) & (  # type: ignore[no-any-return]
        plan[..., kernel.PLAN_ON] == processor
    )


def view(state: State, rows: NDArray[np.int64]) -> View:
    """The candidates of ``rows``; entries beyond the last candidate of a row mean nothing."""
    row = rows[:, None]
    count = state.totals[rows, kernel.CANDIDATES, None]
    used = int(count.max())
    candidates = state.candidates[rows, :used].astype(np.int64)
    # what is left of earlier decisions, or of another stream, may point nowhere
    candidates[np.arange(used) >= count] = 0
    place, processor = candidates[..., kernel.PLACE], candidates[..., kernel.PROCESSOR]
    width = state.factor.shape[2]
    instance = state.ready[row, place]
    job = instance // width
    kind = state.jobs[row, job, kernel.TYPE]
    task = state.types[row, kind, kernel.OFFSET] + instance % width
    cluster = state.processors[row, processor, kernel.CLUSTER_OF]
    look = state.look[row, place].astype(np.int64)
    cost = state.times[row, task, cluster, kernel.COST].astype(np.int64)
    free = state.processors[row, processor, kernel.FREE]
    now = state.totals[rows, kernel.NOW, None]
    return View(
        place=place,
        processor=processor,
        cost=cost,
        end=candidates[..., kernel.FINISH],
        ready_end=np.maximum(free, now) + cost,
        arrival=state.arrival[row, place, processor].astype(np.int64),
        shortest=state.tasks[row, task, kernel.SHORTEST].astype(np.int64),
        best_end=look[..., kernel.BEST_END],
        second_end=look[..., kernel.SECOND_END],
        rank=state.rank[row, task],
        job_end=state.jobs[row, job, kernel.EXPECTED_ALL].astype(np.int64),
        busy=state.processors[row, processor, kernel.RUNNING] >= 0,
        bound_now=state.processors[row, processor, kernel.BOUND_NOW].astype(np.int64),
        work_left=state.jobs[row, job, kernel.WORK_LEFT].astype(np.int64),
        by_end=_planned(look, processor, kernel.BY_END),
        by_work=_planned(look, processor, kernel.BY_WORK),
    )


def _first_to_end(v: View) -> NDArray[np.bool_]:
    return v.end == v.best_end  # type: ignore[no-any-return]


def _on_fastest(v: View) -> NDArray[np.bool_]:
    return v.cost == v.shortest  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Rule:
    """How a rule decides.

    Attributes:
        keys: keys of the candidates, the most important first, the smallest value first.
        wants: which candidates it takes when it may also wait.
        requires: options of the problem that it needs.
    """

    keys: Callable[[View], tuple[NDArray[Any], ...]]
    wants: Callable[[View], NDArray[np.bool_]] = _first_to_end
    requires: Mapping[str, str] = field(default_factory=dict)


def _sufferage(v: View) -> tuple[NDArray[Any], ...]:
    second = np.where(v.second_end >= 2**31 - 1, v.best_end, v.second_end)
    return v.best_end - second, v.place, v.end


#: Every rule by its name. ``ds3-met`` and ``ds3-stf`` choose among the identical processors of the
#: fastest cluster as DS3 does (MET: an idle one, then one that got the fewest tasks in this
#: invocation, whatever the queues; STF: always the first).
RULES: dict[str, Rule] = {
    "etf": Rule(lambda v: (v.end, v.place), wants=lambda v: v.by_end),
    "eft": Rule(lambda v: (v.place, v.end)),
    "met": Rule(lambda v: (v.place, v.cost, v.end), wants=_on_fastest),
    "mct": Rule(lambda v: (v.place, v.ready_end)),
    "stf": Rule(lambda v: (v.shortest, v.place, v.cost, v.end), wants=_on_fastest),
    "min-min": Rule(lambda v: (v.ready_end, v.place)),
    "max-min": Rule(lambda v: (-v.best_end, v.place, v.end)),
    "sufferage": Rule(_sufferage),
    "heft": Rule(lambda v: (-v.rank, v.place, v.end)),
    "srpt": Rule(lambda v: (v.job_end, -v.rank, v.end)),
    "least-work": Rule(lambda v: (v.work_left, v.end), wants=lambda v: v.by_work),
    "affinity": Rule(lambda v: (v.place, v.arrival, v.end), wants=lambda v: v.arrival >= 0),
    "ds3-met": Rule(
        lambda v: (v.place, v.cost, v.busy, v.bound_now),
        wants=_on_fastest,
        requires={"processors": "all", "binding": "eager"},
    ),
    "ds3-stf": Rule(
        lambda v: (v.shortest, v.place, v.cost),
        wants=_on_fastest,
        requires={"processors": "all", "binding": "eager"},
    ),
}


class RulePolicy(NamedRule):
    """A rule, see :data:`RULES`."""

    rules = RULES
    needs = MappingProxyType({name: rule.requires for name, rule in RULES.items()})

    def scores(
        self,
        problem: Problem[Any],
        state: Any,
        observation: Observation,
        rows: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Minus the rank of each candidate, -inf where illegal."""
        legal = observation.action_mask[rows] > 0
        v = view(state, rows)
        used = v.place.shape[1]
        rule = RULES[self.name]
        unwanted = np.zeros((len(rows), used))
        if problem.options()["binding"] == "late":
            unwanted = np.where(rule.wants(v), 0.0, 2.0)
        unwanted[:, 0] = 1.0  # to wait comes before what is not wanted
        unwanted[~legal[:, :used]] = np.inf
        order = np.lexsort((*rule.keys(v)[::-1], unwanted), axis=1)
        scores = np.full(legal.shape, -np.inf)
        ranks = np.broadcast_to(-np.arange(used, dtype=np.float64), order.shape)
        np.put_along_axis(scores, order, ranks, axis=1)
        return np.where(legal, scores, -np.inf)
