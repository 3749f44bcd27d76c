"""Task-graph scheduling in plain Python, slow and written from the definitions."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from makespan.envs.dag.instance import TaskGraphInstance
from makespan.envs.dag.problem import DagProblem
from makespan.envs.dag.solution import TaskGraphSolution

#: Ready tasks that are offered.
WINDOW = 16


class Placed(NamedTuple):
    processor: int
    start: int
    end: int


class Candidate(NamedTuple):
    task: int  # -1: skip
    processor: int
    start: int


class Graph:
    """One task graph, decided candidate by candidate."""

    def __init__(
        self,
        instance: TaskGraphInstance,
        actions: str = "task-processor",
        placement: str = "insertion",
        dispatch: str = "free",
    ) -> None:
        self.instance = instance
        self.actions, self.placement, self.dispatch = actions, placement, dispatch
        self.processors = range(instance.num_processors)
        self.tasks = range(instance.num_tasks)
        self.costs = instance.costs.tolist()
        self.edges = {
            (u, v): volume
            for (u, v), volume in zip(instance.edges.tolist(), instance.volumes, strict=True)
        }
        self.parents = {v: [u for u, w in self.edges if w == v] for v in self.tasks}
        self.children = {u: [v for w, v in self.edges if w == u] for u in self.tasks}
        self.placed: dict[int, Placed] = {}
        self.clock = 0
        self.tail = cache(self._tail)
        self.head = cache(self._head)
        self.rank = cache(self._rank)
        self.bound = 0
        self.bound = self.initial_bound = self.instance_bound()

    def delay(self, u: int, v: int, p: int, q: int) -> int:
        return 0 if p == q else int(self.edges[u, v] // self.instance.bandwidths[p, q])

    def eligible(self, task: int) -> list[int]:
        return [p for p in self.processors if self.costs[task][p] >= 0]

    def _tail(self, task: int, p: int) -> int:
        after = [
            min(self.delay(task, c, p, q) + self.tail(c, q) for q in self.eligible(c))
            for c in self.children[task]
        ]
        return int(self.costs[task][p] + max(after, default=0))

    def _head(self, task: int, p: int) -> int:
        before = [
            min(
                self.head(u, q) + self.costs[u][q] + self.delay(u, task, q, p)
                for q in self.eligible(u)
            )
            for u in self.parents[task]
        ]
        return int(max(before, default=0))

    def _rank(self, task: int) -> float:
        def mean_delay(child: int) -> float:
            pairs = [(p, q) for p in self.processors for q in self.processors if p != q]
            return float(np.mean([self.delay(task, child, *pair) for pair in pairs] or [0]))

        mean = np.mean([self.costs[task][p] for p in self.eligible(task)])
        after = [mean_delay(child) + self.rank(child) for child in self.children[task]]
        return float(mean + max(after, default=0))

    def instance_bound(self) -> int:
        path = max(
            min(self.head(t, p) + self.tail(t, p) for p in self.eligible(t)) for t in self.tasks
        )
        work = sum(min(self.costs[t][p] for p in self.eligible(t)) for t in self.tasks)
        only = [
            sum(self.costs[t][p] for t in self.tasks if self.eligible(t) == [p])
            for p in self.processors
        ]
        return max(path, -(-work // len(self.processors)), *only)

    def on(self, p: int) -> list[Placed]:
        return sorted(placed for placed in self.placed.values() if placed.processor == p)

    def free(self, p: int) -> int:
        return max((placed.end for placed in self.on(p)), default=0)

    def arrival(self, task: int, p: int) -> int:
        """Of the results of the parents that are placed."""
        times = [
            self.placed[u].end + self.delay(u, task, self.placed[u].processor, p)
            for u in self.parents[task]
            if u in self.placed
        ]
        return max([0, *times])

    def start(self, task: int, p: int) -> int:
        ready = max(self.arrival(task, p), self.clock)
        if self.placement == "append":
            return max(ready, self.free(p))
        cost, others = self.costs[task][p], self.on(p)
        times = [ready, *(other.end for other in others if other.end > ready)]
        return min(
            time
            for time in times
            if all(time + cost <= other.start or other.end <= time for other in others)
        )

    def order(self) -> list[int]:
        """Tasks by decreasing upward rank, equal ones in topological order."""
        topological: list[int] = []
        while len(topological) < len(self.tasks):
            topological.append(
                min(
                    t
                    for t in self.tasks
                    if t not in topological and set(self.parents[t]) <= set(topological)
                )
            )
        return sorted(topological, key=lambda t: -round(self.rank(t), 6))

    def ready(self) -> list[int]:
        return [
            t
            for t in self.order()
            if t not in self.placed and all(u in self.placed for u in self.parents[t])
        ]

    def offered(self) -> list[int]:
        return self.ready()[:WINDOW]

    def soonest_end(self, task: int) -> int:
        return min(
            self.eligible(task), key=lambda p: (self.start(task, p) + self.costs[task][p], p)
        )

    def least_path(self, task: int) -> int:
        return min(self.eligible(task), key=lambda p: (self.start(task, p) + self.tail(task, p), p))

    def candidates(self) -> list[Candidate]:
        found = []
        for task in self.offered():
            for p in self.eligible(task):
                chosen = self.actions == "task-processor" or p == self.soonest_end(task)
                if chosen and not self.spare(p):
                    found.append(Candidate(task, p, self.start(task, p)))
        return found

    def spare(self, p: int) -> bool:
        """Whether an empty processor of lower index could be exchanged with this one."""
        return not self.on(p) and any(not self.on(q) and self.exchangeable(p, q) for q in range(p))

    def exchangeable(self, p: int, q: int) -> bool:
        swap = {p: q, q: p}
        band = self.instance.bandwidths
        same_costs = all(row[p] == row[q] for row in self.costs)
        return same_costs and all(
            band[a, b] == band[swap.get(a, a), swap.get(b, b)]
            for a in self.processors
            for b in self.processors
            if a != b
        )

    def legal(self) -> list[Candidate]:
        candidates = self.candidates()
        if self.dispatch == "free" or not candidates:
            return candidates
        first = min(c.start for c in candidates)
        found = [c for c in candidates if c.start == first]
        if self.dispatch == "skip" and self.next_event() is not None:
            found.append(Candidate(-1, -1, -1))
        return found

    def next_event(self) -> int | None:
        if self.actions == "order":
            starts = {self.start(t, self.soonest_end(t)) for t in self.offered()}
        else:
            starts = {self.start(t, p) for t in self.offered() for p in self.eligible(t)}
        return min(starts - {min(starts)}, default=None)

    def take(self, choice: Candidate) -> None:
        if choice.task < 0:
            event = self.next_event()
            assert event is not None
            self.clock = event
        else:
            cost = self.costs[choice.task][choice.processor]
            self.placed[choice.task] = Placed(choice.processor, choice.start, choice.start + cost)
        self.bound = max(self.bound, self.lower_bound(choice.task))

    def lower_bound(self, task: int) -> int:
        """See the module of the kernel; ``task`` was placed last."""
        bounds = [max((placed.end for placed in self.placed.values()), default=0)]
        for child in self.children.get(task, []):
            times = []
            for q in self.eligible(child):
                time = self.arrival(child, q)
                if self.placement == "append":
                    time = max(time, self.free(q))
                times.append(time + self.tail(child, q))
            bounds.append(min(times))
        bounds += [
            min(self.start(t, p) + self.tail(t, p) for p in self.eligible(t))
            for t in self.offered()
        ]
        used = sum(
            min(self.costs[t][p] for p in self.eligible(t))
            for t in self.tasks
            if t not in self.placed
        )
        for p in self.processors:
            busy = sum(placed.end - placed.start for placed in self.on(p))
            used += self.free(p) if self.placement == "append" else busy
        bounds.append(-(-used // len(self.processors)))
        return max(bounds)

    def trial(self, choice: Candidate) -> int:
        """The smaller makespan when the two list rules complete the schedule after ``choice``."""
        return min(self._trial(choice, by_path) for by_path in (False, True))

    def _trial(self, choice: Candidate, by_path: bool) -> int:
        rest = Graph(self.instance, "task-processor", self.placement, "free")
        rest.placed, rest.clock, rest.bound = dict(self.placed), self.clock, self.bound
        rest.take(choice if choice.task >= 0 else Candidate(-1, -1, -1))
        if choice.task < 0:
            event = self.next_event()
            assert event is not None
            rest.clock = event
        for task in self.order():
            if task not in rest.placed:
                p = rest.least_path(task) if by_path else rest.soonest_end(task)
                rest.take(Candidate(task, p, rest.start(task, p)))
        return max(placed.end for placed in rest.placed.values())

    def solution(self) -> TaskGraphSolution:
        rows = [(task, *placed) for task, placed in self.placed.items()]
        return TaskGraphSolution(*np.array(rows, dtype=np.int64).T)


class Episodes(NamedTuple):
    """Every episode that the mask allows."""

    solutions: list[TaskGraphSolution]
    returns: NDArray[np.float64]

    @property
    def best(self) -> int:
        return min(solution.makespan for solution in self.solutions)


def every_episode(problem: DagProblem, instance: TaskGraphInstance) -> Episodes:
    """Breadth first, all rows in one batch."""
    state, observation = problem.allocate(1), problem.spec.allocate(1)
    problem.load(state, observation, 0, instance)
    returns, solutions, ended = np.zeros(1), [], []
    while len(returns):
        rows, actions = observation.action_mask.nonzero()
        state, observation = _take(state, rows), _take(observation, rows)
        rewards, terminated = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.bool_)
        problem.step(state, observation, actions.copy(), rewards, terminated)
        returns = returns[rows] + rewards
        for row in np.flatnonzero(terminated):
            solutions.append(problem.solution(state, row))
            ended.append(returns[row])
        left = np.flatnonzero(~terminated)
        state, observation, returns = _take(state, left), _take(observation, left), returns[left]
    return Episodes(solutions, np.array(ended))


def _take(arrays: Any, rows: NDArray[np.int64]) -> Any:
    return type(arrays)(*(array[rows] for array in arrays))
