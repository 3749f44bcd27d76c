"""Streams on a system on chip in plain Python, microsecond by microsecond, from the definitions."""

import math
import random
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from makespan.envs.soc.instance import StreamInstance
from makespan.envs.soc.platform import Cluster, JobType, Platform, load_platform
from makespan.envs.soc.solution import StreamSolution


class Option(NamedTuple):
    """A decision that may be taken: a ready task, a processor, and what is expected of it."""

    job: int
    task: int
    processor: int
    start: int
    end: int


@dataclass
class Task:
    job: int
    number: int
    producers: list[tuple[int, int]]  # number, volume
    costs: dict[int, int]  # by processor, expected
    factor: float
    processor: int | None = None
    arrival: int = 0  # of the data, once bound
    bound: int = 0  # in which order
    expected_end: int = 0  # once bound
    start: int | None = None
    end: int | None = None
    ended: bool = False

    def true(self, processor: int) -> int:
        expected = self.costs[processor]
        return expected and max(1, math.floor(expected * self.factor + 0.5))


@dataclass
class TickSimulation:
    """One stream. Run :meth:`play`, which asks for every decision."""

    instance: StreamInstance
    binding: str
    listing: str
    now: int = 0
    entered: list[int] = field(default_factory=list)
    left: dict[int, int] = field(default_factory=dict)
    tasks: dict[tuple[int, int], Task] = field(default_factory=dict)
    ready: list[Task] = field(default_factory=list)
    expected_free: list[int] = field(default_factory=list)
    area: int = 0  # time integral of the number of jobs in the system

    def play(self) -> Generator[tuple[list[Option], bool], Option | None, None]:
        """Yields what may be bound and whether waiting is allowed; None is to wait."""
        binds = 0
        horizon = self.instance.horizon
        while len(self.left) < self.instance.entering and not (horizon and self.now >= horizon):
            while self._happens():
                self._end_tasks()
                self._enter_jobs()
                self.expected_free = [self._free(p) for p in self._processors()]
                while options := self._options():
                    choice = yield options, self.binding == "late" and self._may_wait()
                    if choice is None:
                        break
                    task = self.tasks[choice.job, choice.task]
                    binds += 1
                    task.processor, task.bound = choice.processor, binds
                    task.arrival = self._arrival(task, choice.processor)
                    task.expected_end = choice.end
                    self.expected_free[choice.processor] = choice.end
                    self.ready.remove(task)
                self._start_tasks()
            self.now += 1
            self.area += len(self.entered) - len(self.left)

    # what happens

    def _happens(self) -> bool:
        """Something ends, enters, or arrives at an idle processor that waits for it, now."""
        return (
            any(task.end == self.now and not task.ended for task in self.tasks.values())
            or self._next_entry() == self.now
            or any(
                self._running(p) is None and task.arrival <= self.now
                for p in self._processors()
                for task in self._queue(p)
            )
        )

    def _next_entry(self) -> int | None:
        job = len(self.entered)
        if job == self.instance.entering:
            return None
        if self.instance.cap and job - len(self.left) >= self.instance.cap:
            return None
        before = self.entered[-1] if self.entered else 0
        return max(self.now, before + int(self.instance.gaps[job]))

    def _end_tasks(self) -> None:
        for p in self._processors():
            task = self._running(p)
            if task is not None and task.end == self.now:
                task.ended = True
                own = [t for t in self.tasks.values() if t.job == task.job]
                self.ready += [
                    t for t in own if task.number in dict(t.producers) and self._is_ready(t)
                ]
                if all(t.ended for t in own):
                    self.left[task.job] = self.now

    def _enter_jobs(self) -> None:
        while self._next_entry() == self.now:
            job = len(self.entered)
            self.entered.append(self.now)
            platform = self.instance.platform
            first, last = platform.task_offsets[self.instance.types[job] :][:2].tolist()
            for number in range(last - first):
                producers = [
                    (a - first, volume)
                    for a, b, volume in platform.edges.tolist()
                    if b == first + number
                ]
                costs = {
                    p: int(platform.cost[first + number, platform.cluster_of[p]])
                    for p in self._processors()
                    if platform.cost[first + number, platform.cluster_of[p]] >= 0
                }
                factor = float(self.instance.factors[job, number])
                self.tasks[job, number] = Task(job, number, producers, costs, factor)
            self.ready += [t for (j, _), t in self.tasks.items() if j == job and not t.producers]

    def _start_tasks(self) -> None:
        for p in self._processors():
            if self._running(p) is None:
                there = [task for task in self._queue(p) if task.arrival <= self.now]
                if there:
                    there[0].start = self.now
                    there[0].end = self.now + there[0].true(p)

    # what is known

    def _processors(self) -> range:
        return range(self.instance.platform.num_processors)

    def _is_ready(self, task: Task) -> bool:
        return all(self.tasks[task.job, number].ended for number, _ in task.producers)

    def _running(self, p: int) -> Task | None:
        running = [
            t for t in self.tasks.values() if t.processor == p and t.end is not None and not t.ended
        ]
        return running[0] if running else None

    def _queue(self, p: int) -> list[Task]:
        """Bound tasks that have not started: oldest job first, then as bound."""
        bound = [t for t in self.tasks.values() if t.processor == p and t.start is None]
        return sorted(bound, key=lambda t: (t.job, t.bound))

    def _arrival(self, task: Task, p: int) -> int:
        platform = self.instance.platform
        times = [self.entered[task.job]]
        for number, volume in task.producers:
            producer = self.tasks[task.job, number]
            assert producer.end is not None
            assert producer.processor is not None
            band = platform.same_core_bandwidth
            if producer.processor != p:
                a, b = platform.cluster_of[[producer.processor, p]]
                band = int(platform.bandwidths[a, b])
            times.append(producer.end + volume // band)
        return max(times)

    def _free(self, p: int) -> int:
        """When the processor is expected to have done all that is bound to it."""
        free = self.now
        task = self._running(p)
        if task is not None:
            assert task.start is not None
            free = max(self.now + 1, task.start + task.costs[p])
        for task in self._queue(p):
            free = max(free, task.arrival) + task.costs[p]
        return free

    def _may_wait(self) -> bool:
        return (
            self._next_entry() is not None
            or any(self._running(p) is not None for p in self._processors())
            or any(self._queue(p) for p in self._processors())
        )

    def _options(self) -> list[Option]:
        found = []
        for task in self.ready:
            clusters: dict[int, list[Option]] = {}
            for p in task.costs:
                idle = self._running(p) is None and not self._queue(p)
                if self.binding == "eager" or idle:
                    start = max(self.now, self.expected_free[p], self._arrival(task, p))
                    option = Option(task.job, task.number, p, start, start + task.costs[p])
                    clusters.setdefault(self.instance.platform.cluster_of[p], []).append(option)
            for options in clusters.values():
                first = min(options, key=lambda option: option.start)
                found += options if self.listing == "all" else [first]
        return found

    @property
    def solution(self) -> StreamSolution:
        ran = [t for t in self.tasks.values() if t.start is not None]
        columns: Any = zip(
            *[(t.job, t.number, t.processor, t.start, t.end) for t in ran], strict=True
        )
        return StreamSolution(*(np.array(column, dtype=np.int64) for column in columns))


# ---------------------------------------------------------------- random streams


def random_platform(rng: np.random.Generator) -> Platform:
    """Small, with every kind of edge case: zero times, tasks for one cluster only, equal times."""
    clusters = [Cluster(f"c{k}", int(rng.integers(1, 4))) for k in range(rng.integers(1, 4))]
    names = [cluster.name for cluster in clusters]
    jobs = []
    for j in range(rng.integers(1, 4)):
        count = int(rng.integers(1, 7))
        tasks = {}
        for t in range(count):
            some = [name for name in names if rng.random() < 0.7] or [names[0]]
            tasks[f"t{t}"] = {name: int(rng.integers(0, 10)) for name in some}
        edges = tuple(
            (f"t{a}", f"t{b}", int(rng.integers(0, 30)))
            for a, b in product(range(count), repeat=2)
            if a < b and rng.random() < 0.4
        )
        jobs.append(JobType(f"j{j}", tasks, edges))
    bandwidth = tuple(
        (a, b, int(rng.integers(1, 12))) for i, a in enumerate(names) for b in names[i:]
    )
    return Platform("random", "", tuple(clusters), bandwidth, 20, tuple(jobs))


def random_stream(rng: np.random.Generator) -> StreamInstance:
    platform = random_platform(rng)
    jobs = int(rng.integers(1, 9))
    cap = int(rng.integers(0, 4))
    gaps = rng.integers(0, 15, jobs)
    noise = float(rng.choice([0.0, 0.5]))
    width = int(np.diff(platform.task_offsets).max())
    horizon = 0
    if not cap and rng.random() < 0.5:
        horizon = int(gaps[0] + 1 + rng.integers(0, 60))
    return StreamInstance(
        "random",
        platform,
        rng.integers(0, len(platform.jobs), jobs),
        gaps,
        1 + noise * rng.standard_normal((jobs, width)),
        noise=noise,
        cap=cap,
        horizon=horizon,
    )


def ds3_stream(scale: int, seed: int) -> StreamInstance:
    """DS3's own draws: job types from numpy's legacy generator, gaps from Python's."""
    platform = load_platform("ds3-default")
    legacy = np.random.RandomState(seed)
    types = [legacy.choice(6, 1, p=platform.probability)[0] for _ in range(100)]
    python = random.Random(seed)
    gaps = [0] + [int(python.expovariate(1 / scale)) for _ in range(99)]
    return StreamInstance(
        f"ds3-{scale}-{seed}", platform, np.array(types), np.array(gaps), np.ones((100, 34)), cap=12
    )
