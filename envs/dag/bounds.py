"""Lower bounds on the makespan of a task graph."""

import csv
from functools import cache
from importlib import resources
from types import MappingProxyType

import numpy as np

from makespan.envs.core.family import BestKnown
from makespan.envs.dag.instance import TaskGraphInstance
from makespan.envs.dag.solution import TaskGraphSolution


def lower_bound(instance: TaskGraphInstance) -> int:
    """The largest of three quick bounds on the makespan, in time units.

    - path: through each task, the least head plus tail over its processors, communication counted
      (dynamic programming over tasks and processors);
    - area: the cheapest costs of all tasks, shared by all processors;
    - load: for each processor, the tasks that only it can run.
    """
    through = np.where(instance.eligible, instance.heads + instance.tails, np.iinfo(np.int64).max)
    least = np.where(instance.eligible, instance.costs, np.iinfo(np.int64).max).min(axis=1)
    area = -(-int(least.sum()) // instance.num_processors)
    only = instance.eligible.sum(axis=1) == 1
    load = np.where(instance.eligible[only], instance.costs[only], 0).sum(axis=0)
    return max(int(through.min(axis=1).max()), area, int(load.max()))


def schedule_length_ratio(instance: TaskGraphInstance, solution: TaskGraphSolution) -> float:
    """SLR: makespan over the longest chain of cheapest costs, communication left out.

    Source: Topcuoglu, Hariri & Wu, IEEE TPDS 13(3), 2002, section 5.1.
    """
    least = np.where(instance.eligible, instance.costs, np.iinfo(np.int64).max).min(axis=1)
    end = least.copy()
    for task in instance.topological_order:
        out = slice(instance.first_out[task], instance.first_out[task + 1])
        children = instance.edges[out, 1]
        end[children] = np.maximum(end[children], end[task] + least[children])
    return float(solution.makespan / max(end.max(), 1))


def longest_span(instance: TaskGraphInstance, solution: TaskGraphSolution) -> float:
    """Longest time from the first start to the last end on a processor.

    With pipelines this, not the makespan, is what a step of training costs.
    """
    rows = [solution.processors == p for p in range(instance.num_processors)]
    spans = [solution.ends[on].max() - solution.starts[on].min() for on in rows if on.any()]
    return float(max(spans))


def best_known(name: str) -> BestKnown | None:
    """Bounds of a worked example, or of an instance of the suite ``layered-30``, by its name.

    Most are optima, all proven by CP-SAT (``baselines/dag/exact.py``); None for anything else.
    """
    return _best_known().get(name)


@cache
def _best_known() -> MappingProxyType[str, BestKnown]:
    text = resources.files(__package__).joinpath("best_known.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return MappingProxyType(
        {
            row["name"]: BestKnown(
                lower_bound=int(row["lower_bound"]),
                upper_bound=int(row["upper_bound"]),
                as_of=row["as_of"],
                source=row["source"],
            )
            for row in csv.DictReader(lines)
        }
    )
